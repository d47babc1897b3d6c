//! The packed rules say yes exactly when the full facts do, and find what there is.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usher_policy::{AccessFacts, Decision, Member, Purpose, Snapshot, SnapshotBuilder};
use usher_types::{GroupId, LoginName, ServerId};

use crate::fixture::{assignment, decide, facts, group_id, project_id, request, server_id, user_id};

/// Roles by project: group, access, admin. Servers by number: project.
type Roles = BTreeMap<u8, BTreeMap<u8, (bool, bool)>>;

fn name(server: u8) -> String {
    format!("web-{server}")
}

fn snapshot(roles: &Roles, servers: &BTreeMap<u8, u8>) -> Snapshot {
    let mut builder = SnapshotBuilder::new();
    for (server, project) in servers {
        builder.server(server_id(*server), &name(*server), project_id(*project));
    }
    for (project, groups) in roles.iter().rev() {
        for (group, (access, admin)) in groups.iter().rev() {
            let assignment = assignment(*group, &format!("group-{group}"), *access, *admin);
            builder.assignment(project_id(*project), assignment);
        }
        builder.project(usher_policy::ProjectFacts { id: project_id(*project), ..facts().project });
    }
    builder.finish()
}

fn full(
    roles: &Roles,
    project: u8,
    server: u8,
    groups: &BTreeSet<GroupId>,
    login: Option<&LoginName>,
) -> AccessFacts {
    let mut facts = facts();
    facts.login = login.cloned();
    facts.groups.clone_from(groups);
    facts.server.id = server_id(server);
    facts.server.name = name(server).parse().unwrap();
    facts.server.project_id = project_id(project);
    facts.project.id = project_id(project);
    facts.assignments = roles[&project]
        .iter()
        .map(|(group, (access, admin))| assignment(*group, &format!("group-{group}"), *access, *admin))
        .collect();
    facts
}

fn allowed(facts: &AccessFacts) -> Option<usher_policy::Capabilities> {
    match decide(&request(None, Purpose::Interactive), facts) {
        Decision::Allow(grant) => Some(grant.capabilities().clone()),
        Decision::Deny(_) | Decision::StepUp(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_allow_is_the_same_with_the_same_capabilities(
        roles in prop::collection::btree_map(
            0_u8..5, prop::collection::btree_map(0_u8..8, (any::<bool>(), any::<bool>()), 0..6), 1..5),
        servers in prop::collection::btree_map(0_u8..30, 0_u8..5, 0..20),
        groups in prop::collection::btree_set(0_u8..8, 0..5),
        has_account in any::<bool>(),
    ) {
        let snapshot = snapshot(&roles, &servers);
        let login = has_account.then(|| "alice".parse().unwrap());
        let groups: BTreeSet<_> = groups.into_iter().map(group_id).collect();
        let sorted: Vec<_> = groups.iter().copied().collect();
        let member = Member { user_id: user_id(1), groups: &sorted, login: login.as_ref() };
        for (server, project) in servers {
            let found = snapshot.find(&name(server));
            if !roles.contains_key(&project) {
                prop_assert!(found.is_none(), "a server of a project that is not there");
                continue;
            }
            let found = found.unwrap();
            prop_assert_eq!(snapshot.find(&server_id(server).to_string()).unwrap().id(), found.id());
            let packed = found.facts(&member).unwrap();
            let full = full(&roles, project, server, &groups, login.as_ref());
            prop_assert_eq!(&packed.server, &full.server);
            prop_assert_eq!(&packed.project, &full.project);
            prop_assert_eq!(allowed(&packed), allowed(&full));
        }
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let snapshot = snapshot(&[(1, BTreeMap::new())].into(), &[(1, 1), (2, 1)].into());
    assert_eq!(snapshot.servers(), 2);
    assert!(snapshot.find("web-1").is_some());
    for name in ["web-3", "web-", "", "WEB-1", "web-1 ", &server_id(9).to_string()] {
        assert!(snapshot.find(name).is_none(), "{name}");
    }
    assert!(Snapshot::default().find("web-1").is_none());
}

#[test]
fn bastions_are_found_by_their_group() {
    let mut builder = SnapshotBuilder::new();
    for (group, server) in [("outer", 3), ("edge", 1), ("edge", 2)] {
        builder.bastion(group.parse().unwrap(), server_id(server));
    }
    let snapshot = builder.finish();
    let of = |group: &str| -> Vec<ServerId> { snapshot.bastions(&group.parse().unwrap()).collect() };
    assert_eq!(of("edge"), [server_id(1), server_id(2)]);
    assert_eq!(of("outer"), [server_id(3)]);
    assert!(of("a").is_empty() && of("f").is_empty() && of("z").is_empty());
}

#[test]
fn what_is_locked_is_left_to_the_tables() {
    let mut builder = SnapshotBuilder::new();
    for (server, project) in [(1, 1), (2, 1), (3, 2)] {
        builder.server(server_id(server), &name(server), project_id(project));
    }
    for project in [1, 2] {
        builder.project(usher_policy::ProjectFacts { id: project_id(project), ..facts().project });
    }
    builder.lock_server(server_id(1));
    builder.lock_project(project_id(2));
    let snapshot = builder.finish();
    let found: Vec<_> = ["web-1", "web-2", "web-3"].map(|name| snapshot.find(name).is_some()).into();
    assert_eq!(found, [false, true, false]);
}
