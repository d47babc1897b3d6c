//! Administration over the whole pipeline: who may, what happens, what is written down.

use http::StatusCode;
use serde_json::{Value, json};
use usher_api::v1::{ENDPOINTS, Guard};
use usher_identity::{DeviceState, dpop::Jti};
use usher_store::{
    KeyPurpose, audit, groups, keys, tokens,
    users::{self, UserChange},
};
use usher_testkit::NOW;
use usher_types::TeamRole;

use crate::team::{Caller, ORIGIN, PEER, Team};

async fn call_again(
    team: &Team,
    caller: &Caller,
    method: &str,
    path: &str,
    body: Option<Value>,
    jti: Jti,
) -> (StatusCode, Value) {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let reply = team.send(caller, method, path, &body, jti).await;
    let json = if reply.text.is_empty() { Value::Null } else { serde_json::from_str(&reply.text).unwrap() };
    (reply.status, json)
}

async fn call(
    team: &Team,
    caller: &Caller,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, Value) {
    call_again(team, caller, method, path, body, team.jti()).await
}

/// A call that must succeed.
async fn good(team: &Team, caller: &Caller, method: &str, path: &str, body: Option<Value>) -> Value {
    let (status, json) = call(team, caller, method, path, body).await;
    assert!(status.is_success(), "{method} {path}: {status} {json}");
    json
}

/// A call that must fail with this code; gives the message.
async fn refused(
    team: &Team,
    caller: &Caller,
    method: &str,
    path: &str,
    body: Option<Value>,
    code: &str,
) -> String {
    let (status, json) = call(team, caller, method, path, body).await;
    assert_eq!(json["error"]["code"], code, "{method} {path}: {status} {json}");
    json["error"]["message"].as_str().unwrap().to_owned()
}

/// The id of the caller's own device.
async fn device_of(team: &Team, caller: &Caller) -> String {
    good(team, caller, "GET", "/v1/me", None).await["device"]["id"].as_str().unwrap().to_owned()
}

/// Kinds of all audit rows from `position` on, without the first of the chain.
async fn events_after(team: &Team, position: i64) -> Vec<String> {
    let rows = audit::page(&mut team.store().read().await.unwrap(), position, 1000).await.unwrap();
    rows.iter()
        .map(|row| serde_json::from_slice::<Value>(&row.bytes).unwrap())
        .map(|row| row["event"]["type"].as_str().unwrap().to_owned())
        .filter(|kind| kind != "log.start")
        .collect()
}

async fn last_position(team: &Team) -> i64 {
    let rows = audit::page(&mut team.store().read().await.unwrap(), 0, 1000).await.unwrap();
    rows.last().unwrap().position
}

async fn epoch(team: &Team) -> i64 {
    team.store().read().await.unwrap().epoch().await.unwrap().value()
}

/// Project `prod` with group `sre`, whose members may log in.
async fn prod(team: &Team, admin: &Caller) {
    good(team, admin, "POST", "/v1/projects", Some(json!({"name": "prod"}))).await;
    good(team, admin, "POST", "/v1/groups", Some(json!({"name": "sre"}))).await;
    let role = json!({"server_access": true, "server_admin": false});
    good(team, admin, "PUT", "/v1/projects/prod/groups/sre", Some(role)).await;
}

/// The id of an enrolled server, by a token with these terms.
async fn server(team: &Team, admin: &Caller, name: &str, terms: Value) -> String {
    let token = team.token(admin, "prod", terms).await;
    team.enroll(&token, name, 9).await.id
}

#[tokio::test]
async fn every_administrative_endpoint_refuses_everybody_else() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    let alice = team.person(&admin, "alice", &[]).await;
    let pending = team.session_on("admin", DeviceState::Pending).await;
    let stranger = team.stranger();
    let before = (last_position(&team).await, epoch(&team).await);
    let mut knocked = 0;
    for endpoint in ENDPOINTS.iter().filter(|endpoint| matches!(endpoint.guard, Guard::Permitted(_))) {
        let path: String = endpoint
            .path
            .split('/')
            .map(|part| if part.starts_with('{') { "alice" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        let (method, body) = (endpoint.method, (!endpoint.request.is_empty()).then(|| json!({})));
        for (person, status, code) in [
            (&stranger, 401, "login_required"),
            (&alice, 403, "forbidden"),
            (&pending, 403, "device_pending_approval"),
        ] {
            let (found, answer) = call(&team, person, method, &path, body.clone()).await;
            let found = (found.as_u16(), answer["error"]["code"].as_str().unwrap());
            assert_eq!(found, (status, code), "{method} {path}");
            knocked += 1;
        }
    }
    assert!(knocked > 60, "the table has administrative endpoints");
    assert_eq!((last_position(&team).await, epoch(&team).await), before, "nothing was changed");
}

#[tokio::test]
async fn every_change_is_written_down_once_and_the_log_verifies() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    let start = last_position(&team).await;
    prod(&team, &admin).await;
    let user = json!({"user_name": "bob.b", "unix_user_name": "bob"});
    good(&team, &admin, "POST", "/v1/users", Some(user)).await;
    good(&team, &admin, "PUT", "/v1/groups/sre/members/bob.b", None).await;
    // The same again changes nothing and says nothing.
    good(&team, &admin, "PUT", "/v1/groups/sre/members/bob.b", None).await;
    good(&team, &admin, "PATCH", "/v1/users/bob.b", Some(json!({"display_name": "Bob"}))).await;
    good(&team, &admin, "PATCH", "/v1/users/bob.b", Some(json!({}))).await;
    let change = json!({"certificate_lifetime_seconds": 120});
    good(&team, &admin, "PATCH", "/v1/projects/prod", Some(change)).await;
    good(&team, &admin, "POST", "/v1/users/bob.b/set-up-code", None).await;
    good(&team, &admin, "PATCH", "/v1/users/bob.b", Some(json!({"status": "disabled"}))).await;
    good(&team, &admin, "PATCH", "/v1/users/bob.b", Some(json!({"status": "active"}))).await;
    good(&team, &admin, "DELETE", "/v1/groups/sre/members/bob.b", None).await;
    good(&team, &admin, "DELETE", "/v1/users/bob.b", None).await;
    good(&team, &admin, "DELETE", "/v1/projects/prod/groups/sre", None).await;
    good(&team, &admin, "DELETE", "/v1/groups/sre", None).await;
    good(&team, &admin, "DELETE", "/v1/projects/prod", None).await;
    let expected = [
        "project.create",
        "ca_key.create",
        "ca_key.create",
        "group.create",
        "project_group.set",
        "user.create",
        "user.set_up_code",
        "group.add_member",
        "user.update",
        "project.update",
        "user.set_up_code",
        "user.disable",
        "user.enable",
        "group.remove_member",
        "user.delete",
        "project_group.remove",
        "group.delete",
        "project.delete",
    ];
    assert_eq!(events_after(&team, start).await, expected);

    let page = good(&team, &admin, "GET", &format!("/v1/audit?after={start}&limit=2"), None).await;
    let first = &page["items"][1];
    assert_eq!(first["event"]["event"]["type"], "project.create");
    let me = good(&team, &admin, "GET", "/v1/me", None).await;
    let actor = json!({
        "type": "user",
        "user_id": me["user"]["id"],
        "device_id": me["device"]["id"],
        "session_id": me["session"]["id"],
    });
    assert_eq!((&first["event"]["actor"], &first["event"]["client_address"]), (&actor, &json!(PEER)));
    let log = audit::verify(&mut team.store().read().await.unwrap(), &[]).await.unwrap();
    assert_eq!(log.rows, u64::try_from(last_position(&team).await).unwrap());
}

#[tokio::test]
async fn a_refused_change_leaves_nothing() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    prod(&team, &admin).await;
    let before = (last_position(&team).await, epoch(&team).await);
    for (method, path, body, code) in [
        ("POST", "/v1/projects", json!({"name": "prod"}), "already_exists"),
        ("POST", "/v1/projects", json!({"name": "lab", "root": true}), "invalid_request"),
        ("POST", "/v1/projects", json!({"name": "../lab"}), "invalid_request"),
        ("POST", "/v1/projects", json!({"name": "lab", "next_unix_uid": 999}), "invalid_request"),
        ("POST", "/v1/projects", json!({"name": "lab", "next_unix_uid": 61184}), "invalid_request"),
        ("POST", "/v1/projects", json!({"name": "lab", "next_unix_uid": 65534}), "invalid_request"),
        ("POST", "/v1/projects", json!({"name": "lab", "next_unix_gid": 65535}), "invalid_request"),
        ("POST", "/v1/projects", json!({"name": "lab", "clock_skew_seconds": 0}), "invalid_request"),
        (
            "POST",
            "/v1/projects",
            json!({"name": "lab", "certificate_lifetime_seconds": 541}),
            "invalid_request",
        ),
        ("PATCH", "/v1/projects/prod", json!({"certificate_lifetime_seconds": 0}), "invalid_request"),
        ("PATCH", "/v1/projects/nope", json!({}), "not_found"),
        (
            "PUT",
            "/v1/projects/prod/groups/sre",
            json!({"server_access": false, "server_admin": true}),
            "invalid_request",
        ),
        (
            "PUT",
            "/v1/projects/prod/groups/nope",
            json!({"server_access": true, "server_admin": true}),
            "not_found",
        ),
        ("POST", "/v1/groups", json!({"name": "sre"}), "already_exists"),
        ("POST", "/v1/groups", json!({"name": "SRE"}), "invalid_request"),
        ("POST", "/v1/groups", json!({"name": "\u{ff53}re"}), "invalid_request"),
        ("POST", "/v1/users", json!({"user_name": "admin"}), "invalid_request"),
        ("POST", "/v1/users", json!({"user_name": "admin", "unix_user_name": "adm2"}), "already_exists"),
        ("POST", "/v1/users", json!({"user_name": "carol.c"}), "invalid_request"),
        ("POST", "/v1/users", json!({"user_name": "carol", "unix_user_name": "root"}), "invalid_request"),
        ("POST", "/v1/users", json!({"user_name": "carol", "id": "usr_1"}), "invalid_request"),
        ("POST", "/v1/tokens", json!({"project": "nope", "description": "x"}), "not_found"),
        (
            "POST",
            "/v1/tokens",
            json!({"project": "prod", "description": "x", "ttl_seconds": 0}),
            "invalid_request",
        ),
        (
            "POST",
            "/v1/tokens",
            json!({"project": "prod", "description": "x", "max_uses": 0}),
            "invalid_request",
        ),
        (
            "POST",
            "/v1/tokens",
            json!({"project": "prod", "description": "x", "cidr": "10/33"}),
            "invalid_request",
        ),
        (
            "POST",
            "/v1/tokens",
            json!({"project": "prod", "description": "x", "name_pattern": "*web"}),
            "invalid_request",
        ),
        (
            "POST",
            "/v1/tokens",
            json!({"project": "prod", "description": "x", "role": "bastion"}),
            "invalid_request",
        ),
        (
            "POST",
            "/v1/tokens",
            json!({"project": "prod", "description": "x", "bastion_group": "edge"}),
            "invalid_request",
        ),
        ("PATCH", "/v1/devices/dev_0", json!({"state": "approved"}), "not_found"),
    ] {
        let message = refused(&team, &admin, method, path, Some(body.clone()), code).await;
        assert!(!message.is_empty() && message.lines().count() == 1, "{body}: {message}");
    }
    for (method, path, code) in [
        ("DELETE", "/v1/groups/sre", "in_use"),
        ("DELETE", "/v1/groups/sre/members/admin", "not_found"),
        ("DELETE", "/v1/users/nope", "not_found"),
        ("DELETE", "/v1/tokens/tok_0", "not_found"),
        ("DELETE", "/v1/projects/prod/groups/nope", "not_found"),
        ("GET", "/v1/audit?limit=1001", "invalid_request"),
        ("GET", "/v1/audit?after=-1", "invalid_request"),
        ("GET", "/v1/audit?order=desc", "invalid_request"),
    ] {
        refused(&team, &admin, method, path, None, code).await;
    }
    assert_eq!((last_position(&team).await, epoch(&team).await), before);
}

#[tokio::test]
async fn a_member_of_a_group_with_access_gets_an_account() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    let alice = team.person(&admin, "alice", &[]).await;
    prod(&team, &admin).await;
    assert_eq!(good(&team, &alice, "GET", "/v1/projects", None).await["items"], json!([]));
    let shown = good(&team, &admin, "GET", "/v1/users/alice", None).await;
    let alice_id = shown["id"].as_str().unwrap();
    good(&team, &admin, "PUT", &format!("/v1/groups/sre/members/{alice_id}"), None).await;
    let project = good(&team, &alice, "GET", "/v1/projects/prod", None).await;
    // One GID for the group, then one of each for alice.
    assert_eq!((&project["next_unix_uid"], &project["next_unix_gid"]), (&json!(60_002), &json!(63_003)));
    let groups = good(&team, &admin, "GET", "/v1/projects/prod/groups", None).await;
    let expected = json!([{
        "project": "prod", "group": "sre", "server_access": true, "server_admin": false,
        "unix_group_name": "sre", "unix_gid": 63_001,
    }]);
    assert_eq!(groups["items"], expected);
    let shown = good(&team, &admin, "GET", "/v1/users/alice", None).await;
    assert_eq!(shown["groups"], json!(["sre"]));
    let shown = good(&team, &admin, "GET", "/v1/groups/sre", None).await;
    assert_eq!(shown["members"], json!(["alice"]));
}

#[tokio::test]
async fn making_a_project_makes_its_keys() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    for (name, kind, prefix) in
        [("prod", "ed25519", "ssh-ed25519 "), ("lab", "ecdsa-p256", "ecdsa-sha2-nistp256 ")]
    {
        let body = json!({"name": name, "ssh_certificate_type": kind});
        let project = good(&team, &admin, "POST", "/v1/projects", Some(body)).await;
        let lines = project["ssh_user_ca"].as_array().unwrap();
        assert_eq!(lines.len(), 1);
        let line = lines[0].as_str().unwrap();
        assert!(line.starts_with(prefix), "{line}");
        usher_ca::CaPublicKey::parse(line).unwrap();
        let id = project["id"].as_str().unwrap().parse().unwrap();
        let mut reader = team.store().read().await.unwrap();
        let x509 = keys::of_project(&mut reader, KeyPurpose::X509Ca, id).await.unwrap();
        assert_eq!((x509.len(), x509[0].public.len()), (1, 65));
    }
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    for change in [json!({"status": "disabled"}), json!({"team_role": "member"})] {
        let message = refused(&team, &admin, "PATCH", "/v1/users/admin", Some(change), "in_use").await;
        assert!(message.contains("last active owner"), "{message}");
    }
    refused(&team, &admin, "DELETE", "/v1/users/admin", None, "in_use").await;
    let body = json!({"user_name": "second", "team_role": "owner"});
    good(&team, &admin, "POST", "/v1/users", Some(body)).await;
    good(&team, &admin, "PATCH", "/v1/users/admin", Some(json!({"team_role": "member"}))).await;
    refused(&team, &admin, "GET", "/v1/users", None, "forbidden").await;
}

#[tokio::test]
async fn a_disabled_user_is_out_at_once() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    let alice = team.person(&admin, "alice", &[]).await;
    good(&team, &alice, "GET", "/v1/projects", None).await;
    let before = epoch(&team).await;
    good(&team, &admin, "PATCH", "/v1/users/alice", Some(json!({"status": "disabled"}))).await;
    assert!(epoch(&team).await > before);
    let (status, _) = call(&team, &alice, "GET", "/v1/projects", None).await;
    assert!(matches!(status.as_u16(), 401 | 403), "{status}");
    good(&team, &admin, "PATCH", "/v1/users/alice", Some(json!({"status": "active"}))).await;
    // Enabled again: the old session stays ended.
    refused(&team, &alice, "GET", "/v1/projects", None, "login_required").await;
}

#[tokio::test]
async fn a_change_is_refused_when_its_author_was_demoted_while_it_waited() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    let body = json!({"user_name": "second", "team_role": "owner"});
    good(&team, &admin, "POST", "/v1/users", Some(body)).await;

    // The writer's turn is taken while the request passes the guard and waits.
    let mut tx = team.store().begin().await.unwrap();
    let request = call(&team, &admin, "POST", "/v1/groups", Some(json!({"name": "sre"})));
    let mut request = Box::pin(request);
    for _ in 0..200 {
        tokio::select! {
            biased;
            _ = &mut request => panic!("it must wait for the writer"),
            () = tokio::task::yield_now() => {}
        }
    }
    let change = UserChange { team_role: Some(TeamRole::Member), ..UserChange::default() };
    let row = users::find(&mut tx, "admin").await.unwrap().unwrap();
    users::update(&mut tx, &row, &change, NOW).await.unwrap();
    tx.commit().await.unwrap();
    let (status, answer) = request.await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (403, &json!("forbidden")));
    let groups = groups::list(&mut team.store().read().await.unwrap()).await.unwrap();
    assert_eq!(groups, []);
}

#[tokio::test]
async fn a_secret_is_shown_once() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    prod(&team, &admin).await;
    let name = team.jti();
    let body = json!({"project": "prod", "description": "web"});
    let (status, made) = call_again(&team, &admin, "POST", "/v1/tokens", Some(body.clone()), name).await;
    assert_eq!(status.as_u16(), 201, "{made}");
    let (status, again) = call_again(&team, &admin, "POST", "/v1/tokens", Some(body), name).await;
    assert_eq!((status.as_u16(), &again["error"]["code"]), (409, &json!("already_done")));
    let listed = good(&team, &admin, "GET", "/v1/tokens", None).await;
    assert_eq!(listed["items"], json!([made["enrollment_token"]]));

    let pasted = usher_enrollment::PastedToken::parse(made["token"].as_str().unwrap()).unwrap();
    assert_eq!((pasted.url(), pasted.pin()), (ORIGIN, Some(team.app.authority().pin())));
    let id = made["enrollment_token"]["id"].as_str().unwrap();
    let stored = tokens::by_id(&mut team.store().read().await.unwrap(), id.parse().unwrap()).await.unwrap();
    assert_eq!(stored.unwrap().terms.hash, pasted.token().hash());
    // Neither the list nor the log repeats it.
    let secret = pasted.token().reveal();
    let log = good(&team, &admin, "GET", "/v1/audit", None).await.to_string();
    assert!(!log.contains(secret.as_str()) && !listed.to_string().contains(secret.as_str()));

    good(&team, &admin, "DELETE", &format!("/v1/tokens/{id}"), None).await;
    refused(&team, &admin, "GET", &format!("/v1/tokens/{id}"), None, "not_found").await;
    assert_eq!(good(&team, &admin, "GET", "/v1/tokens", None).await["items"], json!([]));
}

#[tokio::test]
async fn a_repeated_change_happens_once() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    let name = team.jti();
    let body = json!({"name": "sre"});
    let first = call_again(&team, &admin, "POST", "/v1/groups", Some(body.clone()), name).await;
    let second = call_again(&team, &admin, "POST", "/v1/groups", Some(body), name).await;
    assert_eq!(first.0.as_u16(), 201);
    assert_eq!(first, second);
    let other = json!({"name": "dev"});
    let (status, answer) = call_again(&team, &admin, "POST", "/v1/groups", Some(other), name).await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (409, &json!("request_reused")));
}

#[tokio::test]
async fn users_see_only_what_is_theirs() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    let alice = team.person(&admin, "alice", &[]).await;
    let bob = team.person(&admin, "bob", &[]).await;
    prod(&team, &admin).await;
    good(&team, &admin, "PUT", "/v1/groups/sre/members/alice", None).await;
    let web = server(&team, &admin, "web-1", json!({})).await;

    assert_eq!(good(&team, &alice, "GET", "/v1/servers", None).await["items"][0]["name"], "web-1");
    assert_eq!(good(&team, &alice, "GET", &format!("/v1/servers/{web}"), None).await["project"], "prod");
    assert_eq!(good(&team, &bob, "GET", "/v1/servers", None).await["items"], json!([]));
    // What is not there and what is not theirs look the same.
    for (kind, name) in [("servers", "web-1"), ("projects", "prod")] {
        let hidden = refused(&team, &bob, "GET", &format!("/v1/{kind}/{name}"), None, "not_found").await;
        let absent = refused(&team, &bob, "GET", &format!("/v1/{kind}/absent"), None, "not_found").await;
        assert_eq!(hidden.replace(name, "absent"), absent);
    }
    // The administrator sees everything without having access to anything.
    assert_eq!(good(&team, &admin, "GET", "/v1/servers/web-1", None).await["state"], "silent");

    let own = good(&team, &alice, "GET", "/v1/devices", None).await;
    assert_eq!(own["items"].as_array().unwrap().len(), 1);
    assert_eq!(own["items"][0]["id"], device_of(&team, &alice).await);
    refused(
        &team,
        &alice,
        "GET",
        &format!("/v1/devices/{}", device_of(&team, &bob).await),
        None,
        "not_found",
    )
    .await;
    let all = good(&team, &admin, "GET", "/v1/devices", None).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_device_is_approved_and_revoked_for_good() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    let alice = team.person(&admin, "alice", &[]).await;
    let phone = team.session_on("alice", DeviceState::Pending).await;
    let path = format!("/v1/devices/{}", device_of(&team, &phone).await);
    refused(&team, &phone, "GET", "/v1/servers", None, "device_pending_approval").await;
    refused(&team, &admin, "PATCH", &path, Some(json!({"state": "pending"})), "invalid_request").await;
    refused(&team, &admin, "DELETE", &path, None, "in_use").await;
    good(&team, &admin, "PATCH", &path, Some(json!({"state": "approved"}))).await;
    good(&team, &phone, "GET", "/v1/servers", None).await;
    good(&team, &admin, "PATCH", &path, Some(json!({"state": "revoked"}))).await;
    let (status, _) = call(&team, &phone, "GET", "/v1/servers", None).await;
    assert!(matches!(status.as_u16(), 401 | 403), "{status}");
    refused(&team, &admin, "PATCH", &path, Some(json!({"state": "approved"})), "device_revoked").await;
    good(&team, &alice, "GET", "/v1/servers", None).await;
    good(&team, &admin, "DELETE", &path, None).await;
    refused(&team, &admin, "GET", &path, None, "not_found").await;
}

#[tokio::test]
async fn placements_keep_the_rules_about_hops() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    prod(&team, &admin).await;
    server(&team, &admin, "edge-1", json!({"role": "bastion", "bastion_group": "edge"})).await;
    server(&team, &admin, "inner-1", json!({"role": "bastion", "bastion_group": "inner", "via": "edge"}))
        .await;
    let web = server(&team, &admin, "web-1", json!({"via": "inner"})).await;

    // A third hop, by a token that could make one or by moving a bastion.
    let deep = json!({"project": "prod", "description": "x", "role": "bastion", "bastion_group": "deep", "via": "inner"});
    good(&team, &admin, "POST", "/v1/tokens", Some(deep)).await;
    let deeper = json!({"project": "prod", "description": "x", "via": "deep"});
    refused(&team, &admin, "POST", "/v1/tokens", Some(deeper), "invalid_request").await;
    let circle = json!({"via": "inner"});
    refused(&team, &admin, "PATCH", "/v1/servers/edge-1", Some(circle), "invalid_request").await;
    refused(&team, &admin, "PATCH", "/v1/servers/web-1", Some(json!({"via": "No!"})), "invalid_request")
        .await;
    let no_group = json!({"bastion_group": ""});
    refused(&team, &admin, "PATCH", "/v1/servers/edge-1", Some(no_group), "invalid_request").await;

    let before = (last_position(&team).await, epoch(&team).await);
    let moved = good(&team, &admin, "PATCH", "/v1/servers/web-1", Some(json!({"via": "edge"}))).await;
    assert_eq!(moved["via"], "edge");
    assert_eq!(events_after(&team, before.0).await, ["server.update"]);
    assert!(epoch(&team).await > before.1);
    let cleared = good(&team, &admin, "PATCH", "/v1/servers/web-1", Some(json!({"via": ""}))).await;
    assert_eq!(cleared["via"], Value::Null);

    refused(&team, &admin, "DELETE", "/v1/projects/prod", None, "in_use").await;
    good(&team, &admin, "DELETE", &format!("/v1/servers/{web}"), None).await;
    refused(&team, &admin, "GET", "/v1/servers/web-1", None, "not_found").await;
}

#[tokio::test]
async fn a_disabled_user_gets_no_set_up_code() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    let made = good(&team, &admin, "POST", "/v1/users", Some(json!({"user_name": "carol"}))).await;
    assert_eq!(made["set_up"]["url"], format!("{}/set-up", ORIGIN));
    made["set_up"]["code"].as_str().unwrap().parse::<usher_sign_in::SetUpCode>().unwrap();
    good(&team, &admin, "PATCH", "/v1/users/carol", Some(json!({"status": "disabled"}))).await;
    refused(&team, &admin, "POST", "/v1/users/carol/set-up-code", None, "invalid_request").await;
}

/// Guarantee 2 rests on this: a change that does not move the epoch is not seen by connections on their way.
#[tokio::test]
async fn everything_that_can_take_access_away_moves_the_epoch() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    prod(&team, &admin).await;
    team.person(&admin, "alice", &["sre"]).await;
    let phone = team.session_on("alice", DeviceState::Pending).await;
    let phone = format!("/v1/devices/{}", device_of(&team, &phone).await);
    let edge = json!({"role": "bastion", "bastion_group": "edge"});
    server(&team, &admin, "edge-1", edge).await;
    server(&team, &admin, "web-1", json!({"via": "edge"})).await;
    let user = "/v1/users/alice";
    let project = "/v1/projects/prod";
    let role = "/v1/projects/prod/groups/sre";
    for (method, path, body) in [
        ("PUT", role, json!({"server_access": true, "server_admin": true})),
        ("PUT", role, json!({"server_access": true, "server_admin": false})),
        ("PUT", role, json!({"server_access": false, "server_admin": false})),
        ("PATCH", project, json!({"port_forwarding": "off"})),
        ("PATCH", project, json!({"certificate_lifetime_seconds": 60})),
        ("PATCH", project, json!({"clock_skew_seconds": 30})),
        ("PATCH", phone.as_str(), json!({"state": "approved"})),
        ("PATCH", phone.as_str(), json!({"state": "revoked"})),
        ("PATCH", "/v1/servers/web-1", json!({"via": ""})),
        ("DELETE", "/v1/servers/web-1", Value::Null),
        ("PUT", "/v1/groups/sre/team-role", json!({"team_role": "auditor"})),
        ("PATCH", user, json!({"team_role": "owner"})),
        ("PATCH", user, json!({"team_role": "member"})),
        ("PATCH", user, json!({"status": "disabled"})),
        ("PATCH", user, json!({"status": "active"})),
        ("DELETE", "/v1/groups/sre/members/alice", Value::Null),
        ("DELETE", role, Value::Null),
        ("DELETE", user, Value::Null),
    ] {
        let before = epoch(&team).await;
        let body = (!body.is_null()).then_some(body);
        good(&team, &admin, method, path, body.clone()).await;
        assert!(epoch(&team).await > before, "{method} {path} {body:?}");
    }
    // A new set-up code ends sessions.
    team.person(&admin, "bob", &[]).await;
    let before = epoch(&team).await;
    good(&team, &admin, "POST", "/v1/users/bob/set-up-code", None).await;
    assert!(epoch(&team).await > before);
}
