//! Rotation of every key, without an outage: a new key stands beside the old one, each server gets certificates by the
//! newest that it trusts, and nothing is retired that somebody still needs.

use std::collections::BTreeSet;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};
use usher_account_lifecycle::{
    render::ca_digest,
    state::{DocumentId, Known, Signed, StateDocument, StateKey, verify},
};
use usher_broker::AppState;
use usher_ca::{CaPublicKey, verify_at};
use usher_identity::PublicKey;
use usher_store::{KeyPurpose, audit, keys};
use usher_testkit::NOW;
use usher_types::Sha256;

use crate::{
    broker::Broker,
    team::{Agent, Caller, Reply, Team, report_body, ssh_key},
};

/// Project `shop` with web-1 behind edge-1, and alice with access.
struct Shop {
    team: Team,
    admin: Caller,
    alice: Caller,
    edge: Agent,
    web: Agent,
}

impl Shop {
    async fn new() -> Self {
        let team = Team::new().await;
        let admin = team.session("admin").await;
        team.project(&admin, "shop").await;
        let alice = team.person(&admin, "alice", &["shop"]).await;
        let more = json!({"role": "bastion", "bastion_group": "edge"});
        let edge = team.enroll(&team.token(&admin, "shop", more).await, "edge-1", 2).await;
        let token = team.token(&admin, "shop", json!({"via": "edge"})).await;
        let web = team.enroll(&token, "web-1", 1).await;
        let shop = Self { team, admin, alice, edge, web };
        shop.report(&shop.edge).await;
        shop.report(&shop.web).await;
        shop
    }

    /// The agent fetches and applies state, and says what it trusts now.
    async fn report(&self, agent: &Agent) {
        let document = self.document(agent).await;
        let digests = |lines: &[String], digest: fn(&str) -> Sha256| -> BTreeSet<Sha256> {
            lines.iter().map(|line| digest(line)).collect()
        };
        let state_keys: BTreeSet<Sha256> = document
            .state_keys
            .iter()
            .map(|key| PublicKey::from_sec1(&key.to_sec1()).unwrap().thumbprint())
            .collect();
        let mut body = report_body(agent.last);
        body["trusts"] = json!({
            "ssh_user_ca": digests(&document.ssh_user_ca, |line| ca_digest(line).unwrap()),
            "x509_ca": digests(&document.x509_ca, |der| Sha256::of(&BASE64.decode(der.as_bytes()).unwrap())),
            "state_keys": state_keys,
            "pins": document.pins,
        });
        // To each broker: what one remembers of a server is ten seconds old at most, and this clock stands still.
        for broker in 0..self.team.brokers.len() {
            self.team.only(broker);
            self.team.post(&agent.caller, "/v1/agent/report", body.clone()).await.ok();
        }
        self.team.any();
    }

    async fn state(&self, agent: &Agent) -> Value {
        self.team.told().await;
        let path = "/v1/agent/state?v=1&generation=0&server_generation=0&wait=0";
        self.team.get(&agent.caller, path).await.ok()["project"].clone()
    }

    async fn document(&self, agent: &Agent) -> StateDocument {
        let state = self.state(agent).await;
        let document: Value = serde_json::from_str(state["document"].as_str().unwrap()).unwrap();
        let keys: Vec<StateKey> = serde_json::from_value(document["state_keys"].clone()).unwrap();
        checked(&state, &keys).unwrap()
    }

    async fn keys(&self, path: &str) -> Vec<Value> {
        self.team.get(&self.admin, path).await.ok()["items"].as_array().unwrap().clone()
    }

    /// The keys of one kind, newest first.
    async fn of_kind(&self, path: &str, kind: &str) -> Vec<Value> {
        self.keys(path).await.into_iter().filter(|key| key["kind"] == kind).collect()
    }

    async fn rotate(&self, path: &str, kind: &str) -> Reply {
        self.team.post(&self.admin, path, json!({"kind": kind})).await
    }

    async fn retire(&self, path: &str, kind: &str, leave_behind: &[&str]) -> Reply {
        let body = json!({"kind": kind, "leave_behind": leave_behind});
        self.team.post(&self.admin, &format!("{path}/retire"), body).await
    }

    /// The CA that signed each leg of a new connection: bastion, target.
    async fn signed_by(&self) -> Vec<String> {
        let keys = [ssh_key(901), ssh_key(902)];
        let body = json!({"server": "web-1", "purpose": "command", "keys": keys});
        let connection = self.team.post(&self.alice, "/v1/connections", body).await.ok();
        let all = self.of_kind(CA, "ssh-user-ca").await;
        let legs = connection["routes"][0]["legs"].as_array().unwrap();
        let signer = |leg: &Value| {
            let certificate = leg["certificate"].as_str().unwrap();
            let signed = |key: &&Value| {
                let key = CaPublicKey::parse(key["public"].as_str().unwrap()).unwrap();
                verify_at(certificate, &[key], NOW).is_ok()
            };
            all.iter().find(signed).unwrap()["id"].as_str().unwrap().to_owned()
        };
        legs.iter().map(signer).map(|id| id.rsplit('/').next().unwrap().to_owned()).collect()
    }
}

const CA: &str = "/v1/projects/shop/keys";
const TEAM: &str = "/v1/team/keys";

/// The document, when one of these keys signed it.
fn checked(state: &Value, keys: &[StateKey]) -> Option<StateDocument> {
    let bytes = |field: &str| state[field].as_str().unwrap().as_bytes();
    let head: Value = serde_json::from_slice(bytes("head")).unwrap();
    let subject: DocumentId = head["document"].as_str().unwrap().parse().unwrap();
    let signature = BASE64URL_NOPAD.decode(bytes("signature")).unwrap();
    let signed = Signed { head: bytes("head"), signature: &signature, document: bytes("document") };
    Some(verify(signed, keys, subject, Known::default()).ok()?.project().unwrap().0)
}

#[tokio::test]
async fn each_server_gets_certificates_by_the_newest_ca_that_it_trusts() {
    let shop = Shop::new().await;
    assert_eq!(shop.signed_by().await, ["1", "1"]);
    let keys = shop.rotate(CA, "ssh-user-ca").await.ok();
    let newest = &keys["items"][0];
    assert_eq!(
        (&newest["state"], &newest["acknowledged"], &newest["signs_for"]),
        (&json!("active"), &json!(0), &json!(0))
    );
    assert_eq!(newest["lacking"], json!(["edge-1", "web-1"]));
    assert_eq!(shop.signed_by().await, ["1", "1"], "nobody knows the new one");
    assert_eq!(shop.document(&shop.web).await.ssh_user_ca.len(), 2);

    shop.report(&shop.edge).await;
    assert_eq!(shop.signed_by().await, ["2", "1"]);
    let keys = shop.of_kind(CA, "ssh-user-ca").await;
    assert_eq!((&keys[0]["acknowledged"], &keys[0]["lacking"]), (&json!(1), &json!(["web-1"])));
    assert_eq!((&keys[0]["signs_for"], &keys[1]["signs_for"]), (&json!(1), &json!(1)));

    // An agent that has just started does not know yet: what it said before stands.
    shop.team.report(&shop.edge).await.ok();
    assert_eq!(shop.signed_by().await, ["2", "1"]);
    shop.report(&shop.web).await;
    assert_eq!(shop.signed_by().await, ["2", "2"]);

    let keys = shop.retire(CA, "ssh-user-ca", &[]).await.ok();
    let states: Vec<_> = keys["items"].as_array().unwrap().iter().map(|key| &key["state"]).collect();
    assert_eq!(states, ["active", "retired", "active"], "the X.509 CA is another matter");
    assert!(keys["items"][1]["retired_at"].is_string());
    assert_eq!(shop.document(&shop.web).await.ssh_user_ca.len(), 1);
    assert_eq!(shop.signed_by().await, ["2", "2"]);
    let created = shop.team.events("key.create").await;
    let retired = shop.team.events("key.retire").await;
    assert_eq!((created.len(), retired.len()), (1, 1));
    assert_eq!((&created[0]["purpose"], &created[0]["custody"]), (&json!("ssh_user_ca"), &json!("software")));
    assert_eq!(
        (&retired[0]["key"], &retired[0]["left_behind"]),
        (&keys["items"][1]["fingerprint"], &json!([]))
    );
}

#[tokio::test]
async fn a_server_that_was_off_all_the_time_still_works_and_holds_back_the_end() {
    let shop = Shop::new().await;
    shop.rotate(CA, "ssh-user-ca").await.ok();
    shop.report(&shop.edge).await;
    let error = shop.retire(CA, "ssh-user-ca", &[]).await.error("in_use");
    assert_eq!(error["reasons"], json!(["server web-1 does not trust the newest ssh-user-ca key yet"]));
    assert!(error["next"].as_str().unwrap().contains("--leave-behind"), "{error}");
    shop.retire(CA, "ssh-user-ca", &["web-9"]).await.error("not_found");
    shop.retire(CA, "ssh-user-ca", &["edge-1"]).await.error("in_use");
    assert_eq!(shop.signed_by().await, ["2", "1"], "nothing happened to it");

    shop.retire(CA, "ssh-user-ca", &["web-1"]).await.ok();
    let retired = shop.team.events("key.retire").await;
    assert_eq!(retired[0]["left_behind"], json!([shop.web.id]));
    // It comes back, hears of the new CA and is as good as the others.
    assert_eq!(shop.signed_by().await, ["2", "2"]);
    shop.report(&shop.web).await;
    assert_eq!(shop.of_kind(CA, "ssh-user-ca").await[0]["lacking"], Value::Null);
}

#[tokio::test]
async fn one_key_at_least_stays_and_kinds_are_not_mixed_up() {
    let shop = Shop::new().await;
    for (path, kind) in
        [(CA, "ssh-user-ca"), (CA, "x509-ca"), (TEAM, "state"), (TEAM, "tls-root"), (TEAM, "audit")]
    {
        shop.retire(path, kind, &[]).await.error("in_use");
    }
    for (path, kind) in [(CA, "state"), (TEAM, "ssh-user-ca"), (TEAM, "moon")] {
        shop.rotate(path, kind).await.error("invalid_request");
        shop.retire(path, kind, &[]).await.error("invalid_request");
    }
    shop.rotate("/v1/projects/bank/keys", "ssh-user-ca").await.error("not_found");
    let body = json!({"kind": "state", "custody": "aws-kms"});
    shop.team.post(&shop.admin, TEAM, body).await.error("invalid_request");
    for _ in 1..8 {
        shop.rotate(CA, "ssh-user-ca").await.ok();
    }
    shop.rotate(CA, "ssh-user-ca").await.error("in_use");
}

#[tokio::test]
async fn the_x509_ca_rotates_by_its_certificate() {
    let shop = Shop::new().await;
    let before = shop.of_kind(CA, "x509-ca").await;
    assert!(before[0]["public"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"), "{before:?}");
    assert_eq!(before[0]["acknowledged"], 2);
    shop.rotate(CA, "x509-ca").await.ok();
    shop.retire(CA, "x509-ca", &[]).await.error("in_use");
    shop.report(&shop.web).await;
    shop.report(&shop.edge).await;
    shop.retire(CA, "x509-ca", &[]).await.ok();
    assert_eq!(shop.document(&shop.web).await.x509_ca.len(), 1);
    assert_eq!(shop.signed_by().await, ["1", "1"], "SSH has its own");
}

#[tokio::test]
async fn the_state_key_is_announced_by_the_old_one_and_signs_when_that_is_retired() {
    let shop = Shop::new().await;
    let old: Vec<StateKey> = shop.web.state_keys.iter().map(|key| key.parse().unwrap()).collect();
    shop.rotate(TEAM, "state").await.ok();
    let state = shop.state(&shop.web).await;
    let announced = checked(&state, &old).expect("signed by the key that agents know").state_keys;
    assert_eq!(announced.len(), 2);
    shop.retire(TEAM, "state", &[]).await.error("in_use");
    shop.report(&shop.web).await;
    shop.report(&shop.edge).await;
    shop.retire(TEAM, "state", &[]).await.ok();
    let state = shop.state(&shop.web).await;
    assert!(checked(&state, &old).is_none());
    assert_eq!(checked(&state, &announced).unwrap().state_keys, announced[..1]);
    // Whoever enrolls now is given the new one.
    let agent = shop.team.enroll(&shop.team.token(&shop.admin, "shop", json!({})).await, "web-2", 3).await;
    assert_eq!(agent.state_keys, [announced[0].to_string()]);
}

/// Both verbs are one transaction each: there is nothing in between for a kill to hit but before and after.
#[tokio::test]
async fn a_broker_that_starts_again_in_the_middle_goes_on() {
    let shop = Shop::new().await;
    for (path, kind) in [(CA, "ssh-user-ca"), (TEAM, "state"), (TEAM, "tls-root"), (TEAM, "audit")] {
        shop.rotate(path, kind).await.ok();
    }
    shop.report(&shop.edge).await;
    let again = AppState::open(shop.team.app.config().clone(), shop.team.clock.clone()).await.unwrap();
    assert_eq!(again.roots().len(), 2);
    assert_eq!(again.authority().pin(), shop.team.app.authority().pin(), "the oldest serves");
    assert_eq!(shop.signed_by().await, ["2", "1"]);
    shop.report(&shop.web).await;
    for (path, kind) in [(CA, "ssh-user-ca"), (TEAM, "state"), (TEAM, "tls-root"), (TEAM, "audit")] {
        shop.retire(path, kind, &[]).await.ok();
    }
    let again = AppState::open(shop.team.app.config().clone(), shop.team.clock.clone()).await.unwrap();
    assert_eq!(again.roots().len(), 1);
    assert_eq!(shop.document(&shop.web).await.pins, [again.authority().pin()]);
    assert_eq!(shop.signed_by().await, ["2", "2"]);
}

#[tokio::test]
async fn checkpoints_of_old_and_new_key_verify_and_the_new_one_is_announced() {
    let shop = Shop::new().await;
    shop.rotate(TEAM, "audit").await.ok();
    let newest = shop.of_kind(TEAM, "audit").await[0].clone();
    assert_eq!((&newest["acknowledged"], &newest["signs_for"]), (&Value::Null, &Value::Null));
    let announced = shop.team.events("checkpoint_key.announce").await;
    assert_eq!(announced.last().unwrap()["key"], newest["fingerprint"]);
    shop.retire(TEAM, "audit", &[]).await.ok();
    let mut reader = shop.team.store().read().await.unwrap();
    let stored = keys::of_team(&mut reader, KeyPurpose::Audit).await.unwrap();
    assert_eq!(stored.len(), 2, "a retired key still shows who signed what it signed");
    assert!(audit::checkpoints::page(&mut reader, 0, 10).await.unwrap().is_empty());
}

/// Believes one root, and begins every call with a handshake.
fn client(root: &str) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(root.as_bytes()).unwrap();
    reqwest::Client::builder().tls_certs_only([root]).pool_max_idle_per_host(0).build().unwrap()
}

#[tokio::test]
async fn the_tls_root_serves_until_it_is_retired_and_pins_go_ahead() {
    let broker = Broker::start().await;
    let person = broker.admin().await;
    let mut admin = broker.session(&person).await;
    let old = broker.app.roots()[0].to_pem().unwrap();
    let answer = admin.call("POST", "/v1/team/keys", &json!({"kind": "tls-root"})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let roots = answer.body["items"].as_array().unwrap();
    let roots: Vec<&Value> = roots.iter().filter(|key| key["kind"] == "tls-root").collect();
    let new = roots[0]["public"].as_str().unwrap().to_owned();
    let team = admin.call("GET", "/v1/team", &Value::Null).await;
    assert_eq!(team.body["pins"], json!([roots[0]["fingerprint"], roots[1]["fingerprint"]]));
    let url = format!("{}/v1/team", broker.origin);
    assert!(client(&old).get(&url).send().await.is_ok(), "the old one serves");
    assert!(client(&new).get(&url).send().await.is_err());

    // No server is enrolled, so that nobody lacks it.
    let answer = admin.call("POST", "/v1/team/keys/retire", &json!({"kind": "tls-root"})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while client(&new).get(&url).send().await.is_err() {
        assert!(std::time::Instant::now() < deadline, "the new root does not serve");
        tokio::task::yield_now().await;
    }
    assert!(client(&old).get(&url).send().await.is_err());
    assert!(broker.app.client_url().ends_with(roots[0]["fingerprint"].as_str().unwrap()));
    broker.stop().await;
}
