//! Recovery codes, and the page on which people look after what they sign in with.

use reqwest::header;
use serde_json::json;

use crate::{
    Broker, Caller,
    broker::{Client, PASSWORD, Person, hidden, recovery_codes_of},
};

/// The account page's cookie, after a sign-in with this code.
async fn signed_in(broker: &Broker, code: &str) -> String {
    let page = broker.http.get(format!("{}/account", broker.origin)).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let request = hidden(&page.text().await.unwrap(), "request");
    let answer = broker.submit(&request, "admin", PASSWORD, code).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (303, &"/account".parse().unwrap())
    );
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    for part in ["__Host-usher-account=", "Secure", "HttpOnly", "SameSite=Strict", "Max-Age=600"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    // The page led somewhere, once.
    broker.later(30);
    assert_eq!(broker.submit(&request, "admin", PASSWORD, code).await.status(), 401);
    cookie.split(';').next().unwrap().to_owned()
}

async fn open(broker: &Broker, admin: &Person) -> String {
    signed_in(broker, &admin.totp.code_at(broker.now())).await
}

async fn page(broker: &Broker, cookie: &str) -> String {
    let request = broker.http.get(format!("{}/account", broker.origin)).header(header::COOKIE, cookie);
    request.send().await.unwrap().text().await.unwrap()
}

async fn post(broker: &Broker, cookie: &str, path: &str, fields: &[(&str, &str)]) -> (u16, String) {
    let request =
        broker.http.post(format!("{}/account/{path}", broker.origin)).header(header::COOKIE, cookie);
    let answer = request.form(fields).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn kinds(caller: &mut Caller, kind: &str) -> Vec<serde_json::Value> {
    let log = caller.get(&format!("/v1/audit?type={kind}&limit=100")).await;
    log.body["items"].as_array().unwrap().iter().map(|row| row["event"]["event"].clone()).collect()
}

#[tokio::test]
async fn each_recovery_code_signs_in_once_and_is_written_down() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let code = &admin.recovery_codes[0];
    let client = Client::new();
    let request = broker.authorize(&client).await;
    let spoken = code.to_lowercase().replace('-', " ");
    let granted = client.code_of(&broker.submit(&request, "admin", PASSWORD, &spoken).await);
    let mut caller = Caller::new(&broker, std::sync::Arc::clone(&client.key));
    let opened = caller.call("POST", "/v1/token", &client.token_request(&granted)).await;
    caller.token = Some(opened.body["session_token"].as_str().unwrap().to_owned());
    assert_eq!(opened.body["session"]["amr"], json!(["pwd", "otp", "mfa"]));
    assert_eq!(caller.get("/v1/me").await.body["recovery_codes_left"], 9);
    let used = kinds(&mut caller, "recovery_code.use").await;
    assert_eq!(used.iter().map(|event| &event["left"]).collect::<Vec<_>>(), [9]);

    for (password, code) in [(PASSWORD, code.as_str()), ("wrong password", &admin.recovery_codes[1])] {
        let request = broker.authorize(&Client::new()).await;
        assert_eq!(broker.submit(&request, "admin", password, code).await.status(), 401);
    }
    // A wrong password uses no code up.
    assert_eq!(caller.get("/v1/me").await.body["recovery_codes_left"], 9);
    let log = caller.get("/v1/audit?limit=200").await.body.to_string();
    assert!(admin.recovery_codes.iter().all(|code| !log.contains(code)));
}

#[tokio::test]
async fn their_owner_renews_recovery_codes_and_the_old_ones_are_worth_nothing() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let cookie = open(&broker, &admin).await;
    assert!(page(&broker, &cookie).await.contains("10 of them are left"));
    let (status, html) = post(&broker, &cookie, "recovery-codes", &[]).await;
    assert_eq!(status, 200);
    let renewed = recovery_codes_of(&html);
    let request = broker.authorize(&Client::new()).await;
    assert_eq!(broker.submit(&request, "admin", PASSWORD, &admin.recovery_codes[0]).await.status(), 401);

    // Seven of them are used up on sign-ins to this very page, which says that few are left.
    let mut cookie = cookie;
    for code in &renewed[..7] {
        cookie = signed_in(&broker, code).await;
    }
    assert!(page(&broker, &cookie).await.contains("Only 3 left."));
    let mut caller = broker.session(&admin).await;
    assert_eq!(kinds(&mut caller, "recovery_codes.renew").await.len(), 1);
}

#[tokio::test]
async fn a_password_is_changed_after_a_fresh_sign_in() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let cookie = open(&broker, &admin).await;
    let new = "another horse battery";
    for (again, password, problem) in
        [("something else", new, "the two passwords differ"), ("short", "short", "at least 12 characters")]
    {
        let fields = [("password", password), ("password_again", again)];
        let (status, html) = post(&broker, &cookie, "password", &fields).await;
        assert!(status == 422 && html.contains(problem) && !html.contains(new), "{html}");
    }
    let fields = [("password", new), ("password_again", new)];
    assert_eq!(post(&broker, &cookie, "password", &fields).await.0, 200);
    let request = broker.authorize(&Client::new()).await;
    let code = admin.totp.code_at(broker.now());
    assert_eq!(broker.submit(&request, "admin", PASSWORD, &code).await.status(), 401);
    let changed = Person { password: new.to_owned(), ..admin };
    let mut caller = broker.session(&changed).await;
    assert_eq!(kinds(&mut caller, "user.password").await.len(), 1);
}

/// Nothing can be changed without the cookie, after ten minutes, after a reset, or from another site's page.
#[tokio::test]
async fn the_account_page_opens_to_nobody_else() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    let attempts: [(&str, &[(&str, &str)]); 4] = [
        ("recovery-codes", &[]),
        ("password", &[("password", "a third horse battery"), ("password_again", "a third horse battery")]),
        ("passkeys", &[("ceremony", "AAAA"), ("credential", "{}"), ("name", "x")]),
        ("passkeys/remove", &[("passkey", "pky_00000000000000000000000000")]),
    ];
    let locked_out = async |cookie: &str| {
        for (path, fields) in attempts {
            let (status, html) = post(&broker, cookie, path, fields).await;
            assert!(status == 401 && html.contains("<h1>Sign in</h1>"), "{path}: {status}");
        }
    };
    locked_out("").await;
    locked_out("__Host-usher-account=AAAA").await;

    let cookie = open(&broker, &admin).await;
    let foreign = broker.http.post(format!("{}/account/recovery-codes", broker.origin));
    let foreign = foreign.header(header::COOKIE, &cookie).header(header::ORIGIN, "https://evil.example");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    broker.later(10 * 60);
    locked_out(&cookie).await;

    let cookie = open(&broker, &admin).await;
    assert_eq!(post(&broker, &cookie, "leave", &[]).await.0, 200);
    locked_out(&cookie).await;

    let cookie = open(&broker, &admin).await;
    let reset = caller.call("POST", "/v1/users/admin/set-up-code", &json!(null)).await;
    assert_eq!(reset.status, 200);
    locked_out(&cookie).await;
}
