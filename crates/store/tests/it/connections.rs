//! Connections: the facts of a decision, and the row that makes a request idempotent.

use std::time::Duration;

use usher_policy::Purpose;
use usher_store::{
    connections::{self, ANSWER_KEPT, CertificateRow, NewConnection, Repeated, RequestName},
    groups, project_groups,
    project_groups::Role,
    servers,
};
use usher_testkit::{NOW, fixture};
use usher_types::{Principal, Sha256};

use crate::world::{PEER, World, target};

async fn team() -> World {
    let world = World::new().await;
    world.project(1, "shop").await;
    world.group(1, "sre", 1, Role::Admin).await;
    world.group(2, "dev", 1, Role::User).await;
    world.user(1, "alice", &[1]).await;
    world.user(2, "bob", &[]).await;
    world.token(1, 1, 1, target(None)).await;
    world.enroll(1, "agent", "web-1").await.unwrap();
    world
}

#[tokio::test]
async fn facts_are_those_of_the_user_and_the_servers_project() {
    let world = team().await;
    let mut reader = world.store.read().await.unwrap();
    let server = servers::find(&mut reader, "web-1").await.unwrap().unwrap();
    let facts = connections::facts(&mut reader, fixture::user(1), Some(fixture::device(1)), &server)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(facts.user_id, fixture::user(1));
    assert_eq!(facts.login.unwrap().as_str(), "alice");
    assert_eq!(facts.groups, [fixture::group(1)].into());
    assert_eq!(facts.server.id, server.id);
    assert_eq!(facts.project.certificate_lifetime, Duration::from_secs(180));
    assert_eq!(facts.project.clock_skew, Duration::from_secs(60));
    let roles: Vec<_> = facts
        .assignments
        .iter()
        .map(|role| (role.group_name.as_str(), role.server_access, role.server_admin))
        .collect();
    assert_eq!(roles, [("dev", true, false), ("sre", true, true)]);
    let nobody = connections::facts(&mut reader, fixture::user(2), Some(fixture::device(1)), &server)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((nobody.login, nobody.groups.len()), (None, 0));
}

#[tokio::test]
async fn a_group_that_was_taken_out_of_the_project_is_no_assignment() {
    let world = team().await;
    let mut tx = world.store.begin().await.unwrap();
    assert!(project_groups::remove(&mut tx, fixture::project(1), fixture::group(1), NOW).await.unwrap());
    let server = servers::find(&mut tx, "web-1").await.unwrap().unwrap();
    let facts = connections::facts(&mut tx, fixture::user(1), Some(fixture::device(1)), &server)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(facts.assignments.len(), 1);
    groups::remove_member(&mut tx, fixture::group(1), fixture::user(1)).await.unwrap();
    let facts = connections::facts(&mut tx, fixture::user(1), Some(fixture::device(1)), &server)
        .await
        .unwrap()
        .unwrap();
    assert!(facts.groups.is_empty());
}

fn connection(number: u16, jti: &str, answer: &str) -> NewConnection {
    NewConnection {
        id: fixture::connection(number),
        project_id: fixture::project(1),
        server_id: fixture::server(1),
        user_id: fixture::user(1),
        device_id: fixture::device(1),
        session_id: fixture::session(1),
        login: "alice".parse().unwrap(),
        purpose: Purpose::Interactive,
        client_address: PEER,
        certificates: vec![CertificateRow {
            x509: false,
            principal: Principal::login(&"alice".parse().unwrap(), fixture::server(1)),
            serial: u64::MAX >> 1,
            sha256: Sha256::of(b"certificate"),
        }],
        created_at: NOW,
        expires_at: NOW.saturating_add(Duration::from_secs(180)),
        request: RequestName {
            jkt: Sha256::of(b"device"),
            jti: jti.to_owned(),
            content: Sha256::of(b"content"),
        },
        answer: answer.to_owned(),
    }
}

#[tokio::test]
async fn one_request_makes_one_connection() {
    let world = World::new().await;
    let mut tx = world.store.begin().await.unwrap();
    assert!(connections::insert(&mut tx, &connection(1, "a", "{\"first\":1}")).await.unwrap());
    assert!(!connections::insert(&mut tx, &connection(2, "a", "{\"second\":2}")).await.unwrap());
    assert!(connections::insert(&mut tx, &connection(3, "b", "{\"third\":3}")).await.unwrap());
    tx.commit().await.unwrap();
    let mut reader = world.store.read().await.unwrap();
    let request = connection(1, "a", "").request;
    let repeated = connections::repeated(&mut reader, &request, NOW).await.unwrap();
    assert_eq!(repeated, Some(Repeated::Answer("{\"first\":1}".to_owned())));
    let other = RequestName { content: Sha256::of(b"other"), ..request.clone() };
    assert_eq!(connections::repeated(&mut reader, &other, NOW).await.unwrap(), Some(Repeated::OtherContent));
    let foreign = RequestName { jkt: Sha256::of(b"another device"), ..request };
    assert_eq!(connections::repeated(&mut reader, &foreign, NOW).await.unwrap(), None);
}

#[tokio::test]
async fn an_answer_is_given_again_for_ten_minutes_and_never_made_twice() {
    let world = World::new().await;
    let mut tx = world.store.begin().await.unwrap();
    connections::insert(&mut tx, &connection(1, "a", "{}")).await.unwrap();
    let later = NOW.saturating_add(ANSWER_KEPT);
    let request = connection(1, "a", "").request;
    assert_eq!(connections::repeated(&mut tx, &request, later).await.unwrap(), Some(Repeated::Forgotten));
    assert_eq!(connections::forget_answers(&mut tx, later).await.unwrap(), 0);
    let later = later.saturating_add(Duration::from_millis(1));
    assert_eq!(connections::forget_answers(&mut tx, later).await.unwrap(), 1);
    assert_eq!(connections::repeated(&mut tx, &request, NOW).await.unwrap(), Some(Repeated::Forgotten));
    assert!(!connections::insert(&mut tx, &connection(2, "a", "{}")).await.unwrap());
}
