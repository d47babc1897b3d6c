//! Policies in Cedar over the whole pipeline: set, shown, written down, and decided at once, from memory and from rows.

use serde_json::{Value, json};

use crate::team::{Caller, Reply, Team, ssh_key};

/// Project `shop` with a labelled and a bare server, and alice with access.
struct Shop {
    team: Team,
    admin: Caller,
    alice: Caller,
}

impl Shop {
    async fn new() -> Self {
        let team = Team::new().await;
        let admin = team.session("admin").await;
        team.project(&admin, "shop").await;
        team.project(&admin, "bank").await;
        let alice = team.person(&admin, "alice", &["shop"]).await;
        let labelled = team.token(&admin, "shop", json!({"labels": {"env": "prod"}})).await;
        team.enroll(&labelled, "prod-1", 1).await;
        team.enroll(&team.token(&admin, "shop", json!({})).await, "web-1", 2).await;
        Self { team, admin, alice }
    }

    async fn set(&self, name: &str, body: Value) -> Reply {
        self.team.put(&self.admin, &format!("/v1/policies/{name}"), body).await
    }

    async fn text(&self, name: &str, text: &str) -> Reply {
        self.set(name, json!({"text": text})).await
    }

    async fn remove(&self, name: &str) -> Reply {
        self.team.send(&self.admin, "DELETE", &format!("/v1/policies/{name}"), "", self.team.jti()).await
    }

    async fn connect(&self, server: &str, purpose: &str) -> Reply {
        let body = json!({"server": server, "purpose": purpose, "keys": [ssh_key(901)]});
        self.team.post(&self.alice, "/v1/connections", body).await
    }

    /// Often enough that memory answers where it can, on every broker.
    async fn always(&self, server: &str, purpose: &str) -> Vec<Reply> {
        let mut replies = Vec::new();
        for _ in 0..6 {
            replies.push(self.connect(server, purpose).await);
        }
        replies
    }

    async fn always_in(&self, server: &str, purpose: &str) {
        self.always(server, purpose).await.iter().for_each(|reply| drop(reply.ok()));
    }
}

const FROZEN: &str = r#"@reason("prod is frozen")
@next("ask the release manager")
forbid (principal, action == Action::"connect", resource in Project::"shop")
when { resource.hasTag("env") && resource.getTag("env") == "prod" && context.purpose == "interactive" };
"#;

#[tokio::test]
async fn a_policy_counts_from_the_next_request_on() {
    let shop = Shop::new().await;
    shop.always_in("prod-1", "interactive").await;
    let set = shop.text("frozen", FROZEN).await.ok();
    assert_eq!(
        (&set["name"], &set["text"], &set["updated_by"]),
        (&json!("frozen"), &json!(FROZEN), &json!("admin"))
    );
    assert!(set["names"]["Project::\"shop\""].as_str().unwrap().starts_with("prj_"), "{set}");
    for reply in shop.always("prod-1", "interactive").await {
        let error = reply.error("access_denied");
        assert_eq!(error["reasons"], json!(["policy `frozen` forbids it: prod is frozen"]));
        assert_eq!(error["next"], "ask the release manager");
    }
    let denied = shop.team.events("connection.deny").await.pop().unwrap();
    assert_eq!(denied["reasons"], json!(["policy"]));
    shop.always_in("prod-1", "command").await;
    shop.always_in("web-1", "interactive").await;

    // People are told the same.
    let told = shop.team.get(&shop.alice, "/v1/servers/prod-1/access").await.ok();
    assert_eq!(
        (&told["verdict"], &told["reasons"]),
        (&json!("deny"), &json!(["policy `frozen` forbids it: prod is frozen"]))
    );
    let told = shop.team.get(&shop.admin, "/v1/servers/prod-1/access/alice").await.ok();
    assert_eq!(told["verdict"], "deny");

    let listed = shop.team.get(&shop.admin, "/v1/policies").await.ok();
    assert_eq!(listed["items"], json!([set]));
    assert_eq!(shop.team.get(&shop.admin, "/v1/policies/frozen").await.ok(), set);
    shop.remove("frozen").await.ok();
    shop.remove("frozen").await.error("not_found");
    shop.always_in("prod-1", "interactive").await;
    assert_eq!(shop.team.events("policy.set").await.len(), 1);
    assert_eq!(shop.team.events("policy.remove").await.len(), 1);
}

#[tokio::test]
async fn a_policy_of_one_project_is_about_no_other() {
    let shop = Shop::new().await;
    shop.set("closed", json!({"text": "forbid (principal, action, resource);", "project": "bank"}))
        .await
        .ok();
    shop.always_in("web-1", "command").await;
    shop.set("closed", json!({"text": "forbid (principal, action, resource);", "project": "shop"}))
        .await
        .ok();
    for reply in shop.always("web-1", "command").await {
        assert_eq!(reply.error("access_denied")["reasons"], json!(["policy `closed` forbids it"]));
    }
}

#[tokio::test]
async fn forwarding_is_left_out_of_the_certificate() {
    let shop = Shop::new().await;
    let forwards = async |server: &str| {
        let mut all = Vec::new();
        for reply in shop.always(server, "command").await {
            let certificate = reply.ok()["routes"][0]["legs"][0]["certificate"].as_str().unwrap().to_owned();
            all.push(
                usher_ca::inspect(&certificate).unwrap().extensions.contains_key("permit-port-forwarding"),
            );
        }
        all
    };
    assert_eq!(forwards("web-1").await, [true; 6]);
    shop.text("no-tunnels", "forbid (principal, action == Action::\"forward\", resource);").await.ok();
    assert_eq!(forwards("web-1").await, [false; 6]);
}

#[tokio::test]
async fn what_is_no_good_policy_is_refused_with_its_place() {
    let shop = Shop::new().await;
    for (text, said) in [
        ("permit (principal, action, resource);".to_owned(), "policies only take away"),
        ("forbid (principal, action, resource)\nwhen { context.hours > 3 };".to_owned(), "line 2, column 8"),
        ("forbid (principal, action, resource)".to_owned(), "line 1"),
        (format!("forbid (principal, action, resource) when {{ {}true }};", "!".repeat(7000)), "line 1"),
        (format!("forbid (principal, action, resource) when {{ {}", "(".repeat(8000)), "brackets"),
        (
            format!(
                "forbid (principal, action, resource) when {{ {}true{} }};",
                "(".repeat(40),
                ")".repeat(40)
            ),
            "brackets",
        ),
        ("x".repeat(9000), "at most 8192 bytes"),
        ("@reason(\"\\u{1b}[2J\") forbid (principal, action, resource);".to_owned(), "one line"),
    ] {
        let error = shop.text("bad", &text).await.error("invalid_request");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(said) && !message.contains('\u{1b}'), "{message}");
    }
    for (text, what) in [
        (r#"forbid (principal in Group::"nobody", action, resource);"#, "group `nobody`"),
        (r#"forbid (principal == User::"nobody", action, resource);"#, "user `nobody`"),
        (r#"forbid (principal, action, resource in Project::"nobody");"#, "project `nobody`"),
        (r#"forbid (principal, action, resource == Server::"nobody");"#, "server `nobody`"),
    ] {
        let error = shop.text("bad", text).await.error("not_found");
        assert!(error["message"].as_str().unwrap().contains(what), "{error}");
    }
    let huge = shop.text("bad", &"x".repeat(10_000_000)).await;
    assert_eq!(huge.status, 413, "{huge:?}");
    shop.set("Bad-Name", json!({"text": FROZEN})).await.error("invalid_request");
    shop.set("bad", json!({"text": FROZEN, "permit": true})).await.error("invalid_request");
    assert_eq!(shop.team.get(&shop.admin, "/v1/policies").await.ok()["items"], json!([]));
    assert!(shop.team.events("policy.set").await.is_empty());
    shop.always_in("prod-1", "interactive").await;
}

#[tokio::test]
async fn a_policy_that_cannot_be_evaluated_forbids() {
    let shop = Shop::new().await;
    let text = "forbid (principal, action, resource) when { context.auth_age_seconds + 9223372036854775807 + 1 < 0 };";
    shop.text("overflow", text).await.ok();
    for reply in shop.always("web-1", "command").await {
        let error = reply.error("access_denied");
        assert!(error["reasons"][0].as_str().unwrap().contains("policy `overflow`"), "{error}");
    }
}

#[tokio::test]
async fn only_administrators_see_and_set_policies() {
    let shop = Shop::new().await;
    let body = json!({"text": FROZEN}).to_string();
    for (method, path, body) in [
        ("GET", "/v1/policies", ""),
        ("GET", "/v1/policies/frozen", ""),
        ("GET", "/v1/policy-schema", ""),
        ("PUT", "/v1/policies/frozen", body.as_str()),
        ("DELETE", "/v1/policies/frozen", ""),
    ] {
        let reply = shop.team.send(&shop.alice, method, path, body, shop.team.jti()).await;
        assert_eq!(reply.status, 403, "{method} {path}: {reply:?}");
    }
    shop.always_in("prod-1", "interactive").await;
    let schema = shop.team.get(&shop.admin, "/v1/policy-schema").await.ok();
    assert!(schema["text"].as_str().unwrap().contains("action connect, forward appliesTo"));
}

#[tokio::test]
async fn what_would_be_decided_is_what_is_decided() {
    let shop = Shop::new().await;
    shop.text("frozen", FROZEN).await.ok();
    shop.text(
        "no-tunnels-at-night",
        "forbid (principal, action == Action::\"forward\", resource) when { context.hour >= 22 };",
    )
    .await
    .ok();
    let me = shop.team.get(&shop.alice, "/v1/me").await.ok();
    let device = me["device"]["name"].as_str().unwrap().to_owned();
    let before = shop.team.audit().await.len();
    let ask = async |case: Value| {
        let answer = shop.team.post(&shop.admin, "/v1/policy-test", json!({"cases": [case]})).await.ok();
        answer["decisions"][0].clone()
    };
    let decided = ask(json!({"user": "alice", "server": "prod-1"})).await;
    assert_eq!((&decided["verdict"], &decided["codes"]), (&json!("deny"), &json!(["policy"])));
    assert_eq!(decided["reasons"], json!(["policy `frozen` forbids it: prod is frozen"]));
    let decided = ask(json!({"user": "alice", "server": "prod-1", "purpose": "command", "from": "192.0.2.7",
        "at": "2026-12-01T12:00:00Z", "sign_in": {"age_seconds": 60, "second_factor": false, "device": device}}))
    .await;
    assert_eq!((&decided["verdict"], &decided["login"]), (&json!("allow"), &json!("alice")));
    assert_eq!((&decided["port_forwarding"], &decided["server_admin"]), (&json!(true), &json!(false)));
    let night = json!({"user": "alice", "server": "web-1", "at": "2026-12-01T22:00:00Z"});
    let decided = ask(night).await;
    assert_eq!((&decided["verdict"], &decided["port_forwarding"]), (&json!("allow"), &json!(false)));
    for (case, code) in [
        (json!({"user": "nobody", "server": "web-1"}), "unknown_user"),
        (json!({"user": "alice", "server": "web-9"}), "unknown_server"),
        (json!({"user": "alice", "server": "web-1", "sign_in": {"device": "other"}}), "no_approved_device"),
        (json!({"user": "alice", "server": "web-1", "login": "bob"}), "other_login"),
        (json!({"user": "admin", "server": "web-1"}), "no_access"),
    ] {
        let decided = ask(case).await;
        assert_eq!((&decided["verdict"], &decided["codes"]), (&json!("deny"), &json!([code])));
    }
    let role = json!({"server_access": true, "server_admin": true,
        "conditions": {"authentication": {"max_age_seconds": 300, "second_factor": true}}});
    shop.team.put(&shop.admin, "/v1/projects/shop/groups/shop", role).await.ok();
    let decided = ask(json!({"user": "alice", "server": "web-1", "sign_in": {"age_seconds": 301}})).await;
    assert_eq!(decided["verdict"], "allow-after-sign-in");
    assert_eq!(decided["asks"], json!({"max_age_seconds": 300, "second_factor": true}));
    let decided = ask(json!({"user": "alice", "server": "web-1", "sign_in": {"age_seconds": 300}})).await;
    assert_eq!((&decided["verdict"], &decided["server_admin"]), (&json!("allow"), &json!(true)));
    shop.team
        .post(
            &shop.admin,
            "/v1/policy-test",
            json!({"cases": [{"user": "alice", "server": "web-1", "form": "x"}]}),
        )
        .await
        .error("invalid_request");
    let many = vec![json!({"user": "alice", "server": "web-1"}); 101];
    shop.team.post(&shop.admin, "/v1/policy-test", json!({"cases": many})).await.error("invalid_request");
    let asked = shop.team.post(&shop.alice, "/v1/policy-test", json!({"cases": []})).await;
    assert_eq!(asked.status, 403);
    // Nothing was signed; the role is all that was written down.
    let rows = shop.team.audit().await;
    let kinds: Vec<_> = rows[before..].iter().map(|row| row["event"]["type"].clone()).collect();
    assert!(kinds.iter().all(|kind| kind == "project_group.set" || kind == "log.start"), "{kinds:?}");
}

#[tokio::test]
async fn who_would_gain_or_lose_is_told_and_nothing_is_changed() {
    let shop = Shop::new().await;
    shop.team.person(&shop.admin, "bob", &["bank"]).await;
    let before = shop.team.audit().await.len();
    let ask = async |body: Value| shop.team.post(&shop.admin, "/v1/policy-diff", body).await;
    assert_eq!(ask(json!({})).await.ok()["differences"], json!([]));

    // bank's people instead of shop's, on labelled servers only.
    let roles = json!({"bank": {"server_access": true, "server_admin": true, "conditions": {"labels": {"env": "prod"}}}});
    let answer = ask(json!({"projects": {"shop": {"groups": roles}}})).await.ok();
    assert_eq!((&answer["users"], &answer["servers"]), (&json!(3), &json!(2)));
    let told: std::collections::BTreeSet<_> = answer["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            format!(
                "{} {} {} {}",
                one["change"], one["users"][0]["login"], one["servers"], one["after"]["server_admin"]
            )
        })
        .collect();
    let expected = [
        r#""gain" "bob" ["prod-1"] true"#.to_owned(),
        r#""loss" "alice" ["prod-1","web-1"] null"#.to_owned(),
    ];
    assert_eq!(told, expected.into());

    let night = r#"forbid (principal, action == Action::"connect", resource in Project::"shop") when { context.hour < 6 };"#;
    let answer = ask(json!({"policies": {"night": {"text": night}}})).await.ok();
    let [lost] = answer["differences"].as_array().unwrap().as_slice() else { panic!("{answer}") };
    assert_eq!((&lost["change"], &lost["servers"]), (&json!("loss"), &json!(["prod-1", "web-1"])));
    let at = lost["when"]["at"].as_str().unwrap().to_owned();
    assert!(["T00", "T01", "T02", "T03", "T04", "T05"].iter().any(|hour| at.contains(hour)), "{at}");
    let noon = ask(json!({"policies": {"night": {"text": night}}, "at": "2026-12-01T12:00:00Z"})).await.ok();
    assert_eq!(noon["differences"], json!([]));

    // A policy that stands, set to the same, is no change; removed, it gives back.
    shop.text("night", night).await.ok();
    let same = ask(json!({"policies": {"night": {"text": night}}})).await.ok();
    assert_eq!(same["differences"], json!([]));
    let answer = ask(json!({"removed_policies": ["night"], "at": "2026-12-01T03:00:00Z"})).await.ok();
    assert_eq!(answer["differences"][0]["change"], "gain");

    ask(json!({"removed_policies": ["other"]})).await.error("not_found");
    ask(json!({"projects": {"other": {"groups": {}}}})).await.error("not_found");
    ask(json!({"projects": {"shop": {"groups": {"other": {"server_access": true, "server_admin": false}}}}}))
        .await
        .error("not_found");
    ask(json!({"policies": {"x": {"text": "permit (principal, action, resource);"}}}))
        .await
        .error("invalid_request");
    ask(json!({"projects": {"shop": {"groups": {"bank": {"server_access": true, "server_admin": false,
        "conditions": {"moon": "full"}}}}}}))
    .await
    .error("invalid_request");
    assert_eq!(shop.team.post(&shop.alice, "/v1/policy-diff", json!({})).await.status, 403);
    let rows = shop.team.audit().await;
    let kinds: Vec<_> = rows[before..].iter().map(|row| row["event"]["type"].clone()).collect();
    assert!(kinds.iter().all(|kind| kind == "policy.set" || kind == "log.start"), "{kinds:?}");
    shop.remove("night").await.ok();
    shop.always_in("web-1", "command").await;
}
