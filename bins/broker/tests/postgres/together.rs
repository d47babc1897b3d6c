//! What one broker knows, the other one has to know.

use std::time::Duration;

use serde_json::json;
use tokio::{net::TcpListener, time::timeout};
use usher_broker::{AppState, Server};
use usher_testkit::NOW;

use crate::team::Team;

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

impl Team {
    fn apps(&self) -> impl Iterator<Item = &AppState> {
        self.brokers.iter().map(|(app, _)| app)
    }

    fn remember(&self, nonce: String) {
        *self.nonce.lock().unwrap() = nonce;
    }
}
