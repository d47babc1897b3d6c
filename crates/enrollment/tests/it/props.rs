//! Properties.

use std::collections::BTreeSet;

use proptest::prelude::*;
use usher_enrollment::{
    NamePattern, PastedToken, Placement, Redemption, ServerRole, TokenTerms, Topology, allocate_name, redeem,
};
use usher_types::{Cidr, HostName, UnixTime};

use crate::fixture::{NOW, bastion, claim, label, secret, target, terms};

prop_compose! {
    fn names()(text in "[a-z][a-z0-9.-]{0,62}") -> Option<HostName> {
        text.parse().ok()
    }
}

/// Placements over five groups, circles and all.
fn placements() -> impl Strategy<Value = Vec<Placement>> {
    let group = prop::sample::select(vec!["a", "b", "c", "d", "e"]);
    let one = (prop::option::of(group.clone()), prop::option::of(group)).prop_filter_map(
        "itself",
        |(group, via)| {
            let role = if group.is_some() { ServerRole::Bastion } else { ServerRole::Target };
            Placement::new(role, group.map(label), via.map(label)).ok()
        },
    );
    prop::collection::vec(one, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parsers_panic(text in ".{0,200}") {
        let _ = PastedToken::parse(&text);
        let _ = PastedToken::parse(&format!("ut1_{text}"));
        let _ = PastedToken::new(&format!("https://{text}"), None, secret(1));
        let _ = text.parse::<Cidr>();
        if let Ok(pattern) = text.parse::<NamePattern>() {
            prop_assert_eq!(pattern.to_string(), text);
        }
    }

    #[test]
    fn no_byte_of_a_pasted_token_can_be_changed(position in any::<prop::sample::Index>(), byte in 1_u8..128) {
        let pasted = PastedToken::new("https://broker.example:8443", None, secret(1)).unwrap();
        let text = pasted.reveal();
        let mut bytes = text.as_bytes().to_vec();
        let position = position.index(bytes.len());
        bytes[position] = (bytes[position] ^ byte) & 0x7f;
        let mutant = String::from_utf8(bytes).unwrap();
        // White space around it is forgiven; a changed URL is another URL, and the secret stays the secret.
        prop_assume!(mutant.trim() != text.as_str());
        if let Ok(read) = PastedToken::parse(&mutant) {
            prop_assert_eq!(read.token().hash(), secret(1).hash());
            prop_assert_ne!(read.url(), pasted.url());
        }
    }

    #[test]
    fn allocated_names_are_free_and_recognizable(claimed in names(), attempts in 1_usize..30) {
        let Some(claimed) = claimed else { return Ok(()) };
        let mut taken: BTreeSet<HostName> = BTreeSet::new();
        for _ in 0..attempts {
            let name = allocate_name(&claimed, |name| taken.contains(name)).unwrap();
            prop_assert_eq!(name.as_str().chars().next(), claimed.as_str().chars().next());
            prop_assert!(taken.insert(name));
        }
    }

    /// Every accepted set of placements gives every server a route of at most two different groups.
    #[test]
    fn accepted_placements_have_short_routes(placements in placements()) {
        if let Ok(topology) = Topology::of(&placements) {
            for placement in &placements {
                let route = topology.route(placement).unwrap();
                let distinct: BTreeSet<_> = route.iter().collect();
                prop_assert!(route.len() <= 2 && distinct.len() == route.len());
                prop_assert_eq!(route.last().copied(), placement.via());
                // Each step is how the next group's bastions are reached.
                if let [outer, inner] = route[..] {
                    let mut bastions = placements.iter().filter(|other| other.bastion_group() == Some(inner));
                    prop_assert!(bastions.all(|bastion| bastion.via() == Some(outer)));
                }
            }
        }
    }

    #[test]
    fn order_of_placements_does_not_matter(placements in placements().prop_shuffle()) {
        let mut reversed = placements.clone();
        reversed.reverse();
        prop_assert_eq!(Topology::of(&placements).ok(), Topology::of(&reversed).ok());
    }

    /// A token makes a server exactly while it lives and has uses left.
    #[test]
    fn a_token_ends(uses in 0_u32..4, max_uses in 0_u32..4, left in -2_i64..3) {
        let expires_at = UnixTime::from_secs(NOW.as_secs() + left);
        let terms = TokenTerms { uses, max_uses, expires_at, ..terms() };
        let made = matches!(redeem(&terms, &secret(1), &claim(), None, NOW), Ok(Redemption::New(_)));
        prop_assert_eq!(made, uses < max_uses && left > 0);
    }
}

#[test]
fn two_hops_are_the_most() {
    let placements = [bastion("a", None), bastion("b", Some("a")), target(Some("b"))];
    assert!(Topology::of(&placements).is_ok());
}
