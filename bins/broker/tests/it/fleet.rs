//! What agents fetch and report: signed documents that follow every change, and nothing an agent says gives access.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use usher_account_lifecycle::state::{
    DocumentId, Known, ServerDocument, Signed, StateDocument, StateKey, Verified, verify,
};
use usher_testkit::NOW;
use usher_types::UnixTime;

use crate::team::{Agent, Caller, Reply, Team, facts, report_body};

/// An agent's request for news.
async fn ask(team: &Team, agent: &Agent, generation: u64, server_generation: u64, wait: u32) -> Reply {
    let path = format!(
        "/v1/agent/state?v=1&generation={generation}&server_generation={server_generation}&wait={wait}"
    );
    team.get(&agent.caller, &path).await
}

fn checked(agent: &Agent, signed: &Value, subject: DocumentId) -> Verified {
    let keys: Vec<StateKey> = agent.state_keys.iter().map(|key| key.parse().unwrap()).collect();
    let bytes = |field: &str| signed[field].as_str().unwrap().as_bytes();
    let signature = BASE64URL_NOPAD.decode(bytes("signature")).unwrap();
    let signed = Signed { head: bytes("head"), signature: &signature, document: bytes("document") };
    verify(signed, &keys, subject, Known::default()).unwrap()
}

struct State {
    generation: u64,
    document: StateDocument,
    server_generation: u64,
    server: ServerDocument,
}

/// Checks both documents as the agent does.
#[track_caller]
fn read(agent: &Agent, reply: &Reply) -> State {
    let body = reply.ok();
    let head: Value = serde_json::from_str(body["project"]["head"].as_str().unwrap()).unwrap();
    let subject: DocumentId = head["document"].as_str().unwrap().parse().unwrap();
    let project = checked(agent, &body["project"], subject);
    let server = checked(agent, &body["server"], DocumentId::Server(agent.id.parse().unwrap()));
    let (document, refused) = project.project().unwrap();
    assert_eq!(refused, []);
    State {
        generation: project.head().generation,
        document,
        server_generation: server.head().generation,
        server: server.server().unwrap(),
    }
}

async fn state(team: &Team, agent: &Agent) -> State {
    team.told().await;
    read(agent, &ask(team, agent, 0, 0, 0).await)
}

fn logins(state: &State) -> Vec<&str> {
    state.document.users.keys().map(|login| login.as_str()).collect()
}

async fn shop() -> (Team, Caller, Agent) {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.project(&admin, "shop").await;
    let agent = team.enroll(&team.token(&admin, "shop", json!({})).await, "web-1", 1).await;
    (team, admin, agent)
}

async fn disable(team: &Team, admin: &Caller, name: &str) {
    let body = json!({"status": "disabled"}).to_string();
    team.send(admin, "PATCH", &format!("/v1/users/{name}"), &body, team.jti()).await.ok();
}

#[tokio::test]
async fn documents_say_who_has_an_account_and_are_signed() {
    let (team, admin, agent) = shop().await;
    team.person(&admin, "alice", &["shop"]).await;
    team.person(&admin, "bob", &[]).await;
    team.post(&admin, "/v1/groups", json!({"name": "ops"})).await.ok();
    team.put(&admin, "/v1/projects/shop/groups/ops", json!({"server_access": true, "server_admin": true}))
        .await
        .ok();
    team.person(&admin, "carol", &["ops"]).await;
    let State { document, server, server_generation, .. } = state(&team, &agent).await;
    let users: Vec<_> =
        document.users.iter().map(|(login, user)| (login.as_str(), user.uid, user.gid, user.admin)).collect();
    assert_eq!(users, [("alice", 60_001, 63_002, false), ("carol", 60_002, 63_004, true)]);
    let groups: Vec<_> = document.groups.iter().map(|(name, group)| (name.as_str(), group.gid)).collect();
    assert_eq!(groups, [("ops", 63_003), ("shop", 63_001)]);
    let project = team.get(&admin, "/v1/projects/shop").await.ok();
    assert_eq!(json!(document.ssh_user_ca), project["ssh_user_ca"]);
    assert_eq!(document.state_keys.iter().map(ToString::to_string).collect::<Vec<_>>(), agent.state_keys);
    assert_eq!(document.pins.len(), 1);
    assert_eq!((server.server.name.as_str(), server.hops.len(), server_generation), ("web-1", 0, 1));
}

#[tokio::test]
async fn nothing_new_is_no_content() {
    let (team, _admin, agent) = shop().await;
    let State { generation, server_generation, .. } = state(&team, &agent).await;
    let reply = ask(&team, &agent, generation, server_generation, 0).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (204, ""));
}

#[tokio::test]
async fn a_change_that_is_none_makes_no_generation() {
    let (team, admin, agent) = shop().await;
    let before = state(&team, &agent).await;
    // Moves the epoch, but nobody on this project's servers changes.
    team.person(&admin, "bob", &[]).await;
    disable(&team, &admin, "bob").await;
    team.project(&admin, "bank").await;
    let after = state(&team, &agent).await;
    assert_eq!((before.generation, before.server_generation), (after.generation, after.server_generation));
}

#[tokio::test]
async fn a_waiting_agent_hears_of_a_disable_and_only_its_project_document_changes() {
    let (team, admin, agent) = shop().await;
    team.person(&admin, "alice", &["shop"]).await;
    let before = state(&team, &agent).await;
    assert_eq!(logins(&before), ["alice"]);
    let team = Arc::new(team);
    let (waiting, agent) = (Arc::clone(&team), Arc::new(agent));
    let asking = Arc::clone(&agent);
    let waiter =
        tokio::spawn(
            async move { ask(&waiting, &asking, before.generation, before.server_generation, 55).await },
        );
    disable(&team, &admin, "alice").await;
    let reply = tokio::time::timeout(Duration::from_secs(120), waiter).await.unwrap().unwrap();
    let after = read(&agent, &reply);
    assert!(logins(&after).is_empty());
    assert_eq!(after.generation, before.generation + 1);
    assert_eq!(after.server_generation, before.server_generation);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_waiting_agents_get_one_new_generation() {
    let (team, admin, first) = shop().await;
    team.person(&admin, "alice", &["shop"]).await;
    let token = team.token(&admin, "shop", json!({})).await;
    let mut agents = vec![first];
    for number in 2..40 {
        agents.push(team.enroll(&token, &format!("web-{number}"), number).await);
    }
    let known = state(&team, &agents[0]).await;
    let team = Arc::new(team);
    let waiters: Vec<_> = agents
        .into_iter()
        .map(|agent| {
            let (team, generation) = (Arc::clone(&team), known.generation);
            tokio::spawn(async move {
                let reply = ask(&team, &agent, generation, 1, 55).await;
                read(&agent, &reply).generation
            })
        })
        .collect();
    disable(&team, &admin, "alice").await;
    let mut generations = BTreeSet::new();
    for waiter in waiters {
        generations.insert(tokio::time::timeout(Duration::from_secs(120), waiter).await.unwrap().unwrap());
    }
    assert_eq!(generations, [known.generation + 1].into());
}

#[tokio::test]
async fn a_removed_server_is_told_so_even_while_it_waits() {
    let (team, admin, agent) = shop().await;
    let known = state(&team, &agent).await;
    let team = Arc::new(team);
    let waiting = Arc::clone(&team);
    let agent = Arc::new(agent);
    let asking = Arc::clone(&agent);
    let waiter =
        tokio::spawn(
            async move { ask(&waiting, &asking, known.generation, known.server_generation, 55).await },
        );
    team.send(&admin, "DELETE", "/v1/servers/web-1", "", team.jti()).await.ok();
    tokio::time::timeout(Duration::from_secs(120), waiter).await.unwrap().unwrap().error("login_required");
    ask(&team, &agent, 0, 0, 0).await.error("login_required");
    team.report(&agent).await.error("login_required");
}

#[tokio::test]
async fn a_bastion_learns_what_is_behind_it_and_where() {
    let (team, admin, _web) = shop().await;
    let edge = json!({"role": "bastion", "bastion_group": "edge"});
    let bastion = team.enroll(&team.token(&admin, "shop", edge).await, "edge-1", 21).await;
    assert!(state(&team, &bastion).await.server.hops.is_empty());
    // Also servers of other projects, and bastions of a chain.
    team.project(&admin, "bank").await;
    let mut db = team.enroll(&team.token(&admin, "bank", json!({"via": "edge"})).await, "db-1", 5).await;
    let inner = json!({"role": "bastion", "bastion_group": "inner", "via": "edge"});
    let inner = team.enroll(&team.token(&admin, "bank", inner).await, "inner-1", 6).await;
    let behind = team.enroll(&team.token(&admin, "bank", json!({"via": "inner"})).await, "db-2", 7).await;
    let hops = |state: &State| -> Vec<(String, String)> {
        let hops = state.server.hops.iter();
        hops.map(|(id, hop)| {
            let addresses: Vec<_> = hop.addresses.iter().map(ToString::to_string).collect();
            (id.to_string(), format!("{}:{}", addresses.join(","), hop.port))
        })
        .collect()
    };
    let mut expected =
        vec![(db.id.clone(), "10.0.0.5:22".to_owned()), (inner.id.clone(), "10.0.0.6:22".to_owned())];
    expected.sort();
    let known = state(&team, &bastion).await;
    assert_eq!(hops(&known), expected);
    assert_eq!(hops(&state(&team, &inner).await), [(behind.id.clone(), "10.0.0.7:22".to_owned())]);

    // A report with the same facts changes nothing; another address does.
    team.report(&db).await.ok();
    assert_eq!(state(&team, &bastion).await.server_generation, known.server_generation);
    db.last = 8;
    team.report(&db).await.ok();
    let after = state(&team, &bastion).await;
    assert!(hops(&after).contains(&(db.id.clone(), "10.0.0.8:22".to_owned())));
    assert_eq!(after.server_generation, known.server_generation + 1);
    assert_eq!(after.generation, known.generation);
}

fn report_of(addresses: &[(&str, u16)]) -> Value {
    let mut body = report_body(1);
    let addresses = addresses.iter().map(|(ip, port)| json!({"ip": ip, "port": port}));
    body["facts"]["addresses"] = addresses.collect();
    body
}

/// Attack: root on a target reports a database's port as its own, for its bastion to open.
#[tokio::test]
async fn another_port_is_not_opened_before_an_administrator_accepts_it() {
    let (team, admin, _agent) = shop().await;
    let edge = json!({"role": "bastion", "bastion_group": "edge"});
    let bastion = team.enroll(&team.token(&admin, "shop", edge).await, "edge-1", 9).await;
    let db = team.enroll(&team.token(&admin, "shop", json!({"via": "edge"})).await, "db-1", 5).await;
    let opened = async || {
        let state = state(&team, &bastion).await;
        let hop = state.server.hops.values().next().cloned();
        hop.map(|hop| (hop.addresses.into_iter().next().unwrap().to_string(), hop.port))
    };
    let as_enrolled = Some(("10.0.0.5".to_owned(), 22));
    assert_eq!(opened().await, as_enrolled);

    for lie in [&[("10.0.0.77", 5432)][..], &[("10.0.0.77", 5432), ("10.0.0.5", 22)]] {
        team.post(&db.caller, "/v1/agent/report", report_of(lie)).await.ok();
        assert_eq!(opened().await, as_enrolled, "{lie:?}");
        let shown = team.get(&admin, "/v1/servers/db-1").await.ok();
        assert_eq!(shown["addresses"], json!([{"ip": "10.0.0.5", "port": 22}]));
        assert_eq!((&shown["conflicts"][0]["kind"], &shown["ssh_port"]), (&json!("address"), &json!(22)));
    }
    // One port, not every port of an address that is the host's own.
    let both = report_of(&[("10.0.0.5", 22), ("10.0.0.77", 5432)]);
    team.post(&db.caller, "/v1/agent/report", both).await.ok();
    assert_eq!(opened().await, as_enrolled);
    let events = team.events("server.addresses").await;
    assert_eq!(events[0]["refused"], json!(["10.0.0.77:5432"]), "{events:#?}");
    assert_eq!(events[0]["before"], events[0]["after"]);

    // The owner moved sshd, and says so.
    let moved = report_of(&[("10.0.0.5", 2222)]);
    team.post(&db.caller, "/v1/agent/report", moved.clone()).await.ok();
    assert_eq!(opened().await, as_enrolled);
    team.send(&admin, "PATCH", "/v1/servers/db-1", r#"{"ssh_port":2222}"#, team.jti()).await.ok();
    assert_eq!(opened().await, None, "the old port is not opened any more");
    team.post(&db.caller, "/v1/agent/report", moved).await.ok();
    assert_eq!(opened().await, Some(("10.0.0.5".to_owned(), 2222)));
    assert_eq!(team.get(&admin, "/v1/servers/db-1").await.ok()["conflicts"], json!([]));
    assert_eq!(team.events("server.port").await[0]["port"], 2222);
}

/// Attack: root on a target reports another server's address as its own, so that whoever may enter the one gets to the
/// other's sshd through their bastion.
#[tokio::test]
async fn an_address_belongs_to_the_first_server_that_reports_it() {
    let (team, admin, _agent) = shop().await;
    let edge = json!({"role": "bastion", "bastion_group": "edge"});
    let bastion = team.enroll(&team.token(&admin, "shop", edge).await, "edge-1", 9).await;
    let token = team.token(&admin, "shop", json!({"via": "edge"})).await;
    let victim = team.enroll(&token, "db-1", 5).await;
    let thief = team.enroll(&token, "web-9", 6).await;
    let opened = async |server: &Agent| {
        let state = state(&team, &bastion).await;
        let hops = state.server.hops.into_iter().filter(|(id, _)| id.to_string() == server.id);
        hops.flat_map(|(_, hop)| hop.addresses).map(|address| address.to_string()).collect::<Vec<_>>()
    };
    let both = report_of(&[("10.0.0.6", 22), ("10.0.0.5", 22)]);
    for lie in [both, report_of(&[("10.0.0.6", 22), ("10.0.0.9", 22)])] {
        team.post(&thief.caller, "/v1/agent/report", lie).await.ok();
        assert_eq!(opened(&thief).await, ["10.0.0.6"], "neither a neighbour's nor the bastion's own");
        let shown = team.get(&admin, "/v1/servers/web-9").await.ok();
        assert_eq!(shown["conflicts"][0]["kind"], "address");
    }
    team.post(&thief.caller, "/v1/agent/report", report_of(&[("10.0.0.5", 22)])).await.ok();
    assert_eq!(opened(&thief).await, [""; 0]);
    // Neither does joining anew with another key get it.
    let again = team.enroll(&token, "web-10", 5).await;
    assert_eq!(opened(&again).await, [""; 0]);
    assert_eq!(opened(&victim).await, ["10.0.0.5"]);
    let refused: Vec<_> =
        team.events("server.addresses").await.iter().map(|event| event["refused"].clone()).collect();
    assert_eq!(
        refused,
        [json!(["10.0.0.5:22"]), json!(["10.0.0.9:22"]), json!(["10.0.0.5:22"]), json!(["10.0.0.5:22"])]
    );

    // Behind other bastions the same address is another host.
    let elsewhere = team.enroll(&team.token(&admin, "shop", json!({"via": "other"})).await, "far-1", 5).await;
    let shown = team.get(&admin, &format!("/v1/servers/{}", elsewhere.id)).await.ok();
    assert_eq!(shown["conflicts"], json!([]));
    // A machine that is gone does not keep its address for ever: the next one may have it.
    team.report(&victim).await.ok();
    team.clock.set(UnixTime::from_secs(NOW.as_secs() + 3601));
    team.report(&again).await.ok();
    assert_eq!(opened(&again).await, ["10.0.0.5"]);
    assert_eq!(team.get(&admin, "/v1/servers/web-10").await.ok()["conflicts"], json!([]));
    team.report(&victim).await.ok();
    assert_eq!(opened(&victim).await, [""; 0], "and the old one does not take it back");
}

/// Attack: root on a target reports the address of something internal that is no server at all.
#[tokio::test]
async fn a_project_says_where_its_servers_may_be() {
    let (team, admin, _agent) = shop().await;
    let edge = json!({"role": "bastion", "bastion_group": "edge"});
    let bastion = team.enroll(&team.token(&admin, "shop", edge).await, "edge-1", 9).await;
    let db = team.enroll(&team.token(&admin, "shop", json!({"via": "edge"})).await, "db-1", 5).await;
    let opened = async || {
        let state = state(&team, &bastion).await;
        let hops = state.server.hops.into_values().flat_map(|hop| hop.addresses);
        hops.map(|address| address.to_string()).collect::<Vec<_>>()
    };
    let set = async |networks: &str| {
        let body = format!(r#"{{"networks":{networks}}}"#);
        team.send(&admin, "PATCH", "/v1/projects/shop", &body, team.jti()).await
    };
    let lie = report_of(&[("10.0.0.5", 22), ("172.31.0.7", 22)]);
    team.post(&db.caller, "/v1/agent/report", lie.clone()).await.ok();
    assert_eq!(opened().await, ["10.0.0.5", "172.31.0.7"], "nobody has said where");

    assert_eq!(
        set(r#"["10.0.0.0/24","2001:db8::/32"]"#).await.ok()["networks"],
        json!(["10.0.0.0/24", "2001:db8::/32"])
    );
    team.post(&db.caller, "/v1/agent/report", lie.clone()).await.ok();
    assert_eq!(opened().await, ["10.0.0.5"], "what was outside is gone");
    let shown = team.get(&admin, "/v1/servers/db-1").await.ok();
    assert_eq!(shown["conflicts"][0]["name"], "172.31.0.7:22");
    let last = team.events("server.addresses").await.pop().unwrap();
    assert_eq!((&last["after"], &last["refused"]), (&json!(["10.0.0.5:22"]), &json!(["172.31.0.7:22"])));
    let network =
        json!([{"address": "10.0.0.0", "prefix_length": 24}, {"address": "2001:db8::", "prefix_length": 32}]);
    assert_eq!(team.events("project.networks").await[0]["networks"], network);

    set(r#"["10.0.0.0/33"]"#).await.error("invalid_request");
    set("[]").await.ok();
    team.post(&db.caller, "/v1/agent/report", lie).await.ok();
    assert_eq!(opened().await, ["10.0.0.5", "172.31.0.7"]);
}

#[tokio::test]
async fn a_changed_address_is_in_the_audit_log() {
    let (team, _admin, agent) = shop().await;
    team.report(&agent).await.ok();
    assert!(team.events("server.addresses").await.is_empty());
    team.post(&agent.caller, "/v1/agent/report", report_of(&[("10.0.0.8", 22)])).await.ok();
    let events = team.events("server.addresses").await;
    let expected = json!({
        "type": "server.addresses", "server_id": agent.id, "before": ["10.0.0.1:22"], "after": ["10.0.0.8:22"],
        "refused": [],
    });
    assert_eq!(events, [expected]);
}

#[tokio::test]
async fn a_report_makes_a_server_healthy_for_ninety_seconds() {
    let (team, admin, agent) = shop().await;
    let shown = async || team.get(&admin, "/v1/servers/web-1").await.ok();
    assert_eq!(shown().await["state"], "silent");
    let mut body = report_body(1);
    body["conflicts"] = json!([{"kind": "user", "name": "bob", "reason": "exists and is not ours"}]);
    body["clock"] = json!(UnixTime::from_secs(NOW.as_secs() - 3));
    let answer = team.post(&agent.caller, "/v1/agent/report", body).await.ok();
    assert_eq!(answer["clock"], json!(NOW));
    assert_eq!(answer["pins"].as_array().unwrap().len(), 1);
    let server = shown().await;
    assert_eq!(server["state"], "healthy");
    assert_eq!((&server["applied_generation"], &server["conflicts"][0]["name"]), (&json!(1), &json!("bob")));
    team.clock.set(UnixTime::from_secs(NOW.as_secs() + 91));
    assert_eq!(shown().await["state"], "silent");
}

/// Attack: root on a server lets its agent report without end, to keep the database busy.
#[tokio::test]
async fn an_agent_that_reports_without_end_is_slowed_down_and_others_are_not() {
    let (team, admin, agent) = shop().await;
    let token = team.token(&admin, "shop", json!({})).await;
    let other = team.enroll(&token, "web-2", 2).await;
    let mut taken = 0;
    let refused = loop {
        let reply = team.report(&agent).await;
        if !reply.status.is_success() {
            break reply;
        }
        taken += 1;
    };
    assert!(taken >= 60, "a whole minute's worth of changes: {taken}");
    assert_eq!(refused.status, 429);
    refused.error("too_many_requests");
    team.report(&other).await.ok();
}

#[tokio::test]
async fn other_host_keys_are_in_the_audit_log() {
    let (team, _admin, agent) = shop().await;
    team.report(&agent).await.ok();
    assert!(team.events("server.host_keys").await.is_empty());
    let mut body = report_body(1);
    body["facts"]["host_keys"] = facts(2)["host_keys"].clone();
    team.post(&agent.caller, "/v1/agent/report", body).await.ok();
    assert_eq!(team.events("server.host_keys").await[0]["server_id"], agent.id.as_str());
}

#[tokio::test]
async fn ids_that_a_host_uses_are_given_to_nobody() {
    let (team, admin, agent) = shop().await;
    let mut body = report_body(1);
    body["taken_ids"] = json!([60_001, 60_002, 63_002, 0, 4_294_967_295_u32]);
    team.post(&agent.caller, "/v1/agent/report", body).await.ok();
    team.person(&admin, "alice", &["shop"]).await;
    let state = state(&team, &agent).await;
    let alice = state.document.users.values().next().unwrap();
    assert_eq!((alice.uid, alice.gid), (60_003, 63_003));
}

#[tokio::test]
async fn bad_requests_of_agents_are_refused() {
    let (team, admin, agent) = shop().await;
    for query in [
        "",
        "v=1",
        "v=0&generation=0&server_generation=0&wait=0",
        "v=1&generation=0&server_generation=0&wait=56",
        "v=1&generation=-1&server_generation=0&wait=0",
        "v=1&generation=0&server_generation=0&wait=0&more=1",
        "v=1&generation=x&server_generation=0&wait=0",
    ] {
        team.get(&agent.caller, &format!("/v1/agent/state?{query}")).await.error("invalid_request");
    }
    for (pointer, value) in [
        ("/facts/addresses", json!([{"ip": "127.0.0.1", "port": 22}])),
        ("/facts/host_keys", json!(["ssh-ed25519 x"])),
        ("/applied_generation", json!(-1)),
        ("/clock", json!("yesterday")),
        ("/taken_ids", json!(vec![60_001; 4097])),
        ("/facts", json!({"role": "bastion"})),
    ] {
        let mut body = report_body(1);
        *body.pointer_mut(pointer).unwrap() = value;
        team.post(&agent.caller, "/v1/agent/report", body).await.error("invalid_request");
    }
    assert_eq!(team.get(&admin, "/v1/servers/web-1").await.ok()["last_seen_at"], Value::Null);
}

#[tokio::test]
async fn only_agents_are_told() {
    let (team, admin, _agent) = shop().await;
    let path = "/v1/agent/state?v=1&generation=0&server_generation=0&wait=0";
    // A person's device is no agent either; a proof that names a session token is not even looked at.
    let device = Caller { key: admin.key, token: None };
    for caller in [&team.stranger(), &device] {
        team.get(caller, path).await.error("login_required");
        team.post(caller, "/v1/agent/report", report_body(1)).await.error("login_required");
    }
    let signed_in = Caller { key: device.key, token: admin.token };
    team.get(&signed_in, path).await.error("invalid_dpop_proof");
}
