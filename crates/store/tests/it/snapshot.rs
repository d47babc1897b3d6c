//! The packed rules and a user's memberships say what the tables say.

use usher_policy::{Found, Member};
use usher_store::{
    connections, groups,
    locks::{self, Target},
    project_groups::{self, Role},
    servers, snapshot,
};
use usher_testkit::{NOW, fixture};
use usher_types::UserId;

use crate::world::{World, bastion, target};

async fn team() -> World {
    let world = World::new().await;
    world.project(1, "shop").await;
    world.project(2, "infra").await;
    world.group(1, "sre", 1, Role::Admin).await;
    world.group(2, "dev", 1, Role::User).await;
    world.group(3, "ops", 2, Role::Member).await;
    world.user(1, "alice", &[1, 3]).await;
    world.user(2, "bob", &[2]).await;
    world.user(3, "carol", &[]).await;
    world.token(1, 1, 10, target(None)).await;
    world.token(2, 2, 10, bastion("edge", None)).await;
    world.enroll(1, "one", "web-1").await.unwrap();
    world.enroll(1, "two", "web-2").await.unwrap();
    world.enroll(2, "three", "edge-1").await.unwrap();
    world
}

/// Compares for every user and server; says which servers the snapshot leaves to the tables.
async fn compare(world: &World) -> Vec<String> {
    let mut reader = world.store.read().await.unwrap();
    let packed = snapshot::read(&mut reader).await.unwrap();
    let mut left_out = Vec::new();
    for server in servers::list(&mut reader).await.unwrap() {
        let Some(found) = packed.find(server.name.as_str()) else {
            left_out.push(server.name.to_string());
            continue;
        };
        assert_eq!(found.id(), server.id);
        assert_eq!(packed.find(&server.id.to_string()).as_ref().map(Found::id), Some(server.id));
        for user in [1, 2, 3].map(fixture::user) {
            same(&mut reader, found, user, &server).await;
        }
    }
    left_out
}

async fn same(reader: &mut usher_store::Reader, found: Found<'_>, user: UserId, server: &servers::Server) {
    let device = fixture::device(1);
    let mut full = connections::facts(reader, user, Some(device), server).await.unwrap().unwrap();
    let membership = snapshot::membership(reader, user, device).await.unwrap();
    assert!(!membership.locked);
    let login = membership.logins.get(&server.project_id);
    let member = Member { user_id: user, groups: &membership.groups, login };
    let facts = found.facts(&member).unwrap();
    // What it leaves out are the groups that the user is not in, or that have no role here.
    let groups = full.groups.clone();
    full.assignments.retain(|role| groups.contains(&role.group_id));
    full.groups.retain(|group| full.assignments.iter().any(|role| role.group_id == *group));
    full.assignments.sort_by_key(|role| role.group_id);
    assert_eq!(facts, full);
}

#[tokio::test]
async fn the_snapshot_says_what_the_tables_say() {
    let world = team().await;
    assert!(compare(&world).await.is_empty());
    let packed = snapshot::read(&mut world.store.read().await.unwrap()).await.unwrap();
    let edges: Vec<_> = packed.bastions(&"edge".parse().unwrap()).collect();
    assert_eq!(edges, [packed.find("edge-1").unwrap().id()]);

    let mut tx = world.store.begin().await.unwrap();
    groups::remove_member(&mut tx, fixture::group(1), fixture::user(1)).await.unwrap();
    project_groups::remove(&mut tx, fixture::project(1), fixture::group(2), NOW).await.unwrap();
    tx.commit().await.unwrap();
    assert!(compare(&world).await.is_empty());
}

#[tokio::test]
async fn what_is_locked_is_left_to_the_tables() {
    let world = team().await;
    let reason = "stolen".parse().unwrap();
    let web = servers::find(&mut world.store.read().await.unwrap(), "web-1").await.unwrap().unwrap().id;
    let mut tx = world.store.begin().await.unwrap();
    for target in [Target::Server(web), Target::Project(fixture::project(2))] {
        assert!(locks::set(&mut tx, target, &reason, fixture::user(1), NOW).await.unwrap());
    }
    tx.commit().await.unwrap();
    assert_eq!(compare(&world).await, ["edge-1", "web-1"]);
}
