//! Policies: kept, found by project, parsed once, facts of decisions from the rows and from memory; each change moves the
//! epoch.

use usher_policy::{Bindings, PolicySource};
use usher_store::{
    WriteTx, connections,
    policies::{self, MOST_POLICIES, SetPolicyError},
    project_groups::Role,
    projects, servers, snapshot,
};
use usher_testkit::{NOW, fixture};
use usher_types::{ProjectId, ServerId};

use crate::world::{World, target};

fn source(name: &str, project: Option<ProjectId>, text: &str) -> PolicySource {
    PolicySource {
        name: name.parse().unwrap(),
        project,
        text: text.to_owned(),
        bindings: Bindings::default(),
    }
}

const TEXT: &str = "forbid (principal, action, resource) when { context.hour == 3 };";

async fn set(tx: &mut WriteTx, source: &PolicySource) {
    policies::set(tx, source, fixture::user(1), NOW).await.unwrap();
}

/// alice has access to server web-1 of project shop; there is a project bank.
async fn shop() -> (World, ServerId) {
    let world = World::new().await;
    world.project(1, "shop").await;
    world.project(2, "bank").await;
    world.group(1, "sre", 1, Role::User).await;
    world.user(1, "alice", &[1]).await;
    world.token(1, 1, 1, target(None)).await;
    let server = world.enroll(1, "agent", "web-1").await.unwrap();
    (world, server)
}

#[tokio::test]
async fn policies_are_facts_of_their_project_and_move_the_epoch() {
    let (world, server) = shop().await;
    let (shop, bank) = (fixture::project(1), fixture::project(2));
    for source in [
        source("everywhere", None, TEXT),
        source("here", Some(shop), TEXT),
        source("there", Some(bank), TEXT),
    ] {
        let mut tx = world.store.begin().await.unwrap();
        let before = tx.epoch().await.unwrap();
        set(&mut tx, &source).await;
        assert!(tx.epoch().await.unwrap() > before);
        tx.commit().await.unwrap();
    }
    let mut tx = world.store.begin().await.unwrap();
    let mut bound = source("bound", None, r#"forbid (principal, action, resource in Project::"bank");"#);
    bound.bindings.projects.insert("bank".to_owned(), bank);
    set(&mut tx, &bound).await;
    tx.commit().await.unwrap();

    let mut reader = world.store.read().await.unwrap();
    let row = servers::by_id(&mut reader, server).await.unwrap().unwrap();
    let facts = connections::facts(&mut reader, fixture::user(1), None, &row).await.unwrap().unwrap();
    let names: Vec<_> = facts.policies.all().iter().map(|policy| policy.name().as_str()).collect();
    assert_eq!(names, ["everywhere", "here"]);
    // Memory has the same, and parsed nothing again.
    let snapshot = snapshot::read(&mut reader).await.unwrap();
    let groups = [fixture::group(1)];
    let login = "alice".parse().unwrap();
    let member = usher_policy::Member { user_id: fixture::user(1), groups: &groups, login: Some(&login) };
    let packed = snapshot.find("web-1").unwrap().facts(&member).unwrap();
    assert_eq!(packed.policies, facts.policies);
    assert!(std::sync::Arc::ptr_eq(&packed.policies.all()[0], &facts.policies.all()[0]));
    let stored = policies::by_name(&mut reader, "bound").await.unwrap().unwrap();
    assert_eq!((stored.source, stored.project), (bound, None));
    drop(reader);

    let mut tx = world.store.begin().await.unwrap();
    let epoch = tx.epoch().await.unwrap();
    assert!(policies::remove(&mut tx, &"here".parse().unwrap()).await.unwrap());
    assert!(tx.epoch().await.unwrap() > epoch);
    assert!(!policies::remove(&mut tx, &"here".parse().unwrap()).await.unwrap());
    let left: Vec<_> = policies::list(&mut tx)
        .await
        .unwrap()
        .into_iter()
        .map(|one| (one.source.name.to_string(), one.project))
        .collect();
    assert_eq!(
        left,
        [
            ("bound".to_owned(), None),
            ("everywhere".to_owned(), None),
            ("there".to_owned(), Some("bank".parse().unwrap()))
        ]
    );
    // A project takes its own along.
    let project = projects::find(&mut tx, "bank").await.unwrap().unwrap();
    projects::delete(&mut tx, &project).await.unwrap();
    assert_eq!(policies::list(&mut tx).await.unwrap().len(), 2);
}

#[tokio::test]
async fn there_are_only_so_many() {
    let world = World::new().await;
    let mut tx = world.store.begin().await.unwrap();
    for number in 0..MOST_POLICIES {
        set(&mut tx, &source(&format!("rule-{number}"), None, TEXT)).await;
    }
    // Replacing is not adding.
    set(&mut tx, &source("rule-7", None, "forbid (principal, action, resource);")).await;
    let more = policies::set(&mut tx, &source("more", None, TEXT), fixture::user(1), NOW).await;
    assert!(matches!(more, Err(SetPolicyError::TooMany)));
}
