//! Roles, groups and routes.

use usher_enrollment::{Placement, PlacementError, ServerRole, Topology, TopologyError};

use crate::fixture::{bastion, label, target};

#[test]
fn a_bastion_needs_a_group_and_a_target_has_none() {
    let group = || Some(label("edge"));
    assert!(Placement::new(ServerRole::Bastion, group(), None).is_ok());
    assert!(Placement::new(ServerRole::Target, None, group()).is_ok());
    let refused = Placement::new(ServerRole::Bastion, None, None).unwrap_err();
    assert_eq!(refused, PlacementError::BastionWithoutGroup);
    let refused = Placement::new(ServerRole::Target, group(), None).unwrap_err();
    assert_eq!(refused, PlacementError::GroupWithoutBastion { group: label("edge") });
    let refused = Placement::new(ServerRole::Bastion, group(), group()).unwrap_err();
    assert_eq!(refused, PlacementError::ViaItself { group: label("edge") });
}

#[track_caller]
fn check_route(placements: &[Placement], of: &Placement, expected: &[&str]) {
    let topology = Topology::of(placements).unwrap();
    let route = topology.route(of).unwrap();
    assert_eq!(route.iter().map(|group| group.as_str()).collect::<Vec<_>>(), expected);
}

#[test]
fn routes_go_from_the_client_inwards() {
    let placements = [bastion("edge", None), bastion("inner", Some("edge")), target(Some("inner"))];
    check_route(&placements, &target(None), &[]);
    check_route(&placements, &target(Some("edge")), &["edge"]);
    check_route(&placements, &target(Some("inner")), &["edge", "inner"]);
    check_route(&placements, &bastion("inner", Some("edge")), &["edge"]);
}

#[test]
fn a_group_without_bastions_counts_as_direct() {
    // Tokens and servers may come in any order.
    check_route(&[target(Some("edge"))], &target(Some("edge")), &["edge"]);
}

#[track_caller]
fn refuses(placements: &[Placement], expected: &TopologyError) {
    let mut placements = placements.to_vec();
    assert_eq!(Topology::of(&placements).unwrap_err(), *expected);
    placements.reverse();
    assert!(Topology::of(&placements).is_err(), "whatever the order");
}

#[test]
fn refuses_more_than_two_hops() {
    let chain = [bastion("a", None), bastion("b", Some("a")), bastion("c", Some("b"))];
    assert!(Topology::of(&chain).is_ok(), "the third bastion itself is two hops away");
    refuses(&[&chain[..], &[target(Some("c"))]].concat(), &TopologyError::TooManyHops { group: label("c") });
    refuses(
        &[&chain[..], &[bastion("d", Some("c"))]].concat(),
        &TopologyError::TooManyHops { group: label("c") },
    );
}

#[test]
fn refuses_circles() {
    let two = [bastion("a", Some("b")), bastion("b", Some("a"))];
    refuses(&two, &TopologyError::Cycle { group: label("a") });
    let three = [bastion("a", Some("b")), bastion("b", Some("c")), bastion("c", Some("a"))];
    assert!(matches!(Topology::of(&three).unwrap_err(), TopologyError::Cycle { .. }));
    // Seen from a server that is not on the circle.
    let topology = Topology::of(&[bastion("b", Some("a"))]).unwrap();
    assert!(matches!(topology.route(&bastion("a", Some("b"))).unwrap_err(), TopologyError::Cycle { .. }));
}

#[test]
fn refuses_groups_with_two_ways() {
    refuses(
        &[bastion("a", None), bastion("a", Some("b"))],
        &TopologyError::DifferentVia { group: label("a") },
    );
}
