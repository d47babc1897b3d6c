//! Proofs of possession on the wire (threats 7, 28): what is signed is what is done, once, now.

use serde_json::json;
use usher_identity::dpop::Jti;

use crate::{Broker, Caller, caller::random};

#[tokio::test]
async fn the_first_request_is_asked_for_a_nonce() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    for nonce in [None, Some("AAAA".to_owned())] {
        caller.nonce = nonce;
        let sent = caller.prepare("GET", "/v1/me", b"", Jti::new(random()));
        caller.send(&sent).await.refused(401, "use_dpop_nonce");
        let sent = caller.prepare("GET", "/v1/me", b"", Jti::new(random()));
        assert_eq!(caller.send(&sent).await.status, 200);
    }
    // Two slots of a minute later the nonce is old.
    let old = caller.nonce.clone();
    broker.later(120);
    caller.nonce = old;
    let sent = caller.prepare("GET", "/v1/me", b"", Jti::new(random()));
    caller.send(&sent).await.refused(401, "use_dpop_nonce");
}

#[tokio::test]
async fn every_answer_carries_a_nonce() {
    let broker = Broker::start().await;
    for path in ["/v1/team", "/v1/me", "/v1/nothing", "/nothing"] {
        let answer = broker.http.get(format!("{}{path}", broker.origin)).send().await.unwrap();
        assert!(answer.headers().contains_key("dpop-nonce"), "{path}");
        assert_eq!(answer.headers()["cache-control"], "no-store");
    }
}

#[tokio::test]
async fn a_proof_is_good_for_its_own_request_only() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    caller.learn_nonce().await;
    let body = br#"{"name":"sre"}"#;
    let good = caller.prepare("POST", "/v1/groups?x=1", body, Jti::new(random()));

    let mut other_body = good.clone();
    other_body.body = br#"{"name":"ops"}"#.to_vec();
    let mut other_query = good.clone();
    other_query.target = "/v1/groups?x=2".into();
    let mut other_path = good.clone();
    other_path.target = "/v1/users?x=1".into();
    let mut other_method = good.clone();
    other_method.method = "GET".into();
    let mut no_token = good.clone();
    no_token.authorization = None;
    let mut no_proof = good.clone();
    no_proof.proof = None;
    let mut garbage = good.clone();
    garbage.proof = Some("a.b.c".into());
    let mut unsigned = good.clone();
    let proof = good.proof.clone().unwrap();
    unsigned.proof = Some(format!("{}.{}", proof.rsplit_once('.').unwrap().0, "A".repeat(86)));
    for bad in [other_body, other_query, other_path, other_method, no_token, no_proof, garbage, unsigned] {
        caller.send(&bad).await.refused(401, "invalid_dpop_proof");
    }
    assert_eq!(caller.get("/v1/groups").await.body["items"], json!([]), "nothing was made");
    assert_eq!(caller.send(&good).await.status, 201);
}

#[tokio::test]
async fn a_stolen_token_is_worth_nothing_without_its_key() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let caller = broker.session(&admin).await;
    let mut thief = Caller::stranger(&broker);
    thief.token.clone_from(&caller.token);
    thief.get("/v1/me").await.refused(401, "login_required");
    // As a bearer token it is nothing either.
    let answer = broker
        .http
        .get(format!("{}/v1/me", broker.origin))
        .bearer_auth(caller.token.as_ref().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn a_session_of_another_kind_or_with_a_wrong_secret_is_none() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    let good = caller.token.clone().unwrap();
    let id = good.get(4..34).unwrap();
    let forged = usher_types::SecretToken::new(usher_types::TokenKind::Session, id.parse().unwrap(), [7; 32]);
    caller.token = Some(forged.reveal().to_string());
    caller.get("/v1/me").await.refused(401, "login_required");
    caller.token = None;
    caller.learn_nonce().await;
    let mut sent = caller.prepare("GET", "/v1/me", b"", Jti::new(random()));
    for value in ["DPoP us1_x", "Bearer x", "DPoP", "Basic YTpi"] {
        sent.authorization = Some(value.into());
        caller.send(&sent).await.refused(401, "login_required");
    }
}

#[tokio::test]
async fn nonces_survive_the_rotation_of_their_key() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    caller.learn_nonce().await;
    let mut tx = broker.app.store().begin().await.unwrap();
    usher_store::team::rotate_nonce_key(&mut tx, &[9; 32], broker.now()).await.unwrap();
    tx.commit().await.unwrap();
    let again =
        usher_broker::AppState::open(broker.app.config().clone(), broker.clock.clone()).await.unwrap();
    assert_eq!(again.team(), broker.app.team());
    let sent = caller.prepare("GET", "/v1/me", b"", Jti::new(random()));
    assert_eq!(caller.send(&sent).await.status, 200);
}
