//! Set-up with a one-time code.

use crate::{
    Broker,
    broker::{PASSWORD, hidden, totp_of},
};

#[tokio::test]
async fn a_set_up_code_works_once() {
    let broker = Broker::start().await;
    let code = broker.made.set_up_code.to_string();
    let spoken = code.to_lowercase().replace('-', " ");
    broker.set_up("admin", &spoken, PASSWORD).await;
    assert_eq!(broker.post_form("/set-up", &[("code", &code)]).await.status(), 401);
}

#[tokio::test]
async fn wrong_and_old_codes_are_refused_alike() {
    let broker = Broker::start().await;
    let wrong = broker.post_form("/set-up", &[("code", "AAAAA-AAAAA-AAAAA-AAAAA")]).await;
    let malformed = broker.post_form("/set-up", &[("code", "<script>")]).await;
    let missing = broker.post_form("/set-up", &[("other", "")]).await;
    broker.later(24 * 60 * 60);
    let old = broker.post_form("/set-up", &[("code", &broker.made.set_up_code)]).await;
    let mut pages = Vec::new();
    for answer in [wrong, malformed, missing, old] {
        assert_eq!(answer.status(), 401);
        pages.push(answer.text().await.unwrap());
    }
    assert!(pages.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn what_is_not_good_yet_is_said_and_nothing_is_lost() {
    let broker = Broker::start().await;
    let html = broker.post_form("/set-up", &[("code", &broker.made.set_up_code)]).await.text().await.unwrap();
    let totp = totp_of(&html);
    assert!(html.contains("<svg"), "a QR code");
    let good = totp.code_at(broker.now());
    let mut request = hidden(&html, "request");
    for (password, again, code, problem) in [
        ("short", "short", good.as_str(), "at least 12 characters"),
        ("adminadminadmin", "adminadminadmin", good.as_str(), "user name"),
        (PASSWORD, "correct horse batterz", good.as_str(), "two passwords differ"),
        (PASSWORD, PASSWORD, "000000", "code is not"),
    ] {
        let fields = [
            ("request", request.as_str()),
            ("password", password),
            ("password_again", again),
            ("totp", code),
        ];
        let answer = broker.post_form("/set-up/finish", &fields).await;
        assert_eq!(answer.status(), 422);
        let html = answer.text().await.unwrap();
        assert!(html.contains(problem), "{problem}: {html}");
        assert!(!html.contains(PASSWORD), "no password comes back");
        assert_eq!(totp_of(&html).expose(), totp.expose(), "the same second factor");
        request = hidden(&html, "request");
    }
    let fields = [
        ("request", request.as_str()),
        ("password", PASSWORD),
        ("password_again", PASSWORD),
        ("totp", good.as_str()),
    ];
    assert_eq!(broker.post_form("/set-up/finish", &fields).await.status(), 200);
    assert_eq!(broker.post_form("/set-up/finish", &fields).await.status(), 401, "once");
}

/// A sealed page value of one form is nothing in the other, and a changed one is nothing at all.
#[tokio::test]
async fn page_values_cannot_be_forged_or_moved() {
    let broker = Broker::start().await;
    let html = broker.post_form("/set-up", &[("code", &broker.made.set_up_code)]).await.text().await.unwrap();
    let request = hidden(&html, "request");
    assert_eq!(broker.submit(&request, "admin", PASSWORD, "000000").await.status(), 400);
    let mut changed = request.clone().into_bytes();
    let last = changed.len() - 3;
    changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    let fields = [
        ("request", changed.as_str()),
        ("password", PASSWORD),
        ("password_again", PASSWORD),
        ("totp", "000000"),
    ];
    assert_eq!(broker.post_form("/set-up/finish", &fields).await.status(), 401);
    assert!(!request.contains(&data_encoding::BASE64.encode(totp_of(&html).expose())));
}

#[tokio::test]
async fn a_new_code_ends_the_old_password_and_sessions() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    let created = caller.call("POST", "/v1/users/admin/set-up-code", &serde_json::json!(null)).await;
    assert_eq!(created.status, 200, "{created:?}");
    caller.get("/v1/me").await.refused(401, "login_required");
    let code = created.body["set_up"]["code"].as_str().unwrap();
    let again = broker.set_up("admin", code, "a third horse battery").await;
    let mut caller = broker.session(&again).await;
    assert_eq!(caller.get("/v1/me").await.status, 200);
}

/// Somebody lost what they had: the password is asked for, and what was lost is worth nothing.
#[tokio::test]
async fn a_reset_of_the_second_factor_keeps_the_password_and_nothing_else() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    let reset = caller.call("POST", "/v1/users/admin/second-factor/reset", &serde_json::json!(null)).await;
    assert_eq!(reset.status, 200, "{reset:?}");
    caller.get("/v1/me").await.refused(401, "login_required");
    for code in [admin.totp.code_at(broker.now()), admin.recovery_codes[0].clone()] {
        let request = broker.authorize(&crate::broker::Client::new()).await;
        assert_eq!(broker.submit(&request, "admin", PASSWORD, &code).await.status(), 401);
    }

    let code = reset.body["set_up"]["code"].as_str().unwrap();
    assert_eq!(reset.body["set_up"]["link"], format!("{}/set-up#{code}", broker.origin));
    let html = broker.post_form("/set-up", &[("code", code)]).await.text().await.unwrap();
    assert!(html.contains("Password that you have") && !html.contains("password_again"), "{html}");
    let totp = totp_of(&html);
    let shown = totp.code_at(broker.now());
    let request = hidden(&html, "request");
    // Whoever found the code does not choose a password with it.
    let fields = |password| {
        [
            ("request", request.as_str()),
            ("password", password),
            ("password_again", password),
            ("totp", &shown),
        ]
    };
    let refused = broker.post_form("/set-up/finish", &fields("a thief's own password")).await;
    assert_eq!(refused.status(), 422);
    assert!(refused.text().await.unwrap().contains("not the password that you had"));
    assert_eq!(broker.post_form("/set-up/finish", &fields(PASSWORD)).await.status(), 200);
    broker.later(30);
    broker.session(&crate::broker::Person { totp, ..admin }).await;
}

#[tokio::test]
async fn guesses_at_the_password_that_stayed_lock_it() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    let reset = caller.call("POST", "/v1/users/admin/second-factor/reset", &serde_json::json!(null)).await;
    let code = reset.body["set_up"]["code"].as_str().unwrap();
    let html = broker.post_form("/set-up", &[("code", code)]).await.text().await.unwrap();
    let (request, totp) = (hidden(&html, "request"), totp_of(&html));
    let finish = async |password: &str| {
        let shown = totp.code_at(broker.now());
        let fields = [("request", request.as_str()), ("password", password), ("totp", shown.as_str())];
        broker.post_form("/set-up/finish", &fields).await.status().as_u16()
    };
    for _ in 0..5 {
        assert_eq!(finish("wrong password").await, 422);
    }
    assert_eq!(finish(PASSWORD).await, 422, "locked");
    broker.later(31);
    assert_eq!(finish(PASSWORD).await, 200);
}
