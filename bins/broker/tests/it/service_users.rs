//! Programs as service users: API keys and workloads' tokens become short sessions, and what an attacker tries with them.
//! The issuer is a stand-in of this test with a key of its own; it is asked over a real socket.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::get};
use data_encoding::BASE64URL_NOPAD;
use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use serde_json::{Value, json};
use usher_store::housekeeping;
use usher_testkit::NOW;
use usher_types::{SecretToken, TokenKind};

use crate::team::{Caller, ORIGIN, Reply, Team, ssh_key};

/// A team with a server, and the service user `deploy`, who may log in there.
async fn team() -> (Team, Caller) {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.project(&admin, "shop").await;
    team.post(&admin, "/v1/service-users", json!({"user_name": "deploy"})).await.ok();
    team.put(&admin, "/v1/groups/shop/members/deploy", Value::Null).await.ok();
    team.enroll(&team.token(&admin, "shop", json!({})).await, "web-1", 1).await;
    (team, admin)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A new key: its id and its secret.
async fn api_key(team: &Team, admin: &Caller, more: Value) -> (String, String) {
    let mut body = json!({"service_user": "deploy", "description": "ci", "ttl_seconds": 3600 * 24 * 90});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = team.post(admin, "/v1/api-keys", body).await.ok();
    (text(&made["api_key"]["id"]), text(&made["key"]))
}

fn key_grant(key: &str) -> Value {
    json!({
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:usher:token-type:api-key",
        "subject_token": key, "device_name": "runner",
    })
}

fn jwt_grant(token: &str) -> Value {
    json!({
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "subject_token": token, "service_user": "deploy", "device_name": "runner",
    })
}

/// A program with a key of its own, after a good exchange.
async fn program(team: &Team, grant: Value) -> Caller {
    let mut caller = team.stranger();
    let made = team.post(&caller, "/v1/token", grant).await.ok();
    caller.token =
        Some(SecretToken::parse(TokenKind::Session, made["session_token"].as_str().unwrap()).unwrap());
    caller
}

async fn refused(team: &Team, grant: Value) -> Value {
    team.post(&team.stranger(), "/v1/token", grant).await.error("invalid_grant")
}

async fn connect(team: &Team, caller: &Caller) -> Reply {
    let body = json!({"server": "web-1", "purpose": "command", "keys": [ssh_key(901)]});
    team.post(caller, "/v1/connections", body).await
}

#[tokio::test]
async fn an_api_key_becomes_a_short_session_that_gets_a_certificate() {
    let (team, admin) = team().await;
    let (id, key) = api_key(&team, &admin, json!({})).await;
    let program = program(&team, key_grant(&key)).await;
    let me = team.get(&program, "/v1/me").await.ok();
    assert_eq!(me.get("recovery_codes_left"), None, "a program has none to run out of");
    assert_eq!((&me["user"]["user_name"], &me["device"]["state"]), (&json!("deploy"), &json!("approved")));
    assert_eq!(me["session"]["amr"], json!([]), "a key is no factor of a person");
    let minutes = |minutes: u64| json!(NOW.saturating_add(Duration::from_secs(minutes * 60)));
    assert_eq!(me["session"]["expires_at"], minutes(15));
    connect(&team, &program).await.ok();
    let exchanged = &team.events("session.exchange").await[0];
    assert_eq!(exchanged["credential"], json!({"by": "api_key", "token_id": id}));
    assert_eq!(team.get(&admin, "/v1/api-keys").await.ok()["items"][0]["last_used_at"], json!(NOW));
    assert!(!serde_json::to_string(&team.audit().await).unwrap().contains(&key));

    // At most an hour, and never for longer than the key.
    let mut longest = key_grant(&key);
    longest["session_seconds"] = json!(3600);
    let made = team.post(&team.stranger(), "/v1/token", longest.clone()).await.ok();
    assert_eq!(made["session"]["expires_at"], minutes(60));
    longest["session_seconds"] = json!(3601);
    team.post(&team.stranger(), "/v1/token", longest).await.error("invalid_request");
    let (_, short) = api_key(&team, &admin, json!({"ttl_seconds": 60})).await;
    let made = team.post(&team.stranger(), "/v1/token", key_grant(&short)).await.ok();
    assert_eq!(made["session"]["expires_at"], minutes(1));
    for ttl in [0, 366 * 86_400 + 1] {
        let body = json!({"service_user": "deploy", "description": "ci", "ttl_seconds": ttl});
        team.post(&admin, "/v1/api-keys", body).await.error("invalid_request");
    }
    // People have no keys, and service users no password.
    team.post(&admin, "/v1/users", json!({"user_name": "alice"})).await.ok();
    let body = json!({"service_user": "alice", "description": "ci", "ttl_seconds": 60});
    team.post(&admin, "/v1/api-keys", body).await.error("not_found");
    // Nothing that a password or a second factor could come of.
    for way in ["set-up-code", "second-factor/reset"] {
        let path = format!("/v1/users/deploy/{way}");
        let code = team.send(&admin, "POST", &path, "", team.jti()).await;
        code.error("invalid_request");
    }
}

/// Guarantee 2: from that commit on there is no certificate, also where the caller was remembered.
#[tokio::test]
async fn nothing_is_made_after_a_key_is_revoked_a_trust_deleted_or_the_user_disabled() {
    let (team, admin) = team().await;
    let issuer = Issuer::start().await;
    for _ in 0..5 {
        let (id, key) = api_key(&team, &admin, json!({})).await;
        let program = program(&team, key_grant(&key)).await;
        connect(&team, &program).await.ok();
        connect(&team, &program).await.ok();
        team.send(&admin, "DELETE", &format!("/v1/api-keys/{id}"), "", team.jti()).await.ok();
        connect(&team, &program).await.error("login_required");
        assert!(text(&refused(&team, key_grant(&key)).await["message"]).contains("revoked"));
    }
    let trust = issuer.trusted(&team, &admin).await;
    let by_token = program(&team, jwt_grant(&issuer.token(|_| {}))).await;
    connect(&team, &by_token).await.ok();
    team.send(&admin, "DELETE", &format!("/v1/trusts/{trust}"), "", team.jti()).await.ok();
    connect(&team, &by_token).await.error("login_required");
    refused(&team, jwt_grant(&issuer.token(|_| {}))).await;

    let (_, key) = api_key(&team, &admin, json!({})).await;
    let by_key = program(&team, key_grant(&key)).await;
    connect(&team, &by_key).await.ok();
    let disable = json!({"status": "disabled"}).to_string();
    team.send(&admin, "PATCH", "/v1/users/deploy", &disable, team.jti()).await.ok();
    assert!(!connect(&team, &by_key).await.status.is_success());
    team.post(&team.stranger(), "/v1/token", key_grant(&key)).await.error("user_disabled");
}

#[tokio::test]
async fn a_key_takes_the_place_of_another_while_both_are_good() {
    let (team, admin) = team().await;
    let (id, old) = api_key(&team, &admin, json!({})).await;
    let path = format!("/v1/api-keys/{id}/rotate");
    let made = team.post(&admin, &path, json!({"overlap_seconds": 600})).await.ok();
    let new = text(&made["key"]);
    let longer = |key: &str| {
        let mut grant = key_grant(key);
        grant["session_seconds"] = json!(3600);
        grant
    };
    let by_old = program(&team, longer(&old)).await;
    let by_new = program(&team, longer(&new)).await;
    connect(&team, &by_old).await.ok();
    team.clock.set(NOW.saturating_add(Duration::from_secs(600)));
    assert!(!connect(&team, &by_old).await.status.is_success(), "the session ended with its key");
    assert!(text(&refused(&team, key_grant(&old)).await["message"]).contains("expired"));
    connect(&team, &by_new).await.ok();
    assert_eq!(team.events("sign_in.fail").await[0]["reason"], "api_key_expired");
    // One that goes on: its sessions are cut as well.
    let id = text(&made["api_key"]["id"]);
    team.post(&admin, &format!("/v1/api-keys/{id}/rotate"), json!({"overlap_seconds": 0})).await.ok();
    assert!(!connect(&team, &by_new).await.status.is_success());
}

#[tokio::test]
async fn stolen_and_forged_keys_are_worth_nothing() {
    let (team, admin) = team().await;
    let (_, key) = api_key(&team, &admin, json!({"cidr": "203.0.113.0/24"})).await;
    assert!(text(&refused(&team, key_grant(&key)).await["message"]).contains("address"));
    assert_eq!(team.events("sign_in.fail").await[0]["reason"], "api_key_address");

    let (_, key) = api_key(&team, &admin, json!({})).await;
    let parsed = SecretToken::parse(TokenKind::ApiKey, &key).unwrap();
    let forged = SecretToken::new(TokenKind::ApiKey, parsed.id(), [7; 32]);
    let session = SecretToken::new(TokenKind::Session, parsed.id(), [7; 32]);
    let rows = team.audit().await.len();
    for wrong in [forged.reveal().to_string(), session.reveal().to_string(), String::new(), format!("{key}0")]
    {
        let error = refused(&team, key_grant(&wrong)).await;
        assert!(text(&error["message"]).contains("no API key"), "{error}");
    }
    assert_eq!(team.audit().await.len(), rows, "guesses leave no rows");

    // A session's token without its key; the key as a session; an exchange that is said again.
    let program = program(&team, key_grant(&key)).await;
    let thief = Caller { key: team.stranger().key, token: program.token.clone() };
    connect(&team, &thief).await.error("login_required");
    let (caller, jti) = (team.stranger(), team.jti());
    let body = key_grant(&key).to_string();
    team.send(&caller, "POST", "/v1/token", &body, jti).await.ok();
    team.send(&caller, "POST", "/v1/token", &body, jti).await.error("already_done");
    let other = team.stranger();
    team.send(&other, "POST", "/v1/token", &body.replace("runner", "other"), jti).await.ok();
    // Neither grant takes the other's fields.
    let mut mixed = key_grant(&key);
    mixed["code"] = json!("x");
    team.post(&team.stranger(), "/v1/token", mixed).await.error("invalid_request");
    let mut person = key_grant(&key);
    person.as_object_mut().unwrap().remove("grant_type");
    team.post(&team.stranger(), "/v1/token", person).await.error("invalid_request");
    let mut other = key_grant(&key);
    other["grant_type"] = json!("client_credentials");
    team.post(&team.stranger(), "/v1/token", other).await.error("invalid_request");
}

/// Keys of service users are as mighty as these users are.
#[tokio::test]
async fn nobody_makes_a_key_for_a_user_who_may_do_more() {
    let (team, admin) = team().await;
    team.post(&admin, "/v1/users", json!({"user_name": "bob", "team_role": "admin"})).await.ok();
    let bob = team.session("bob").await;
    let role = json!({"team_role": "owner"}).to_string();
    team.send(&admin, "PATCH", "/v1/users/deploy", &role, team.jti()).await.ok();
    let body = json!({"service_user": "deploy", "description": "ci", "ttl_seconds": 60});
    team.post(&bob, "/v1/api-keys", body).await.error("forbidden");
    let trust = json!({"service_user": "deploy", "description": "x", "issuer": "https://idp.example",
        "claims": {"sub": "me"}});
    team.post(&bob, "/v1/trusts", trust).await.error("forbidden");
    let (id, _) = api_key(&team, &admin, json!({})).await;
    team.post(&bob, &format!("/v1/api-keys/{id}/rotate"), json!({})).await.error("forbidden");
}

#[tokio::test]
async fn devices_of_programs_do_not_pile_up() {
    let (team, admin) = team().await;
    let (_, key) = api_key(&team, &admin, json!({})).await;
    for _ in 0..5 {
        program(&team, key_grant(&key)).await;
    }
    let devices = async || {
        let all = team.get(&admin, "/v1/devices").await.ok();
        let items = all["items"].as_array().unwrap().clone();
        items.iter().filter(|device| device["user_name"] == "deploy").count()
    };
    let sweep = async |minutes: u64| {
        let now = NOW.saturating_add(Duration::from_secs(minutes * 60));
        let mut tx = team.store().begin().await.unwrap();
        housekeeping::sweep(&mut tx, now).await.unwrap();
        tx.commit().await.unwrap();
    };
    sweep(14).await;
    assert_eq!(devices().await, 5, "their sessions live");
    sweep(26).await;
    assert_eq!(devices().await, 0);
    assert!(team.get(&admin, "/v1/me").await.status.is_success(), "people's devices stay");
}

/// An issuer of workloads' tokens: no page to sign in at, only keys.
struct Issuer {
    url: String,
    key: SigningKey,
    asked: Arc<AtomicUsize>,
    made: AtomicUsize,
}

impl Issuer {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 0));
        let listener = listener.await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let jwks = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "first",
            "x": encode(point.x().unwrap()), "y": encode(point.y().unwrap()),
        }]});
        let document = json!({"issuer": url, "jwks_uri": format!("{url}/jwks")});
        let asked = Arc::new(AtomicUsize::new(0));
        let count = async |State((asked, answer)): State<(Arc<AtomicUsize>, Value)>| {
            asked.fetch_add(1, Ordering::SeqCst);
            Json(answer)
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(count).with_state((Arc::clone(&asked), document)))
            .route("/jwks", get(count).with_state((Arc::clone(&asked), jwks)));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, key, asked, made: AtomicUsize::new(0) }
    }

    /// Lets the main branch of `acme/app` in as `deploy`.
    async fn trusted(&self, team: &Team, admin: &Caller) -> String {
        let body = json!({
            "service_user": "deploy", "description": "github", "issuer": self.url,
            "claims": {"repository": "acme/app", "ref": "refs/heads/main"}, "private_networks": ["127.0.0.0/8"],
        });
        text(&team.post(admin, "/v1/trusts", body).await.ok()["id"])
    }

    /// What GitHub says about a job, changed.
    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        self.signed(&json!({"alg": "ES256", "kid": "first", "typ": "JWT"}), change)
    }

    fn signed(&self, header: &Value, change: impl FnOnce(&mut Value)) -> String {
        let now = NOW.as_secs();
        let mut claims = json!({
            "iss": self.url, "aud": ORIGIN, "sub": "repo:acme/app:ref:refs/heads/main", "repository": "acme/app",
            "ref": "refs/heads/main", "iat": now, "nbf": now - 600, "exp": now + 300,
            "jti": format!("j{}", self.made.fetch_add(1, Ordering::SeqCst)),
        });
        change(&mut claims);
        let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", encode(header), encode(&claims));
        let signature: Signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature.to_bytes()))
    }
}

#[tokio::test]
async fn a_workloads_token_becomes_a_session_once() {
    let (team, admin) = team().await;
    let issuer = Issuer::start().await;
    refused(&team, jwt_grant(&issuer.token(|_| {}))).await;
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 0, "an issuer that nobody trusts is not asked");
    let trust = issuer.trusted(&team, &admin).await;
    let token = issuer.token(|_| {});
    let program = program(&team, jwt_grant(&token)).await;
    connect(&team, &program).await.ok();
    let said = &team.events("session.exchange").await[0]["credential"];
    assert_eq!(
        (&said["trust_id"], &said["subject"]),
        (&json!(trust), &json!("repo:acme/app:ref:refs/heads/main"))
    );
    assert!(text(&refused(&team, jwt_grant(&token)).await["message"]).contains("used before"));
    // The same id in another token, and one without an id, with another signature that verifies too.
    let again = issuer.token(|claims| claims["jti"] = json!("j1"));
    assert!(text(&refused(&team, jwt_grant(&again)).await["message"]).contains("used before"));
    let once = 2 * team.brokers.len();
    assert!(issuer.asked.load(Ordering::SeqCst) <= once, "each broker reads the keys once");
}

#[tokio::test]
async fn tokens_that_are_not_quite_right_are_refused() {
    let (team, admin) = team().await;
    let issuer = Issuer::start().await;
    issuer.trusted(&team, &admin).await;
    let now = NOW.as_secs();
    type Change = (&'static str, &'static str, Value);
    let changes: Vec<Change> = vec![
        ("another repository", "repository", json!("evil/app")),
        ("a repository that begins alike", "repository", json!("acme/app-evil")),
        ("a repository in capitals", "repository", json!("ACME/app")),
        ("a repository that is a list", "repository", json!(["acme/app"])),
        ("no repository", "repository", Value::Null),
        ("another branch", "ref", json!("refs/heads/main2")),
        ("a pull request", "ref", json!("refs/pull/1/merge")),
        ("another audience", "aud", json!("https://github.com/acme")),
        ("a second audience", "aud", json!([ORIGIN, "other"])),
        ("no audience", "aud", Value::Null),
        ("another issuer", "iss", json!("https://evil.example")),
        ("expired", "exp", json!(now - 60)),
        ("an end that is text", "exp", json!((now + 300).to_string())),
        ("no end", "exp", Value::Null),
        ("good for ever", "exp", json!(now + 86_400 * 2)),
        ("made in the future", "iat", json!(now + 61)),
        ("no begin", "iat", Value::Null),
        ("not yet", "nbf", json!(now + 61)),
        ("no subject", "sub", json!("")),
        ("an id that is a number", "jti", json!(5)),
        ("an empty id", "jti", json!("")),
    ];
    for (what, claim, value) in changes {
        let token = issuer.token(|claims| claims[claim] = value);
        let reply = team.post(&team.stranger(), "/v1/token", jwt_grant(&token)).await;
        reply.error("invalid_grant");
        assert!(team.events("session.exchange").await.is_empty(), "{what}");
    }
    let headers = [
        json!({"alg": "none", "kid": "first"}),
        json!({"alg": "HS256", "kid": "first"}),
        json!({"alg": "RS256", "kid": "first"}),
        json!({"alg": "ES256", "kid": "other"}),
        json!({"alg": "ES256", "kid": "first", "crit": ["x"]}),
        json!({"alg": "ES256", "kid": "first", "typ": "logout+jwt"}),
    ];
    for header in headers {
        refused(&team, jwt_grant(&issuer.signed(&header, |_| {}))).await;
    }
    let good = issuer.token(|_| {});
    let (signed, _) = good.rsplit_once('.').unwrap();
    for token in
        [format!("{signed}."), signed.to_owned(), format!("{signed}.{}", BASE64URL_NOPAD.encode(&[1; 64]))]
    {
        refused(&team, jwt_grant(&token)).await;
    }
    let mut other = jwt_grant(&good);
    other["service_user"] = json!("admin");
    refused(&team, other).await;
    program(&team, jwt_grant(&good)).await;
}

#[tokio::test]
async fn a_trust_is_about_somebody_and_asks_no_private_address() {
    let (team, admin) = team().await;
    let trust = |issuer: &str, claims: Value| json!({"service_user": "deploy", "description": "x", "issuer": issuer, "claims": claims});
    let somebody = json!({"sub": "repo:acme/app:ref:refs/heads/main"});
    for issuer in [
        "http://169.254.169.254",
        "https://169.254.169.254/latest",
        "https://10.0.0.1",
        "https://[::ffff:10.0.0.1]",
        "http://idp.example",
        "https://user:pass@idp.example",
        "https://idp.example/?x",
        "file:///etc/passwd",
        "nothing",
    ] {
        team.post(&admin, "/v1/trusts", trust(issuer, somebody.clone())).await.error("invalid_request");
    }
    for claims in [
        json!({}),
        json!({"ref": "refs/heads/main"}),
        json!({"sub": "*"}),
        json!({"sub": "repo:acme/app*"}),
        json!({"sub": "x", "aud": "y"}),
    ] {
        team.post(&admin, "/v1/trusts", trust("https://idp.example", claims)).await.error("invalid_request");
    }
    team.post(&admin, "/v1/trusts", trust("https://idp.example", somebody)).await.ok();
}
