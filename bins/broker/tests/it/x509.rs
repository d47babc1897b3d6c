//! X.509 certificates: who gets one, what it says, and what is written down before anybody does.

use serde_json::{Value, json};
use usher_ca::{
    LocalKey as _, PortableEd25519, PortableP256,
    x509::{CaCertificate, CsrToBeSigned, VerifyError, verify_client_at, verify_server_at},
};
use usher_testkit::{NOW, rng};
use usher_types::Sha256;
use x509_cert::der::pem;

use crate::team::{Agent, Caller, Reply, Team, ssh_key};

fn csr(seed: u64) -> String {
    let key = PortableP256::generate(&mut rng(seed));
    let request = CsrToBeSigned::new(key.public_key()).unwrap();
    let signature = key.sign_now(request.bytes()).unwrap();
    request.seal_pem(&signature).unwrap()
}

/// A request for the key of seed 1, signed with another.
fn unproven() -> String {
    let (held, wanted) = (PortableEd25519::generate(&mut rng(2)), PortableEd25519::generate(&mut rng(1)));
    let request = CsrToBeSigned::new(held.public_key()).unwrap();
    let signature = held.sign_now(request.bytes()).unwrap();
    let mut der = request.seal(&signature).unwrap();
    let (from, to) = (held.public_key().to_spki_der(), wanted.public_key().to_spki_der());
    let at = der.windows(from.len()).position(|window| window == from).unwrap();
    der[at..at + to.len()].copy_from_slice(&to);
    pem::encode_string("CERTIFICATE REQUEST", pem::LineEnding::LF, &der).unwrap()
}

fn der(text: &Value) -> Vec<u8> {
    let (label, der) = pem::decode_vec(text.as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(label, "CERTIFICATE");
    der
}

fn authority(text: &Value) -> CaCertificate {
    CaCertificate::from_pem(text.as_str().unwrap()).unwrap()
}

/// A project `shop` with a server and alice, who may use it.
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

    async fn connect(&self, more: Value) -> Reply {
        let mut body = json!({"server": "web-1", "purpose": "interactive", "keys": [ssh_key(901)]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.team.post(&self.alice, "/v1/connections", body).await
    }

    async fn listen(&self, csr: &str) -> Reply {
        self.team.post(&self.web.caller, "/v1/agent/certificate", json!({"csr": csr})).await
    }
}

#[tokio::test]
async fn an_agent_gets_a_certificate_for_its_own_listener_and_a_row_says_so() {
    let shop = Shop::new().await;
    let reply = shop.listen(&csr(1)).await.ok();
    let anchor = authority(&reply["authority"]);
    let leaf = der(&reply["certificate"]);
    let verified = verify_server_at(&leaf, std::slice::from_ref(&anchor), NOW).unwrap();
    let identity = verified.identity();
    assert_eq!((identity.server_id.to_string(), identity.team.as_str()), (shop.web.id.clone(), "acme"));
    assert_eq!(identity.dns_name(), "web-1.acme.usher");
    assert_eq!(*verified.subject(), PortableP256::generate(&mut rng(1)).public_key());
    assert_eq!(reply["valid_before"], json!(verified.valid_before()));
    // It is no certificate of a person, not even for that server.
    assert_eq!(verify_client_at(&leaf, &[anchor], NOW).unwrap_err(), VerifyError::Window);

    let [record] = &shop.team.events("server.certificate").await[..] else { panic!("one row") };
    assert_eq!(record["server_id"], json!(shop.web.id));
    assert_eq!(record["serial"], json!(verified.serial().to_string()));
    assert_eq!(record["sha256"], json!(Sha256::of(&leaf)));
}

#[tokio::test]
async fn a_listener_gets_nothing_for_a_key_that_its_agent_does_not_hold() {
    let shop = Shop::new().await;
    for bad in [unproven(), String::new(), "x".repeat(5000)] {
        shop.listen(&bad).await.error("invalid_request");
    }
    assert!(shop.team.events("server.certificate").await.is_empty());
}

#[tokio::test]
async fn a_removed_server_gets_nothing() {
    let shop = Shop::new().await;
    shop.team.send(&shop.admin, "DELETE", "/v1/servers/web-1", "", shop.team.jti()).await.ok();
    shop.listen(&csr(1)).await.error("login_required");
}

#[tokio::test]
async fn a_connection_has_a_client_certificate_only_when_asked_for() {
    let shop = Shop::new().await;
    let plain = shop.connect(json!({})).await.ok();
    assert_eq!(plain.get("client_certificate"), None);

    let connection = shop.connect(json!({"csr": csr(3)})).await.ok();
    let shown = &connection["client_certificate"];
    let anchors: Vec<_> = shown["authorities"].as_array().unwrap().iter().map(authority).collect();
    let leaf = der(&shown["certificate"]);
    let verified = verify_client_at(&leaf, &anchors, NOW).unwrap();
    let identity = verified.identity();
    assert_eq!(identity.server_id.to_string(), shop.web.id);
    assert_eq!(json!(identity.connection_id), connection["id"]);
    assert_eq!(json!(verified.valid_before()), connection["valid_before"]);
    assert_eq!(
        (verified.smart_card(), verified.subject()),
        (None, &PortableP256::generate(&mut rng(3)).public_key())
    );
    // The listener that it is for has a certificate of one of the same authorities.
    let listener = shop.listen(&csr(1)).await.ok();
    verify_server_at(&der(&listener["certificate"]), &anchors, NOW).unwrap();

    let issued = shop.team.events("connection.issue").await;
    let [without, with] = &issued[..] else { panic!("two rows") };
    assert_eq!(without["certificates"].as_array().unwrap().len(), 1);
    let certificates = with["certificates"].as_array().unwrap();
    assert_eq!((certificates.len(), certificates[0].get("kind")), (2, None));
    assert_eq!(certificates[1]["kind"], "x509");
    assert_eq!(certificates[1]["serial"], json!(verified.serial().to_string()));
    assert_eq!(certificates[1]["sha256"], json!(Sha256::of(&leaf)));
    assert_eq!(certificates[1]["principal"], json!(format!("alice@{}", shop.web.id)));
}

#[tokio::test]
async fn a_client_certificate_is_made_only_for_a_key_that_its_sender_holds() {
    let shop = Shop::new().await;
    shop.connect(json!({"csr": unproven()})).await.error("invalid_request");
    shop.connect(json!({"csr": "x"})).await.error("invalid_request");
    assert!(shop.team.events("connection.issue").await.is_empty());
}

/// Row 5: a certificate of one project is worth nothing at a listener of another.
#[tokio::test]
async fn the_authorities_of_two_projects_do_not_know_each_other() {
    let shop = Shop::new().await;
    shop.team.project(&shop.admin, "bank").await;
    let token = shop.team.token(&shop.admin, "bank", json!({})).await;
    let vault = shop.team.enroll(&token, "vault-1", 2).await;
    let other = shop.team.post(&vault.caller, "/v1/agent/certificate", json!({"csr": csr(4)})).await.ok();
    let connection = shop.connect(json!({"csr": csr(3)})).await.ok();
    let leaf = der(&connection["client_certificate"]["certificate"]);
    let refused = verify_client_at(&leaf, &[authority(&other["authority"])], NOW);
    assert_eq!(refused.unwrap_err(), VerifyError::Authority);
}
