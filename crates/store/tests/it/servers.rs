//! Servers: enrollment is atomic, names are never taken over, reports move the epoch only when others depend on it.

use std::collections::BTreeSet;

use usher_store::{
    ServerRole, desired, project_groups,
    servers::{self, Conflict, Prior, Report, SILENT_AFTER, Trusts},
};
use usher_testkit::{NOW, fixture};
use usher_types::{Sha256, UnixTime};

use crate::world::{World, bastion, facts, key, target};

#[tokio::test(flavor = "multi_thread")]
async fn a_single_use_token_makes_one_server_however_many_try_at_once() {
    let world = std::sync::Arc::new(World::new().await);
    world.project(1, "shop").await;
    world.token(1, 1, 1, target(None)).await;
    let attempts: Vec<_> = (0..50)
        .map(|number| {
            let world = std::sync::Arc::clone(&world);
            tokio::spawn(async move { world.enroll(1, &format!("agent {number}"), "web-1").await })
        })
        .collect();
    let mut made = 0;
    for attempt in attempts {
        made += usize::from(attempt.await.unwrap().is_some());
    }
    assert_eq!(made, 1);
    let mut reader = world.store.read().await.unwrap();
    assert_eq!(servers::list(&mut reader).await.unwrap().len(), 1);
    assert_eq!(
        usher_store::tokens::by_id(&mut reader, fixture::token(1)).await.unwrap().unwrap().terms.uses,
        1
    );
}

#[tokio::test]
async fn the_same_agent_gets_the_same_server_again() {
    let world = World::new().await;
    world.project(1, "shop").await;
    world.token(1, 1, 1, target(None)).await;
    let first = world.enroll(1, "agent", "web-1").await.unwrap();
    assert_eq!(world.enroll(1, "agent", "web-1").await, Some(first));
    assert_eq!(world.enroll(1, "another agent", "web-1").await, None);
}

#[tokio::test]
async fn an_agent_key_cannot_join_twice() {
    let world = World::new().await;
    world.project(1, "shop").await;
    world.token(1, 1, 1, target(None)).await;
    world.token(2, 1, 1, target(None)).await;
    world.enroll(1, "agent", "web-1").await.unwrap();
    assert_eq!(world.enroll(2, "agent", "web-2").await, None);
}

#[tokio::test]
async fn a_removed_server_frees_its_name_and_key() {
    let world = World::new().await;
    world.project(1, "shop").await;
    world.token(1, 1, 9, target(None)).await;
    let first = world.enroll(1, "agent", "web-1").await.unwrap();
    let mut tx = world.store.begin().await.unwrap();
    let before = tx.epoch().await.unwrap();
    assert!(servers::remove(&mut tx, first).await.unwrap());
    assert!(tx.epoch().await.unwrap() > before);
    tx.commit().await.unwrap();
    let mut reader = world.store.read().await.unwrap();
    assert_eq!(servers::agent(&mut reader, &key("agent")).await.unwrap(), None);
    assert_eq!(servers::prior(&mut reader, &key("agent")).await.unwrap(), None);
    let again = world.enroll(1, "agent", "web-1").await.unwrap();
    assert_eq!(world.name_of(again).await.as_str(), "web-1");
    assert!(matches!(
        servers::prior(&mut world.store.read().await.unwrap(), &key("agent")).await.unwrap(),
        Some(Prior::Known(_))
    ));
}

#[tokio::test]
async fn a_taken_name_gets_a_number() {
    let world = World::new().await;
    world.project(1, "shop").await;
    world.token(1, 1, 9, target(None)).await;
    let long = format!("{}-x", "w".repeat(61));
    for (agent, claimed, given) in [
        ("a", "web", "web"),
        ("b", "web", "web-2"),
        ("c", "web", "web-3"),
        ("d", "web-2", "web-2-2"),
        ("e", long.as_str(), long.as_str()),
        ("f", long.as_str(), &format!("{}-2", "w".repeat(61))),
        ("g", long.as_str(), &format!("{}-3", "w".repeat(61))),
    ] {
        let server = world.enroll(1, agent, claimed).await.unwrap();
        assert_eq!(world.name_of(server).await.as_str(), given);
    }
}

#[tokio::test]
async fn the_token_says_what_the_server_is() {
    let world = World::new().await;
    world.project(1, "shop").await;
    world.token(1, 1, 1, bastion("edge", None)).await;
    let server = world.enroll(1, "agent", "edge-1").await.unwrap();
    let mut reader = world.store.read().await.unwrap();
    let row = servers::find(&mut reader, "edge-1").await.unwrap().unwrap();
    assert_eq!(row.id, server);
    assert_eq!(row.project.as_str(), "shop");
    assert_eq!(row.placement, bastion("edge", None));
    assert_eq!(row.labels.len(), 1);
    assert_eq!(row.facts, servers::HostFacts { ssh_port: Some(22), ..facts(1) });
    assert!(!row.is_healthy(NOW), "it has not reported yet");
    let found = servers::bastions(&mut reader, &"edge".parse().unwrap()).await.unwrap();
    assert_eq!(found, [row]);
    let places = desired::snapshot(&mut reader, fixture::project(1)).await.unwrap().unwrap().servers;
    assert_eq!(places[0].role, ServerRole::Bastion);
}

fn report(facts: servers::HostFacts) -> Report {
    Report {
        facts,
        conflicts: vec![Conflict { kind: "user".into(), name: "bob".into(), reason: "exists".into() }],
        applied_generation: 3,
        applied_server_generation: 1,
        taken_ids: BTreeSet::from([60_001, 60_002]),
        clock_offset_millis: -250,
        trusts: None,
    }
}

#[tokio::test]
async fn a_report_moves_the_epoch_only_for_addresses_and_host_keys() {
    let world = World::new().await;
    world.project(1, "shop").await;
    world.token(1, 1, 1, target(None)).await;
    let server = world.enroll(1, "agent", "web-1").await.unwrap();
    let mut other_os = facts(1);
    other_os.os = "Ubuntu".to_owned();
    let mut other_keys = other_os.clone();
    other_keys.host_keys = facts(2).host_keys;
    for (facts, addresses, host_keys) in [
        (facts(1), false, false),
        (other_os, false, false),
        (other_keys, false, true),
        (facts(2), true, false),
    ] {
        let mut tx = world.store.begin().await.unwrap();
        let before = tx.epoch().await.unwrap();
        let changed = servers::report(&mut tx, server, &report(facts), NOW).await.unwrap();
        let changed =
            changed.map(|changed| (changed.addresses.is_some(), changed.host_keys, changed.authorities));
        assert_eq!(changed, Some((addresses, host_keys, false)));
        assert_eq!(tx.epoch().await.unwrap() > before, addresses || host_keys);
        tx.commit().await.unwrap();
    }
    let row = servers::by_id(&mut world.store.read().await.unwrap(), server).await.unwrap().unwrap();
    assert_eq!((row.applied_generation, row.applied_server_generation), (3, 1));
    assert_eq!(row.clock_offset_millis, Some(-250));
    assert_eq!(row.conflicts.len(), 1);
    assert!(row.is_healthy(NOW.saturating_add(SILENT_AFTER)));
    assert!(!row.is_healthy(UnixTime::from_millis(NOW.saturating_add(SILENT_AFTER).as_millis() + 1)));
}

#[tokio::test]
async fn reported_ids_are_not_given_to_users() {
    let world = World::new().await;
    world.project(1, "shop").await;
    world.group(1, "sre", 1, project_groups::Role::User).await;
    world.token(1, 1, 1, target(None)).await;
    let server = world.enroll(1, "agent", "web-1").await.unwrap();
    let mut tx = world.store.begin().await.unwrap();
    servers::report(&mut tx, server, &report(facts(1)), NOW).await.unwrap();
    tx.commit().await.unwrap();
    world.user(1, "alice", &[1]).await;
    let mut reader = world.store.read().await.unwrap();
    let state = desired::snapshot(&mut reader, fixture::project(1)).await.unwrap().unwrap().project;
    assert_eq!(state.accounts[0].uid, 60_003);
}

#[tokio::test]
async fn a_report_of_a_removed_server_changes_nothing() {
    let world = World::new().await;
    let mut tx = world.store.begin().await.unwrap();
    assert_eq!(servers::report(&mut tx, fixture::server(9), &report(facts(1)), NOW).await.unwrap(), None);
}

#[tokio::test]
async fn users_see_the_servers_of_their_projects_only() {
    let world = World::new().await;
    for (project, name) in [(1, "shop"), (2, "bank")] {
        world.project(project, name).await;
        world.group(project, name, project, project_groups::Role::User).await;
        world.user(project, &format!("{name}-user"), &[project]).await;
        world.token(project, project, 1, target(None)).await;
        world.enroll(project, name, &format!("{name}-1")).await.unwrap();
    }
    let mut reader = world.store.read().await.unwrap();
    for (project, name) in [(1, "shop-1"), (2, "bank-1")] {
        let seen = servers::list_visible_to(&mut reader, fixture::user(project)).await.unwrap();
        let names: Vec<_> = seen.iter().map(|server| server.name.as_str()).collect();
        assert_eq!(names, [name]);
    }
    assert!(servers::list_visible_to(&mut reader, fixture::user(3)).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_a_server_trusts_moves_the_epoch_only_when_another_key_may_have_to_sign() {
    let world = World::new().await;
    world.project(1, "shop").await;
    world.token(1, 1, 1, target(None)).await;
    let server = world.enroll(1, "agent", "web-1").await.unwrap();
    let trusts = |authority: Option<&[u8]>, pin: &[u8]| Trusts {
        ssh_user_ca: authority.map(Sha256::of).into_iter().collect(),
        pins: [Sha256::of(pin)].into(),
        ..Trusts::default()
    };
    for (said, moved) in [
        (Some(trusts(Some(b"old"), b"1")), true),
        (Some(trusts(Some(b"old"), b"2")), false),
        // An agent that has just started does not know: what it said before stands.
        (None, false),
        (Some(trusts(Some(b"new"), b"2")), true),
        (Some(trusts(None, b"2")), true),
    ] {
        let mut tx = world.store.begin().await.unwrap();
        let before = tx.epoch().await.unwrap();
        let report = Report { trusts: said.clone(), ..report(facts(1)) };
        let changed = servers::report(&mut tx, server, &report, NOW).await.unwrap().unwrap();
        assert_eq!(changed.authorities, moved);
        assert_eq!(tx.epoch().await.unwrap() > before, moved);
        tx.commit().await.unwrap();
        let row = servers::by_id(&mut world.store.read().await.unwrap(), server).await.unwrap().unwrap();
        assert!(row.trusts.is_some());
        assert!(said.is_none() || row.trusts == said);
    }
}
