//! `POST /v1/enroll`: a token makes the servers it may, whoever asks how often.

use std::sync::Arc;

use serde_json::{Value, json};
use usher_testkit::NOW;
use usher_types::{SecretToken, TokenId, TokenKind, UnixTime};

use crate::team::{Team, enroll_body};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_make_one_server_of_a_single_use_token() {
    let team = Arc::new(Team::new().await);
    let admin = team.session("admin").await;
    team.project(&admin, "shop").await;
    let token = team.token(&admin, "shop", json!({"max_uses": 1})).await;
    let attempts: Vec<_> = (0..50)
        .map(|_| {
            let (team, token) = (Arc::clone(&team), token.clone());
            tokio::spawn(async move {
                let stranger = team.stranger();
                team.post(&stranger, "/v1/enroll", enroll_body(&token, "web-1", 1)).await
            })
        })
        .collect();
    let mut made = 0;
    for attempt in attempts {
        let reply = attempt.await.unwrap();
        if reply.status.is_success() {
            made += 1;
        } else {
            reply.error("token_refused");
        }
    }
    assert_eq!(made, 1);
    assert_eq!(team.get(&admin, "/v1/servers").await.ok()["items"].as_array().unwrap().len(), 1);
    assert_eq!(team.events("server.enroll").await.len(), 1);
    let token: SecretToken = SecretToken::parse(TokenKind::Enrollment, &token).unwrap();
    assert_eq!(team.get(&admin, &format!("/v1/tokens/{}", token.id())).await.ok()["uses"], 1);
}

#[tokio::test]
async fn a_lost_answer_is_given_again_to_the_same_agent_for_ten_minutes() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.project(&admin, "shop").await;
    let token = team.token(&admin, "shop", json!({"max_uses": 1})).await;
    let (agent, jti, body) = (team.stranger(), team.jti(), enroll_body(&token, "web-1", 1).to_string());
    let first = team.send(&agent, "POST", "/v1/enroll", &body, jti).await;
    first.ok();
    assert_eq!(team.send(&agent, "POST", "/v1/enroll", &body, jti).await, first);
    assert_eq!(team.send(&agent, "POST", "/v1/enroll", &body, team.jti()).await, first);
    team.post(&team.stranger(), "/v1/enroll", enroll_body(&token, "web-1", 1)).await.error("token_refused");
    team.clock.set(UnixTime::from_secs(NOW.as_secs() + 601));
    team.send(&agent, "POST", "/v1/enroll", &body, team.jti()).await.error("token_refused");
}

/// Unknown, guessed, used, expired, revoked, for another name or network: nobody can tell which it was.
#[tokio::test]
async fn every_refusal_looks_the_same() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.project(&admin, "shop").await;
    let used = team.token(&admin, "shop", json!({"max_uses": 1})).await;
    team.enroll(&used, "web-1", 1).await;
    let expired = team.token(&admin, "shop", json!({"ttl_seconds": 1})).await;
    let revoked = team.token(&admin, "shop", json!({})).await;
    let revoked_id = SecretToken::parse(TokenKind::Enrollment, &revoked).unwrap().id();
    team.send(&admin, "DELETE", &format!("/v1/tokens/{revoked_id}"), "", team.jti()).await.ok();
    let network = team.token(&admin, "shop", json!({"cidr": "198.51.100.0/24"})).await;
    let name = team.token(&admin, "shop", json!({"name_pattern": "db-*"})).await;
    let guessed = SecretToken::new(TokenKind::Enrollment, revoked_id, [0; 32]).reveal().to_string();
    let unknown =
        SecretToken::new(TokenKind::Enrollment, TokenId::new(NOW, [0; 10]), [0; 32]).reveal().to_string();
    let session =
        SecretToken::new(TokenKind::Session, TokenId::new(NOW, [0; 10]), [0; 32]).reveal().to_string();
    team.clock.set(UnixTime::from_secs(NOW.as_secs() + 2));

    let mut answers = Vec::new();
    for token in [&used, &expired, &revoked, &network, &name, &guessed, &unknown, &session, "", "ue1_x"] {
        let reply = team.post(&team.stranger(), "/v1/enroll", enroll_body(token, "web-2", 2)).await;
        reply.error("token_refused");
        answers.push(reply);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(team.get(&admin, "/v1/servers").await.ok()["items"].as_array().unwrap().len(), 1);

    let reasons: Vec<Value> =
        team.events("server.enroll_refuse").await.iter().map(|event| event["reason"].clone()).collect();
    let expected =
        ["token_used", "token_expired", "token_revoked", "network_not_allowed", "name_not_allowed"];
    assert_eq!(reasons, expected, "those who do not hold a token's secret leave no row");
}

#[tokio::test]
async fn a_taken_name_is_never_taken_over() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.project(&admin, "shop").await;
    team.project(&admin, "bank").await;
    let first = team.enroll(&team.token(&admin, "shop", json!({})).await, "web", 1).await;
    let second = team.enroll(&team.token(&admin, "bank", json!({})).await, "web", 2).await;
    assert_eq!((first.name.as_str(), second.name.as_str()), ("web", "web-2"));
    let shown = team.get(&admin, "/v1/servers/web").await.ok();
    assert_eq!(shown["id"], first.id.as_str());
    assert_eq!(shown["project"], "shop");
}

#[tokio::test]
async fn an_agents_key_joins_once() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.project(&admin, "shop").await;
    let (first, second) = (
        team.token(&admin, "shop", json!({"max_uses": 1})).await,
        team.token(&admin, "shop", json!({"max_uses": 1})).await,
    );
    // An image of an enrolled host carries its key: the copy is refused, and its token stays good.
    let agent = team.stranger();
    team.post(&agent, "/v1/enroll", enroll_body(&first, "web-1", 1)).await.ok();
    team.post(&agent, "/v1/enroll", enroll_body(&second, "web-2", 2)).await.error("token_refused");
    team.enroll(&second, "web-2", 2).await;
}

#[tokio::test]
async fn the_host_cannot_choose_its_role() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.project(&admin, "shop").await;
    let token = team.token(&admin, "shop", json!({"via": "edge", "labels": {"env": "prod"}})).await;
    for (field, value) in
        [("role", json!("bastion")), ("bastion_group", json!("edge")), ("project", json!("bank"))]
    {
        let mut body = enroll_body(&token, "web-1", 1);
        body[field] = value.clone();
        team.post(&team.stranger(), "/v1/enroll", body).await.error("invalid_request");
        let mut body = enroll_body(&token, "web-1", 1);
        body["facts"][field] = value;
        team.post(&team.stranger(), "/v1/enroll", body).await.error("invalid_request");
    }
    team.enroll(&token, "web-1", 1).await;
    let server = team.get(&admin, "/v1/servers/web-1").await.ok();
    assert_eq!(
        (&server["role"], &server["via"], &server["labels"]["env"]),
        (&json!("target"), &json!("edge"), &json!("prod"))
    );
}

#[tokio::test]
async fn bad_facts_are_refused_and_cost_no_use() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.project(&admin, "shop").await;
    let token = team.token(&admin, "shop", json!({"max_uses": 1})).await;
    let with = |pointer: &str, value: Value| {
        let mut body = enroll_body(&token, "web-1", 1);
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    let address = |ip: &str, port: u32| json!([{"ip": ip, "port": port}]);
    for body in [
        with("/facts/addresses", json!([])),
        with("/facts/addresses", address("127.0.0.1", 22)),
        with("/facts/addresses", address("::1", 22)),
        with("/facts/addresses", address("169.254.169.254", 80)),
        with("/facts/addresses", address("::ffff:169.254.169.254", 80)),
        with("/facts/addresses", address("10.0.0.1", 0)),
        with("/facts/addresses", address("10.0.0.1", 65_536)),
        with("/facts/addresses", address("10.0.0.1 ", 22)),
        with("/facts/host_keys", json!([])),
        with("/facts/host_keys", json!(["ssh-ed25519 AAAA"])),
        with("/facts/host_keys", json!(["@cert-authority * ssh-ed25519 AAAA"])),
        with("/facts/host_keys", json!(["ssh-dss AAAAB3NzaC1kc3MAAAABAQ=="])),
        with("/name", json!("..")),
        with("/name", json!("127.0.0.1")),
        with("/name", json!("web\n1")),
        with("/name", json!("Web-1")),
        with("/name", json!("")),
    ] {
        team.post(&team.stranger(), "/v1/enroll", body.clone()).await.error("invalid_request");
    }
    assert!(team.events("server.enroll").await.is_empty());
    team.enroll(&token, "web-1", 1).await;
}

#[tokio::test]
async fn enrolling_is_in_the_audit_log() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.project(&admin, "edge").await;
    let token = team.token(&admin, "edge", json!({"role": "bastion", "bastion_group": "edge"})).await;
    let agent = team.enroll(&token, "edge-1", 1).await;
    let events = team.events("server.enroll").await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["server_id"], agent.id.as_str());
    assert_eq!(events[0]["agent_key"], agent.caller.key.public().thumbprint().to_string());
    assert_eq!((&events[0]["role"], &events[0]["bastion_group"]), (&json!("bastion"), &json!("edge")));
    assert!(
        !team.audit().await.iter().any(|row| row.to_string().contains(token.get(34..).unwrap())),
        "no secret in the log"
    );
}
