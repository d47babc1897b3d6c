//! `POST /v1/connections` while access changes: what is released, when something moves between decision and record.

use std::{collections::BTreeSet, pin::pin, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use usher_identity::UserStatus;
use usher_store::{
    PortForwarding, WriteTx, groups,
    projects::{self, ProjectChange},
    servers, users,
};
use usher_testkit::NOW;

use crate::{
    connections::{Shop, ask, connect, legs},
    team::{POSTGRES, Reply, Team},
};

/// Asks for a connection while the test holds the write transaction, lets it be decided and signed, changes something
/// in that transaction, commits, and gives the answer. Nothing may come before the commit.
async fn connect_across(shop: &Shop, server: &str, change: impl AsyncFnOnce(&mut WriteTx)) -> Reply {
    let mut tx = shop.team.store().begin().await.unwrap();
    if POSTGRES {
        // There a transaction keeps other brokers from issuing only once it moved the epoch.
        tx.bump_epoch().await.unwrap();
    }
    let mut asking = pin!(connect(&shop.team, &shop.alice, ask(server, 2)));
    let early = tokio::time::timeout(Duration::from_millis(500), asking.as_mut()).await;
    assert!(early.is_err(), "released before its rows were written: {early:?}");
    change(&mut tx).await;
    tx.commit().await.unwrap();
    asking.await
}

async fn reasons(team: &Team) -> Vec<Value> {
    team.events("connection.deny").await.iter().map(|event| event["reasons"].clone()).collect()
}

#[tokio::test]
async fn a_disable_between_decision_and_record_wins() {
    let shop = Shop::new().await;
    let reply = connect_across(&shop, "web-1", async |tx| {
        let alice = users::find(tx, "alice").await.unwrap().unwrap();
        let change = users::UserChange { status: Some(UserStatus::Disabled), ..Default::default() };
        users::update(tx, &alice, &change, NOW).await.unwrap();
    })
    .await;
    assert!(!reply.status.is_success(), "{reply:?}");
    assert_eq!(
        reasons(&shop.team).await,
        [json!(["not_authenticated"])],
        "decided again inside the transaction"
    );
    assert!(shop.team.events("connection.issue").await.is_empty());
}

#[tokio::test]
async fn losing_the_group_between_decision_and_record_denies() {
    let shop = Shop::new().await;
    let reply = connect_across(&shop, "web-1", async |tx| {
        let alice = users::find(tx, "alice").await.unwrap().unwrap();
        let group = groups::find(tx, "shop").await.unwrap().unwrap();
        groups::remove_member(tx, group.id, alice.id).await.unwrap();
    })
    .await;
    reply.error("not_found");
    assert_eq!(reasons(&shop.team).await, [json!(["no_access"])]);
    assert!(shop.team.events("connection.issue").await.is_empty());
}

#[tokio::test]
async fn a_policy_set_while_it_is_signed_forbids_it() {
    let shop = Shop::new().await;
    let reply = connect_across(&shop, "web-1", async |tx| {
        let source = usher_policy::PolicySource {
            name: "closed".parse().unwrap(),
            project: None,
            text: "forbid (principal, action, resource);".to_owned(),
            bindings: usher_policy::Bindings::default(),
        };
        let admin = users::find(tx, "admin").await.unwrap().unwrap();
        usher_store::policies::set(tx, &source, admin.id, NOW).await.unwrap();
    })
    .await;
    reply.error("access_denied");
    assert_eq!(reasons(&shop.team).await, [json!(["policy"])]);
    assert!(shop.team.events("connection.issue").await.is_empty());
}

#[tokio::test]
async fn other_capabilities_than_were_signed_are_not_released() {
    let shop = Shop::new().await;
    let reply = connect_across(&shop, "web-1", async |tx| {
        let project = projects::find(tx, "shop").await.unwrap().unwrap();
        let change = ProjectChange { port_forwarding: Some(PortForwarding::Off), ..Default::default() };
        projects::update(tx, &project, &change).await.unwrap();
    })
    .await;
    let connection = reply.ok();
    let certificate = legs(&connection, 0)[0]["certificate"].as_str().unwrap();
    let extensions = usher_ca::inspect(certificate).unwrap().extensions;
    assert!(!extensions.contains_key("permit-port-forwarding"), "{extensions:?}");
    assert_eq!(shop.team.events("connection.issue").await.len(), 1, "made anew, and only that was released");
}

#[tokio::test]
async fn a_change_that_is_somebody_elses_does_not_matter() {
    let shop = Shop::new().await;
    let reply = connect_across(&shop, "web-1", async |tx| {
        let bob = users::find(tx, "bob").await.unwrap().unwrap();
        let change = users::UserChange { status: Some(UserStatus::Disabled), ..Default::default() };
        users::update(tx, &bob, &change, NOW).await.unwrap();
    })
    .await;
    reply.ok();
    assert_eq!(shop.team.events("connection.issue").await.len(), 1);
}

#[tokio::test]
async fn a_server_that_is_removed_meanwhile_is_not_connected_to() {
    let shop = Shop::new().await;
    let web = shop.web.id.parse().unwrap();
    let reply = connect_across(&shop, "web-1", async |tx| {
        assert!(servers::remove(tx, web).await.unwrap());
    })
    .await;
    reply.error("not_found");
    assert!(shop.team.events("connection.issue").await.is_empty());
}

#[tokio::test]
async fn a_bastion_that_is_removed_meanwhile_is_on_no_route() {
    let shop = Shop::new().await;
    let gone = shop.bastion("edge-1", "edge", None, 21).await;
    let stays = shop.bastion("edge-2", "edge", None, 22).await;
    shop.target("db-1", "edge", 5).await;
    let id = gone.id.parse().unwrap();
    let reply = connect_across(&shop, "db-1", async |tx| {
        assert!(servers::remove(tx, id).await.unwrap());
    })
    .await;
    let connection = reply.ok();
    assert_eq!(connection["routes"].as_array().unwrap().len(), 1);
    assert_eq!(legs(&connection, 0)[0]["server_id"], stays.id.as_str());
    let issued = shop.team.events("connection.issue").await;
    assert_eq!(issued.len(), 1);
    assert!(!issued[0].to_string().contains(&gone.id), "{issued:?}");
}

const REQUESTS: usize = 8;

/// How many people are disabled while they ask for connections; ten thousand requests in a full run.
fn races() -> usize {
    if std::env::var_os("USHER_TEST_FULL").is_some() { 1250 } else { 40 }
}

/// After a disable has committed, no connection of that user commits: in the log nothing stands behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_certificate_is_recorded_after_a_disable() {
    let shop = Arc::new(Shop::new().await);
    let mut users = Vec::new();
    for number in 0..races() {
        let name = format!("user{number}");
        users.push((name.clone(), Arc::new(shop.team.person(&shop.admin, &name, &["shop"]).await)));
    }
    let mut tasks = Vec::new();
    for (number, (name, caller)) in users.iter().enumerate() {
        // The disable comes at another point each time: before any answer, or behind the first few.
        let answered = Arc::new(Semaphore::new(0));
        let before = u32::try_from(number % REQUESTS).unwrap();
        for request in 0..REQUESTS {
            let (shop, caller, answered) = (Arc::clone(&shop), Arc::clone(caller), Arc::clone(&answered));
            tasks.push(tokio::spawn(async move {
                let reply = connect(&shop.team, &caller, ask("web-1", 1)).await;
                answered.add_permits(1);
                if !reply.status.is_success() {
                    // Which of the two it is depends on who saw the disable first.
                    let text = &reply.text;
                    assert!(
                        text.contains("user_disabled") || text.contains("login_required"),
                        "{request}: {text}"
                    );
                }
            }));
        }
        let (shop, name) = (Arc::clone(&shop), name.clone());
        tasks.push(tokio::spawn(async move {
            answered.acquire_many(before).await.unwrap().forget();
            let body = json!({"status": "disabled"}).to_string();
            let path = format!("/v1/users/{name}");
            shop.team.send(&shop.admin, "PATCH", &path, &body, shop.team.jti()).await.ok();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut disabled = BTreeSet::new();
    let mut issued = 0;
    for row in shop.team.audit().await {
        match row["event"]["type"].as_str().unwrap() {
            "user.disable" => {
                disabled.insert(row["event"]["user_id"].as_str().unwrap().to_owned());
            }
            "connection.issue" => {
                issued += 1;
                let user = row["actor"]["user_id"].as_str().unwrap();
                assert!(!disabled.contains(user), "a certificate after the disable of {user}");
            }
            _ => {}
        }
    }
    assert_eq!(disabled.len(), races());
    assert!(issued > 0, "the race was never run");
    for (_, caller) in &users {
        let reply = connect(&shop.team, caller, ask("web-1", 1)).await;
        assert!(!reply.status.is_success());
    }
}

#[tokio::test]
async fn leaving_the_group_ends_access_at_once() {
    let Shop { team, admin, alice, .. } = Shop::new().await;
    connect(&team, &alice, ask("web-1", 1)).await.ok();
    team.send(&admin, "DELETE", "/v1/groups/shop/members/alice", "", team.jti()).await.ok();
    connect(&team, &alice, ask("web-1", 1)).await.error("not_found");
    team.put(&admin, "/v1/groups/shop/members/alice", Value::Null).await.ok();
    connect(&team, &alice, ask("web-1", 1)).await.ok();
}

#[tokio::test]
async fn a_removed_server_is_unknown_at_once() {
    let Shop { team, admin, alice, .. } = Shop::new().await;
    team.send(&admin, "DELETE", "/v1/servers/web-1", "", team.jti()).await.ok();
    connect(&team, &alice, ask("web-1", 1)).await.error("not_found");
}
