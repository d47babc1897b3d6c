//! What one broker knows, the other one has to know.

use std::{process::Command, time::Duration};

use data_encoding::BASE64;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};
use usher_broker::{AppState, Server};
use usher_testkit::NOW;

use crate::team::{Caller, Team, ssh_key};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_nonce_of_one_broker_is_good_at_the_other() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.get(&admin, "/v1/users").await.ok();
    for _ in 0..6 {
        let (reply, _nonce) = team.once(&admin, "GET", "/v1/users", "", team.jti()).await;
        reply.ok();
    }
}

#[tokio::test]
async fn a_new_nonce_key_of_one_broker_comes_to_the_other_at_once() {
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default().is_ok();
    let team = Team::new().await;
    let admin = team.session("admin").await;
    for app in team.apps() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::on(app.clone(), listener).await.unwrap();
        tokio::spawn(server.run(std::future::pending()));
    }
    // Two rotations: no nonce from before is good any more.
    for key in [[7; 32], [8; 32]] {
        let mut tx = team.store().begin().await.unwrap();
        usher_store::team::rotate_nonce_key(&mut tx, &key, NOW).await.unwrap();
        tx.wake();
        tx.commit().await.unwrap();
    }
    timeout(PATIENCE, async {
        let mut good = 0;
        while good < 6 {
            let (reply, nonce) = team.once(&admin, "GET", "/v1/users", "", team.jti()).await;
            team.remember(nonce);
            good = if reply.status.is_success() { good + 1 } else { 0 };
            // A refusal waits for nothing, and the brokers' own tasks run on this thread.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("both brokers take the nonces of both");
}

#[tokio::test]
async fn a_request_that_was_answered_by_one_broker_is_not_done_by_the_other() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    let (jti, body) = (team.jti(), json!({"name": "sre"}).to_string());
    let first = team.send(&admin, "POST", "/v1/groups", &body, jti).await;
    first.ok();
    for _ in 0..3 {
        assert_eq!(team.send(&admin, "POST", "/v1/groups", &body, jti).await, first);
    }
    let other = json!({"name": "dev"}).to_string();
    for _ in 0..2 {
        team.send(&admin, "POST", "/v1/groups", &other, jti).await.error("request_reused");
    }
    assert_eq!(team.events("group.create").await.len(), 1);
}

#[tokio::test]
async fn both_brokers_write_one_audit_log_that_verifies() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    for number in 0..6 {
        team.post(&admin, "/v1/groups", json!({"name": format!("g{number}")})).await.ok();
    }
    let mut reader = team.store().read().await.unwrap();
    let log = usher_store::audit::verify(&mut reader, &[]).await.unwrap();
    // `init` and two brokers.
    assert_eq!(log.heads.len(), 3);
}

/// Whoever listens on a team's database is stopped, as by a network that loses notices. Goes on when dropped.
struct Deaf(Vec<String>);

impl Deaf {
    async fn of(team: &Team) -> Self {
        let listening = "SELECT pid FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE 'LISTEN%' AND state = 'idle'";
        let pids = timeout(PATIENCE, async {
            loop {
                let mut reader = team.store().read().await.unwrap();
                let pids: Vec<i32> =
                    sqlx::query_scalar(listening).fetch_all(reader.as_postgres().unwrap()).await.unwrap();
                if pids.len() == team.brokers.len() {
                    return pids;
                }
                drop(reader);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let deaf = Self(pids.await.expect("all brokers listen").iter().map(ToString::to_string).collect());
        deaf.signal("-STOP");
        deaf
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").arg(signal).args(&self.0).status().unwrap().success());
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

/// Behind a balancer the next request may come to another broker. It need not have been told of a change to decide by it,
/// neither when that takes away nor when it gives.
#[tokio::test]
async fn a_change_at_one_broker_holds_at_another_that_was_not_told() {
    let team = Team::new().await;
    let (here, there) = (0, 1);
    let admin = team.session("admin").await;
    team.project(&admin, "shop").await;
    let mut alice = team.person(&admin, "alice", &["shop"]).await;
    let token = team.token(&admin, "shop", json!({})).await;
    team.enroll(&token, "web-1", 1).await;
    let connect = async |caller: &Caller, server: &str| {
        let body = json!({"server": server, "purpose": "command", "keys": [ssh_key(901)]});
        team.only(there);
        team.post(caller, "/v1/connections", body).await
    };
    let change = async |method: &str, path: &str, body: &Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        team.only(here);
        team.send(&admin, method, path, &body, team.jti()).await.ok();
    };
    let memory = || team.brokers[there].0.planned_from_memory();
    let known = |broker: usize| team.brokers[broker].0.store().known_epoch();

    // Rules are read again in the background.
    let from_memory = async |alice: &Caller| {
        let before = memory();
        let planned = async {
            while memory() == before {
                connect(alice, "web-1").await.ok();
            }
        };
        timeout(PATIENCE, planned).await.expect("memory is used");
    };

    let _deaf = Deaf::of(&team).await;
    let device = team.get(&alice, "/v1/me").await.ok()["device"]["id"].as_str().unwrap().to_owned();
    let device = format!("/v1/locks/device/{device}");
    let (reason, none) = (json!({"reason": "test"}), Value::Null);
    for (method, path, body, refused) in [
        ("PUT", "/v1/locks/user/alice", &reason, Some("access_denied")),
        ("DELETE", "/v1/locks/user/alice", &none, None),
        ("PUT", &device, &reason, Some("access_denied")),
        ("DELETE", &device, &none, None),
        ("PUT", "/v1/locks/server/web-1", &reason, Some("access_denied")),
        ("DELETE", "/v1/locks/server/web-1", &none, None),
        ("PUT", "/v1/locks/project/shop", &reason, Some("access_denied")),
        ("DELETE", "/v1/locks/project/shop", &none, None),
        ("DELETE", "/v1/groups/shop/members/alice", &none, Some("not_found")),
        ("PUT", "/v1/groups/shop/members/alice", &none, None),
        ("PATCH", "/v1/users/alice", &json!({"status": "disabled"}), Some("login_required")),
    ] {
        if refused.is_some() {
            from_memory(&alice).await;
        }
        change(method, path, body).await;
        assert!(known(there) < known(here), "it was told: {method} {path}");
        let reply = connect(&alice, "web-1").await;
        match refused {
            Some(code) => drop(reply.error(code)),
            None => drop(reply.ok()),
        }
    }
    change("PATCH", "/v1/users/alice", &json!({"status": "active"})).await;
    alice = team.session("alice").await;
    connect(&alice, "web-1").await.ok();

    // What a certificate allows, less and then more.
    let forwards = async || {
        let answer = connect(&alice, "web-1").await.ok();
        let line = answer["routes"][0]["legs"][0]["certificate"].as_str().unwrap().to_owned();
        let bytes = BASE64.decode(line.split(' ').nth(1).unwrap().as_bytes()).unwrap();
        String::from_utf8_lossy(&bytes).contains("permit-port-forwarding")
    };
    assert!(forwards().await);
    from_memory(&alice).await;
    change("PATCH", "/v1/projects/shop", &json!({"port_forwarding": "off"})).await;
    assert!(!forwards().await);
    change("PATCH", "/v1/projects/shop", &json!({"port_forwarding": "local"})).await;
    assert!(forwards().await);

    // Servers come and go.
    team.only(here);
    team.enroll(&token, "web-2", 2).await;
    connect(&alice, "web-2").await.ok();
    from_memory(&alice).await;
    change("DELETE", "/v1/servers/web-1", &none).await;
    assert!(known(there) < known(here), "it was told of the deletion");
    connect(&alice, "web-1").await.error("not_found");
}

impl Team {
    fn apps(&self) -> impl Iterator<Item = &AppState> {
        self.brokers.iter().map(|(app, _)| app)
    }

    fn remember(&self, nonce: String) {
        *self.nonce.lock().unwrap() = nonce;
    }
}
