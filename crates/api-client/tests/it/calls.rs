//! Nonces, retries, sessions, answers.

use std::time::Duration;

use hyper::StatusCode;
use usher_api::{
    ErrorCode,
    v1::{ConnectionRequest, CreateGroup, Purpose, StateQuery},
};
use usher_api_client::{CallError, Method};
use usher_types::{SecretToken, TokenId, TokenKind};

use crate::server::{NOW, Reply, Server};

const TEAM: &str = r#"{"team":"acme","version":"1.0.0"}"#;
const GROUP: &str =
    r#"{"id":"grp_01mcc5rm00e008000000000001","name":"ops","created_at":"2027-01-15T08:00:00Z","new":1}"#;

fn token() -> SecretToken {
    SecretToken::new(TokenKind::Session, TokenId::new(NOW, [1; 10]), [7; 32])
}

#[tokio::test]
async fn fetches_a_nonce_once_and_keeps_it() {
    let server = Server::with(&[Reply::ok(TEAM)]).await;
    let client = server.client();
    client.team().await.unwrap();
    assert_eq!(server.seen().len(), 2);
    client.clone().team().await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert_ne!(seen[1].jti, seen[2].jti);
}

#[tokio::test]
async fn proves_again_when_the_nonce_has_aged() {
    let server = Server::with(&[Reply::Nonce, Reply::Nonce, Reply::ok(TEAM)]).await;
    server.client().team().await.unwrap();
    assert_eq!(server.seen().len(), 4);
}

/// The broker knows by the `jti` that it has done this already.
#[tokio::test]
async fn asks_again_under_the_same_name_when_the_answer_is_lost() {
    let server = Server::with(&[Reply::Hang, Reply::Hang, Reply::ok(GROUP)]).await;
    let request = CreateGroup { name: "ops".parse().unwrap() };
    let group = server.client().create_group(&request).await.unwrap();
    assert_eq!(group.name, request.name);
    let seen = server.seen();
    assert_eq!(seen.len(), 4);
    assert!(seen[1].jti.is_some());
    assert!(seen[1..].iter().all(|seen| seen.jti == seen_jti(&server) && seen.body == r#"{"name":"ops"}"#));
}

fn seen_jti(server: &Server) -> Option<String> {
    server.seen()[1].jti.clone()
}

#[tokio::test]
async fn gives_up_when_every_answer_is_lost() {
    let server = Server::with(&[Reply::Hang]).await;
    let error = server.client().team().await.unwrap_err();
    assert!(matches!(error, CallError::Network(_)), "{error:?}");
    assert!(error.is_network());
    assert_eq!(server.seen().len(), 1 + 4);
}

#[tokio::test]
async fn waits_for_a_broker_that_is_busy() {
    let busy = Reply::AnswerAfter(
        StatusCode::TOO_MANY_REQUESTS,
        r#"{"error":{"code":"too_many_requests","message":"slow down"}}"#.to_owned(),
        0,
    );
    let server = Server::with(&[Reply::error(503, "unavailable"), busy, Reply::ok(TEAM)]).await;
    server.client().team().await.unwrap();
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn does_not_wait_for_longer_than_people_do() {
    let busy = Reply::AnswerAfter(
        StatusCode::TOO_MANY_REQUESTS,
        r#"{"error":{"code":"too_many_requests","message":"slow down"}}"#.to_owned(),
        60,
    );
    let server = Server::with(&[busy]).await;
    let error = server.client().team().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TooManyRequests));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)), "the caller's business");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn takes_no_for_an_answer() {
    for (status, code) in [(403, "access_denied"), (500, "internal"), (409, "request_reused")] {
        let server = Server::with(&[Reply::error(status, code)]).await;
        let error = server.client().team().await.unwrap_err();
        assert_eq!(error.to_string(), "said the test");
        assert_eq!(error.code().unwrap().as_str(), code);
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn keeps_the_reasons_of_a_denial() {
    let body = r#"{"error":{"code":"access_denied","message":"no","reasons":["because"],"next":"ask"}}"#;
    let server = Server::with(&[Reply::Answer(StatusCode::FORBIDDEN, body.to_owned())]).await;
    let request = ConnectionRequest {
        server: "web-1".to_owned(),
        login: None,
        purpose: Purpose::Command,
        csr: None,
        via: None,
        keys: Vec::new(),
    };
    let error = server.client().connect(&request).await.unwrap_err();
    let CallError::Api { body, status: 403, .. } = error else { panic!("{error:?}") };
    assert_eq!((body.reasons, body.next), (vec!["because".to_owned()], Some("ask".to_owned())));
}

#[tokio::test]
async fn says_so_when_something_else_answers() {
    let page = "<html>captive portal</html>".to_owned();
    let server = Server::with(&[Reply::Answer(StatusCode::BAD_GATEWAY, page)]).await;
    let error = server.client().team().await.unwrap_err();
    assert!(matches!(error, CallError::Answer { status: 502, .. }), "{error:?}");
    let server = Server::with(&[Reply::ok("[]")]).await;
    let error = server.client().team().await.unwrap_err();
    assert!(matches!(error, CallError::Answer { status: 200, .. }), "{error:?}");
}

#[tokio::test]
async fn follows_no_redirect() {
    let server = Server::with(&[Reply::Answer(StatusCode::FOUND, String::new())]).await;
    let error = server.client().team().await.unwrap_err();
    assert!(matches!(error, CallError::Answer { status: 302, .. }), "{error:?}");
}

#[tokio::test]
async fn carries_the_session_and_proves_it() {
    let server = Server::with(&[Reply::ok(TEAM)]).await;
    let client = server.client_with(server.pin(), Duration::from_secs(120), Some(token()));
    client.team().await.unwrap();
    let sent = server.seen().pop().unwrap();
    assert_eq!(sent.token, Some(format!("DPoP {}", *token().reveal())));
    client.clone().set_token(None);
    client.team().await.unwrap();
    assert_eq!(server.seen().pop().unwrap().token, None);
}

/// The answers to these prove nothing about a session, and their proofs must not name one.
#[tokio::test]
async fn keeps_the_session_out_of_sign_in_and_agents_calls() {
    let server = Server::with(&[Reply::error(400, "invalid_grant")]).await;
    let client = server.client_with(server.pin(), Duration::from_secs(120), Some(token()));
    let request = usher_api::v1::TokenRequest {
        code: "c".to_owned(),
        code_verifier: "v".to_owned(),
        redirect_uri: "http://127.0.0.1:1/x".to_owned(),
        device_name: "laptop".parse().unwrap(),
    };
    assert_eq!(client.exchange_code(&request).await.unwrap_err().code(), Some(ErrorCode::InvalidGrant));
    assert!(server.seen().iter().all(|seen| seen.token.is_none()));
    assert!(!format!("{client:?}").contains("us1_"));
}

#[tokio::test]
async fn calls_what_has_no_method_of_its_own() {
    let server = Server::with(&[Reply::ok("[1,2]")]).await;
    let client = server.client();
    let numbers: Vec<u8> = client.call::<(), _>(Method::GET, "/v1/things", "a=1&b=%20", None).await.unwrap();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(server.seen().pop().unwrap().query, "a=1&b=%20");
}

/// The call without waiting time runs out; the long poll beside it has its waiting time on top.
#[tokio::test]
async fn lets_a_long_poll_outlast_the_time_out() {
    let server = Server::with(&[Reply::Wait]).await;
    let client = server.client_with(server.pin(), Duration::from_secs(3), None);
    let query = StateQuery { v: 1, generation: 0, server_generation: 0, wait: 30 };
    let poll = tokio::spawn({
        let client = client.clone();
        async move { client.agent_state(&query).await }
    });
    while server.seen().iter().filter(|seen| seen.jti.is_some()).count() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(client.team().await, Err(CallError::Timeout)));
    server.release();
    assert_eq!(poll.await.unwrap().unwrap(), None);
    let sent = &server.seen()[1];
    assert_eq!(sent.query, "v=1&generation=0&server_generation=0&wait=30");
}

#[tokio::test]
async fn says_network_when_nobody_listens() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let config = usher_api_client::ClientConfig::new(url, crate::server::key(), crate::server::now)
        .with_pins([usher_types::Sha256::of(b"any")])
        .with_timeout(Duration::from_secs(1));
    let error = usher_api_client::Client::new(config).unwrap().team().await.unwrap_err();
    assert!(matches!(error, CallError::Network(_)), "{error:?}");
}
