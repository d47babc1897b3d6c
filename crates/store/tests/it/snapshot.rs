//! The packed rules and a user's memberships say what the tables say.

use usher_policy::{Authentication, Conditions, Found, Member};
use usher_store::{
    connections, groups,
    locks::{self, Target},
    project_groups::{self, Role},
    projects::{self, ProjectChange},
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

/// A condition that the packed rules forgot would let people in: they carry each one, and a role keeps its own whatever
/// happens to it.
#[tokio::test]
async fn conditions_are_packed_with_their_roles_and_stay_with_them() {
    let world = team().await;
    let (project, sre) = (fixture::project(1), fixture::group(1));
    let conditions = Conditions {
        labels: [("env".parse().unwrap(), "prod".parse().unwrap())].into(),
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        hours: Some("mon-fri 08:00-18:00 Europe/Vienna".parse().unwrap()),
        authentication: Authentication {
            max_age_seconds: Some(900),
            second_factor: true,
            named_server: false,
        },
    };
    let asked = Authentication { max_age_seconds: Some(3600), ..Authentication::default() };

    let before = world.store.read().await.unwrap().epoch().await.unwrap();
    let mut tx = world.store.begin().await.unwrap();
    assert!(project_groups::set_conditions(&mut tx, project, sre, &conditions).await.unwrap());
    let shop = projects::by_id(&mut tx, project).await.unwrap().unwrap();
    let change = ProjectChange { authentication: Some(asked.clone()), ..ProjectChange::default() };
    projects::update(&mut tx, &shop, &change).await.unwrap();
    // Not of a group without a role there.
    assert!(!project_groups::set_conditions(&mut tx, project, fixture::group(3), &conditions).await.unwrap());
    tx.commit().await.unwrap();
    assert!(world.store.read().await.unwrap().epoch().await.unwrap() > before);
    assert!(compare(&world).await.is_empty());

    let mut reader = world.store.read().await.unwrap();
    let server = servers::find(&mut reader, "web-1").await.unwrap().unwrap();
    let facts = connections::facts(&mut reader, fixture::user(1), None, &server).await.unwrap().unwrap();
    let of = |group| facts.assignments.iter().find(|role| role.group_id == group).unwrap();
    assert_eq!((&*of(sre).conditions, &facts.project.authentication), (&conditions, &asked));
    assert!(of(fixture::group(2)).conditions.is_empty());
    drop(reader);

    let group = groups::find(&mut world.store.read().await.unwrap(), "sre").await.unwrap().unwrap();
    let mut tx = world.store.begin().await.unwrap();
    let set = project_groups::set(&mut tx, project, &group, Role::User, NOW).await.unwrap().unwrap();
    assert_eq!(set.conditions, conditions);
    assert!(project_groups::remove(&mut tx, project, sre, NOW).await.unwrap());
    let back = project_groups::set(&mut tx, project, &group, Role::User, NOW).await.unwrap().unwrap();
    assert_eq!(back.conditions, conditions);
    tx.commit().await.unwrap();
    assert!(compare(&world).await.is_empty());
}
