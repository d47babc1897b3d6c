//! Every door is knocked on by everybody who must not pass (threat 39). The list of doors is the table of endpoints, so a
//! new endpoint is in here before it works.

use serde_json::json;
use usher_api::v1::{ENDPOINTS, Endpoint, Guard};
use usher_identity::dpop::Jti;

use crate::{
    Broker, Caller,
    broker::{Client, Person},
    caller::random,
};

/// A path of the endpoint, with something in each place.
fn target(endpoint: &Endpoint) -> String {
    let parts = endpoint.path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
    let path = parts.collect::<Vec<_>>().join("/");
    if path == "/v1/agent/state" {
        format!("{path}?v=1&generation=0&server_generation=0&wait=0")
    } else {
        path
    }
}

fn body(endpoint: &Endpoint) -> &'static [u8] {
    if endpoint.request.is_empty() { b"" } else { b"{}" }
}

fn guarded() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().filter(|endpoint| endpoint.guard != Guard::Public)
}

async fn knock(caller: &mut Caller, endpoint: &Endpoint) -> crate::Answer {
    caller.ask(endpoint.method, &target(endpoint), body(endpoint), Jti::new(random())).await
}

async fn person(broker: &Broker, admin: &mut Caller, name: &str) -> Person {
    let created = admin.call("POST", "/v1/users", &json!({ "user_name": name })).await;
    assert_eq!(created.status, 201, "{created:?}");
    broker.set_up(name, created.body["set_up"]["code"].as_str().unwrap(), "a long enough phrase").await
}

/// The router has every endpoint of the table.
#[tokio::test]
async fn every_endpoint_exists() {
    let broker = Broker::start().await;
    for endpoint in ENDPOINTS {
        let method = endpoint.method.parse().unwrap();
        let answer = broker
            .http
            .request(method, format!("{}{}", broker.origin, target(endpoint)))
            .send()
            .await
            .unwrap();
        let expected = if endpoint.guard == Guard::Public { 200 } else { 401 };
        assert_eq!(answer.status(), expected, "{} {}", endpoint.method, endpoint.path);
    }
}

#[tokio::test]
async fn nobody_passes_without_a_proof() {
    let broker = Broker::start().await;
    let mut caller = Caller::stranger(&broker);
    caller.learn_nonce().await;
    for endpoint in guarded() {
        let mut sent = caller.prepare(endpoint.method, &target(endpoint), body(endpoint), Jti::new(random()));
        let good = sent.proof.take();
        caller.send(&sent).await.refused(401, "invalid_dpop_proof");
        // Of another body.
        sent.proof = good;
        sent.body = br#"{"other":1}"#.to_vec();
        sent.content_type = Some("application/json".into());
        caller.send(&sent).await.refused(401, "invalid_dpop_proof");
    }
}

#[tokio::test]
async fn nobody_passes_with_a_key_alone() {
    let broker = Broker::start().await;
    let mut stranger = Caller::stranger(&broker);
    for endpoint in guarded() {
        let answer = knock(&mut stranger, endpoint).await;
        match endpoint.guard {
            Guard::Proof => answer.refused(400, "invalid_request"),
            Guard::Permitted(_) | Guard::Agent | Guard::Public | Guard::SignedIn | Guard::User => {
                answer.refused(401, "login_required");
            }
        }
    }
}

#[tokio::test]
async fn nobody_passes_with_anothers_token() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let owner = broker.session(&admin).await;
    let mut thief = Caller::stranger(&broker);
    thief.token.clone_from(&owner.token);
    for endpoint in guarded().filter(|endpoint| !matches!(endpoint.guard, Guard::Proof | Guard::Agent)) {
        knock(&mut thief, endpoint).await.refused(401, "login_required");
    }
}

#[tokio::test]
async fn a_pending_device_sees_itself_and_nothing_else() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let _first = broker.session(&admin).await;
    let mut pending = broker.session(&admin).await;
    for endpoint in guarded() {
        match endpoint.guard {
            Guard::Permitted(_) | Guard::User => {
                knock(&mut pending, endpoint).await.refused(403, "device_pending_approval");
            }
            Guard::Agent | Guard::Proof | Guard::Public | Guard::SignedIn => {}
        }
    }
    assert_eq!(pending.get("/v1/me").await.status, 200);
}

#[tokio::test]
async fn a_user_administers_nothing() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut admins = broker.session(&admin).await;
    let bob = person(&broker, &mut admins, "bob").await;
    let mut bobs = broker.session(&bob).await;
    let path = format!("/v1/devices/{}", bobs.device_id);
    assert_eq!(admins.call("PATCH", &path, &json!({"state": "approved"})).await.status, 200);
    for endpoint in guarded() {
        match endpoint.guard {
            Guard::Permitted(_) => knock(&mut bobs, endpoint).await.refused(403, "forbidden"),
            Guard::User => {
                let answer = knock(&mut bobs, endpoint).await;
                assert!(
                    [200, 400, 404].contains(&answer.status),
                    "{} {}: {answer:?}",
                    endpoint.method,
                    endpoint.path
                );
            }
            Guard::Agent | Guard::Proof | Guard::Public | Guard::SignedIn => {}
        }
    }
}

/// A person's key is no server's, a server's no person's.
#[tokio::test]
async fn a_persons_key_is_no_agents() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    caller.token = None;
    for endpoint in guarded().filter(|endpoint| endpoint.guard == Guard::Agent) {
        knock(&mut caller, endpoint).await.refused(401, "login_required");
    }
}

/// Unauthenticated failures are counted, and do not become rows of the audit log one by one.
#[tokio::test]
async fn guessing_does_not_fill_the_log() {
    let broker = Broker::start().await;
    let rows = async || {
        let mut reader = broker.app.store().read().await.unwrap();
        usher_store::audit::page(&mut reader, 0, 1000).await.unwrap().len()
    };
    let before = rows().await;
    let mut stranger = Caller::stranger(&broker);
    for _ in 0..10 {
        stranger.get("/v1/me").await.refused(401, "login_required");
        let body = Client::new().token_request("AAAA");
        stranger.call("POST", "/v1/token", &body).await.refused(400, "invalid_grant");
    }
    // A few: a slow machine writes the counters down more than once meanwhile.
    assert!(rows().await < before + 10, "{before} rows before, {} after", rows().await);
}
