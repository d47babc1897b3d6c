//! Identity providers over SCIM: what they say, what they must not be able to say, and what of it decides at once.

use serde_json::{Value, json};

use crate::{
    connections::{Shop, ask, connect},
    team::{Provider, Team},
};

async fn okta(team: &Team) -> Provider<'_> {
    let admin = team.session("admin").await;
    team.connector(&admin, "okta").await
}

fn id(resource: &Value) -> String {
    resource["id"].as_str().unwrap().to_owned()
}

fn at(resource: &Value) -> String {
    let endpoint = if id(resource).starts_with("usr_") { "Users" } else { "Groups" };
    format!("/{endpoint}/{}", id(resource))
}

/// What Okta sends, as its documentation and its published test suite have it.
mod okta_says {
    use super::*;

    fn alice() -> Value {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": "alice@example.com",
            "name": {"givenName": "Alice", "familyName": "Smith"},
            "emails": [{"primary": true, "value": "alice@example.com", "type": "work"}],
            "displayName": "Alice Smith",
            "locale": "en-US",
            "externalId": "00ujl29u0le5T6Aj10h7",
            "groups": [],
            "password": "1mz050nq",
            "active": true,
        })
    }

    #[tokio::test]
    async fn a_person_comes_changes_leaves_and_comes_back() {
        let team = Team::new().await;
        let okta = okta(&team).await;
        let query = "/Users?filter=userName%20eq%20%22alice%40example.com%22&startIndex=1&count=100";
        assert_eq!(okta.get(query).await["totalResults"], 0);
        let made = okta.send("POST", "/Users", alice()).await;
        assert_eq!(made.headers["content-type"], "application/scim+json");
        assert_eq!(made.headers["location"], made.body["meta"]["location"].as_str().unwrap());
        assert_eq!(made.headers["etag"], made.body["meta"]["version"].as_str().unwrap());
        let made = made.expect(201);
        assert_eq!((&made["active"], &made["password"]), (&json!(true), &Value::Null));
        let found = okta.get(query).await;
        assert_eq!((&found["totalResults"], &found["Resources"][0]), (&json!(1), &made));

        let mut put = alice();
        put["name"]["familyName"] = json!("Jones");
        put["displayName"] = json!("Alice Jones");
        let changed = okta.send("PUT", &at(&made), put).await.expect(200);
        assert_eq!(changed["name"]["familyName"], "Jones");
        assert_eq!(team.events("user.update").await[0]["display_name"], "Alice Jones");

        let left =
            okta.patch(&at(&made), json!([{"op": "replace", "value": {"active": false}}])).await.expect(200);
        assert_eq!(left["active"], false);
        assert_eq!(team.events("user.disable").await.len(), 1);
        let back =
            okta.patch(&at(&made), json!([{"op": "replace", "value": {"active": true}}])).await.expect(200);
        assert_eq!((&back["active"], &back["id"]), (&json!(true), &made["id"]));
        assert_eq!(team.events("user.bind").await.len(), 1);
    }

    #[tokio::test]
    async fn a_group_is_pushed_renamed_filled_emptied_and_removed() {
        let team = Team::new().await;
        let okta = okta(&team).await;
        let (alice, bob) =
            (okta.post("/Users", alice()).await, okta.post("/Users", json!({"userName": "bob"})).await);
        let group = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": "Test SCIMv2",
            "members": [],
        });
        let group = okta.post("/Groups", group).await;
        let rename = json!([{"op": "replace", "value": {"id": id(&group), "displayName": "Test SCIMv3"}}]);
        assert_eq!(okta.patch(&at(&group), rename).await.expect(200)["displayName"], "Test SCIMv3");
        let add = json!([{"op": "add", "path": "members", "value": [
            {"value": id(&alice), "display": "alice@example.com"}, {"value": id(&bob), "display": "bob"},
        ]}]);
        let filled = okta.patch(&at(&group), add).await.expect(200);
        assert_eq!(filled["members"].as_array().unwrap().len(), 2);
        let groups = &okta.get(&at(&alice)).await["groups"];
        assert_eq!((&groups[0]["value"], &groups[0]["display"]), (&group["id"], &json!("Test SCIMv3")));
        let remove = json!([{"op": "remove", "path": format!("members[value eq \"{}\"]", id(&alice))}]);
        let left = okta.patch(&at(&group), remove).await.expect(200);
        assert_eq!(left["members"].as_array().unwrap().len(), 1);
        let replace = json!([{"op": "replace", "path": "members", "value": [{"value": id(&alice)}]}]);
        assert_eq!(okta.patch(&at(&group), replace).await.expect(200)["members"][0]["value"], alice["id"]);
        let kept = json!({"displayName": "Test SCIMv3", "members": [{"value": id(&bob)}]});
        assert_eq!(okta.send("PUT", &at(&group), kept).await.expect(200)["members"][0]["value"], bob["id"]);
        assert_eq!(team.events("group.add_member").await.len(), 4);
        assert_eq!(team.events("group.remove_member").await.len(), 3);
        okta.send("DELETE", &at(&group), Value::Null).await.expect(204);
        okta.send("GET", &at(&group), Value::Null).await.refused(404, "");
    }
}

/// What Entra sends, as its documentation has it.
mod entra_says {
    use super::*;

    #[tokio::test]
    async fn a_person_comes_changes_and_leaves() {
        let team = Team::new().await;
        let entra = okta(&team).await;
        let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let made = entra
            .post(
                "/Users",
                json!({
                    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", enterprise],
                    "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
                    "userName": "Test_User_ab6490ee",
                    "active": true,
                    "emails": [{"primary": true, "type": "work", "value": "Test_User@testuser.com"}],
                    "meta": {"resourceType": "User"},
                    "name": {"formatted": "givenName familyName", "familyName": "familyName", "givenName": "givenName"},
                    "roles": [],
                    enterprise: {"department": "Ops"},
                }),
            )
            .await;
        assert_eq!(made["schemas"].as_array().unwrap().len(), 2);
        let by_external = "/Users?filter=externalId%20eq%20%220a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef%22";
        assert_eq!(entra.get(by_external).await["totalResults"], 1);
        let changed = entra
            .patch(
                &at(&made),
                json!([
                    {"op": "Replace", "path": "emails[type eq \"work\"].value", "value": "updated@example.com"},
                    {"op": "Replace", "path": "name.familyName", "value": "updatedFamilyName"},
                    {"op": "Add", "path": format!("{enterprise}:manager"), "value": "7"},
                    {"op": "Replace", "path": "userName", "value": "renamed@example.com"},
                ]),
            )
            .await
            .expect(200);
        assert_eq!(changed["emails"][0]["value"], "updated@example.com");
        assert_eq!(changed[enterprise]["manager"]["value"], "7");
        let left =
            entra.patch(&at(&made), json!([{"op": "Replace", "path": "active", "value": "False"}])).await;
        assert_eq!(left.expect(200)["active"], false);
        entra.send("DELETE", &at(&made), Value::Null).await.expect(204);
        assert_eq!(team.events("user.delete").await.len(), 1);
    }

    #[tokio::test]
    async fn a_group_is_read_without_its_members() {
        let team = Team::new().await;
        let entra = okta(&team).await;
        let alice = entra.post("/Users", json!({"userName": "alice"})).await;
        let group = json!({"displayName": "displayName", "externalId": "8aa1a0c0", "members": [{"value": id(&alice)}]});
        let group = entra.post("/Groups", group).await;
        let query = "/Groups?excludedAttributes=members&filter=displayName%20eq%20%22DISPLAYNAME%22";
        let found = entra.get(query).await;
        assert_eq!((&found["totalResults"], &found["Resources"][0]["members"]), (&json!(1), &Value::Null));
        let remove =
            json!([{"op": "Remove", "path": "members", "value": [{"$ref": null, "value": id(&alice)}]}]);
        assert_eq!(entra.patch(&at(&group), remove).await.expect(200)["members"], Value::Null);
    }
}

mod decides_at_once {
    use super::*;

    /// alice of the shop is Okta's, by way of her group there.
    async fn provisioned(shop: &Shop) -> (Provider<'_>, Value, Value, crate::team::Caller) {
        let team = &shop.team;
        let admin = team.session("admin").await;
        let okta = team.connector(&admin, "okta").await;
        let carol = okta.post("/Users", json!({"userName": "carol@example.com", "externalId": "1"})).await;
        let group =
            okta.post("/Groups", json!({"displayName": "Shop", "members": [{"value": id(&carol)}]})).await;
        let role = json!({"server_access": true, "server_admin": false});
        team.put(&admin, "/v1/projects/shop/groups/okta.shop", role).await.ok();
        let caller = team.session("carol").await;
        connect(team, &caller, ask("web-1", 2)).await.ok();
        (okta, carol, group, caller)
    }

    #[tokio::test]
    async fn a_deactivation_in_any_spelling() {
        let shop = Shop::new().await;
        let (okta, carol, _, caller) = provisioned(&shop).await;
        okta.patch(&at(&carol), json!([{"op": "Replace", "path": "active", "value": "False"}]))
            .await
            .expect(200);
        connect(&shop.team, &caller, ask("web-1", 2)).await.error("login_required");
        okta.patch(&at(&carol), json!([{"op": "replace", "path": "active", "value": true}]))
            .await
            .expect(200);
        // Her session has ended with it, and does not come back.
        connect(&shop.team, &caller, ask("web-1", 2)).await.error("login_required");
        let again = shop.team.session("carol").await;
        connect(&shop.team, &again, ask("web-1", 2)).await.ok();
    }

    #[tokio::test]
    async fn a_removal_from_a_group_and_the_end_of_the_group() {
        let shop = Shop::new().await;
        let (okta, carol, group, caller) = provisioned(&shop).await;
        let remove = json!([{"op": "remove", "path": format!("members[value eq \"{}\"]", id(&carol))}]);
        okta.patch(&at(&group), remove).await.expect(200);
        connect(&shop.team, &caller, ask("web-1", 2)).await.error("not_found");
        let add = json!([{"op": "add", "path": "members", "value": [{"value": id(&carol)}]}]);
        okta.patch(&at(&group), add).await.expect(200);
        connect(&shop.team, &caller, ask("web-1", 2)).await.ok();
        // A rename moves no role.
        okta.patch(&at(&group), json!([{"op": "replace", "path": "displayName", "value": "Other"}]))
            .await
            .expect(200);
        connect(&shop.team, &caller, ask("web-1", 2)).await.ok();
        okta.send("DELETE", &at(&group), Value::Null).await.expect(204);
        connect(&shop.team, &caller, ask("web-1", 2)).await.error("not_found");
        assert_eq!(shop.team.events("project_group.remove").await.len(), 1);
    }

    /// Threat 16: no certificate stands in the log behind the removal, whatever was on its way.
    #[tokio::test]
    async fn a_removal_while_certificates_are_being_made() {
        let shop = Shop::new().await;
        let (okta, carol, group, caller) = provisioned(&shop).await;
        let place = at(&group);
        let one = || connect(&shop.team, &caller, ask("web-1", 2));
        for _ in 0..5 {
            let remove = json!([{"op": "remove", "path": format!("members[value eq \"{}\"]", id(&carol))}]);
            let (first, removed, second, third) =
                tokio::join!(one(), okta.patch(&place, remove), one(), one());
            removed.expect(200);
            for reply in [first, second, third] {
                if !reply.status.is_success() {
                    reply.error("not_found");
                }
            }
            one().await.error("not_found");
            let log = shop.team.audit().await;
            let is = |row: &Value, kind: &str| row["event"]["type"] == kind;
            let removal = log.iter().rposition(|row| is(row, "group.remove_member")).unwrap();
            // Rows of several brokers do not stand in the order of their commits.
            if !crate::team::POSTGRES {
                assert!(!log[removal..].iter().any(|row| is(row, "connection.issue")));
            }
            let add = json!([{"op": "add", "path": "members", "value": [{"value": id(&carol)}]}]);
            okta.patch(&place, add).await.expect(200);
            one().await.ok();
        }
    }

    #[tokio::test]
    async fn a_deletion() {
        let shop = Shop::new().await;
        let (okta, carol, _, caller) = provisioned(&shop).await;
        okta.send("DELETE", &at(&carol), Value::Null).await.expect(204);
        connect(&shop.team, &caller, ask("web-1", 2)).await.error("login_required");
        // Whoever comes under the same name gets none of what she left on servers.
        let next = okta.post("/Users", json!({"userName": "carol@example.com", "externalId": "1"})).await;
        let admin = shop.team.session("admin").await;
        let next = shop.team.get(&admin, &format!("/v1/users/{}", id(&next))).await.ok();
        assert_eq!(next["unix_user_name"], "carol2");
    }
}

mod attacks {
    use super::*;

    /// Threat 37: a provider's token opens its own users and groups and nothing else.
    #[tokio::test]
    async fn no_internal_attribute_can_be_written() {
        let team = Team::new().await;
        let okta = okta(&team).await;
        let internal = json!({
            "team_role": "owner", "teamAdmin": true, "status": "active", "unix_user_name": "root", "unixUserName": "root",
            "unix_uid": 0, "user_name": "admin", "connector_id": null, "created_at": 0, "version": 99,
            "id": "usr_00000000000000000000000000", "meta": {"version": "x", "created": "2000-01-01T00:00:00Z"},
            "groups": [{"value": "owners"}], "roles": [{"value": "owner"}], "entitlements": [{"value": "all"}],
            "password": "secret", "devices": [], "sessions": [],
        });
        let mut body = internal.as_object().unwrap().clone();
        body.insert("userName".to_owned(), json!("mallory@example.com"));
        let made = okta.post("/Users", Value::Object(body.clone())).await;
        let mut names: Vec<_> = made.as_object().unwrap().keys().cloned().collect();
        names.sort();
        assert_eq!(names, ["active", "id", "meta", "schemas", "userName"]);
        okta.send("PUT", &at(&made), Value::Object(body)).await.expect(200);
        for (name, value) in internal.as_object().unwrap() {
            for path in [name.clone(), format!("urn:ietf:params:scim:schemas:core:2.0:User:{name}")] {
                let refused =
                    okta.patch(&at(&made), json!([{"op": "replace", "path": path, "value": value}])).await;
                assert_eq!(refused.status, 400, "{path}: {refused:?}");
            }
            okta.patch(&at(&made), json!([{"op": "add", "value": {(name.as_str()): value}}]))
                .await
                .expect(200);
        }
        let admin = team.session("admin").await;
        let user = team.get(&admin, "/v1/users/mallory").await.ok();
        assert_eq!(
            (&user["id"], &user["team_role"], &user["unix_user_name"], &user["groups"]),
            (&made["id"], &json!("member"), &json!("mallory"), &json!([]))
        );
    }

    #[tokio::test]
    async fn a_rename_to_root_or_to_somebody_takes_no_account_over() {
        let team = Team::new().await;
        let okta = okta(&team).await;
        let mallory = okta.post("/Users", json!({"userName": "mallory", "externalId": "m"})).await;
        let victim = okta.post("/Users", json!({"userName": "victim", "externalId": "v"})).await;
        let rename = |name: &str| json!([{"op": "replace", "path": "userName", "value": name}]);
        okta.patch(&at(&mallory), rename("VICTIM")).await.refused(409, "uniqueness");
        for name in ["root", "admin", "admin@example.com"] {
            okta.patch(&at(&mallory), rename(name)).await.expect(200);
        }
        let admin = team.session("admin").await;
        let names = async |resource: &Value| {
            let user = team.get(&admin, &format!("/v1/users/{}", id(resource))).await.ok();
            (
                user["user_name"].as_str().unwrap().to_owned(),
                user["unix_user_name"].as_str().unwrap().to_owned(),
            )
        };
        assert_eq!(names(&mallory).await, ("mallory".to_owned(), "mallory".to_owned()));
        assert_eq!(names(&victim).await, ("victim".to_owned(), "victim".to_owned()));
        okta.patch(&at(&mallory), json!([{"op": "replace", "path": "externalId", "value": "v"}]))
            .await
            .refused(400, "mutability");
        okta.send("POST", "/Users", json!({"userName": "x", "externalId": "v"}))
            .await
            .refused(409, "uniqueness");
        okta.send("POST", "/Users", json!({"userName": "Victim"})).await.refused(409, "uniqueness");
        // A local user of the same name is somebody else.
        let root = okta.post("/Users", json!({"userName": "admin"})).await;
        assert_eq!(names(&root).await, ("admin2".to_owned(), "admin2".to_owned()));
    }

    #[tokio::test]
    async fn what_is_another_connectors_or_the_teams_own_does_not_exist() {
        let team = Team::new().await;
        let admin = team.session("admin").await;
        let okta = team.connector(&admin, "okta").await;
        let entra = team.connector(&admin, "entra").await;
        let local = team.post(&admin, "/v1/users", json!({"user_name": "local"})).await.ok()["user"].clone();
        let local_group = team.post(&admin, "/v1/groups", json!({"name": "sre"})).await.ok();
        let theirs = entra.post("/Users", json!({"userName": "theirs", "externalId": "1"})).await;
        let their_group = entra.post("/Groups", json!({"displayName": "Theirs"})).await;
        let ours = okta.post("/Groups", json!({"displayName": "Ours"})).await;
        for stranger in [&local, &local_group, &theirs, &their_group] {
            let place = at(stranger);
            okta.send("GET", &place, Value::Null).await.refused(404, "");
            okta.send("DELETE", &place, Value::Null).await.refused(404, "");
            okta.send("PUT", &place, json!({"userName": "x", "displayName": "x"})).await.refused(404, "");
            okta.patch(&place, json!([{"op": "replace", "path": "displayName", "value": "x"}]))
                .await
                .refused(404, "");
            let add = json!([{"op": "add", "path": "members", "value": [{"value": id(stranger)}]}]);
            okta.patch(&at(&ours), add).await.refused(400, "invalidValue");
        }
        let seen = okta.get("/Users").await;
        assert_eq!(seen["totalResults"], 0);
        let all = "/Users?filter=id%20pr%20or%20not%20(id%20pr)";
        assert_eq!(okta.get(all).await["totalResults"], 0);
        assert_eq!(okta.get("/Groups").await["totalResults"], 1);
        // And local administration puts nobody of the team's own into a connector's group.
        team.put(&admin, "/v1/groups/okta.ours/members/local", Value::Null).await.error("invalid_request");
    }

    #[tokio::test]
    async fn groups_that_mean_something_here_are_refused() {
        let team = Team::new().await;
        let okta = okta(&team).await;
        for name in ["owners", "Owners", "EVERYONE", " everyone "] {
            okta.send("POST", "/Groups", json!({"displayName": name})).await.refused(409, "uniqueness");
        }
        let group = okta.post("/Groups", json!({"displayName": "SRE"})).await;
        okta.patch(&at(&group), json!([{"op": "replace", "path": "displayName", "value": "owners"}]))
            .await
            .refused(409, "uniqueness");
        okta.send("PUT", &at(&group), json!({"displayName": "Everyone"})).await.refused(409, "uniqueness");
    }

    /// Guessing tells nothing: whatever is wrong with a token, the answer is the same.
    #[tokio::test]
    async fn every_token_that_is_not_good_is_refused_alike() {
        let team = Team::new().await;
        let admin = team.session("admin").await;
        let good = team.connector(&admin, "okta").await;
        good.get("/Users").await;
        let short = team.provider(&admin, "okta", json!({"ttl_seconds": 1})).await;
        let mut revoked = team.provider(&admin, "okta", json!({})).await;
        let elsewhere = team.provider(&admin, "okta", json!({"cidr": "203.0.113.0/24"})).await;
        let mut nearby = team.provider(&admin, "okta", json!({"cidr": "203.0.113.0/24"})).await;
        nearby.address = "203.0.113.9";
        nearby.get("/Users").await;
        revoked.get("/Users").await;
        team.send(&admin, "DELETE", &format!("/v1/scim-tokens/{}", revoked.token_id), "", team.jti())
            .await
            .ok();
        team.clock.set(team.clock.now().saturating_add(std::time::Duration::from_secs(2)));
        let mut answers = Vec::new();
        for provider in [&short, &revoked, &elsewhere] {
            answers.push(provider.send("GET", "/Users", Value::Null).await.refused(401, ""));
            answers.push(provider.send("POST", "/Users", json!({"userName": "x"})).await.refused(401, ""));
        }
        let session = admin.token.as_ref().unwrap().reveal().to_string();
        for token in [String::new(), "x".to_owned(), session, format!("{}x", good.token)] {
            revoked.token = token;
            answers.push(revoked.send("GET", "/Users", Value::Null).await.refused(401, ""));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
        good.get("/Users").await;
        let refused = team.send(&admin, "DELETE", "/v1/scim-tokens/x", "", team.jti()).await;
        refused.error("not_found");
    }

    #[tokio::test]
    async fn bombs_and_nonsense_are_refused_by_name() {
        let team = Team::new().await;
        let okta = okta(&team).await;
        let alice = okta.post("/Users", json!({"userName": "alice"})).await;
        let get = async |query: &str| okta.send("GET", &format!("/Users?{query}"), Value::Null).await;
        let deep = format!("filter={}title%20pr{}", "not%20(".repeat(30), ")".repeat(30));
        get(&deep).await.refused(400, "invalidFilter");
        let wide = format!("filter={}", vec!["title%20pr"; 200].join("%20or%20"));
        get(&wide).await.refused(400, "invalidFilter");
        for filter in
            ["password%20pr", "team_admin%20eq%20true", "x", "userName%20eq%20%22a%22%20or%201=1", ""]
        {
            get(&format!("filter={filter}")).await.refused(400, "invalidFilter");
        }
        get("sortBy=password").await.refused(400, "invalidPath");
        get("count=many").await.refused(400, "invalidValue");
        assert_eq!(get("count=-1&startIndex=-5").await.expect(200)["itemsPerPage"], 0);
        assert_eq!(get("count=4294967296&startIndex=9999999999").await.expect(200)["itemsPerPage"], 0);
        for body in [json!([]), json!("x"), json!({}), json!({"userName": 1}), json!({"userName": ""})] {
            assert_eq!(okta.send("POST", "/Users", body).await.status, 400);
        }
        okta.send("POST", "/Users", json!({"userName": "b", "active": "maybe"}))
            .await
            .refused(400, "invalidValue");
        okta.send("POST", "/Users", json!({"userName": "b", "externalId": " b"}))
            .await
            .refused(400, "invalidValue");
        okta.send("POST", "/Users", json!({"userName": "b", "schemas": ["x"]}))
            .await
            .refused(400, "invalidValue");
        okta.send("POST", "/Users", json!({"userName": "x".repeat(3_000_000)})).await.refused(413, "");
        okta.patch(&at(&alice), json!([{"op": "remove"}])).await.refused(400, "noTarget");
        okta.patch(&at(&alice), json!([{"op": "x", "path": "title"}])).await.refused(400, "invalidSyntax");
        let many: Vec<_> = (0..10_001).map(|_| json!({"value": id(&alice)})).collect();
        okta.send("POST", "/Groups", json!({"displayName": "g", "members": many}))
            .await
            .refused(400, "tooMany");
        okta.send("GET", "/Nothing", Value::Null).await.refused(404, "");
        okta.send("GET", "/Me", Value::Null).await.refused(501, "");
        okta.send("DELETE", "/Users", Value::Null).await.refused(405, "");
        okta.send("POST", "/Schemas", json!({})).await.refused(405, "");
        okta.send("GET", "/Schemas?filter=x", Value::Null).await.refused(403, "");
    }
}

#[tokio::test]
async fn who_knows_a_version_changes_no_other() {
    let team = Team::new().await;
    let okta = okta(&team).await;
    let alice = okta.post("/Users", json!({"userName": "alice"})).await;
    let tag = |resource: &Value| resource["meta"]["version"].as_str().unwrap().to_owned();
    let first = tag(&alice);
    let put = json!({"userName": "alice", "title": "Boss"});
    let changed =
        okta.conditional("PUT", &at(&alice), put.clone(), &[("if-match", &first)]).await.expect(200);
    assert_ne!(tag(&changed), first);
    okta.conditional("PUT", &at(&alice), json!({"userName": "a"}), &[("if-match", &first)])
        .await
        .refused(412, "");
    okta.conditional("DELETE", &at(&alice), Value::Null, &[("if-match", &first)]).await.refused(412, "");
    // The same again is no change.
    let same = okta.conditional("PUT", &at(&alice), put, &[("if-match", "*")]).await.expect(200);
    assert_eq!(same, changed);
    let known = tag(&changed);
    let known = okta.conditional("GET", &at(&alice), Value::Null, &[("if-none-match", &known)]).await;
    known.expect(304);
    // What somebody here does makes another version of it.
    let admin = team.session("admin").await;
    let disabled = json!({"status": "disabled"}).to_string();
    team.send(&admin, "PATCH", "/v1/users/alice", &disabled, team.jti()).await.ok();
    let seen = okta.get(&at(&alice)).await;
    assert_eq!(seen["active"], false);
    assert_ne!(tag(&seen), tag(&changed));
}

#[tokio::test]
async fn lists_are_cut_sorted_and_show_what_was_asked_for() {
    let team = Team::new().await;
    let okta = okta(&team).await;
    for name in ["c", "a", "b"] {
        okta.post(
            "/Users",
            json!({"userName": name, "title": name, "name": {"givenName": name, "familyName": "x"}}),
        )
        .await;
    }
    let names = |list: &Value| {
        list["Resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["userName"].as_str().unwrap().to_owned())
            .collect::<String>()
    };
    assert_eq!(names(&okta.get("/Users?sortBy=userName").await), "abc");
    assert_eq!(names(&okta.get("/Users?sortBy=title&sortOrder=descending").await), "cba");
    let page = okta.get("/Users?sortBy=userName&startIndex=2&count=1").await;
    assert_eq!(names(&page), "b");
    assert_eq!(
        (&page["totalResults"], &page["startIndex"], &page["itemsPerPage"]),
        (&json!(3), &json!(2), &json!(1))
    );
    let some = okta.get("/Users?attributes=userName,name.givenName&sortBy=userName&count=1").await;
    let some = &some["Resources"][0];
    let mut keys: Vec<_> = some.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    assert_eq!(keys, ["id", "name", "schemas", "userName"]);
    assert_eq!(some["name"], json!({"givenName": "a"}));
    let less = okta.get("/Users?excludedAttributes=name.familyName,title,id&sortBy=userName&count=1").await;
    let less = &less["Resources"][0];
    assert_eq!(
        (&less["name"], &less["title"], less["id"].is_string()),
        (&json!({"givenName": "a"}), &Value::Null, true)
    );
    let search = json!({"filter": "title eq \"b\"", "attributes": ["userName"], "count": 10});
    let found = okta.send("POST", "/Users/.search", search).await.expect(200);
    assert_eq!(names(&found), "b");
    assert_eq!(found["Resources"][0]["title"], Value::Null);
}

#[tokio::test]
async fn many_operations_are_one_transaction_in_which_each_stands_for_itself() {
    let team = Team::new().await;
    let okta = okta(&team).await;
    let before = team.store().read().await.unwrap().epoch().await.unwrap();
    let operations = json!([
        {"method": "POST", "path": "/Users", "bulkId": "a", "data": {"userName": "alice"}},
        {"method": "POST", "path": "/Users", "bulkId": "again", "data": {"userName": "ALICE"}},
        {"method": "POST", "path": "/Groups", "bulkId": "g", "data": {"displayName": "G", "members": [{"value": "bulkId:a"}]}},
        {"method": "POST", "path": "/Groups", "data": {"displayName": "H", "members": [{"value": "bulkId:again"}]}},
        {"method": "PATCH", "path": "/Users/bulkId:a", "data": {"Operations": [{"op": "replace", "path": "active", "value": "False"}]}},
        {"method": "DELETE", "path": "/Groups/bulkId:g"},
        {"method": "GET", "path": "/Users"},
    ]);
    let done = okta.send("POST", "/Bulk", json!({"Operations": operations})).await.expect(200);
    let statuses: Vec<_> =
        done["Operations"].as_array().unwrap().iter().map(|done| done["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["201", "409", "201", "400", "200", "204", "405"]);
    assert_eq!(done["Operations"][1]["response"]["scimType"], "uniqueness");
    assert_eq!(
        (okta.get("/Users").await["totalResults"].clone(), okta.get("/Groups").await["totalResults"].clone()),
        (json!(1), json!(0))
    );
    assert_eq!(team.events("group.create").await.len(), 1, "what was undone was not written down either");
    let after = team.store().read().await.unwrap().epoch().await.unwrap();
    assert_eq!(after.value(), before.value() + 1);

    let fail = json!([{"method": "POST", "path": "/Users", "data": {}}, {"method": "POST", "path": "/Users", "data": {"userName": "b"}}]);
    let done = okta.send("POST", "/Bulk", json!({"failOnErrors": 1, "Operations": fail})).await.expect(200);
    assert_eq!(done["Operations"].as_array().unwrap().len(), 1);
    let many = vec![json!({"method": "DELETE", "path": "/Users/x"}); 201];
    okta.send("POST", "/Bulk", json!({"Operations": many})).await.refused(413, "");
}

#[tokio::test]
async fn a_token_is_listed_used_and_shown_once() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    let okta = team.connector(&admin, "okta").await;
    let listed = async || team.get(&admin, "/v1/scim-tokens").await.ok()["items"][0].clone();
    assert_eq!(listed().await["last_used_at"], Value::Null);
    okta.get("/ServiceProviderConfig").await;
    let token = listed().await;
    assert_eq!((&token["connector"], token["last_used_at"].is_string()), (&json!("okta"), true));
    assert!(!token.to_string().contains(&okta.token));
    let log = serde_json::to_string(&team.audit().await).unwrap();
    assert!(!log.contains(&okta.token));
    okta.post("/Users", json!({"userName": "alice"})).await;
    let row = team.audit().await.into_iter().rfind(|row| row["event"]["type"] == "user.create").unwrap();
    assert_eq!(row["actor"]["type"], "connector");
    assert_eq!(row["actor"]["token_id"], okta.token_id);
    let body = json!({"connector": "nothing", "description": "x"});
    team.post(&admin, "/v1/scim-tokens", body).await.error("not_found");
    let body = json!({"connector": "okta", "description": "x", "ttl_seconds": 0});
    team.post(&admin, "/v1/scim-tokens", body).await.error("invalid_request");
}
