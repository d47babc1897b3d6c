//! A repeated request does nothing and gets the first one's answer.

use serde_json::json;
use usher_identity::dpop::Jti;

use crate::{Broker, caller::random};

#[tokio::test]
async fn the_same_request_again_gets_the_stored_answer() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    let jti = Jti::new(random());
    let body = br#"{"name":"sre"}"#;
    let first = caller.ask("POST", "/v1/groups", body, jti).await;
    assert_eq!(first.status, 201);
    // Half a minute later, with a new nonce and a new proof.
    broker.later(30);
    let second = caller.ask("POST", "/v1/groups", body, jti).await;
    assert_eq!((second.status, &second.body), (201, &first.body));
    assert_eq!(caller.get("/v1/groups").await.body["items"].as_array().unwrap().len(), 1);
    let deleted = Jti::new(random());
    for _ in 0..2 {
        assert_eq!(caller.ask("DELETE", "/v1/groups/sre", b"", deleted).await.status, 204);
    }
}

#[tokio::test]
async fn another_request_under_the_same_name_is_refused() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    let jti = Jti::new(random());
    assert_eq!(caller.ask("POST", "/v1/groups", br#"{"name":"sre"}"#, jti).await.status, 201);
    caller.ask("POST", "/v1/groups", br#"{"name":"ops"}"#, jti).await.refused(409, "request_reused");
    caller.ask("POST", "/v1/users", br#"{"name":"sre"}"#, jti).await.refused(409, "request_reused");
    caller.ask("DELETE", "/v1/groups/sre", b"", jti).await.refused(409, "request_reused");
    assert_eq!(caller.get("/v1/groups").await.body["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_secret_is_shown_once() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    let jti = Jti::new(random());
    let body = br#"{"user_name":"bob"}"#;
    let first = caller.ask("POST", "/v1/users", body, jti).await;
    assert!(first.body["set_up"]["code"].is_string());
    caller.ask("POST", "/v1/users", body, jti).await.refused(409, "already_done");
    let database = std::fs::read(broker.data_dir().join("usher.db")).unwrap();
    let wal = std::fs::read(broker.data_dir().join("usher.db-wal")).unwrap_or_default();
    for secret in [
        first.body["set_up"]["code"].as_str().unwrap(),
        // Behind prefix and id; the secret itself may hold underscores.
        caller.token.as_deref().unwrap().get(35..78).unwrap(),
    ] {
        for file in [&database, &wal] {
            assert!(
                !file.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{secret} is on the disk"
            );
        }
    }
}

#[tokio::test]
async fn a_refused_request_may_be_tried_again() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    let jti = Jti::new(random());
    caller.ask("DELETE", "/v1/groups/sre", b"", jti).await.refused(404, "not_found");
    assert_eq!(caller.call("POST", "/v1/groups", &json!({"name": "sre"})).await.status, 201);
    assert_eq!(caller.ask("DELETE", "/v1/groups/sre", b"", jti).await.status, 204);
}

#[tokio::test]
async fn of_equal_requests_at_once_one_is_done() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    caller.learn_nonce().await;
    let sent = caller.prepare("POST", "/v1/groups", br#"{"name":"sre"}"#, Jti::new(random()));
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let request = broker
            .http
            .post(format!("{}/v1/groups", broker.origin))
            .header("dpop", sent.proof.clone().unwrap())
            .header("authorization", sent.authorization.clone().unwrap())
            .header("content-type", "application/json")
            .body(sent.body.clone());
        requests.spawn(async move { request.send().await.unwrap().text().await.unwrap() });
    }
    let answers = requests.join_all().await;
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert!(answers[0].contains("\"sre\""), "{answers:?}");
}
