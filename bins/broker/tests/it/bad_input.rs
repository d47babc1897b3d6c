//! Whatever comes in, what goes out is a typed 4xx with a sentence, and nothing was changed (threats 39, 41, 42, 47).

use serde_json::json;
use usher_identity::dpop::Jti;

use crate::{Broker, Caller, caller::random};

async fn admin(broker: &Broker) -> Caller {
    let admin = broker.admin().await;
    broker.session(&admin).await
}

#[tokio::test]
async fn bad_bodies_are_named() {
    let broker = Broker::start().await;
    let mut caller = admin(&broker).await;
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(30_000), "]".repeat(30_000));
    let keys: String = (0..5_000).map(|n| format!("\"k{n}\":1,")).collect();
    let many_keys = format!("{{{keys}\"name\":\"sre\"}}");
    for (body, says) in [
        (&b""[..], "empty"),
        (b"{", "EOF"),
        (b"null", "null"),
        (b"[]", "JSON object"),
        (br#"["sre"]"#, "JSON object"),
        (b"\xff\xfe", "expected value"),
        (br#"{"name":"sre"} x"#, "behind"),
        (br#"{"name":"sre","name":"ops"}"#, "duplicate field `name`"),
        (br#"{"name":"sre","admin":true}"#, "unknown field `admin`"),
        (br#"{"name":7}"#, "field `name`"),
        (br#"{"name":"../etc"}"#, "field `name`"),
        (br#"{"name":"a\nb"}"#, "field `name`"),
        (b"{\"name\":\"a\x00b\"}", "control character"),
        ("{\"name\":\"ops\u{202e}\"}".as_bytes(), "field `name`"),
        (deep.as_bytes(), ""),
        (many_keys.as_bytes(), "unknown field"),
    ] {
        let answer = caller.ask("POST", "/v1/groups", body, Jti::new(random())).await;
        answer.refused(400, "invalid_request");
        assert!(answer.message().contains(says), "{}: {}", String::from_utf8_lossy(body), answer.message());
        assert!(answer.message().len() <= 400 && !answer.message().contains(['\n', '\u{1b}', '\u{202e}']));
    }
    assert_eq!(caller.get("/v1/groups").await.body["items"], json!([]));
}

#[tokio::test]
async fn bodies_are_json_and_small() {
    let broker = Broker::start().await;
    let mut caller = admin(&broker).await;
    caller.learn_nonce().await;
    let mut sent = caller.prepare("POST", "/v1/groups", br#"{"name":"sre"}"#, Jti::new(random()));
    for kind in [None, Some("text/plain".to_owned()), Some("application/x-www-form-urlencoded".to_owned())] {
        sent.content_type = kind;
        caller.send(&sent).await.refused(415, "unsupported_media_type");
    }
    sent.content_type = Some("Application/JSON; charset=utf-8".into());
    assert_eq!(caller.send(&sent).await.status, 201);

    let long = format!("{{\"name\":\"{}\"}}", "a".repeat(70_000));
    caller
        .ask("POST", "/v1/groups", long.as_bytes(), Jti::new(random()))
        .await
        .refused(413, "body_too_large");
    let form = broker.post_form("/set-up", &[("code", &"A".repeat(70_000))]).await;
    assert!(form.status().is_client_error());
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let broker = Broker::start().await;
    let send = |method: &'static str, path: &'static str| {
        broker.http.request(method.parse().unwrap(), format!("{}{path}", broker.origin)).send()
    };
    for path in ["/v1", "/v1/", "/v1/nothing", "/v2/team", "/v1/team/"] {
        let answer = crate::Answer::read(send("GET", path).await.unwrap()).await;
        answer.refused(404, "not_found");
    }
    for path in ["/..", "/%2e%2e/%00"] {
        assert_eq!(send("GET", path).await.unwrap().status(), 404, "{path}");
    }
    for (method, path) in [
        ("PUT", "/v1/team"),
        ("GET", "/v1/token"),
        ("HEAD", "/v1/team"),
        ("OPTIONS", "/v1/users"),
        ("BREW", "/v1/me"),
    ] {
        let answer = send(method, path).await.unwrap();
        assert_eq!(answer.status(), 405, "{method} {path}");
    }
}

#[tokio::test]
async fn bad_paths_and_queries_are_refused() {
    let broker = Broker::start().await;
    let mut caller = admin(&broker).await;
    for target in ["/v1/users/%ff", "/v1/groups/%ff%fe"] {
        caller.get(target).await.refused(400, "invalid_request");
    }
    for name in ["..%2f..", "root", "%00", "a%0ab", "%E2%80%AE", "%3Cscript%3E"] {
        let answer = caller.get(&format!("/v1/users/{name}")).await;
        answer.refused(404, "not_found");
        assert!(
            answer.message().is_ascii() && !answer.message().contains(['\n', '\0']),
            "{}",
            answer.message()
        );
    }
    for query in ["limit=x", "limit=-1", "unknown=1", "after=1&after=2", "limit=1&limit=99999999999999999999"]
    {
        caller.get(&format!("/v1/audit?{query}")).await.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn headers_that_come_twice_are_refused() {
    let broker = Broker::start().await;
    let mut caller = admin(&broker).await;
    caller.learn_nonce().await;
    let sent = caller.prepare("GET", "/v1/me", b"", Jti::new(random()));
    let proof = sent.proof.unwrap();
    let request = broker.http.get(format!("{}/v1/me", broker.origin));
    let request = request.header("authorization", sent.authorization.unwrap());
    let answer = request.header("dpop", &proof).header("dpop", &proof).send().await.unwrap();
    crate::Answer::read(answer).await.refused(400, "invalid_request");
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let broker = Broker::start().await;
    let answer =
        broker.http.get(format!("{}/v1/team", broker.origin)).header("x", "a".repeat(60_000)).send().await;
    assert!(answer.map_or(true, |answer| answer.status().is_client_error()));
    assert!(
        broker.http.get(format!("{}/healthz", broker.origin)).send().await.unwrap().status().is_success()
    );
}
