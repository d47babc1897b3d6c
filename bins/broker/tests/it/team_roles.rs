//! What each role in the team may do, and that nobody gives, takes or overrules what they do not hold.

use serde_json::{Value, json};
use usher_api::v1::{ENDPOINTS, Guard};
use usher_types::{Permission, TeamRole};

use crate::team::{Caller, Reply, Team};

/// A team with its owner and, by name, somebody in each role.
struct Roles {
    team: Team,
    owner: Caller,
}

impl Roles {
    async fn new() -> Self {
        let team = Team::new().await;
        let owner = team.session("admin").await;
        for role in TeamRole::ALL {
            let user = json!({"user_name": format!("the-{role}"), "team_role": role});
            team.post(&owner, "/v1/users", user).await.ok();
        }
        for group in ["sre", "chiefs"] {
            team.post(&owner, "/v1/groups", json!({ "name": group })).await.ok();
        }
        team.project(&owner, "prod").await;
        Self { team, owner }
    }

    async fn session(&self, role: TeamRole) -> Caller {
        self.team.session(&format!("the-{role}")).await
    }

    async fn send(&self, caller: &Caller, method: &str, path: &str, body: Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.team.send(caller, method, path, &body, self.team.jti()).await
    }

    async fn log(&self) -> usize {
        self.team.audit().await.len()
    }
}

/// Every endpoint lets in exactly the roles that its permission has.
#[tokio::test]
async fn every_endpoint_is_open_to_its_roles_alone() {
    let roles = Roles::new().await;
    for role in TeamRole::ALL {
        let caller = roles.session(role).await;
        for endpoint in ENDPOINTS {
            let Guard::Permitted(permission) = endpoint.guard else { continue };
            let parts = endpoint.path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
            let path = parts.collect::<Vec<_>>().join("/");
            let body = if endpoint.request.is_empty() { Value::Null } else { json!({}) };
            let reply = roles.send(&caller, endpoint.method, &path, body).await;
            if role.permits(permission) {
                // Nothing is called `x`, and an empty body is no change.
                assert!([200, 400, 404, 422].contains(&reply.status.as_u16()), "{role} {path}: {reply:?}");
            } else {
                let error = reply.error("forbidden");
                assert!(error["message"].as_str().unwrap().contains("owner"), "{error}");
                assert_eq!(reply.status, 403);
            }
        }
    }
}

/// Threat: an administrator makes an owner of itself, by whatever way leads there.
#[tokio::test]
async fn nobody_gives_what_they_do_not_hold() {
    let roles = Roles::new().await;
    let (team, owner) = (&roles.team, &roles.owner);
    team.put(owner, "/v1/groups/chiefs/team-role", json!({"team_role": "owner"})).await.ok();
    let admin = roles.session(TeamRole::Admin).await;
    let owners = roles.session(TeamRole::Owner).await;
    let phone = team.get(&owners, "/v1/me").await.ok()["device"]["id"].as_str().unwrap().to_owned();
    let phone = format!("/v1/devices/{phone}");
    let before = roles.log().await;
    let because = json!({"reason": "mine now"});
    for (method, path, body) in [
        ("POST", "/v1/users", json!({"user_name": "puppet", "team_role": "owner"})),
        ("PATCH", "/v1/users/the-admin", json!({"team_role": "owner"})),
        ("PUT", "/v1/groups/chiefs/members/the-admin", Value::Null),
        ("DELETE", "/v1/groups/chiefs", Value::Null),
        // To become an owner who is there.
        ("POST", "/v1/users/the-owner/set-up-code", Value::Null),
        ("PATCH", phone.as_str(), json!({"state": "approved"})),
        // To be rid of one.
        ("PATCH", "/v1/users/the-owner", json!({"status": "disabled"})),
        ("PATCH", "/v1/users/the-owner", json!({"team_role": "member"})),
        ("DELETE", "/v1/users/the-owner", Value::Null),
        ("PATCH", phone.as_str(), json!({"state": "revoked"})),
        ("PUT", "/v1/locks/user/the-owner", because.clone()),
        ("PUT", &phone.replace("/v1/devices", "/v1/locks/device"), because),
    ] {
        let error = roles.send(&admin, method, path, body).await.error("forbidden");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("has the team role owner, which you do not have"), "{path}: {message}");
    }
    assert_eq!(roles.log().await, before, "a refused change left something in the log");
    // Not a way around: giving the group its role is the owner's alone, and so are the connectors.
    let role = json!({"team_role": "admin"});
    roles.send(&admin, "PUT", "/v1/groups/sre/team-role", role).await.error("forbidden");

    // What it holds it may give and take.
    for role in [TeamRole::Auditor, TeamRole::AccessManager, TeamRole::Admin, TeamRole::Member] {
        team.send(
            &admin,
            "PATCH",
            "/v1/users/the-member",
            &json!({"team_role": role}).to_string(),
            team.jti(),
        )
        .await
        .ok();
    }
}

#[tokio::test]
async fn an_access_manager_gives_access_to_others_alone() {
    let roles = Roles::new().await;
    let team = &roles.team;
    let manager = roles.session(TeamRole::AccessManager).await;
    let role = json!({"server_access": true, "server_admin": false});
    // Its own group does not get access by its hand, nor itself a group that has.
    team.put(&roles.owner, "/v1/groups/chiefs/members/the-access-manager", Value::Null).await.ok();
    for (path, body) in [
        ("/v1/groups/sre/members/the-access-manager", Value::Null),
        ("/v1/projects/prod/groups/chiefs", role.clone()),
    ] {
        let error = team.put(&manager, path, body).await.error("forbidden");
        assert!(error["message"].as_str().unwrap().contains("not to yourself"), "{error}");
    }
    team.put(&manager, "/v1/projects/prod/groups/sre", role).await.ok();
    team.put(&manager, "/v1/groups/sre/members/the-member", Value::Null).await.ok();
    // A group with more than it holds is not its to fill.
    team.put(&roles.owner, "/v1/groups/sre/team-role", json!({"team_role": "auditor"})).await.ok();
    team.put(&manager, "/v1/groups/sre/members/the-owner", Value::Null).await.error("forbidden");
}

#[tokio::test]
async fn a_group_gives_its_role_until_it_is_gone() {
    let roles = Roles::new().await;
    let (team, owner) = (&roles.team, &roles.owner);
    let member = roles.session(TeamRole::Member).await;
    team.get(&member, "/v1/audit").await.error("forbidden");
    team.put(owner, "/v1/groups/sre/members/the-member", Value::Null).await.ok();
    let group = team.put(owner, "/v1/groups/sre/team-role", json!({"team_role": "auditor"})).await.ok();
    assert_eq!((&group["team_role"], &group["members"]), (&json!("auditor"), &json!(["the-member"])));
    team.get(&member, "/v1/audit").await.ok();
    let me = team.get(&member, "/v1/me").await.ok();
    assert_eq!(me["user"]["team_role"], "member");
    assert_eq!(me["user"]["team_roles"], json!(["auditor", "member"]));

    // By its id: the next group of the same name is another one.
    team.send(owner, "DELETE", "/v1/groups/sre", "", team.jti()).await.ok();
    team.get(&member, "/v1/audit").await.error("forbidden");
    team.post(owner, "/v1/groups", json!({"name": "sre"})).await.ok();
    team.put(owner, "/v1/groups/sre/members/the-member", Value::Null).await.ok();
    team.get(&member, "/v1/audit").await.error("forbidden");
}

/// Somebody must be left who can do everything, and no group gives that for certain.
#[tokio::test]
async fn an_owner_by_a_group_is_not_the_last_owner() {
    let team = Team::new().await;
    let owner = team.session("admin").await;
    team.post(&owner, "/v1/users", json!({"user_name": "bob"})).await.ok();
    team.post(&owner, "/v1/groups", json!({"name": "chiefs"})).await.ok();
    team.put(&owner, "/v1/groups/chiefs/members/bob", Value::Null).await.ok();
    team.put(&owner, "/v1/groups/chiefs/team-role", json!({"team_role": "owner"})).await.ok();
    let bob = team.session("bob").await;
    let less = json!({"team_role": "member"}).to_string();
    team.send(&bob, "PATCH", "/v1/users/admin", &less, team.jti()).await.error("in_use");
    let more = json!({"team_role": "owner"}).to_string();
    team.send(&bob, "PATCH", "/v1/users/bob", &more, team.jti()).await.ok();
    team.send(&bob, "PATCH", "/v1/users/admin", &less, team.jti()).await.ok();
}

#[test]
fn roles_hold_what_the_table_says() {
    let row =
        |role: TeamRole| Permission::ALL.map(|permission| if role.permits(permission) { 'x' } else { '-' });
    let table: Vec<String> = TeamRole::ALL
        .iter()
        .map(|role| format!("{role}: {}", row(*role).iter().collect::<String>()))
        .collect();
    // Access, projects, servers, team, users, the log, the rest.
    let expected = [
        "owner: xxxxxxx",
        "admin: xxx-xxx",
        "access-manager: x-----x",
        "auditor: -----xx",
        "member: -------",
    ];
    assert_eq!(table, expected);
}
