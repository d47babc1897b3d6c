//! Connections are planned from memory, and still whoever has just changed something sees it in the very next answer.

use serde_json::json;

use crate::team::{Caller, Team, ssh_key};

/// How many routes a connection to this server is offered.
async fn routes(team: &Team, caller: &Caller, server: &str) -> usize {
    let body = json!({"server": server, "purpose": "interactive", "keys": [ssh_key(911), ssh_key(912)]});
    let connection = team.post(caller, "/v1/connections", body).await.ok();
    connection["routes"].as_array().unwrap().len()
}

async fn bastion(team: &Team, admin: &Caller, group: &str, name: &str, last: u8) {
    let token = team.token(admin, "shop", json!({"role": "bastion", "bastion_group": group})).await;
    let agent = team.enroll(&token, name, last).await;
    team.report(&agent).await.ok();
}

#[tokio::test]
async fn a_bastion_that_has_just_come_is_on_the_next_route() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.project(&admin, "shop").await;
    let alice = team.person(&admin, "alice", &["shop"]).await;
    for round in 1..=5 {
        let (group, target) = (format!("edge-{round}"), format!("db-{round}"));
        bastion(&team, &admin, &group, &format!("first-{round}"), 10 + round).await;
        team.enroll(&team.token(&admin, "shop", json!({"via": group})).await, &target, 100 + round).await;
        for _ in 0..20 {
            assert_eq!(routes(&team, &alice, &target).await, 1);
        }
        bastion(&team, &admin, &group, &format!("second-{round}"), 50 + round).await;
        assert_eq!(routes(&team, &alice, &target).await, 2, "round {round}");
    }
}
