//! Conditions on roles over the whole pipeline: set, shown, written down, and decided at once, from memory and from rows.

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
        let alice = team.person(&admin, "alice", &["shop"]).await;
        let labelled = team.token(&admin, "shop", json!({"labels": {"env": "test"}})).await;
        team.enroll(&labelled, "test-1", 1).await;
        team.enroll(&team.token(&admin, "shop", json!({})).await, "web-1", 2).await;
        Self { team, admin, alice }
    }

    async fn set(&self, conditions: Value) -> Reply {
        let role = json!({"server_access": true, "server_admin": false, "conditions": conditions});
        self.team.put(&self.admin, "/v1/projects/shop/groups/shop", role).await
    }

    async fn project(&self, authentication: Value) -> Reply {
        let body = json!({"authentication": authentication}).to_string();
        self.team.send(&self.admin, "PATCH", "/v1/projects/shop", &body, self.team.jti()).await
    }

    async fn connect(&self, server: &str) -> Reply {
        let body = json!({"server": server, "purpose": "command", "keys": [ssh_key(901)]});
        self.team.post(&self.alice, "/v1/connections", body).await
    }

    /// Often enough that memory answers where it can, on every broker.
    async fn always(&self, server: &str) -> Vec<Reply> {
        let mut replies = Vec::new();
        for _ in 0..6 {
            replies.push(self.connect(server).await);
        }
        replies
    }
}

#[tokio::test]
async fn a_condition_counts_from_the_next_request_on() {
    let shop = Shop::new().await;
    for server in ["test-1", "web-1"] {
        shop.always(server).await.iter().for_each(|reply| drop(reply.ok()));
    }
    let set = shop.set(json!({"labels": {"env": "test"}})).await.ok();
    assert_eq!(set["conditions"], json!({"labels": {"env": "test"}}));
    shop.always("test-1").await.iter().for_each(|reply| drop(reply.ok()));
    for reply in shop.always("web-1").await {
        let error = reply.error("access_denied");
        assert_eq!(error["reasons"], json!(["group `shop` gives access to servers with env=test only"]));
    }
    let listed = shop.team.get(&shop.admin, "/v1/projects/shop/groups").await.ok();
    assert_eq!(listed["items"][0]["conditions"], json!({"labels": {"env": "test"}}));
    // A role without conditions in the request has none.
    shop.set(json!({})).await.ok();
    shop.always("web-1").await.iter().for_each(|reply| drop(reply.ok()));
}

#[tokio::test]
async fn networks_and_hours_deny_with_their_reason() {
    let shop = Shop::new().await;
    shop.set(json!({"networks": ["10.0.0.0/8"]})).await.ok();
    let error = shop.connect("web-1").await.error("access_denied");
    let reason = "group `shop` gives access from 10.0.0.0/8 only, and you come from 192.0.2.7";
    assert_eq!(error["reasons"], json!([reason]));
    shop.set(json!({"networks": ["10.0.0.0/8", "192.0.2.0/24"]})).await.ok();
    shop.always("web-1").await.iter().for_each(|reply| drop(reply.ok()));

    // Now, and never now.
    let day = "mon,tue,wed,thu,fri,sat,sun";
    shop.set(json!({"hours": format!("{day} 00:00-24:00 UTC")})).await.ok();
    shop.always("web-1").await.iter().for_each(|reply| drop(reply.ok()));
    let minute = shop.team.clock.now().as_secs().rem_euclid(86_400) / 60;
    let (from, to) = ((minute + 60) % 1440, (minute + 120) % 1440);
    let clock = |minute: i64| format!("{:02}:{:02}", minute / 60, minute % 60);
    let hours = format!("daily {}-{} UTC", clock(from), clock(to));
    shop.set(json!({"hours": hours})).await.ok();
    let error = shop.connect("web-1").await.error("access_denied");
    assert_eq!(error["next"], format!("come back at {hours}"));
    let denied = shop.team.events("connection.deny").await;
    assert_eq!(denied.last().unwrap()["reasons"], json!(["outside_hours"]));
}

#[tokio::test]
async fn an_old_sign_in_is_told_what_to_do_and_how_old_it_may_be() {
    let shop = Shop::new().await;
    shop.project(json!({"max_age_seconds": 600})).await.ok();
    shop.always("web-1").await.iter().for_each(|reply| drop(reply.ok()));
    let later = shop.team.clock.now().saturating_add(std::time::Duration::from_secs(601));
    shop.team.clock.set(later);
    for reply in shop.always("web-1").await {
        let error = reply.error("insufficient_user_authentication");
        assert_eq!(error["message"], "`web-1` wants you to sign in, at most 10 minutes ago");
        assert_eq!(error["step_up"], json!({"server": "web-1", "authentication": {"max_age_seconds": 600}}));
    }
    let denied = shop.team.events("connection.deny").await;
    assert_eq!(denied.last().unwrap()["reasons"], json!(["step_up"]));
    shop.project(json!({})).await.ok();
    shop.always("web-1").await.iter().for_each(|reply| drop(reply.ok()));
}

#[tokio::test]
async fn what_is_not_understood_is_refused_and_changes_nothing() {
    let shop = Shop::new().await;
    shop.set(json!({"labels": {"env": "test"}})).await.ok();
    let before = shop.team.audit().await.len();
    for (bad, wrong) in [
        (json!({"geo": "AT"}), "there is no condition `geo`"),
        (json!({"networks": ["10.0.0.0/33"]}), "conditions.networks"),
        (json!({"networks": vec!["10.0.0.0/8"; 65]}), "at most"),
        (json!({"hours": "always"}), "conditions.hours"),
        (json!({"authentication": {"max_age_seconds": 0}}), "from 30 to 86400"),
        (json!({"authentication": {"max_age_seconds": 86401}}), "from 30 to 86400"),
        (json!({"authentication": {"acr": "high"}}), "there is no condition `acr`"),
        (json!({"authentication": {"second_factor": "yes"}}), "invalid type"),
        (json!({"labels": {"env": 1}}), "invalid type"),
        (json!({"labels": {"a b": "c"}}), "label"),
    ] {
        let error = shop.set(bad.clone()).await.error("invalid_request");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(wrong), "{bad}: {message}");
    }
    assert_eq!(shop.team.audit().await.len(), before);
    let listed = shop.team.get(&shop.admin, "/v1/projects/shop/groups").await.ok();
    assert_eq!(listed["items"][0]["conditions"], json!({"labels": {"env": "test"}}));
}

#[tokio::test]
async fn the_log_says_what_was_asked_and_by_whom() {
    let shop = Shop::new().await;
    let conditions = json!({
        "labels": {"env": "test"},
        "networks": ["10.1.2.3/16"],
        "hours": "mon-fri 08:00-18:00 Europe/Vienna",
        "authentication": {"max_age_seconds": 900, "second_factor": true},
    });
    shop.set(conditions).await.ok();
    let set = shop.team.events("project_group.set").await;
    assert_eq!(
        set.last().unwrap()["conditions"],
        json!({
            "labels": {"env": "test"},
            "networks": [{"address": "10.1.0.0", "prefix_length": 16}],
            "hours": "mon-fri,08:00-18:00,Europe/Vienna",
            "authentication": {"max_age_seconds": 900, "second_factor": true, "named_server": false},
        })
    );
    shop.project(json!({"named_server": true})).await.ok();
    let updated = shop.team.events("project.update").await;
    let last = updated.last().unwrap().to_string();
    assert!(last.contains("\"named_server\":true"), "{last}");
}

#[tokio::test]
async fn who_asks_why_is_told_what_would_be_decided() {
    let shop = Shop::new().await;
    let own = async |server: &str| shop.team.get(&shop.alice, &format!("/v1/servers/{server}/access")).await;
    let of = async |user: &str, query: &str| {
        shop.team.get(&shop.admin, &format!("/v1/servers/web-1/access/{user}{query}")).await
    };
    assert_eq!(own("web-1").await.ok()["verdict"], "allow");
    assert_eq!(of("alice", "").await.ok()["verdict"], "allow");

    shop.set(json!({"networks": ["10.0.0.0/8"], "authentication": {"max_age_seconds": 60}})).await.ok();
    let told = own("web-1").await.ok();
    assert_eq!(told["verdict"], "deny");
    let denied = shop.connect("web-1").await.error("access_denied");
    assert_eq!((&told["reasons"], &told["next"]), (&denied["reasons"], &denied["next"]));
    assert_eq!(of("alice", "?from=10.1.2.3").await.ok()["verdict"], "allow-after-sign-in");
    assert_eq!(of("alice", "?from=11.1.2.3").await.ok()["verdict"], "deny");
    let told = of("alice", "?from=10.1.2.3").await.ok();
    assert_eq!(told["asks"], json!({"max_age_seconds": 60}));
    assert_eq!((&told["roles"][0]["member"], &told["roles"][0]["counts"]), (&json!(true), &json!(true)));

    // Nobody without access learns that the server is there, and only administrators ask about others.
    let bob = shop.team.person(&shop.admin, "bob", &[]).await;
    let hidden = shop.team.get(&bob, "/v1/servers/web-1/access").await;
    let missing = shop.team.get(&bob, "/v1/servers/web-9/access").await;
    assert_eq!(hidden.text.replace("web-1", "NAME"), missing.text.replace("web-9", "NAME"));
    shop.team.get(&bob, "/v1/servers/web-1/access/alice").await.error("forbidden");
    let told = of("bob", "").await.ok();
    assert_eq!(told["reasons"], json!(["you are in no group that may log in on servers of project `shop`"]));

    shop.team.post(&shop.admin, "/v1/users", json!({"user_name": "carl"})).await.ok();
    let told = of("carl", "").await.ok();
    assert_eq!(told["reasons"][0], "user `carl` has no approved device");
    let body = json!({"status": "disabled"}).to_string();
    shop.team.send(&shop.admin, "PATCH", "/v1/users/alice", &body, shop.team.jti()).await.ok();
    assert_eq!(of("alice", "").await.ok()["reasons"][0], "user `alice` is disabled");
    of("nobody", "").await.error("not_found");
    of("alice", "?from=here").await.error("invalid_request");
}
