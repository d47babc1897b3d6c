//! Connections are planned from memory: it is used, and it does without the database.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::team::{Caller, POSTGRES, Reply, Team, ssh_key};

const PATIENCE: Duration = Duration::from_secs(120);

async fn shop() -> (Team, Caller) {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.project(&admin, "shop").await;
    let alice = team.person(&admin, "alice", &["shop"]).await;
    team.enroll(&team.token(&admin, "shop", json!({})).await, "web-1", 1).await;
    (team, alice)
}

async fn connect(team: &Team, caller: &Caller) -> Reply {
    let body = json!({"server": "web-1", "purpose": "interactive", "keys": [ssh_key(901)]});
    team.post(caller, "/v1/connections", body).await
}

#[tokio::test]
async fn a_broker_plans_from_memory_once_it_knows_the_rules() {
    let (team, alice) = shop().await;
    for (number, (app, _router)) in team.brokers.iter().enumerate() {
        team.only(number);
        let began = Instant::now();
        // Rules are read in the background, and the caller when it first asks.
        while app.planned_from_memory() == 0 {
            assert!(began.elapsed() < PATIENCE, "memory is never used");
            connect(&team, &alice).await.ok();
        }
        for planned in 1..10 {
            assert_eq!(app.planned_from_memory(), planned);
            connect(&team, &alice).await.ok();
        }
    }
}

/// Nobody waits for the database's readers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_known_is_decided_without_the_database() {
    if POSTGRES {
        // There the issuing transaction is one of the same connections.
        return;
    }
    let (team, alice) = shop().await;
    let began = Instant::now();
    loop {
        connect(&team, &alice).await.ok();
        // SQLite has four readers; whoever wants a fifth waits.
        let mut taken = Vec::new();
        for _ in 0..4 {
            taken.push(team.store().read().await.unwrap());
        }
        let asking = connect(&team, &alice);
        if let Ok(reply) = tokio::time::timeout(Duration::from_secs(3), asking).await {
            reply.ok();
            return;
        }
        assert!(began.elapsed() < PATIENCE, "the rules are never taken from memory");
    }
}
