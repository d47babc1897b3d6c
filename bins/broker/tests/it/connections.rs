//! `POST /v1/connections`: who gets which certificates, and what is written down before anybody gets one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rand_core::Rng as _;
use serde_json::{Value, json};
use usher_ca::{CaPublicKey, SourceAddresses, VerifiedCertificate, VerifyError, verify_at};
use usher_testkit::{NOW, rng};
use usher_types::{Sha256, UnixTime};

use crate::team::{Agent, Caller, PEER, Reply, Team, ssh_key};

const KEYS: [u64; 3] = [901, 902, 903];

fn keys(count: usize) -> Vec<String> {
    KEYS.iter().take(count).map(|seed| ssh_key(*seed)).collect()
}

pub(crate) fn ask(server: &str, keys_count: usize) -> Value {
    json!({"server": server, "purpose": "interactive", "keys": keys(keys_count)})
}

pub(crate) async fn connect(team: &Team, caller: &Caller, body: Value) -> Reply {
    team.post(caller, "/v1/connections", body).await
}

/// Public keys of the project's CAs, as its servers trust them.
async fn authorities(team: &Team, admin: &Caller, project: &str) -> Vec<CaPublicKey> {
    let project = team.get(admin, &format!("/v1/projects/{project}")).await.ok();
    let lines = project["ssh_user_ca"].as_array().unwrap();
    lines.iter().map(|line| CaPublicKey::parse(line.as_str().unwrap()).unwrap()).collect()
}

#[track_caller]
fn verified(leg: &Value, trusted: &[CaPublicKey]) -> VerifiedCertificate {
    verify_at(leg["certificate"].as_str().unwrap(), trusted, NOW).unwrap()
}

pub(crate) fn legs(connection: &Value, route: usize) -> &Vec<Value> {
    connection["routes"][route]["legs"].as_array().unwrap()
}

/// A project `shop` with targets, a user alice with access and a user bob without.
pub(crate) struct Shop {
    pub(crate) team: Team,
    pub(crate) admin: Caller,
    pub(crate) alice: Caller,
    bob: Caller,
    pub(crate) web: Agent,
}

impl Shop {
    pub(crate) async fn new() -> Self {
        let team = Team::new().await;
        let admin = team.session("admin").await;
        team.project(&admin, "shop").await;
        let alice = team.person(&admin, "alice", &["shop"]).await;
        let bob = team.person(&admin, "bob", &[]).await;
        let web = team.enroll(&team.token(&admin, "shop", json!({})).await, "web-1", 1).await;
        Self { team, admin, alice, bob, web }
    }

    /// A healthy bastion of a group.
    pub(crate) async fn bastion(&self, name: &str, group: &str, via: Option<&str>, last: u8) -> Agent {
        let more = json!({"role": "bastion", "bastion_group": group, "via": via});
        let agent = self.team.enroll(&self.team.token(&self.admin, "shop", more).await, name, last).await;
        self.team.report(&agent).await.ok();
        agent
    }

    pub(crate) async fn target(&self, name: &str, via: &str, last: u8) -> Agent {
        let token = self.team.token(&self.admin, "shop", json!({"via": via})).await;
        self.team.enroll(&token, name, last).await
    }
}

#[tokio::test]
async fn a_direct_connection_gets_one_certificate_for_one_account_on_one_server() {
    let Shop { team, admin, alice, web, .. } = Shop::new().await;
    let connection = connect(&team, &alice, ask("web-1", 1)).await.ok();
    assert_eq!(connection["routes"].as_array().unwrap().len(), 1);
    let [leg] = legs(&connection, 0).as_slice() else { panic!("{connection}") };
    assert_eq!((&leg["account"], &leg["name"], &leg["key"]), (&json!("alice"), &json!("web-1"), &json!(0)));
    assert_eq!(leg["addresses"], json!([{"ip": "10.0.0.1", "port": 22}]));
    assert_eq!(leg["host_keys"], json!([ssh_key(1)]));

    let certificate = verified(leg, &authorities(&team, &admin, "shop").await);
    assert_eq!(certificate.principal().to_string(), format!("alice@{}", web.id));
    assert_eq!(certificate.subject().to_openssh(), ssh_key(KEYS[0]));
    assert_eq!(certificate.valid_after(), UnixTime::from_secs(NOW.as_secs() - 60));
    assert_eq!(certificate.valid_before(), UnixTime::from_secs(NOW.as_secs() + 180));
    assert_eq!(connection["valid_before"], json!(certificate.valid_before()));
    assert!(certificate.permit_pty());
    assert!(certificate.permit_port_forwarding());
    assert_eq!(*certificate.source_addresses(), SourceAddresses::any());
    let id = connection["id"].as_str().unwrap();
    assert!(certificate.key_id().starts_with("shop:alice@dev_") && certificate.key_id().ends_with(id));

    let inspection = usher_ca::inspect(leg["certificate"].as_str().unwrap()).unwrap();
    let extensions: Vec<_> = serde_json::to_value(&inspection).unwrap()["extensions"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let expected = [
        "client-address@usher.internal",
        "device@usher.internal",
        "permit-port-forwarding",
        "permit-pty",
        "user@usher.internal",
    ];
    assert_eq!(extensions, expected, "never agent forwarding, X11 or user-rc");
}

#[tokio::test]
async fn a_certificate_is_released_with_its_rows() {
    let Shop { team, admin, alice, web, .. } = Shop::new().await;
    let connection = connect(&team, &alice, ask("web-1", 1)).await.ok();
    let certificate = legs(&connection, 0)[0]["certificate"].as_str().unwrap().to_owned();
    let blob = data_encoding::BASE64.decode(certificate.split(' ').nth(1).unwrap().as_bytes()).unwrap();
    let serial = verified(&legs(&connection, 0)[0], &authorities(&team, &admin, "shop").await).serial();
    let events = team.events("connection.issue").await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["connection_id"], connection["id"]);
    assert_eq!(
        events[0]["certificates"],
        json!([{
            "serial": serial.to_string(),
            "sha256": Sha256::of(&blob),
            "principal": format!("alice@{}", web.id),
            "key": team.events("ca_key.create").await[0]["key"],
        }])
    );
    let row = team.audit().await.into_iter().find(|row| row["event"]["type"] == "connection.issue").unwrap();
    assert_eq!(row["client_address"], PEER);
    assert_eq!(row["actor"]["type"], "user");
}

#[tokio::test]
async fn a_command_gets_no_terminal() {
    let Shop { team, admin, alice, .. } = Shop::new().await;
    let body = json!({"server": "web-1", "purpose": "command", "keys": keys(1)});
    let connection = connect(&team, &alice, body).await.ok();
    let trusted = authorities(&team, &admin, "shop").await;
    assert!(!verified(&legs(&connection, 0)[0], &trusted).permit_pty());
}

#[tokio::test]
async fn a_target_behind_bastions_gets_two_routes_bound_to_their_bastions() {
    let shop = Shop::new().await;
    let bastions =
        [shop.bastion("edge-1", "edge", None, 21).await, shop.bastion("edge-2", "edge", None, 22).await];
    let db = shop.target("db-1", "edge", 5).await;
    let Shop { team, admin, alice, .. } = &shop;
    let connection = connect(team, alice, ask("db-1", 2)).await.ok();
    assert_eq!(connection["routes"].as_array().unwrap().len(), 2);
    let trusted = authorities(team, admin, "shop").await;
    let mut used = BTreeSet::new();
    for route in 0..2 {
        let [hop, target] = legs(&connection, route).as_slice() else { panic!("{connection}") };
        let bastion = bastions.iter().find(|bastion| hop["server_id"] == bastion.id.as_str()).unwrap();
        used.insert(bastion.id.clone());
        assert_eq!((&hop["account"], &hop["key"]), (&json!("usher-hop"), &json!(1)));
        let certificate = verified(hop, &trusted);
        assert_eq!(certificate.principal().to_string(), format!("usher-hop@{}.{}", bastion.id, db.id));
        assert!(certificate.permit_port_forwarding() && !certificate.permit_pty());
        assert_eq!(certificate.subject().to_openssh(), ssh_key(KEYS[1]));

        assert_eq!((&target["account"], &target["key"]), (&json!("alice"), &json!(0)));
        let certificate = verified(target, &trusted);
        assert_eq!(certificate.principal().to_string(), format!("alice@{}", db.id));
        let address = format!("10.0.0.{}", bastion.last).parse().unwrap();
        assert_eq!(*certificate.source_addresses(), SourceAddresses::hosts(&[address]).unwrap());
    }
    assert_eq!(used.len(), 2, "two different bastions");
}

#[tokio::test]
async fn silent_bastions_are_on_no_route() {
    let shop = Shop::new().await;
    let up = shop.bastion("edge-1", "edge", None, 21).await;
    shop.bastion("edge-2", "edge", None, 22).await;
    shop.target("db-1", "edge", 5).await;
    let Shop { team, alice, .. } = &shop;
    team.clock.set(UnixTime::from_secs(NOW.as_secs() + 91));
    let error = connect(team, alice, ask("db-1", 2)).await.error("no_route");
    assert!(error["message"].as_str().unwrap().contains("`edge`"));
    assert!(error["next"].is_string());
    assert_eq!(team.events("connection.fail").await[0]["reason"], "no_route");
    team.report(&up).await.ok();
    let connection = connect(team, alice, ask("db-1", 2)).await.ok();
    assert_eq!(connection["routes"].as_array().unwrap().len(), 1);
    assert_eq!(legs(&connection, 0)[0]["server_id"], up.id.as_str());
}

#[tokio::test]
async fn a_chain_takes_two_hops() {
    let shop = Shop::new().await;
    let outer = shop.bastion("edge-1", "edge", None, 21).await;
    let inner = shop.bastion("inner-1", "inner", Some("edge"), 22).await;
    let db = shop.target("db-1", "inner", 5).await;
    let Shop { team, admin, alice, .. } = &shop;
    let error = connect(team, alice, ask("db-1", 2)).await.error("invalid_request");
    assert!(error["message"].as_str().unwrap().contains("needs 3 keys"), "{error}");
    let connection = connect(team, alice, ask("db-1", 3)).await.ok();
    let trusted = authorities(team, admin, "shop").await;
    let principals: Vec<String> =
        legs(&connection, 0).iter().map(|leg| verified(leg, &trusted).principal().to_string()).collect();
    let expected = [
        format!("usher-hop@{}.{}", outer.id, inner.id),
        format!("usher-hop@{}.{}", inner.id, db.id),
        format!("alice@{}", db.id),
    ];
    assert_eq!(principals, expected);
    let indexes: Vec<&Value> = legs(&connection, 0).iter().map(|leg| &leg["key"]).collect();
    assert_eq!(indexes, [1, 2, 0]);
}

#[tokio::test]
async fn the_caller_may_name_the_way() {
    let shop = Shop::new().await;
    shop.bastion("edge-1", "edge", None, 21).await;
    let second = shop.bastion("edge-2", "edge", None, 22).await;
    shop.bastion("inner-1", "inner", Some("edge"), 23).await;
    shop.target("db-1", "edge", 5).await;
    shop.target("db-2", "inner", 6).await;
    let Shop { team, alice, .. } = &shop;
    let via = |server: &str, via: Value| {
        let mut body = ask(server, 3);
        body["via"] = via;
        connect(team, alice, body)
    };
    for (server, way, expected) in [
        ("db-1", json!([]), vec!["db-1"]),
        ("db-1", json!(["edge-2"]), vec!["edge-2", "db-1"]),
        ("db-1", json!([second.id]), vec!["edge-2", "db-1"]),
        ("db-2", json!(["inner-1"]), vec!["inner-1", "db-2"]),
        ("db-2", json!(["edge-1", "inner-1"]), vec!["edge-1", "inner-1", "db-2"]),
        ("web-1", json!([]), vec!["web-1"]),
    ] {
        let connection = via(server, way).await.ok();
        assert_eq!(connection["routes"].as_array().unwrap().len(), 1);
        let names: Vec<&str> = legs(&connection, 0).iter().map(|leg| leg["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected);
    }
    for (server, way) in [
        ("web-1", json!(["edge-1"])),
        ("db-1", json!(["inner-1"])),
        ("db-1", json!(["web-1"])),
        ("db-1", json!(["nowhere"])),
        ("db-1", json!(["db-1"])),
        ("db-1", json!([""])),
        ("db-2", json!(["inner-1", "edge-1"])),
        ("db-2", json!(["edge-1", "edge-1", "inner-1"])),
    ] {
        via(server, way).await.error("invalid_request");
    }
}

#[tokio::test]
async fn keys_are_one_to_three_different_ed25519_keys() {
    let Shop { team, alice, .. } = Shop::new().await;
    let rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ==";
    for keys in [
        json!([]),
        json!([ssh_key(1), ssh_key(1)]),
        json!([ssh_key(1), ssh_key(2), ssh_key(3), ssh_key(4)]),
        json!([rsa]),
        json!([""]),
        json!([format!("{}\n{}", ssh_key(1), ssh_key(2))]),
        json!(["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]),
        json!([1]),
    ] {
        let body = json!({"server": "web-1", "purpose": "command", "keys": keys});
        connect(&team, &alice, body).await.error("invalid_request");
    }
    assert!(team.events("connection.issue").await.is_empty());
}

#[tokio::test]
async fn who_has_no_access_learns_nothing_but_is_written_down() {
    let Shop { team, admin, bob, web, .. } = Shop::new().await;
    let denied = connect(&team, &bob, ask("web-1", 1)).await;
    let unknown = connect(&team, &bob, ask("web-9", 1)).await;
    denied.error("not_found");
    unknown.error("not_found");
    assert_eq!(denied.text.replace("web-1", "web-9"), unknown.text);
    let events = team.events("connection.deny").await;
    assert_eq!(events[0]["server_id"], web.id.as_str());
    assert_eq!(events[0]["reasons"], json!(["no_access"]));
    assert_eq!((&events[1]["server_id"], &events[1]["reasons"]), (&Value::Null, &json!(["unknown_server"])));

    // A team administrator sees every server, and is told how to get access.
    let error = connect(&team, &admin, ask("web-1", 1)).await.error("access_denied");
    assert!(error["reasons"][0].as_str().unwrap().contains("`shop`"), "{error}");
    assert!(error["next"].as_str().unwrap().contains("`shop`"), "{error}");
    assert!(team.events("connection.issue").await.is_empty());
}

#[tokio::test]
async fn nobody_gets_another_login() {
    let Shop { team, alice, .. } = Shop::new().await;
    for login in ["bob", "postgres2", "usher"] {
        let mut body = ask("web-1", 1);
        body["login"] = json!(login);
        let error = connect(&team, &alice, body).await.error("access_denied");
        assert!(error["reasons"][0].as_str().unwrap().contains(login));
    }
    for login in ["root", "ALL", "..", "alice,root", "alice\nroot", "0day", "usher-hop", "*", ""] {
        let mut body = ask("web-1", 1);
        body["login"] = json!(login);
        connect(&team, &alice, body).await.error("invalid_request");
    }
    let mut body = ask("web-1", 1);
    body["login"] = json!("alice");
    connect(&team, &alice, body).await.ok();
}

/// Projects times servers: only the diagonal is good, by access and by the CA that signs.
#[tokio::test]
async fn a_certificate_of_one_project_is_worth_nothing_in_another() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    let projects = ["alpha", "beta", "gamma"];
    let mut trusted = BTreeMap::new();
    for (index, project) in projects.iter().enumerate() {
        team.project(&admin, project).await;
        let token = team.token(&admin, project, json!({})).await;
        let last = u8::try_from(index).unwrap() + 1;
        team.enroll(&token, &format!("{project}-1"), last).await;
        trusted.insert(*project, authorities(&team, &admin, project).await);
    }
    let everywhere = team.person(&admin, "everywhere", &projects).await;
    for project in projects {
        let caller = team.person(&admin, &format!("only-{project}"), &[project]).await;
        for other in projects {
            let reply = connect(&team, &caller, ask(&format!("{other}-1"), 1)).await;
            if project == other {
                reply.ok();
            } else {
                reply.error("not_found");
            }
        }
        let connection = connect(&team, &everywhere, ask(&format!("{project}-1"), 1)).await.ok();
        let text = legs(&connection, 0)[0]["certificate"].as_str().unwrap();
        for (other, keys) in &trusted {
            let verified = verify_at(text, keys, NOW);
            if *other == project {
                assert!(verified.is_ok());
            } else {
                assert_eq!(verified, Err(VerifyError::Authority));
            }
        }
    }
}

/// A bastion's sshd trusts the CA of its own project only.
#[tokio::test]
async fn a_shared_bastion_gets_hops_signed_for_its_own_project() {
    let shop = Shop::new().await;
    let Shop { team, admin, alice, .. } = &shop;
    team.project(admin, "infra").await;
    let more = json!({"role": "bastion", "bastion_group": "shared"});
    let bastion = team.enroll(&team.token(admin, "infra", more).await, "edge-1", 31).await;
    team.report(&bastion).await.ok();
    let db = shop.target("db-1", "shared", 5).await;
    let connection = connect(team, alice, ask("db-1", 2)).await.ok();
    let [hop, target] = legs(&connection, 0).as_slice() else { panic!("{connection}") };
    let hop = verified(hop, &authorities(team, admin, "infra").await);
    assert_eq!(hop.principal().to_string(), format!("usher-hop@{}.{}", bastion.id, db.id));
    verified(target, &authorities(team, admin, "shop").await);
    // The hop is all she gets there.
    connect(team, alice, ask("edge-1", 2)).await.error("not_found");
}

#[tokio::test]
async fn a_retried_request_gets_the_same_bytes_and_makes_nothing_twice() {
    let Shop { team, alice, bob, .. } = Shop::new().await;
    let (jti, body) = (team.jti(), ask("web-1", 1).to_string());
    let first = team.send(&alice, "POST", "/v1/connections", &body, jti).await;
    first.ok();
    for _ in 0..3 {
        assert_eq!(team.send(&alice, "POST", "/v1/connections", &body, jti).await, first);
    }
    let other = ask("web-2", 1).to_string();
    team.send(&alice, "POST", "/v1/connections", &other, jti).await.error("request_reused");
    // The name is the device's own: nobody else's retry gets her answer.
    team.send(&bob, "POST", "/v1/connections", &body, jti).await.error("not_found");
    assert_eq!(team.events("connection.issue").await.len(), 1);
    team.clock.set(UnixTime::from_secs(NOW.as_secs() + 600));
    team.send(&alice, "POST", "/v1/connections", &body, jti).await.error("already_done");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_requests_at_once_make_one_connection() {
    let shop = Arc::new(Shop::new().await);
    let (jti, body) = (shop.team.jti(), ask("web-1", 1).to_string());
    let attempts: Vec<_> = (0..20)
        .map(|_| {
            let (shop, body) = (Arc::clone(&shop), body.clone());
            tokio::spawn(
                async move { shop.team.send(&shop.alice, "POST", "/v1/connections", &body, jti).await },
            )
        })
        .collect();
    let mut answers = BTreeSet::new();
    for attempt in attempts {
        let reply = attempt.await.unwrap();
        reply.ok();
        answers.insert(reply.text);
    }
    assert_eq!(answers.len(), 1);
    assert_eq!(shop.team.events("connection.issue").await.len(), 1);
}

#[tokio::test]
async fn a_session_is_worth_nothing_with_another_key() {
    let Shop { team, alice, bob, .. } = Shop::new().await;
    let thief = Caller { key: team.stranger().key, token: alice.token.clone() };
    connect(&team, &thief, ask("web-1", 1)).await.error("login_required");
    let colleague = Caller { key: bob.key, token: alice.token.clone() };
    connect(&team, &colleague, ask("web-1", 1)).await.error("login_required");
    let nobody = Caller { key: team.stranger().key, token: None };
    connect(&team, &nobody, ask("web-1", 1)).await.error("login_required");
    assert!(team.events("connection.issue").await.is_empty());
}

/// Whatever a request says, the certificates in its answer are for its user's account on the servers that exist.
#[tokio::test]
async fn no_request_changes_whose_principals_are_minted() {
    let shop = Shop::new().await;
    let bastion = shop.bastion("edge-1", "edge", None, 21).await;
    let db = shop.target("db-1", "edge", 5).await;
    let Shop { team, admin, alice, web, .. } = &shop;
    let allowed: BTreeSet<String> = [
        format!("alice@{}", web.id),
        format!("alice@{}", db.id),
        format!("alice@{}", bastion.id),
        format!("usher-hop@{}.{}", bastion.id, db.id),
    ]
    .into();
    let trusted = authorities(team, admin, "shop").await;
    let names = [
        "web-1",
        "db-1",
        "edge-1",
        &web.id,
        "root",
        "*",
        "",
        "web-1,db-1",
        "WEB-1",
        "web-1@db-1",
        "..",
        "\0",
    ];
    let logins = [
        None,
        Some("alice"),
        Some("root"),
        Some("bob"),
        Some("alice@x"),
        Some("usher-hop"),
        Some("alice,bob"),
    ];
    let mut random = rng(7);
    let mut pick = |count: usize| usize::try_from(random.next_u32()).unwrap() % count;
    let mut minted = BTreeSet::new();
    for _ in 0..300 {
        let mut body = ask(names[pick(names.len())], 1 + pick(3));
        if let Some(login) = logins[pick(logins.len())] {
            body["login"] = json!(login);
        }
        if pick(3) == 0 {
            body["via"] = json!((0..pick(3)).map(|_| names[pick(names.len())]).collect::<Vec<_>>());
        }
        let reply = connect(team, alice, body).await;
        assert!(!reply.status.is_server_error(), "{reply:?}");
        if reply.status.is_success() {
            let connection = reply.ok();
            for route in connection["routes"].as_array().unwrap() {
                for leg in route["legs"].as_array().unwrap() {
                    minted.insert(verified(leg, &trusted).principal().to_string());
                }
            }
        }
    }
    assert!(minted.is_subset(&allowed), "{minted:?}");
    assert!(minted.len() > 1, "{minted:?}");
}
