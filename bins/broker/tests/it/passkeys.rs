//! Passkeys: from set-up to a session without typing a name, and what an answer of one is worth elsewhere.

use std::num::NonZeroU32;

use serde_json::{Value, json};
use usher_testkit::{authenticator::Authenticator, browser, rng};

use crate::{
    Broker, Caller,
    broker::{Client, PASSWORD, hidden},
};

/// A broker with a name, whose administrator has a passkey and nothing else.
struct Keyed {
    broker: Broker,
    key: Authenticator,
}

impl Keyed {
    async fn new() -> Self {
        // Attacks by the dozen come from one address.
        let patient = |config: &mut usher_broker::Config| {
            config.limits.sign_ins_burst = NonZeroU32::new(1000).unwrap();
        };
        let broker = Broker::start_at("localhost", patient).await;
        let code = broker.made.set_up_code.to_string();
        let key = register(&broker, &code, 1).await;
        Self { broker, key }
    }

    /// A ceremony on a page: the page's value, what to do, what to bring back.
    async fn begin(&self, client: &Client) -> Begun {
        let request = self.broker.authorize(client).await;
        let (options, ceremony) = asked(&self.broker, "/passkey/sign-in/options", &request).await;
        Begun { request, options, ceremony }
    }

    async fn bring(&self, begun: &Begun, answer: &str) -> reqwest::Response {
        let fields =
            [("request", begun.request.as_str()), ("ceremony", &begun.ceremony), ("credential", answer)];
        self.broker.post_form("/passkey/sign-in", &fields).await
    }

    async fn refused(&self, begun: &Begun, answer: &str) {
        let answer = self.bring(begun, answer).await;
        assert_eq!(answer.status(), 401);
        let page = answer.text().await.unwrap();
        assert!(page.contains("choose another passkey"), "{page}");
    }

    async fn session(&mut self) -> Caller {
        let client = Client::new();
        let begun = self.begin(&client).await;
        let answer = self.key.sign_in(&begun.options);
        let code = client.code_of(&self.bring(&begun, &answer).await);
        let mut caller = Caller::new(&self.broker, std::sync::Arc::clone(&client.key));
        let answer = caller.call("POST", "/v1/token", &client.token_request(&code)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        caller.token = Some(answer.body["session_token"].as_str().unwrap().to_owned());
        caller
    }
}

#[derive(Clone)]
struct Begun {
    request: String,
    options: Value,
    ceremony: String,
}

pub(crate) async fn asked(broker: &Broker, path: &str, request: &str) -> (Value, String) {
    let answer = broker.post_form(path, &[("request", request)]).await;
    assert_eq!(answer.status(), 200);
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    (body["options"].clone(), body["ceremony"].as_str().unwrap().to_owned())
}

/// Through set-up with a passkey.
async fn register(broker: &Broker, code: &str, seed: u64) -> Authenticator {
    let html = broker.post_form("/set-up", &[("code", code)]).await.text().await.unwrap();
    let request = hidden(&html, "request");
    let (options, ceremony) = asked(broker, "/passkey/set-up/options", &request).await;
    assert_eq!(options["publicKey"]["authenticatorSelection"]["userVerification"], "required");
    assert_eq!(options["publicKey"]["authenticatorSelection"]["residentKey"], "required");
    let (key, answer) = Authenticator::register(&broker.origin, &options, &mut rng(seed));
    let answer = finish(broker, &request, &ceremony, &answer).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    key
}

async fn finish(broker: &Broker, request: &str, ceremony: &str, answer: &str) -> reqwest::Response {
    let fields = [
        ("request", request),
        ("password", PASSWORD),
        ("password_again", PASSWORD),
        ("ceremony", ceremony),
        ("credential", answer),
    ];
    broker.post_form("/set-up/finish", &fields).await
}

#[tokio::test]
async fn a_passkey_signs_in_without_a_name_and_is_more_than_one_factor() {
    let mut keyed = Keyed::new().await;
    let mut caller = keyed.session().await;
    let me = caller.get("/v1/me").await;
    assert_eq!(
        (&me.body["user"]["user_name"], &me.body["session"]["amr"]),
        (&json!("admin"), &json!(["hwk", "mfa"]))
    );
    let listed = caller.get("/v1/passkeys").await;
    let passkey = &listed.body["items"][0];
    assert_eq!(passkey["name"], "Passkey 1");
    assert!(passkey["last_used_at"].is_string());
    assert!(!listed.body.to_string().contains("credential"));

    let path = format!("/v1/passkeys/{}", passkey["id"].as_str().unwrap());
    assert_eq!(caller.call("PATCH", &path, &json!({"name": "Laptop"})).await.body["name"], "Laptop");
    caller.call("DELETE", &path, &Value::Null).await.refused(409, "in_use");
    caller.call("PATCH", &path, &json!({"name": ""})).await.refused(400, "invalid_request");

    let log = caller.get("/v1/audit?limit=100").await.body.to_string();
    for kind in ["passkey.register", "passkey.rename"] {
        assert!(log.contains(kind), "{kind}");
    }
    // The password that set-up wanted is good for nothing without a second factor.
    let request = keyed.broker.authorize(&Client::new()).await;
    assert_eq!(keyed.broker.submit(&request, "admin", PASSWORD, "000000").await.status(), 401);
}

#[tokio::test]
async fn an_answer_works_once_and_for_its_own_ceremony_page_and_site() {
    let mut keyed = Keyed::new().await;
    let client = Client::new();

    // The answer to another ceremony's challenge, on the same page and on another one.
    let (one, other) = (keyed.begin(&client).await, keyed.begin(&client).await);
    let answer = keyed.key.sign_in(&other.options);
    keyed.refused(&one, &answer).await;
    // Another page's ceremony, with the answer that fits.
    let mixed = Begun { request: one.request.clone(), ..keyed.begin(&client).await };
    let answer = keyed.key.sign_in(&mixed.options);
    keyed.refused(&mixed, &answer).await;
    // A ceremony that nobody sealed.
    let forged = Begun { ceremony: "AAAA".into(), ..keyed.begin(&client).await };
    let answer = keyed.key.sign_in(&forged.options);
    keyed.refused(&forged, &answer).await;

    // From another site's page, for another site, without asking the person.
    let honest = keyed.key.clone();
    let spoilers: [fn(&mut Authenticator); 5] = [
        |key| key.origin = "https://evil.example".into(),
        |key| key.origin = key.origin.replace("https", "http"),
        |key| key.origin.push('0'),
        |key| key.rp_id = "evil.example".into(),
        |key| key.verifies = false,
    ];
    for spoil in spoilers {
        let begun = keyed.begin(&client).await;
        let mut lying = honest.clone();
        lying.counter = keyed.key.counter;
        spoil(&mut lying);
        let answer = lying.sign_in(&begun.options);
        keyed.refused(&begun, &answer).await;
        // That attempt used the ceremony up, whatever it was worth.
        let answer = keyed.key.sign_in(&begun.options);
        keyed.refused(&begun, &answer).await;
    }
    for nonsense in ["", "{}", "null", "[1]", &"x".repeat(20_000)] {
        let begun = keyed.begin(&client).await;
        keyed.refused(&begun, nonsense).await;
    }

    let begun = keyed.begin(&client).await;
    let answer = keyed.key.sign_in(&begun.options);
    client.code_of(&keyed.bring(&begun, &answer).await);
    keyed.refused(&begun, &answer).await;

    let late = keyed.begin(&client).await;
    keyed.broker.later(5 * 60);
    let answer = keyed.key.sign_in(&late.options);
    keyed.refused(&late, &answer).await;
}

#[tokio::test]
async fn a_key_opens_its_owners_account_only() {
    let mut keyed = Keyed::new().await;
    let mut admin = keyed.session().await;
    let created = admin.call("POST", "/v1/users", &json!({"user_name": "bob"})).await;
    let code = created.body["set_up"]["code"].as_str().unwrap().to_owned();
    let mut bobs = register(&keyed.broker, &code, 2).await;

    // Bob's key says that it is the administrator's.
    let own = std::mem::replace(&mut bobs.user_handle, keyed.key.user_handle.clone());
    let client = Client::new();
    let begun = keyed.begin(&client).await;
    let answer = bobs.sign_in(&begun.options);
    keyed.refused(&begun, &answer).await;
    bobs.user_handle = own;

    // A key that is registered already, by somebody else who learned its id.
    let created = admin.call("POST", "/v1/users", &json!({"user_name": "carol"})).await;
    let code = created.body["set_up"]["code"].as_str().unwrap().to_owned();
    let html = keyed.broker.post_form("/set-up", &[("code", &code)]).await.text().await.unwrap();
    let request = hidden(&html, "request");
    let (options, ceremony) = asked(&keyed.broker, "/passkey/set-up/options", &request).await;
    let (_same, answer) = Authenticator::register(&keyed.broker.origin, &options, &mut rng(2));
    assert_eq!(finish(&keyed.broker, &request, &ceremony, &answer).await.status(), 401);

    // Nobody signs in with a key that an administrator took away, or as somebody who is disabled.
    let begun = keyed.begin(&client).await;
    let answer = bobs.sign_in(&begun.options);
    client.code_of(&keyed.bring(&begun, &answer).await);
    admin.call("PATCH", "/v1/users/bob", &json!({"status": "disabled"})).await;
    let begun = keyed.begin(&client).await;
    let answer = bobs.sign_in(&begun.options);
    keyed.refused(&begun, &answer).await;
    admin.call("PATCH", "/v1/users/bob", &json!({"status": "active"})).await;
    let listed = admin.get("/v1/users/bob/passkeys").await;
    let id = listed.body["items"][0]["id"].as_str().unwrap().to_owned();
    admin.call("DELETE", &format!("/v1/passkeys/{id}"), &Value::Null).await.refused(404, "not_found");
    let removed = admin.call("DELETE", &format!("/v1/users/bob/passkeys/{id}"), &Value::Null).await;
    assert_eq!(removed.status, 204, "{removed:?}");
    let begun = keyed.begin(&client).await;
    let answer = bobs.sign_in(&begun.options);
    keyed.refused(&begun, &answer).await;
}

/// A copy of a key gives itself away once both are used.
#[tokio::test]
async fn a_count_that_goes_back_is_refused_and_written_down() {
    let mut keyed = Keyed::new().await;
    let mut copy = keyed.key.clone();
    let mut caller = keyed.session().await;
    let client = Client::new();
    let begun = keyed.begin(&client).await;
    let answer = copy.sign_in(&begun.options);
    keyed.refused(&begun, &answer).await;
    copy.counter = 0;
    copy.counts = false;
    let begun = keyed.begin(&client).await;
    let answer = copy.sign_in(&begun.options);
    keyed.refused(&begun, &answer).await;

    let failures = caller.get("/v1/audit?type=sign_in.fail&limit=100").await;
    let reasons: Vec<_> = failures.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["event"]["event"]["reason"])
        .collect();
    assert_eq!(reasons, [&json!("passkey_counter"), &json!("passkey_counter")]);
}

/// Two answers with one count at the same time: one of them is too late.
#[tokio::test]
async fn of_two_answers_with_one_count_one_succeeds() {
    let mut keyed = Keyed::new().await;
    keyed.session().await;
    let mut copy = keyed.key.clone();
    let (first, second) = (Client::new(), Client::new());
    let (one, two) = (keyed.begin(&first).await, keyed.begin(&second).await);
    let (answer, copied) = (keyed.key.sign_in(&one.options), copy.sign_in(&two.options));
    let (one, two) = tokio::join!(keyed.bring(&one, &answer), keyed.bring(&two, &copied));
    let mut statuses = [one.status().as_u16(), two.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 401]);
}

#[tokio::test]
async fn only_pages_with_passkeys_have_a_script_and_it_comes_from_here() {
    let keyed = Broker::start_at("localhost", |_config| {}).await;
    let page = keyed.http.get(Client::new().authorize_url(&keyed.origin)).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    for part in ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"));
    assert_eq!(page.text().await.unwrap().matches("<script").count(), 1);

    // An address has no passkeys: browsers refuse them there.
    let plain = Broker::start().await;
    let page = plain.http.get(Client::new().authorize_url(&plain.origin)).send().await.unwrap();
    assert!(!page.headers()["content-security-policy"].to_str().unwrap().contains("script-src"));
    let html = page.text().await.unwrap();
    assert!(!html.contains("<script") && !html.contains("data-passkey"));
    let request = hidden(&html, "request");
    assert_eq!(plain.post_form("/passkey/sign-in/options", &[("request", &request)]).await.status(), 400);
}

/// The pages and their script in a real browser with an authenticator of its own.
#[tokio::test]
async fn chromium_registers_a_passkey_and_signs_in_with_it() {
    let broker = Broker::start_at("localhost", |_config| {}).await;
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("root.pem");
    std::fs::write(&root, broker.app.authority().to_pem().unwrap()).unwrap();
    let client = Client::new();
    let set_up = format!("{}/set-up", broker.origin);
    let (code, sign_in) = (broker.made.set_up_code.to_string(), client.authorize_url(&broker.origin));
    let pictures = std::env::var("USHER_TEST_PICTURES").unwrap_or_default();
    let said = tokio::task::spawn_blocking(move || {
        browser::trust(home.path(), &root);
        let pages = [&set_up, &code, PASSWORD, sign_in.as_str(), &pictures];
        browser::passkey(home.path(), &pages)
    });
    let said: Value = serde_json::from_str(&said.await.unwrap().unwrap()).unwrap();
    assert!(said["finished"].as_str().unwrap().contains("You are set up"), "{said}");
    assert!(said["refused"].as_str().unwrap().contains("Nothing was chosen"), "{said}");
    assert!(said["again"].as_str().unwrap().contains("already"), "{said}");
    let passkeys = said["passkeys"].as_array().unwrap();
    // Both are of the same moment here, so either may come first.
    let named = passkeys.iter().filter(|key| key.as_str().unwrap().starts_with("Security key")).count();
    assert!(passkeys.len() == 2 && named == 1, "{said}");
    assert_eq!(said["foreign"], json!([]), "{said}");
    let took = said["milliseconds"].as_f64().unwrap();
    assert!(took > 0.0 && took < 300.0, "interactive after {took} ms");

    let arrived: url::Url = said["arrived"].as_str().unwrap().parse().unwrap();
    let code = arrived.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let mut caller = Caller::new(&broker, std::sync::Arc::clone(&client.key));
    let answer = caller.call("POST", "/v1/token", &client.token_request(&code)).await;
    assert_eq!(answer.body["session"]["amr"], json!(["hwk", "mfa"]), "{answer:?}");
}
