//! Locks over the whole pipeline: denied at once with the reason, written down, and given back.

use serde_json::{Value, json};

use crate::team::{Agent, Caller, Reply, Team, ssh_key};

/// Project `shop` with target web-1 behind bastion edge-1, and alice with access.
struct Shop {
    team: Team,
    admin: Caller,
    alice: Caller,
    web: Agent,
}

impl Shop {
    async fn new() -> Self {
        let team = Team::new().await;
        let admin = team.session("admin").await;
        team.project(&admin, "shop").await;
        let alice = team.person(&admin, "alice", &["shop"]).await;
        let web = team.enroll(&team.token(&admin, "shop", json!({})).await, "web-1", 1).await;
        Self { team, admin, alice, web }
    }

    async fn lock(&self, kind: &str, name: &str) -> Reply {
        let body = json!({"reason": "laptop stolen"});
        self.team.put(&self.admin, &format!("/v1/locks/{kind}/{name}"), body).await
    }

    async fn unlock(&self, kind: &str, name: &str) -> Reply {
        let path = format!("/v1/locks/{kind}/{name}");
        self.team.send(&self.admin, "DELETE", &path, "", self.team.jti()).await
    }

    async fn connect(&self, caller: &Caller) -> Reply {
        let keys = [ssh_key(901), ssh_key(902)];
        let body = json!({"server": "web-1", "purpose": "command", "keys": keys});
        self.team.post(caller, "/v1/connections", body).await
    }

    async fn device_of(&self, caller: &Caller) -> String {
        let me = self.team.get(caller, "/v1/me").await.ok();
        me["device"]["id"].as_str().unwrap().to_owned()
    }

    async fn document(&self) -> Value {
        self.team.told().await;
        let path = "/v1/agent/state?v=1&generation=0&server_generation=0&wait=0";
        let state = self.team.get(&self.web.caller, path).await.ok();
        let read = |part: &str| -> Value {
            serde_json::from_str(state[part]["document"].as_str().unwrap()).unwrap()
        };
        json!({"project": read("project"), "server": read("server")})
    }
}

#[tokio::test]
async fn every_kind_of_lock_denies_with_its_reason_is_written_down_and_gives_back() {
    let shop = Shop::new().await;
    let device = shop.device_of(&shop.alice).await;
    for (kind, name, code) in [
        ("user", "alice", "user_locked"),
        ("device", device.as_str(), "device_locked"),
        ("server", "web-1", "server_locked"),
        ("project", "shop", "project_locked"),
    ] {
        shop.connect(&shop.alice).await.ok();
        let lock = shop.lock(kind, name).await.ok();
        assert_eq!((&lock["kind"], &lock["reason"]), (&json!(kind), &json!("laptop stolen")));
        assert_eq!(lock["locked_by"], "admin");
        let error = shop.connect(&shop.alice).await.error("access_denied");
        assert_eq!(error["reasons"], json!([format!("{kind} {name} is locked: laptop stolen")]));
        assert!(error["next"].as_str().unwrap().contains(&format!("usher unlock {kind} {name}")), "{error}");
        let denial = shop.team.events("connection.deny").await.pop().unwrap();
        assert_eq!(denial["reasons"], json!([code]));

        let listed = shop.team.get(&shop.admin, "/v1/locks").await.ok();
        assert_eq!(listed["items"], json!([lock]));
        // Once more is no second event.
        shop.lock(kind, name).await.ok();
        shop.unlock(kind, name).await.ok();
        shop.unlock(kind, name).await.error("not_found");
        shop.connect(&shop.alice).await.ok();
    }
    assert_eq!(shop.team.events("lock.create").await.len(), 4);
    assert_eq!(shop.team.events("lock.delete").await.len(), 4);
}

#[tokio::test]
async fn documents_carry_the_lock_to_the_servers() {
    let shop = Shop::new().await;
    let locked = async || {
        let document = shop.document().await;
        let of = |pointer: &str| document.pointer(pointer) == Some(&Value::Bool(true));
        [of("/project/users/alice/locked"), of("/project/locked"), of("/server/locked")]
    };
    assert_eq!(locked().await, [false; 3]);
    for (kind, name, expected) in [
        ("user", "alice", [true, false, false]),
        ("project", "shop", [false, true, false]),
        ("server", "web-1", [false, false, true]),
    ] {
        shop.lock(kind, name).await.ok();
        assert_eq!(locked().await, expected);
        assert!(shop.document().await.pointer("/project/users/alice/uid").is_some(), "the account stays");
        shop.unlock(kind, name).await.ok();
        assert_eq!(locked().await, [false; 3]);
    }
}

#[tokio::test]
async fn a_locked_caller_may_only_see_who_it_is_and_sign_out() {
    let shop = Shop::new().await;
    let boss = json!({"team_role": "owner"}).to_string();
    shop.team.send(&shop.admin, "PATCH", "/v1/users/alice", &boss, shop.team.jti()).await.ok();
    let device = shop.device_of(&shop.alice).await;
    shop.team.get(&shop.alice, "/v1/users").await.ok();
    for (kind, name) in [("user", "alice"), ("device", device.as_str())] {
        shop.lock(kind, name).await.ok();
        for path in ["/v1/servers", "/v1/projects", "/v1/users", "/v1/locks"] {
            let error = shop.team.get(&shop.alice, path).await.error("locked");
            assert_eq!(error["reasons"], json!([format!("{kind} {name} is locked: laptop stolen")]));
        }
        // An administrator does not lift her own lock.
        let path = format!("/v1/locks/{kind}/{name}");
        shop.team.send(&shop.alice, "DELETE", &path, "", shop.team.jti()).await.error("locked");
        shop.team.get(&shop.alice, "/v1/me").await.ok();
        shop.unlock(kind, name).await.ok();
    }
    shop.team.get(&shop.alice, "/v1/users").await.ok();
}

#[tokio::test]
async fn the_last_administrator_cannot_lock_herself_out() {
    let shop = Shop::new().await;
    let device = shop.device_of(&shop.admin).await;
    let before = shop.team.audit().await.len();
    for (kind, name) in [("user", "admin"), ("device", device.as_str())] {
        let error = shop.lock(kind, name).await.error("in_use");
        assert!(error["next"].as_str().unwrap().contains("another user"), "{error}");
    }
    assert_eq!(shop.team.get(&shop.admin, "/v1/locks").await.ok()["items"], json!([]));
    assert_eq!(shop.team.audit().await.len(), before);
}

#[tokio::test]
async fn nobody_is_sent_through_a_locked_bastion() {
    let shop = Shop::new().await;
    let mut bastions = Vec::new();
    for (name, last) in [("edge-1", 2), ("edge-2", 3)] {
        let more = json!({"role": "bastion", "bastion_group": "edge"});
        let agent = shop.team.enroll(&shop.team.token(&shop.admin, "shop", more).await, name, last).await;
        shop.team.report(&agent).await.ok();
        bastions.push(agent);
    }
    let via = json!({"via": "edge"}).to_string();
    shop.team.send(&shop.admin, "PATCH", "/v1/servers/web-1", &via, shop.team.jti()).await.ok();
    shop.lock("server", "edge-1").await.ok();
    for _ in 0..8 {
        let connection = shop.connect(&shop.alice).await.ok();
        let routes = connection["routes"].as_array().unwrap();
        let first: Vec<_> = routes.iter().map(|route| route["legs"][0]["name"].as_str().unwrap()).collect();
        assert_eq!(first, ["edge-2"]);
    }
    shop.lock("server", "edge-2").await.ok();
    shop.connect(&shop.alice).await.error("no_route");
}

#[tokio::test]
async fn bad_locks_are_refused() {
    let shop = Shop::new().await;
    for (kind, name, code) in [
        ("user", "nobody", "not_found"),
        ("device", "laptop", "not_found"),
        ("server", "web-9", "not_found"),
        ("project", "bank", "not_found"),
        ("planet", "earth", "invalid_request"),
    ] {
        shop.lock(kind, name).await.error(code);
    }
    for reason in ["", " ", "two\nlines", &"x".repeat(201)] {
        let body = json!({"reason": reason});
        shop.team.put(&shop.admin, "/v1/locks/user/alice", body).await.error("invalid_request");
    }
}
