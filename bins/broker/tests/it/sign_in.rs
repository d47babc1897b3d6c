//! From the sign-in page to a session.

use std::{num::NonZeroU32, sync::Arc};

use serde_json::json;
use url::Url;

use crate::{
    Broker, Caller,
    broker::{Client, PASSWORD, hidden},
};

#[tokio::test]
async fn the_first_administrator_signs_in_and_out() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;

    let me = caller.get("/v1/me").await;
    assert_eq!(me.status, 200);
    assert_eq!(me.body["team"], "acme");
    assert_eq!(me.body["user"]["user_name"], "admin");
    assert_eq!(me.body["user"]["team_role"], "owner");
    assert_eq!(me.body["device"]["state"], "approved");
    assert_eq!(me.body["session"]["amr"], json!(["pwd", "otp", "mfa"]));
    assert_eq!(caller.get("/v1/users").await.status, 200);

    assert_eq!(caller.call("DELETE", "/v1/session", &json!(null)).await.status, 204);
    caller.get("/v1/me").await.refused(401, "login_required");
}

#[tokio::test]
async fn a_second_device_waits_for_approval() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut first = broker.session(&admin).await;
    let mut second = broker.session(&admin).await;
    let me = second.get("/v1/me").await;
    assert_eq!(me.body["device"]["state"], "pending");
    let refused = second.get("/v1/users").await;
    refused.refused(403, "device_pending_approval");
    assert!(refused.body["error"]["next"].as_str().unwrap().contains(&second.device_id));

    let path = format!("/v1/devices/{}", second.device_id);
    assert_eq!(first.call("PATCH", &path, &json!({"state": "approved"})).await.status, 200);
    assert_eq!(second.get("/v1/users").await.status, 200);
    assert_eq!(first.call("PATCH", &path, &json!({"state": "revoked"})).await.status, 200);
    let after = second.get("/v1/me").await;
    assert!(["device_revoked", "login_required"].contains(&after.code()), "{after:?}");
}

/// Threats 23 and 55: wrong user, password and code look the same, in status, text and order of time.
#[tokio::test]
async fn every_failure_looks_the_same() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let good = admin.totp.code_at(broker.now());
    let attempts = [
        ("nobody", PASSWORD, good.as_str()),
        ("admin", "wrong password", good.as_str()),
        ("admin", PASSWORD, "000000"),
        ("<b>admin", PASSWORD, good.as_str()),
    ];
    let mut pages = Vec::new();
    for (user_name, password, code) in attempts {
        let request = broker.authorize(&Client::new()).await;
        let start = std::time::Instant::now();
        let answer = broker.submit(&request, user_name, password, code).await;
        let took = start.elapsed();
        assert_eq!(answer.status(), 401);
        assert!(took.as_millis() >= 400, "{user_name}: {took:?}");
        let html = answer.text().await.unwrap();
        let shown = format!("value=\"{}\"", user_name.replace('<', "&#60;").replace('>', "&#62;"));
        let request = hidden(&html, "request");
        pages.push(html.replace(&shown, "NAME").replace(&request, "REQUEST"));
    }
    assert!(pages.windows(2).all(|pair| pair[0] == pair[1]), "{pages:#?}");
    assert!(pages[0].contains("role=\"alert\""));
}

#[tokio::test]
async fn a_code_of_the_authenticator_works_once() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let code = admin.totp.code_at(broker.now());
    let client = Client::new();
    let request = broker.authorize(&client).await;
    client.code_of(&broker.submit(&request, "admin", PASSWORD, &code).await);
    for again in [code.clone(), format!("{} {}", code.get(..3).unwrap(), code.get(3..).unwrap())] {
        let request = broker.authorize(&client).await;
        assert_eq!(broker.submit(&request, "admin", PASSWORD, &again).await.status(), 401);
    }
}

#[tokio::test]
async fn of_parallel_sign_ins_with_one_code_one_succeeds() {
    let broker = Arc::new(Broker::start().await);
    let admin = broker.admin().await;
    let code = admin.totp.code_at(broker.now());
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (broker, code) = (Arc::clone(&broker), code.clone());
        attempts.spawn(async move {
            let request = broker.authorize(&Client::new()).await;
            broker.submit(&request, "admin", PASSWORD, &code).await.status().as_u16()
        });
    }
    let mut statuses = attempts.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 401, 401, 401]);
}

#[tokio::test]
async fn guessing_locks_the_user_for_a_while() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    for _ in 0..5 {
        let request = broker.authorize(&Client::new()).await;
        assert_eq!(broker.submit(&request, "admin", "wrong password", "000000").await.status(), 401);
    }
    let client = Client::new();
    let request = broker.authorize(&client).await;
    let code = admin.totp.code_at(broker.now());
    assert_eq!(broker.submit(&request, "admin", PASSWORD, &code).await.status(), 401, "locked");
    broker.later(31);
    broker.session(&admin).await;
}

/// Attack: failing all the time under a known name, to keep its owner out. Other devices wait; an approved one does not.
#[tokio::test]
async fn failing_elsewhere_keeps_nobody_out_of_an_approved_device() {
    let mut broker = Broker::start_with(|config| {
        config.limits.sign_ins_burst = NonZeroU32::new(8).unwrap();
        config.limits.sign_ins_per_minute = NonZeroU32::MIN;
    })
    .await;
    let admin = broker.admin().await;
    let laptop = Client::new();
    broker.session_on(&laptop, &admin).await;

    // From elsewhere, so that only the name is what both have in common.
    let elsewhere = broker.browser_at("127.0.0.2");
    let here = std::mem::replace(&mut broker.http, elsewhere);
    let mut status = 401;
    while status == 401 {
        let request = broker.authorize(&Client::new()).await;
        status = broker.submit(&request, "admin", "wrong password", "000000").await.status().as_u16();
    }
    assert_eq!(status, 429, "the name's allowance ends");
    broker.http = here;
    let good = admin.totp.code_at(broker.now());
    let request = broker.authorize(&Client::new()).await;
    let elsewhere = broker.submit(&request, "admin", PASSWORD, &good).await.status().as_u16();
    assert!([401, 429].contains(&elsewhere), "a new device waits: {elsewhere}");

    broker.session_on(&laptop, &admin).await;
}

/// The lock of the account holds for everything but the owner's own approved devices.
#[tokio::test]
async fn the_lock_is_not_passed_by_a_pending_device_or_by_somebody_elses() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let laptop = Client::new();
    let mut caller = broker.session_on(&laptop, &admin).await;
    let pending = Client::new();
    broker.session_on(&pending, &admin).await;
    let created = caller.call("POST", "/v1/users", &json!({"user_name": "bob"})).await;
    let code = created.body["set_up"]["code"].as_str().unwrap().to_owned();
    let bob = broker.set_up("bob", &code, "another horse battery").await;
    let bobs = Client::new();
    let device = broker.session_on(&bobs, &bob).await.device_id;
    let approved =
        caller.call("PATCH", &format!("/v1/devices/{device}"), &json!({"state": "approved"})).await;
    assert_eq!(approved.status, 200);

    for _ in 0..5 {
        let request = broker.authorize(&bobs).await;
        assert_eq!(broker.submit(&request, "admin", "wrong password", "000000").await.status(), 401);
    }
    let good = admin.totp.code_at(broker.now());
    for client in [&bobs, &pending] {
        let request = broker.authorize(client).await;
        assert_eq!(broker.submit(&request, "admin", PASSWORD, &good).await.status(), 401, "locked");
    }
    let request = broker.authorize(&laptop).await;
    laptop.code_of(&broker.submit(&request, "admin", PASSWORD, &good).await);
}

/// A thief at an approved laptop has no more guesses than anybody, and takes none from its owner's other devices.
#[tokio::test]
async fn guessing_on_an_approved_device_locks_that_device_for_a_while() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let laptop = Client::new();
    broker.session_on(&laptop, &admin).await;
    for _ in 0..5 {
        let request = broker.authorize(&laptop).await;
        assert_eq!(broker.submit(&request, "admin", "wrong password", "000000").await.status(), 401);
    }
    let good = admin.totp.code_at(broker.now());
    let request = broker.authorize(&laptop).await;
    assert_eq!(broker.submit(&request, "admin", PASSWORD, &good).await.status(), 401, "locked");
    broker.session(&admin).await;
    // Which took as long as the lock of the laptop.
    broker.session_on(&laptop, &admin).await;
}

/// Threat 36: what a local thief of the code can do with it.
#[tokio::test]
async fn an_authorization_code_is_bound_to_its_client_and_works_once() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let client = Client::new();
    let code = broker.sign_in(&client, &admin).await;
    let good = client.token_request(&code);

    let mut thief = Caller::stranger(&broker);
    thief.call("POST", "/v1/token", &good).await.refused(400, "invalid_grant");
    let mut caller = Caller::new(&broker, Arc::clone(&client.key));
    for (field, value) in [
        ("code", "AAAA"),
        ("code_verifier", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        ("redirect_uri", "http://127.0.0.1:49153/callback"),
    ] {
        let mut bad = good.clone();
        bad[field] = json!(value);
        caller.call("POST", "/v1/token", &bad).await.refused(400, "invalid_grant");
    }
    // The thieves' tries did not use it up; its owner does.
    assert_eq!(caller.call("POST", "/v1/token", &good).await.status, 200);
    caller.call("POST", "/v1/token", &good).await.refused(400, "invalid_grant");
}

#[tokio::test]
async fn an_authorization_code_ends_after_a_minute() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let client = Client::new();
    let code = broker.sign_in(&client, &admin).await;
    broker.later(60);
    let mut caller = Caller::new(&broker, Arc::clone(&client.key));
    caller.call("POST", "/v1/token", &client.token_request(&code)).await.refused(400, "invalid_grant");
}

#[tokio::test]
async fn a_page_leads_to_one_code() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let client = Client::new();
    let request = broker.authorize(&client).await;
    client.code_of(&broker.submit(&request, "admin", PASSWORD, &admin.totp.code_at(broker.now())).await);
    broker.later(30);
    let again = broker.submit(&request, "admin", PASSWORD, &admin.totp.code_at(broker.now())).await;
    assert_eq!(again.status(), 401);
    broker.later(16 * 60);
    let old = broker.submit(&request, "admin", PASSWORD, &admin.totp.code_at(broker.now())).await;
    assert_eq!(old.status(), 400);
    let forged = broker.submit("AAAA", "admin", PASSWORD, "000000").await;
    assert_eq!(forged.status(), 400);
}

#[tokio::test]
async fn a_bad_link_is_answered_by_a_page_and_no_redirect() {
    let broker = Broker::start().await;
    let mut client = Client::new();
    client.redirect_uri = "https://evil.example/".into();
    let page = broker.http.get(client.authorize_url(&broker.origin)).send().await.unwrap();
    assert_eq!(page.status(), 400);
    assert!(page.headers().get("location").is_none());
    let html = page.text().await.unwrap();
    assert!(!html.contains("evil.example"));

    // What is wrong but not dangerous goes back to the client.
    let url = Client::new().authorize_url(&broker.origin).to_string().replace("S256", "plain");
    let answer = broker.http.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 303);
    let location = Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
    assert!(location.query_pairs().any(|(name, value)| name == "error" && value == "invalid_request"));
}

/// Threat 40: no script, no framing, nothing from elsewhere, no posts from elsewhere.
#[tokio::test]
async fn pages_are_locked_down() {
    let broker = Broker::start().await;
    for path in ["/set-up", "/authorize"] {
        let page = broker.http.get(format!("{}{path}", broker.origin)).send().await.unwrap();
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"]
        {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("script-src http"), "{policy}");
        // Only a page with a script may load one, and only from here.
        assert_eq!(policy.contains("script-src 'self'"), path == "/set-up", "{policy}");
        assert_eq!(page.headers()["cache-control"], "no-store");
        assert_eq!(page.headers()["x-content-type-options"], "nosniff");
        let html = page.text().await.unwrap();
        assert!(html.contains("<html lang=\"en\">"));
        let scripts = html.matches("<script").count();
        assert_eq!(html.matches("<script src=\"/assets/").count(), scripts);
        assert_eq!(scripts, usize::from(path == "/set-up"));
    }
    let post = |origin: &'static str| {
        let request = broker.http.post(format!("{}/set-up", broker.origin));
        request.header("origin", origin).form(&[("code", "AAAAA-AAAAA-AAAAA-AAAAA")]).send()
    };
    for origin in ["https://evil.example", "null"] {
        assert_eq!(post(origin).await.unwrap().status(), 403, "{origin}");
    }
}

#[tokio::test]
async fn a_disabled_user_is_out_at_once() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    let created = caller.call("POST", "/v1/users", &json!({"user_name": "bob"})).await;
    let code = created.body["set_up"]["code"].as_str().unwrap().to_owned();
    let bob = broker.set_up("bob", &code, "another horse battery").await;
    let mut bobs = broker.session(&bob).await;
    assert_eq!(bobs.get("/v1/me").await.status, 200);
    // A code in the hand when the disable comes is worth nothing either.
    let client = Client::new();
    let in_hand = broker.sign_in(&client, &bob).await;

    assert_eq!(caller.call("PATCH", "/v1/users/bob", &json!({"status": "disabled"})).await.status, 200);
    let after = bobs.get("/v1/me").await;
    assert!(["login_required", "user_disabled"].contains(&after.code()), "{after:?}");
    let mut late = Caller::new(&broker, Arc::clone(&client.key));
    late.call("POST", "/v1/token", &client.token_request(&in_hand)).await.refused(403, "user_disabled");
    let request = broker.authorize(&Client::new()).await;
    let answer =
        broker.submit(&request, "bob", "another horse battery", &bob.totp.code_at(broker.now())).await;
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn a_session_ends_after_twelve_hours() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    broker.later(12 * 60 * 60);
    caller.get("/v1/me").await.refused(401, "login_required");
}

/// Threats 23 and 55: whoever tries names learns nothing by page, status or time, also not once a name is locked.
#[tokio::test]
async fn an_unknown_a_known_and_a_locked_name_look_the_same() {
    let broker = Broker::start_with(|config| {
        config.limits.sign_ins_burst = NonZeroU32::new(1000).unwrap();
    })
    .await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    caller.call("POST", "/v1/users", &json!({"user_name": "invited"})).await;
    let good = admin.totp.code_at(broker.now());
    let mut seen: std::collections::BTreeMap<&str, Vec<std::time::Duration>> =
        std::collections::BTreeMap::new();
    let mut pages = std::collections::BTreeSet::new();
    // The first failures of a name cost nothing, later ones lock it: rounds of both.
    for _ in 0..8 {
        for name in ["admin", "nobody", "invited"] {
            let request = broker.authorize(&Client::new()).await;
            let start = std::time::Instant::now();
            let answer = broker.submit(&request, name, "wrong password", &good).await;
            seen.entry(name).or_default().push(start.elapsed());
            assert_eq!(answer.status(), 401);
            let html = answer.text().await.unwrap();
            let request = hidden(&html, "request");
            pages.insert(html.replace(&format!("value=\"{name}\""), "NAME").replace(&request, "REQUEST"));
        }
    }
    assert_eq!(pages.len(), 1, "{pages:#?}");
    // Locked by now: the good password is no better than a wrong one.
    let request = broker.authorize(&Client::new()).await;
    assert_eq!(broker.submit(&request, "admin", PASSWORD, &good).await.status(), 401);
    let mut medians = Vec::new();
    for (name, mut times) in seen {
        times.sort_unstable();
        assert!(times[0].as_millis() >= 400, "{name}: {times:?}");
        medians.push(times[times.len() / 2]);
    }
    let (fastest, slowest) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
    assert!((*slowest - *fastest).as_millis() < 40, "{medians:?}");
}
