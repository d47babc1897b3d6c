//! Nothing changes without a row: every write of the API, and what it leaves in the audit log.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use usher_api::v1::ENDPOINTS;

use crate::team::{Caller, Team, enroll_body, report_body};

/// What a write leaves: each of these kinds once it has done what it does.
const WRITES: &[(&str, &str, &[&str])] = &[
    (
        "POST",
        "/v1/token",
        &["session.open", "session.close", "session.exchange", "device.register", "sign_in.fail"],
    ),
    ("POST", "/v1/enroll", &["server.enroll", "server.enroll_refuse"]),
    ("DELETE", "/v1/session", &["session.close"]),
    ("DELETE", "/v1/sessions/{session}", &["session.close"]),
    ("PATCH", "/v1/team/settings", &["team.update"]),
    ("POST", "/v1/connections", &["connection.issue", "connection.deny", "connection.fail"]),
    ("PATCH", "/v1/servers/{server}", &["server.update"]),
    ("DELETE", "/v1/servers/{server}", &["server.delete"]),
    ("POST", "/v1/projects", &["project.create", "ca_key.create"]),
    ("PATCH", "/v1/projects/{project}", &["project.update"]),
    ("DELETE", "/v1/projects/{project}", &["project.delete"]),
    ("PUT", "/v1/projects/{project}/groups/{group}", &["project_group.set"]),
    ("DELETE", "/v1/projects/{project}/groups/{group}", &["project_group.remove"]),
    ("POST", "/v1/groups", &["group.create"]),
    ("DELETE", "/v1/groups/{group}", &["group.delete"]),
    ("PUT", "/v1/groups/{group}/members/{user}", &["group.add_member"]),
    ("DELETE", "/v1/groups/{group}/members/{user}", &["group.remove_member"]),
    ("PUT", "/v1/groups/{group}/team-role", &["group.team_role"]),
    ("POST", "/v1/users", &["user.create", "user.set_up_code"]),
    ("PATCH", "/v1/users/{user}", &["user.update", "user.disable", "user.enable"]),
    ("DELETE", "/v1/users/{user}", &["user.delete"]),
    ("POST", "/v1/users/{user}/set-up-code", &["user.set_up_code"]),
    ("POST", "/v1/users/{user}/second-factor/reset", &["user.second_factor_reset", "user.set_up_code"]),
    ("PATCH", "/v1/passkeys/{passkey}", &["passkey.rename"]),
    ("DELETE", "/v1/passkeys/{passkey}", &["passkey.remove"]),
    ("DELETE", "/v1/users/{user}/passkeys/{passkey}", &["passkey.remove"]),
    ("PATCH", "/v1/devices/{device}", &["device.rename", "device.approve", "device.revoke"]),
    ("DELETE", "/v1/devices/{device}", &["device.delete"]),
    ("POST", "/v1/projects/{project}/keys", &["key.create"]),
    ("POST", "/v1/projects/{project}/keys/retire", &["key.retire"]),
    ("POST", "/v1/team/keys", &["key.create", "checkpoint_key.announce"]),
    ("POST", "/v1/team/keys/retire", &["key.retire"]),
    ("POST", "/v1/connectors", &["connector.create"]),
    ("PATCH", "/v1/connectors/{connector}", &["connector.update"]),
    ("DELETE", "/v1/connectors/{connector}", &["connector.delete"]),
    ("PUT", "/v1/locks/{kind}/{name}", &["lock.create"]),
    ("DELETE", "/v1/locks/{kind}/{name}", &["lock.delete"]),
    ("PUT", "/v1/policies/{name}", &["policy.set"]),
    ("DELETE", "/v1/policies/{name}", &["policy.remove"]),
    ("POST", "/v1/tokens", &["token.create"]),
    ("DELETE", "/v1/tokens/{token}", &["token.revoke"]),
    ("POST", "/v1/scim-tokens", &["scim_token.create"]),
    ("DELETE", "/v1/scim-tokens/{token}", &["scim_token.revoke"]),
    ("POST", "/v1/service-users", &["service_user.create"]),
    ("POST", "/v1/api-keys", &["api_key.create"]),
    ("POST", "/v1/api-keys/{key}/rotate", &["api_key.create"]),
    ("DELETE", "/v1/api-keys/{key}", &["api_key.revoke"]),
    ("POST", "/v1/trusts", &["trust.create"]),
    ("DELETE", "/v1/trusts/{trust}", &["trust.delete"]),
    ("POST", "/v1/agent/certificate", &["server.certificate"]),
    // Reports change no access; host keys that became others are the exception.
    ("POST", "/v1/agent/report", &["server.host_keys"]),
];

/// Questions that are too long for an address: they leave nothing.
const QUESTIONS: &[(&str, &str)] = &[("POST", "/v1/policy-diff"), ("POST", "/v1/policy-test")];

#[test]
fn every_write_of_the_api_says_what_it_leaves_in_the_log() {
    let listed = WRITES.iter().map(|(method, path, _)| (*method, *path));
    let listed: BTreeSet<_> = listed.chain(QUESTIONS.iter().copied()).collect();
    let writes = ENDPOINTS.iter().filter(|endpoint| endpoint.method != "GET");
    let known: BTreeSet<_> = writes.map(|endpoint| (endpoint.method, endpoint.path)).collect();
    assert_eq!(listed, known, "a write without a row, or a row without a write");
    for (_, _, kinds) in WRITES {
        assert!(!kinds.is_empty());
        for kind in *kinds {
            assert!(usher_audit::Event::KINDS.contains(kind), "{kind}");
        }
    }
}

/// Makes a change and gives the rows that it left, without `log.start`.
async fn leaves(team: &Team, caller: &Caller, method: &str, path: &str, body: Value) -> Vec<Value> {
    let before = team.audit().await.len();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    team.send(caller, method, path, &body, team.jti()).await.ok();
    let rows = team.audit().await.split_off(before);
    rows.into_iter().map(|row| row["event"].clone()).filter(|event| event["type"] != "log.start").collect()
}

/// What an administrator can change leaves exactly the rows that the table names, and says what was there before.
#[tokio::test]
async fn every_administrative_change_leaves_its_row() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    let mut seen = BTreeSet::new();
    let mut change = async |method: &'static str, path: &str, pattern: &'static str, body: Value| {
        let events = leaves(&team, &admin, method, path, body).await;
        let (_, _, kinds) =
            WRITES.iter().find(|(known, path, _)| (*known, *path) == (method, pattern)).unwrap();
        assert!(!events.is_empty(), "{method} {path} left nothing");
        for event in &events {
            assert!(kinds.contains(&event["type"].as_str().unwrap()), "{method} {path} left {event}");
        }
        seen.insert((method, pattern));
        events
    };
    change("POST", "/v1/projects", "/v1/projects", json!({"name": "prod"})).await;
    change("POST", "/v1/groups", "/v1/groups", json!({"name": "sre"})).await;
    let role = "/v1/projects/{project}/groups/{group}";
    let set = change(
        "PUT",
        "/v1/projects/prod/groups/sre",
        role,
        json!({"server_access": true, "server_admin": false}),
    )
    .await;
    assert_eq!(set[0]["before"], Value::Null);
    let set = change(
        "PUT",
        "/v1/projects/prod/groups/sre",
        role,
        json!({"server_access": true, "server_admin": true}),
    )
    .await;
    assert_eq!(set[0]["before"], json!({"server_access": true, "server_admin": false}));
    change("POST", "/v1/users", "/v1/users", json!({"user_name": "bob"})).await;
    let member = "/v1/groups/{group}/members/{user}";
    change("PUT", "/v1/groups/sre/members/bob", member, Value::Null).await;
    let given = json!({"team_role": "auditor"});
    let given = change("PUT", "/v1/groups/sre/team-role", "/v1/groups/{group}/team-role", given).await;
    assert_eq!((&given[0]["team_role"], &given[0]["before"]), (&json!("auditor"), &json!("member")));
    let updated = change(
        "PATCH",
        "/v1/users/bob",
        "/v1/users/{user}",
        json!({"display_name": "Bob", "team_role": "owner"}),
    )
    .await;
    assert_eq!(
        (&updated[0]["team_role"], &updated[0]["before"]),
        (&json!("owner"), &json!({"display_name": "bob", "team_role": "member"}))
    );
    change("PATCH", "/v1/users/bob", "/v1/users/{user}", json!({"status": "disabled"})).await;
    change("PATCH", "/v1/users/bob", "/v1/users/{user}", json!({"status": "active"})).await;
    change("POST", "/v1/users/bob/set-up-code", "/v1/users/{user}/set-up-code", Value::Null).await;
    let reset = "/v1/users/{user}/second-factor/reset";
    change("POST", "/v1/users/bob/second-factor/reset", reset, Value::Null).await;
    let key = team.passkey("bob").await;
    let path = format!("/v1/users/bob/passkeys/{key}");
    let removed = change("DELETE", &path, "/v1/users/{user}/passkeys/{passkey}", Value::Null).await;
    assert_eq!(removed[0]["passkey_name"], "Laptop");
    let lifetime = json!({"certificate_lifetime_seconds": 120, "port_forwarding": "local"});
    let updated = change("PATCH", "/v1/projects/prod", "/v1/projects/{project}", lifetime).await;
    assert_eq!(updated[0]["before"], json!({"certificate_lifetime_seconds": 180}), "only what changed");
    assert_eq!(updated[0]["port_forwarding"], Value::Null);

    let terms = json!({"project": "prod", "description": "rack", "labels": {"env": "prod"}, "name_pattern": "web-*", "cidr": "192.0.2.0/24"});
    let made = change("POST", "/v1/tokens", "/v1/tokens", terms).await;
    assert_eq!(
        (&made[0]["labels"], &made[0]["name_pattern"], &made[0]["cidr"]),
        (&json!({"env": "prod"}), &json!("web-*"), &json!("192.0.2.0/24"))
    );
    let token = format!("/v1/tokens/{}", made[0]["token_id"].as_str().unwrap());
    change("DELETE", &token, "/v1/tokens/{token}", Value::Null).await;

    team.connector(&admin, "entra").await;
    let terms = json!({"connector": "entra", "description": "okta", "cidr": "192.0.2.0/24"});
    let made = change("POST", "/v1/scim-tokens", "/v1/scim-tokens", terms).await;
    assert_eq!(made[0]["cidr"], "192.0.2.0/24");
    let token = format!("/v1/scim-tokens/{}", made[0]["token_id"].as_str().unwrap());
    change("DELETE", &token, "/v1/scim-tokens/{token}", Value::Null).await;

    change("POST", "/v1/service-users", "/v1/service-users", json!({"user_name": "deploy"})).await;
    let terms =
        json!({"service_user": "deploy", "description": "ci", "ttl_seconds": 3600, "cidr": "192.0.2.0/24"});
    let made = change("POST", "/v1/api-keys", "/v1/api-keys", terms).await;
    let key = format!("/v1/api-keys/{}", made[0]["token_id"].as_str().unwrap());
    let rotated = change("POST", &format!("{key}/rotate"), "/v1/api-keys/{key}/rotate", json!({})).await;
    assert_eq!(rotated[0]["replaces"]["token_id"], made[0]["token_id"]);
    change("DELETE", &key, "/v1/api-keys/{key}", Value::Null).await;
    let terms = json!({"service_user": "deploy", "description": "ci", "issuer": "https://idp.example", "claims": {"sub": "x"}});
    let made = change("POST", "/v1/trusts", "/v1/trusts", terms).await;
    let trust = format!("/v1/trusts/{}", made[0]["trust_id"].as_str().unwrap());
    change("DELETE", &trust, "/v1/trusts/{trust}", Value::Null).await;

    let (keys, retire) = ("/v1/projects/{project}/keys", "/v1/projects/{project}/keys/retire");
    change("POST", "/v1/projects/prod/keys", keys, json!({"kind": "ssh-user-ca"})).await;
    change("POST", "/v1/projects/prod/keys/retire", retire, json!({"kind": "ssh-user-ca"})).await;
    change("POST", "/v1/team/keys", "/v1/team/keys", json!({"kind": "audit"})).await;
    change("POST", "/v1/team/keys/retire", "/v1/team/keys/retire", json!({"kind": "audit"})).await;
    let idp = json!({"name": "okta", "join_rule": "scim", "settings": {"issuer": "https://okta.example", "client_id": "usher", "client_secret": "hidden"}});
    let made = change("POST", "/v1/connectors", "/v1/connectors", idp).await;
    assert_eq!(
        (&made[0]["settings"]["issuer"], &made[0]["settings"]["join_rule"]),
        (&json!("https://okta.example"), &json!("scim"))
    );
    let connector = "/v1/connectors/{connector}";
    let changed =
        change("PATCH", "/v1/connectors/okta", connector, json!({"join_rule": "first-login"})).await;
    assert_eq!(
        (&changed[0]["before"]["join_rule"], &changed[0]["secret_changed"]),
        (&json!("scim"), &json!(false))
    );
    change("DELETE", "/v1/connectors/okta", connector, Value::Null).await;
    let lock = "/v1/locks/{kind}/{name}";
    change("PUT", "/v1/locks/user/bob", lock, json!({"reason": "left"})).await;
    change("DELETE", "/v1/locks/user/bob", lock, Value::Null).await;
    let policy = "/v1/policies/{name}";
    let text = "forbid (principal, action, resource) when { context.hour == 3 };";
    let set = change("PUT", "/v1/policies/night", policy, json!({"text": text})).await;
    assert_eq!((&set[0]["policy"], &set[0]["before"]), (&json!("night"), &Value::Null));
    let again = change("PUT", "/v1/policies/night", policy, json!({"text": text, "project": "prod"})).await;
    assert_eq!(again[0]["before"], set[0]["text"]);
    let removed = change("DELETE", "/v1/policies/night", policy, Value::Null).await;
    assert_eq!(removed[0]["before"], set[0]["text"]);

    let secret = team.token(&admin, "prod", json!({"labels": {"env": "prod"}})).await;
    let agent = team.enroll(&secret, "web-1", 9).await;
    assert_eq!(team.events("server.enroll").await[0]["labels"], json!({"env": "prod"}));
    let moved = change(
        "PATCH",
        "/v1/servers/web-1",
        "/v1/servers/{server}",
        json!({"role": "bastion", "bastion_group": "edge"}),
    )
    .await;
    assert_eq!(moved[0]["before"], json!({"role": "target"}));
    let mut report = report_body(9);
    report["facts"]["host_keys"] = json!([crate::team::ssh_key(77)]);
    let rebuilt = leaves(&team, &agent.caller, "POST", "/v1/agent/report", report).await;
    assert_eq!(rebuilt[0]["type"], "server.host_keys");
    change("DELETE", "/v1/servers/web-1", "/v1/servers/{server}", Value::Null).await;

    let bob = team.session("bob").await;
    let device = team.get(&bob, "/v1/me").await.ok()["device"]["id"].as_str().unwrap().to_owned();
    let device = format!("/v1/devices/{device}");
    let renamed = change("PATCH", &device, "/v1/devices/{device}", json!({"name": "desk"})).await;
    assert_eq!((&renamed[0]["device_name"], &renamed[0]["before"]), (&json!("desk"), &json!("laptop")));
    let session = team.get(&bob, "/v1/me").await.ok()["session"]["id"].as_str().unwrap().to_owned();
    let session = format!("/v1/sessions/{session}");
    let closed = change("DELETE", &session, "/v1/sessions/{session}", Value::Null).await;
    assert_eq!(closed[0]["reason"], "revoked");
    let settings = json!({"session_idle_seconds": 900});
    let updated = change("PATCH", "/v1/team/settings", "/v1/team/settings", settings).await;
    assert_eq!(
        (&updated[0]["sessions"]["idle_seconds"], &updated[0]["before"]),
        (&json!(900), &json!({"lifetime_seconds": 43200, "bound": false}))
    );
    change("PATCH", &device, "/v1/devices/{device}", json!({"state": "revoked"})).await;
    change("DELETE", &device, "/v1/devices/{device}", Value::Null).await;
    change("DELETE", "/v1/groups/sre/members/bob", member, Value::Null).await;
    change("DELETE", "/v1/users/bob", "/v1/users/{user}", Value::Null).await;
    change("DELETE", "/v1/projects/prod/groups/sre", role, Value::Null).await;
    change("DELETE", "/v1/groups/sre", "/v1/groups/{group}", Value::Null).await;
    change("DELETE", "/v1/projects/prod", "/v1/projects/{project}", Value::Null).await;

    let admin_writes = ENDPOINTS
        .iter()
        .filter(|endpoint| {
            endpoint.method != "GET" && matches!(endpoint.guard, usher_api::v1::Guard::Permitted(_))
        })
        .map(|endpoint| (endpoint.method, endpoint.path))
        .filter(|endpoint| !QUESTIONS.contains(endpoint));
    let missing: Vec<_> = admin_writes.filter(|write| !seen.contains(write)).collect();
    assert!(missing.is_empty(), "administrative writes that this test does not make: {missing:?}");
}

/// Threat 56: what is secret goes in, and never into the log.
#[tokio::test]
async fn secrets_that_pass_through_do_not_end_in_the_log() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.project(&admin, "prod").await;
    let mut secrets = vec![admin.token.as_ref().unwrap().reveal().to_string()];
    let made = team.post(&admin, "/v1/users", json!({"user_name": "alice"})).await.ok();
    secrets.push(made["set_up"]["code"].as_str().unwrap().to_owned());
    let token = team.token(&admin, "prod", json!({})).await;
    team.enroll(&token, "web-1", 9).await;
    secrets.push(token.clone());
    let stranger = team.stranger();
    let canary = "CANARY-7f3a";
    for (path, body) in [
        ("/v1/enroll", enroll_body(&format!("{token}{canary}"), "web-2", 8)),
        (
            "/v1/token",
            json!({"grant_type": "authorization_code", "code": canary, "code_verifier": canary, "redirect_uri": canary}),
        ),
        ("/v1/connections", json!({"server": canary, "purpose": canary, "keys": [canary]})),
    ] {
        assert!(!team.post(&stranger, path, body.clone()).await.status.is_success());
        assert!(!team.post(&admin, path, body).await.status.is_success());
    }
    secrets.push(canary.to_owned());
    team.app.store().begin().await.unwrap().commit().await.unwrap();
    let log = serde_json::to_string(&team.audit().await).unwrap();
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret}");
        // Of a session token also the secret by itself: 43 characters, which may hold a `_` too.
        let session = secret.strip_prefix("us1_").and_then(|rest| rest.split_once('_'));
        if let Some(inner) = session.and_then(|(_id, rest)| rest.get(..43)) {
            assert!(!log.contains(inner), "{inner}");
        }
    }
}
