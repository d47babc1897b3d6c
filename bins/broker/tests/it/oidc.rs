//! Signing in by a real identity provider, and what happens when it says something else than it should.

use std::{collections::BTreeMap, path::PathBuf};

use reqwest::header;
use serde_json::{Value, json};
use url::Url;
use usher_testkit::idp::{CLIENT_ID, CLIENT_SECRET, Idp};

use crate::{
    Broker, Caller,
    broker::{Client, hidden},
};

/// A broker with a connector to a provider of its own.
pub(crate) struct Connected {
    pub(crate) broker: Broker,
    idp: Idp,
    pub(crate) admin: Caller,
}

impl Connected {
    async fn new(join_rule: &str) -> Self {
        Self::to(Broker::start().await, join_rule).await
    }

    pub(crate) async fn to(broker: Broker, join_rule: &str) -> Self {
        let person = broker.admin().await;
        let mut admin = broker.session(&person).await;
        let trust: PathBuf = broker.data_dir().join("root.pem");
        std::fs::write(&trust, broker.app.authority().to_pem().unwrap()).unwrap();
        let (back, out) = (
            format!("{}/oidc/callback", broker.origin),
            format!("{}/oidc/backchannel-logout", broker.origin),
        );
        let idp = Idp::start(&back, &out, &trust);
        let made = admin.call("POST", "/v1/connectors", &connector("example", idp.issuer(), join_rule)).await;
        assert_eq!(made.status, 201, "{made:?}");
        assert_eq!(
            (&made.body["redirect_uri"], &made.body["has_client_secret"]),
            (&json!(back), &json!(true))
        );
        assert!(!made.body.to_string().contains(CLIENT_SECRET));
        Self { broker, idp, admin }
    }

    /// From the sign-in page to where the provider sends the browser back to.
    async fn at_provider(&self, browser: &mut Browser, client: &Client, who: Who<'_>) -> Url {
        let request = self.broker.authorize(client).await;
        let start = format!("{}/sign-in/example?request={request}", self.broker.origin).parse().unwrap();
        browser.through(start, who, &self.broker.origin).await
    }

    /// All the way; gives the answer to the callback.
    pub(crate) async fn sign_in(
        &self,
        browser: &mut Browser,
        client: &Client,
        name: &str,
    ) -> reqwest::Response {
        let back = self.at_provider(browser, client, Who::Is(name)).await;
        browser.get(back).await
    }

    pub(crate) async fn session(&self, name: &str) -> Caller {
        let client = Client::new();
        let answer = self.sign_in(&mut Browser::new(&self.broker), &client, name).await;
        self.redeem(&client, &answer).await
    }

    pub(crate) async fn redeem(&self, client: &Client, answer: &reqwest::Response) -> Caller {
        let code = client.code_of(answer);
        let mut caller = Caller::new(&self.broker, std::sync::Arc::clone(&client.key));
        let answer = caller.call("POST", "/v1/token", &client.token_request(&code)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        caller.token = Some(answer.body["session_token"].as_str().unwrap().to_owned());
        caller.device_id = answer.body["device"]["id"].as_str().unwrap().to_owned();
        caller
    }

    async fn users(&mut self) -> Vec<String> {
        let users = self.admin.get("/v1/users").await;
        let items = users.body["items"].as_array().unwrap();
        items.iter().map(|user| user["user_name"].as_str().unwrap().to_owned()).collect()
    }
}

fn connector(name: &str, issuer: &str, join_rule: &str) -> Value {
    json!({"name": name, "join_rule": join_rule, "settings": {
        "issuer": issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
        "groups_claim": "groups", "private_networks": ["127.0.0.0/8"],
    }})
}

/// Who is at the provider's page.
#[derive(Clone, Copy)]
enum Who<'a> {
    Is(&'a str),
    Refuses,
}

/// Cookies by origin, redirects by hand.
pub(crate) struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

impl Browser {
    pub(crate) fn new(broker: &Broker) -> Self {
        Self { http: broker.http.clone(), cookies: BTreeMap::new() }
    }

    async fn get(&mut self, url: Url) -> reqwest::Response {
        let request = self.http.get(url.clone());
        self.send(request, &url).await
    }

    async fn send(&mut self, request: reqwest::RequestBuilder, url: &Url) -> reqwest::Response {
        let origin = url.origin().ascii_serialization();
        let jar = self.cookies.entry(origin).or_default();
        let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = request.header(header::COOKIE, cookies.join("; ")).send().await.unwrap();
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() || cookie.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Follows redirects and answers the provider's page, until it is sent back to `home`.
    async fn through(&mut self, start: Url, who: Who<'_>, home: &str) -> Url {
        let mut answer = self.get(start.clone()).await;
        let mut at = start;
        for _ in 0..12 {
            let Some(location) = answer.headers().get(header::LOCATION) else {
                assert_eq!(answer.status(), 200, "{at}: {}", answer.text().await.unwrap());
                let form = match who {
                    Who::Is(name) => [("login", name)],
                    Who::Refuses => [("refuse", "1")],
                };
                let request = self.http.post(at.clone()).form(&form);
                answer = self.send(request, &at).await;
                continue;
            };
            at = at.join(location.to_str().unwrap()).unwrap();
            if at.as_str().starts_with(home) {
                return at;
            }
            answer = self.get(at.clone()).await;
        }
        panic!("still at {at}")
    }
}

async fn text_of(answer: reqwest::Response, status: u16) -> String {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    answer.text().await.unwrap()
}

#[tokio::test]
async fn a_first_login_makes_a_user_with_groups_and_a_second_one_finds_it() {
    let mut connected = Connected::new("first-login").await;
    let mut caller = connected.session("alice").await;
    let me = caller.get("/v1/me").await;
    assert_eq!(
        (&me.body["user"]["user_name"], &me.body["user"]["display_name"]),
        (&json!("alice"), &json!("alice of Example"))
    );
    assert_eq!(
        me.body["user"]["groups"],
        json!(["example.site-reliability"]),
        "`Everyone` is nobody's to give"
    );
    assert_eq!(me.body["session"]["amr"], json!(["hwk", "mfa", "pwd"]));
    assert_eq!(me.body["user"]["team_role"], "member");
    assert_eq!(me.body["device"]["state"], "pending");

    let mut again = connected.session("alice").await;
    assert_eq!(again.get("/v1/me").await.body["user"]["id"], me.body["user"]["id"]);
    assert_eq!(connected.users().await, ["admin", "alice"]);

    // What the provider decides is not decided here too.
    let member = "/v1/groups/example.site-reliability/members/admin";
    connected.admin.call("PUT", member, &Value::Null).await.refused(400, "invalid_request");
    let group = json!({"name": "example.operators"});
    connected.admin.call("POST", "/v1/groups", &group).await.refused(409, "already_exists");

    // Neither a set-up code nor a password makes another way in.
    connected
        .admin
        .call("POST", "/v1/users/alice/set-up-code", &Value::Null)
        .await
        .refused(400, "invalid_request");
}

/// Threat 22 (nOAuth): everybody there has the same e-mail address, and one is called like somebody here.
#[tokio::test]
async fn nobody_is_taken_for_somebody_by_a_name_or_an_address() {
    let mut connected = Connected::new("first-login").await;
    let mut impostor = connected.session("auth0|admin").await;
    let me = impostor.get("/v1/me").await;
    assert_eq!(
        (&me.body["user"]["user_name"], &me.body["user"]["team_role"]),
        (&json!("admin2"), &json!("member"))
    );
    let mut other = connected.session("auth1|admin").await;
    assert_eq!(other.get("/v1/me").await.body["user"]["user_name"], "admin3");

    // The same external id at a second issuer is somebody else.
    let trust = connected.broker.data_dir().join("root.pem");
    let origin = connected.broker.origin.clone();
    let second = Idp::start(&format!("{origin}/oidc/callback"), &format!("{origin}/x"), &trust);
    let made = connector("second", second.issuer(), "first-login");
    assert_eq!(connected.admin.call("POST", "/v1/connectors", &made).await.status, 201);
    let client = Client::new();
    let mut browser = Browser::new(&connected.broker);
    let request = connected.broker.authorize(&client).await;
    let start = format!("{origin}/sign-in/second?request={request}").parse().unwrap();
    let back = browser.through(start, Who::Is("auth0|admin"), &origin).await;
    let answer = browser.get(back).await;
    let mut elsewhere = connected.redeem(&client, &answer).await;
    let theirs = elsewhere.get("/v1/me").await;
    assert_ne!(theirs.body["user"]["id"], me.body["user"]["id"]);
    assert_eq!(theirs.body["user"]["groups"], json!(["second.site-reliability"]));
    assert_eq!(connected.users().await, ["admin", "admin2", "admin3", "admin4"]);
}

#[tokio::test]
async fn with_scim_somebody_unknown_is_told_the_rule() {
    let mut connected = Connected::new("scim").await;
    let answer = connected.sign_in(&mut Browser::new(&connected.broker), &Client::new(), "alice").await;
    let page = text_of(answer, 403).await;
    for said in ["`scim`", "connector `example`", "externalId", "usher login"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert_eq!(connected.users().await, ["admin"]);
}

#[tokio::test]
async fn a_claim_of_groups_that_does_not_hold_is_no_groups() {
    let connected = Connected::new("first-login").await;
    for name in ["nogroups", "onegroup", "overage"] {
        let mut caller = connected.session(name).await;
        assert_eq!(caller.get("/v1/me").await.body["user"]["groups"], json!([]), "{name}");
    }
}

/// Threat 21: an answer works once, in the browser that began, and says who it is from.
#[tokio::test]
async fn an_answer_is_worth_something_once_and_in_its_own_browser() {
    let mut connected = Connected::new("first-login").await;
    let (mut victim, mut attacker) = (Browser::new(&connected.broker), Browser::new(&connected.broker));
    let client = Client::new();

    // CSRF: somebody is sent to the callback with another one's code.
    let foreign = connected.at_provider(&mut attacker, &Client::new(), Who::Is("mallory")).await;
    let own = connected.at_provider(&mut victim, &client, Who::Is("alice")).await;
    let page = text_of(victim.get(foreign.clone()).await, 400).await;
    assert!(page.contains("does not belong to a sign-in"), "{page}");
    let code = |url: &Url| url.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let with = |url: &Url, name: &str, value: Option<&str>| {
        let mut changed = url.clone();
        let rest: Vec<(String, String)> =
            url.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
        changed.query_pairs_mut().clear().extend_pairs(rest).extend_pairs(value.map(|value| (name, value)));
        changed
    };
    for state in [
        None,
        Some(""),
        Some("x"),
        Some("<script>"),
        Some("\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}"),
    ] {
        text_of(victim.get(with(&own, "state", state)).await, 400).await;
    }

    // The state is used up by the first answer that has it, good or bad: here with a code of another sign-in.
    text_of(victim.get(with(&own, "code", Some(&code(&foreign)))).await, 400).await;
    text_of(victim.get(own).await, 400).await;

    // Mix-up: another issuer's answer, or one that does not say whose it is, though the provider always does.
    for issuer in [Some("https://evil.example"), Some(""), None] {
        let own = connected.at_provider(&mut victim, &client, Who::Is("alice")).await;
        let page = text_of(victim.get(with(&own, "iss", issuer)).await, 400).await;
        assert!(page.contains("nobody was signed in"), "{issuer:?}: {page}");
    }
    // The cookie was kept by the attacker's copy: the state is used up all the same.
    let own = connected.at_provider(&mut victim, &client, Who::Is("alice")).await;
    let mut copy = Browser { http: victim.http.clone(), cookies: victim.cookies.clone() };
    client.code_of(&victim.get(own.clone()).await);
    text_of(copy.get(own).await, 400).await;
    assert_eq!(connected.users().await, ["admin", "alice"]);
}

/// Two browsers, one page: the page of a program's request leads to one code.
#[tokio::test]
async fn one_page_leads_to_one_code() {
    let connected = Connected::new("first-login").await;
    let client = Client::new();
    let request = connected.broker.authorize(&client).await;
    let origin = &connected.broker.origin;
    let start: Url = format!("{origin}/sign-in/example?request={request}").parse().unwrap();
    let mut statuses = Vec::new();
    for name in ["alice", "bob"] {
        let mut browser = Browser::new(&connected.broker);
        let back = browser.through(start.clone(), Who::Is(name), origin).await;
        statuses.push(browser.get(back).await.status().as_u16());
    }
    assert_eq!(statuses, [303, 400]);
}

#[tokio::test]
async fn what_a_provider_says_is_shown_as_text() {
    let connected = Connected::new("first-login").await;
    let mut browser = Browser::new(&connected.broker);
    let back = connected.at_provider(&mut browser, &Client::new(), Who::Refuses).await;
    let page = text_of(browser.get(back).await, 403).await;
    assert!(page.contains("access_denied") && page.contains("&#60;b&#62;assigned"), "{page}");
    assert!(!page.contains("<b>"), "{page}");
}

#[tokio::test]
async fn a_provider_that_is_down_is_said_to_be_and_sessions_go_on() {
    let mut connected = Connected::new("first-login").await;
    let mut caller = connected.session("alice").await;
    let gone = Idp::start(
        "https://127.0.0.1/oidc/callback",
        "https://127.0.0.1/x",
        &connected.broker.data_dir().join("root.pem"),
    );
    let down = connector("down", gone.issuer(), "first-login");
    drop(gone);
    assert_eq!(connected.admin.call("POST", "/v1/connectors", &down).await.status, 201);
    let request = connected.broker.authorize(&Client::new()).await;
    let start = format!("{}/sign-in/down?request={request}", connected.broker.origin);
    let page = text_of(connected.broker.http.get(start).send().await.unwrap(), 502).await;
    for said in ["down does not answer", "go on to their end", "usher login"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert_eq!(caller.get("/v1/me").await.status, 200);
}

#[tokio::test]
async fn a_disabled_connector_lets_nobody_in_and_ends_what_there_is() {
    let mut connected = Connected::new("first-login").await;
    let mut caller = connected.session("alice").await;
    let client = Client::new();
    let mut browser = Browser::new(&connected.broker);
    let back = connected.at_provider(&mut browser, &client, Who::Is("alice")).await;
    let off = json!({"state": "disabled"});
    assert_eq!(connected.admin.call("PATCH", "/v1/connectors/example", &off).await.status, 200);
    caller.get("/v1/me").await.refused(401, "login_required");
    text_of(browser.get(back).await, 404).await;
    let page =
        connected.broker.http.get(client.authorize_url(&connected.broker.origin)).send().await.unwrap();
    let html = page.text().await.unwrap();
    assert!(!html.contains("Sign in with example"), "{html}");
    hidden(&html, "request");
}

#[tokio::test]
async fn signing_out_at_the_provider_ends_the_session_here() {
    let connected = Connected::new("first-login").await;
    let client = Client::new();
    let mut browser = Browser::new(&connected.broker);
    let answer = connected.sign_in(&mut browser, &client, "alice").await;
    let mut caller = connected.redeem(&client, &answer).await;
    let mut elsewhere = connected.session("alice").await;
    assert_eq!(caller.get("/v1/me").await.status, 200);

    let end: Url = format!("{}/session/end", connected.idp.issuer()).parse().unwrap();
    let page = browser.get(end.clone()).await.text().await.unwrap();
    let xsrf = hidden(&page, "xsrf");
    let confirm = end.join("/session/end/confirm").unwrap();
    let request = browser.http.post(confirm.clone()).form(&[("xsrf", xsrf.as_str()), ("logout", "yes")]);
    let done = browser.send(request, &confirm).await;
    assert!(done.status().is_redirection(), "{}", done.status());

    // The provider tells the broker in its own time.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while caller.get("/v1/me").await.status == 200 {
        assert!(std::time::Instant::now() < deadline, "the session goes on");
        tokio::task::yield_now().await;
    }
    assert_eq!(elsewhere.get("/v1/me").await.status, 200, "another login of the same person goes on");
}

#[tokio::test]
async fn a_logout_needs_a_token_of_the_provider() {
    let connected = Connected::new("first-login").await;
    for token in ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        let answer = connected.broker.post_form("/oidc/backchannel-logout", &[("logout_token", token)]).await;
        text_of(answer, 400).await;
    }
}

/// One connector's people are not handed to another provider: the same id there is somebody else.
#[tokio::test]
async fn a_connector_with_people_keeps_its_issuer() {
    let mut connected = Connected::new("first-login").await;
    let moved = json!({"settings": {"issuer": "https://evil.example"}});
    let claim = json!({"settings": {"external_id_claim": "oid"}});
    assert_eq!(connected.admin.call("PATCH", "/v1/connectors/example", &claim).await.status, 200);
    let back = json!({"settings": {"external_id_claim": "sub"}});
    assert_eq!(connected.admin.call("PATCH", "/v1/connectors/example", &back).await.status, 200);
    let _alice = connected.session("alice").await;
    for change in [moved, claim] {
        connected.admin.call("PATCH", "/v1/connectors/example", &change).await.refused(409, "in_use");
    }
    let harmless = json!({"settings": {"issuer": connected.idp.issuer(), "scopes": ["profile"]}});
    assert_eq!(connected.admin.call("PATCH", "/v1/connectors/example", &harmless).await.status, 200);
}

/// Of whom SCIM speaks, the claim of groups says nothing: the two would undo each other's changes.
#[tokio::test]
async fn groups_are_scims_for_whom_scim_speaks_about() {
    let mut connected = Connected::new("first-login").await;
    let mut alice = connected.session("alice").await;
    let groups = json!(["example.site-reliability"]);
    assert_eq!(alice.get("/v1/me").await.body["user"]["groups"], groups);
    let token = json!({"connector": "example", "description": "provisioning"});
    let token = connected.admin.call("POST", "/v1/scim-tokens", &token).await;
    let token = token.body["token"].as_str().unwrap().to_owned();
    let scim = async |path: &str, body: Value| {
        let url = format!("{}/scim/v2/{path}", connected.broker.origin);
        let sent = connected.broker.http.post(url).bearer_auth(&token);
        let sent = sent.header("content-type", "application/scim+json").body(body.to_string());
        let answer = sent.send().await.unwrap();
        assert_eq!(answer.status(), 201);
        serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap()
    };
    let user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "alice@example.test", "externalId": "alice",
    });
    let user = scim("Users", user).await;
    let group = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "Payments", "members": [{"value": user["id"]}],
    });
    scim("Groups", group).await;
    // Neither put into a group of the claim nor taken out of one that only SCIM knows.
    let mut alice = connected.session("alice").await;
    let groups = json!(["example.payments", "example.site-reliability"]);
    assert_eq!(alice.get("/v1/me").await.body["user"]["groups"], groups);
}

/// Threat 23, and addresses that would let the broker ask what it must not.
#[tokio::test]
async fn a_connector_is_refused_what_it_must_not_be() {
    let broker = Broker::start().await;
    let person = broker.admin().await;
    let mut admin = broker.session(&person).await;
    for issuer in [
        "http://idp.example",
        "https://127.0.0.1",
        "https://169.254.169.254/latest",
        "https://[::1]",
        "https://2130706433",
        "https://user@idp.example",
        "https://idp.example?x",
        "https://idp.example#x",
        "ftp://idp.example",
        "idp",
        "file:///etc/passwd",
        "http://127.0.0.1",
    ] {
        let mut body = connector("example", issuer, "scim");
        body["settings"]["private_networks"] = json!([]);
        admin.call("POST", "/v1/connectors", &body).await.refused(400, "invalid_request");
    }
    let one_half = json!({"name": "half", "join_rule": "scim", "settings": {"client_id": "usher"}});
    admin.call("POST", "/v1/connectors", &one_half).await.refused(400, "invalid_request");
    let good = connector("example", "https://idp.example", "scim");
    assert_eq!(admin.call("POST", "/v1/connectors", &good).await.status, 201);
    let same = connector("other", "https://idp.example", "scim");
    admin.call("POST", "/v1/connectors", &same).await.refused(409, "already_exists");

    // A secret does not go to an issuer that it was not entered for.
    let moved = json!({"settings": {"issuer": "https://evil.example"}});
    let answer = admin.call("PATCH", "/v1/connectors/example", &moved).await;
    assert_eq!((answer.status, &answer.body["has_client_secret"]), (200, &json!(false)));
    assert_eq!(admin.call("DELETE", "/v1/connectors/example", &Value::Null).await.status, 204);
}

/// Nobody is sent anywhere by a link: what the sign-in began with is sealed.
#[tokio::test]
async fn a_sign_in_begins_with_a_page_of_the_broker_only() {
    let connected = Connected::new("first-login").await;
    let origin = &connected.broker.origin;
    for query in
        ["", "?request=", "?request=x", "?redirect_uri=https://evil.example", "?request=https://evil.example"]
    {
        let answer =
            connected.broker.http.get(format!("{origin}/sign-in/example{query}")).send().await.unwrap();
        assert!(answer.headers().get(header::LOCATION).is_none(), "{query}");
        text_of(answer, 400).await;
    }
    let request = connected.broker.authorize(&Client::new()).await;
    for name in ["nobody", "..", "%2e%2e", "EXAMPLE"] {
        let answer = connected
            .broker
            .http
            .get(format!("{origin}/sign-in/{name}?request={request}"))
            .send()
            .await
            .unwrap();
        assert!([404, 405].contains(&answer.status().as_u16()), "{name}: {}", answer.status());
    }
    let answer = connected
        .broker
        .http
        .get(format!("{origin}/sign-in/example?request={request}"))
        .send()
        .await
        .unwrap();
    let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    for part in ["__Host-usher-sign-in-", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
        assert!(cookie.contains(part), "{part}: {cookie}");
    }
    let location = answer.headers()[header::LOCATION].to_str().unwrap();
    for part in ["code_challenge_method=S256", "nonce=", "state=", "response_type=code"] {
        assert!(location.contains(part), "{part}: {location}");
    }
}
