//! Desired state: who is in it, and that generations follow each other without a gap or a fork.

use usher_store::{
    desired::{self, StoredDocument},
    project_groups::Role,
    servers,
};
use usher_testkit::{NOW, fixture};
use usher_types::Sha256;

use crate::world::{World, bastion, target};

async fn team() -> World {
    let world = World::new().await;
    world.project(1, "shop").await;
    world.group(1, "sre", 1, Role::Admin).await;
    world.group(2, "dev", 1, Role::User).await;
    world.group(3, "everyone", 1, Role::Member).await;
    world.user(1, "alice", &[1, 2, 3]).await;
    world.user(2, "bob", &[2]).await;
    world.user(3, "carol", &[3]).await;
    world
}

async fn state(world: &World) -> desired::ProjectState {
    let mut reader = world.store.read().await.unwrap();
    desired::snapshot(&mut reader, fixture::project(1)).await.unwrap().unwrap().project
}

#[tokio::test]
async fn active_users_with_access_have_accounts() {
    let state = state(&team().await).await;
    let accounts: Vec<_> = state.accounts.iter().map(|a| (a.login.as_str(), a.uid, a.admin)).collect();
    assert_eq!(accounts, [("alice", 60_001, true), ("bob", 60_002, false)]);
}

#[tokio::test]
async fn groups_list_those_members_who_have_accounts() {
    let state = state(&team().await).await;
    let mut groups: Vec<_> = state
        .groups
        .iter()
        .map(|group| {
            let members: Vec<_> = group.members.iter().map(|login| login.as_str()).collect();
            (group.name.as_str(), members)
        })
        .collect();
    groups.sort();
    assert_eq!(groups, [("dev", vec!["alice", "bob"]), ("everyone", vec!["alice"]), ("sre", vec!["alice"])]);
}

#[tokio::test]
async fn a_disabled_user_is_gone_at_once_and_its_ids_stay_taken() {
    let world = team().await;
    world.disable(1).await;
    world.user(4, "dora", &[1]).await;
    let state = state(&world).await;
    let accounts: Vec<_> = state.accounts.iter().map(|a| (a.login.as_str(), a.uid)).collect();
    assert_eq!(accounts, [("bob", 60_002), ("dora", 60_003)]);
    assert!(state.groups.iter().all(|group| group.members.iter().all(|login| login.as_str() != "alice")));
}

#[tokio::test]
async fn knows_what_is_reached_through_a_projects_bastions() {
    let world = World::new().await;
    world.project(1, "edge").await;
    world.project(2, "shop").await;
    world.token(1, 1, 9, bastion("edge", None)).await;
    world.token(2, 2, 9, target(Some("edge"))).await;
    world.token(3, 2, 9, bastion("inner", Some("edge"))).await;
    world.token(4, 2, 9, target(Some("inner"))).await;
    world.enroll(1, "b", "bastion-1").await.unwrap();
    let through_edge = world.enroll(2, "t", "web-1").await.unwrap();
    let inner = world.enroll(3, "i", "inner-1").await.unwrap();
    let through_inner = world.enroll(4, "u", "db-1").await.unwrap();
    let mut reader = world.store.read().await.unwrap();
    for (project, expected) in [(1, vec![through_edge, inner]), (2, vec![through_inner])] {
        let snapshot = desired::snapshot(&mut reader, fixture::project(project)).await.unwrap().unwrap();
        let mut reached: Vec<_> = snapshot.reached.iter().map(|reached| reached.id).collect();
        reached.sort();
        let mut expected = expected;
        expected.sort();
        assert_eq!(reached, expected);
    }
}

fn document(name: &str, generation: u64, body: &str) -> StoredDocument {
    StoredDocument {
        document: name.to_owned(),
        generation,
        sha256: Sha256::of(body.as_bytes()),
        head: "{}".to_owned(),
        signature: vec![1; 64],
        key_id: "state-1".to_owned(),
        body: body.to_owned(),
        issued_at: NOW,
    }
}

#[tokio::test]
async fn generations_follow_each_other_and_never_fork() {
    let world = World::new().await;
    let name = fixture::project(1).to_string();
    for (generation, body, stored) in [
        (2, "skipped", false),
        (1, "one", true),
        (1, "fork of one", false),
        (3, "skipped", false),
        (2, "two", true),
        (2, "fork of two", false),
        (3, "three", true),
    ] {
        let mut tx = world.store.begin().await.unwrap();
        assert_eq!(
            desired::put(&mut tx, &document(&name, generation, body)).await.unwrap(),
            stored,
            "{body}"
        );
        tx.commit().await.unwrap();
    }
    let mut reader = world.store.read().await.unwrap();
    assert_eq!(desired::document(&mut reader, &name).await.unwrap(), Some(document(&name, 3, "three")));
}

#[tokio::test]
async fn a_removed_servers_document_is_forgotten() {
    let world = World::new().await;
    world.project(1, "shop").await;
    world.token(1, 1, 1, target(None)).await;
    let server = world.enroll(1, "agent", "web-1").await.unwrap();
    let name = server.to_string();
    let mut tx = world.store.begin().await.unwrap();
    desired::put(&mut tx, &document(&name, 1, "one")).await.unwrap();
    assert!(desired::document(&mut tx, &name).await.unwrap().is_some());
    servers::remove(&mut tx, server).await.unwrap();
    assert!(desired::document(&mut tx, &name).await.unwrap().is_none());
}
