//! People of an identity provider that asks for one factor, and servers that ask for two.

use std::num::NonZeroU32;

use serde_json::{Value, json};
use usher_sign_in::TotpSecret;
use usher_testkit::{authenticator::Authenticator, browser, rng};

use crate::{
    Broker, Caller,
    broker::{Client, hidden, totp_of},
    oidc::{Browser, Connected},
    passkeys::asked,
    team::{enroll_body, ssh_key},
};

const ALICE: &str = "onefactor-alice";

/// A team whose server `web-1` asks the people of a provider for a second factor.
struct Guarded {
    connected: Connected,
    client: Client,
    alice: Caller,
}

impl Guarded {
    async fn new() -> Self {
        let broker = Broker::start_at("localhost", |config| {
            config.limits.sign_ins_burst = NonZeroU32::new(1000).unwrap();
        });
        let mut connected = Connected::to(broker.await, "first-login").await;
        let client = Client::new();
        let answer = connected.sign_in(&mut Browser::new(&connected.broker), &client, ALICE).await;
        let mut alice = connected.redeem(&client, &answer).await;
        assert_eq!(alice.get("/v1/me").await.body["session"]["amr"], json!(["pwd"]));
        let role = json!({
            "server_access": true,
            "server_admin": false,
            "conditions": {"authentication": {"second_factor": true}},
        });
        for (method, path, body) in [
            ("PATCH", format!("/v1/devices/{}", alice.device_id), json!({"state": "approved"})),
            ("POST", "/v1/projects".to_owned(), json!({"name": "shop"})),
            ("PUT", "/v1/projects/shop/groups/example.site-reliability".to_owned(), role),
        ] {
            let answer = connected.admin.call(method, &path, &body).await;
            assert!((200..300).contains(&answer.status), "{answer:?}");
        }
        let token = json!({"project": "shop", "description": "test"});
        let token = connected.admin.call("POST", "/v1/tokens", &token).await;
        let token = usher_enrollment::PastedToken::parse(token.body["token"].as_str().unwrap()).unwrap();
        let mut agent = Caller::stranger(&connected.broker);
        let body = enroll_body(&token.token().reveal(), "web-1", 1);
        assert_eq!(agent.call("POST", "/v1/enroll", &body).await.status, 200);
        Self { connected, client, alice }
    }

    fn broker(&self) -> &Broker {
        &self.connected.broker
    }

    /// Signs in at the provider, for the server; what the broker answers to that.
    async fn step_up(&self) -> String {
        let client = self.client.for_servers("web-1");
        let mut browser = Browser::new(self.broker());
        let answer = self.connected.sign_in(&mut browser, &client, ALICE).await;
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    }

    async fn bring(&self, page: &str, fields: &[(&str, &str)]) -> reqwest::Response {
        let request = hidden(page, "request");
        let fields: Vec<_> =
            [("request", request.as_str())].into_iter().chain(fields.iter().copied()).collect();
        self.broker().post_form("/second-factor", &fields).await
    }

    /// With the authenticator; whether it led to a code, which is redeemed.
    async fn with_code(&mut self, page: &str, code: &str) -> bool {
        let answer = self.bring(page, &[("code", code)]).await;
        if answer.status() != 303 {
            assert!([400, 401].contains(&answer.status().as_u16()), "{}", answer.status());
            return false;
        }
        self.alice = self.connected.redeem(&self.client.for_servers("web-1"), &answer).await;
        true
    }

    async fn connect(&mut self) -> u16 {
        let body = json!({"server": "web-1", "purpose": "command", "keys": [ssh_key(901)]});
        self.alice.call("POST", "/v1/connections", &body).await.status
    }

    fn now(&self, totp: &TotpSecret) -> String {
        totp.code_at(self.broker().now())
    }
}

#[tokio::test]
async fn an_authenticator_registered_here_completes_the_providers_login() {
    let mut guarded = Guarded::new().await;
    assert_eq!(guarded.connect().await, 401);
    // Whoever needs none is not asked.
    let mut plain = guarded.connected.session(ALICE).await;
    assert_eq!(plain.get("/v1/me").await.body["session"]["amr"], json!(["pwd"]));

    let (page, other) = (guarded.step_up().await, guarded.step_up().await);
    let (totp, others) = (totp_of(&page), totp_of(&other));
    assert!(!guarded.with_code(&page, "000000").await);
    let code = guarded.now(&totp);
    assert!(guarded.with_code(&page, &code).await);
    let me = guarded.alice.get("/v1/me").await;
    assert_eq!(me.body["session"]["amr"], json!(["mfa", "otp", "pwd"]));
    assert_eq!(guarded.connect().await, 200);

    // A page that lay open since before: a thief of the provider's password registers nothing beside it.
    let code = guarded.now(&others);
    assert!(!guarded.with_code(&other, &code).await);

    let page = guarded.step_up().await;
    assert!(!page.contains("<svg viewBox=\"0 0 4") && !page.contains("totp-secret"), "it has one");
    let used = guarded.now(&totp);
    assert!(!guarded.with_code(&page, &used).await, "that code was used");
    guarded.broker().later(30);
    let code = guarded.now(&totp);
    assert!(guarded.with_code(&page, &code).await);
    assert!(!guarded.with_code(&page, &code).await, "a page leads to one code");

    let log = guarded.connected.admin.get("/v1/audit?limit=200").await.body.to_string();
    assert!(log.contains("user.authenticator") && log.contains("code_wrong"));
}

#[tokio::test]
async fn guesses_at_the_second_factor_lock_it_for_a_while() {
    let mut guarded = Guarded::new().await;
    let page = guarded.step_up().await;
    let totp = totp_of(&page);
    let code = guarded.now(&totp);
    assert!(guarded.with_code(&page, &code).await);
    guarded.broker().later(30);
    let page = guarded.step_up().await;
    for _ in 0..5 {
        assert!(!guarded.with_code(&page, "000000").await);
    }
    let code = guarded.now(&totp);
    assert!(!guarded.with_code(&page, &code).await, "locked");
    guarded.broker().later(31);
    let code = guarded.now(&totp);
    assert!(guarded.with_code(&page, &code).await);
}

#[tokio::test]
async fn a_passkey_of_a_providers_person_completes_a_login_and_opens_nothing_by_itself() {
    let mut guarded = Guarded::new().await;
    let page = guarded.step_up().await;
    let request = hidden(&page, "request");
    let (options, ceremony) = asked(guarded.broker(), "/second-factor/options", &request).await;
    let origin = guarded.broker().origin.clone();
    let (mut key, answer) = Authenticator::register(&origin, &options, &mut rng(3));
    let fields = [("ceremony", ceremony.as_str()), ("credential", answer.as_str())];
    let answer = guarded.bring(&page, &fields).await;
    let client = guarded.client.for_servers("web-1");
    guarded.alice = guarded.connected.redeem(&client, &answer).await;
    assert_eq!(guarded.connect().await, 200);

    let page = guarded.step_up().await;
    let request = hidden(&page, "request");
    let (options, ceremony) = asked(guarded.broker(), "/second-factor/options", &request).await;
    let answer = key.sign_in(&options);
    let fields = [("ceremony", ceremony.as_str()), ("credential", answer.as_str())];
    let answer = guarded.bring(&page, &fields).await;
    guarded.alice = guarded.connected.redeem(&client, &answer).await;
    let me = guarded.alice.get("/v1/me").await;
    assert_eq!(me.body["session"]["amr"], json!(["hwk", "mfa", "pwd"]));

    // Without the provider: who left it keeps no way in.
    let alone = Client::new();
    let request = guarded.broker().authorize(&alone).await;
    let (options, ceremony) = asked(guarded.broker(), "/passkey/sign-in/options", &request).await;
    let answer = key.sign_in(&options);
    let fields = [("request", request.as_str()), ("ceremony", &ceremony), ("credential", &answer)];
    assert_eq!(guarded.broker().post_form("/passkey/sign-in", &fields).await.status(), 401);

    // Another person's key does not complete this login.
    let bob = "onefactor-bob";
    let mut browser = Browser::new(guarded.broker());
    let theirs = guarded.connected.sign_in(&mut browser, &Client::new().for_servers("web-1"), bob).await;
    let theirs = theirs.text().await.unwrap();
    let request = hidden(&theirs, "request");
    let (options, ceremony) = asked(guarded.broker(), "/second-factor/options", &request).await;
    assert!(options["publicKey"]["user"].is_object(), "bob has none yet, and registers one");
    let (_bobs, answer) = Authenticator::register(&origin, &options, &mut rng(3));
    let fields = [("ceremony", ceremony.as_str()), ("credential", answer.as_str())];
    assert_eq!(guarded.bring(&theirs, &fields).await.status(), 401, "alice has that key");
}

#[tokio::test]
async fn an_administrator_resets_it_and_ends_sessions_that_it_made() {
    let mut guarded = Guarded::new().await;
    let page = guarded.step_up().await;
    let totp = totp_of(&page);
    let code = guarded.now(&totp);
    assert!(guarded.with_code(&page, &code).await);
    let waiting = guarded.step_up().await;
    let reset = format!("/v1/users/{ALICE}/second-factor/reset");
    let reset = guarded.connected.admin.call("POST", &reset, &Value::Null).await;
    assert_eq!((reset.status, &reset.body["set_up"]), (200, &Value::Null), "{reset:?}");
    guarded.alice.get("/v1/me").await.refused(401, "login_required");
    guarded.broker().later(30);
    let code = guarded.now(&totp);
    assert!(!guarded.with_code(&waiting, &code).await, "the old one is worth nothing");

    let page = guarded.step_up().await;
    let new = totp_of(&page);
    let disable = format!("/v1/users/{ALICE}");
    guarded.connected.admin.call("PATCH", &disable, &json!({"status": "disabled"})).await;
    let code = guarded.now(&new);
    assert!(!guarded.with_code(&page, &code).await, "disabled meanwhile");
}

/// The page in a real browser, with nothing from elsewhere.
#[tokio::test]
async fn chromium_shows_the_page_on_the_way_back_from_the_provider() {
    let guarded = Guarded::new().await;
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("root.pem");
    std::fs::write(&root, guarded.broker().app.authority().to_pem().unwrap()).unwrap();
    let address = guarded.client.for_servers("web-1").authorize_url(&guarded.broker().origin);
    let pictures = std::env::var("USHER_TEST_PICTURES").unwrap_or_default();
    let said = tokio::task::spawn_blocking(move || {
        browser::trust(home.path(), &root);
        browser::sign_in_at(home.path(), &[address.as_str(), "example", ALICE, "", &pictures])
    });
    let said: Value = serde_json::from_str(&said.await.unwrap().unwrap()).unwrap();
    let text = said["text"].as_str().unwrap();
    assert!(text.contains("Second factor") && text.contains("Use a passkey"), "{said}");
    assert_eq!(said["foreign"], json!([]), "{said}");
}
