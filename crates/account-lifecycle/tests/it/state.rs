//! Signed state: what is accepted, and everything that is not.

use data_encoding::BASE64URL_NOPAD;
use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use usher_account_lifecycle::state::{
    DocumentId, Head, Known, Role, Signed, StateFault, StateKey, Verified, sign_input, verify,
};

use crate::fixtures::{NOW, project, server, with_users};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn public(key: &SigningKey) -> StateKey {
    StateKey::from_sec1(key.verifying_key().to_sec1_point(false).as_bytes()).unwrap()
}

struct Package {
    head: String,
    signature: Vec<u8>,
    document: String,
}

fn package(id: DocumentId, generation: u64, document: &str) -> Package {
    let head = Head::new(id, generation, document, NOW).encode().unwrap();
    sign(head, document)
}

fn sign(head: String, document: &str) -> Package {
    let signature: Signature = key(7).sign(&sign_input(head.as_bytes()));
    Package { head, signature: signature.to_bytes().to_vec(), document: document.to_owned() }
}

fn check(package: &Package, subject: DocumentId, known: Known) -> Result<Verified, StateFault> {
    let signed = Signed {
        head: package.head.as_bytes(),
        signature: &package.signature,
        document: package.document.as_bytes(),
    };
    verify(signed, &[public(&key(3)), public(&key(7))], subject, known)
}

fn id() -> DocumentId {
    DocumentId::Project(project().project.id)
}

fn good() -> Package {
    package(id(), 5, &with_users(&["alice"]).encode().unwrap())
}

#[test]
fn accepts_what_a_state_key_signed() {
    let verified = check(&good(), id(), Known::default()).unwrap();
    let (document, refused) = verified.project().unwrap();
    assert_eq!(document, with_users(&["alice"]));
    assert!(refused.is_empty());
    assert_eq!(verified.known().generation, 5);
}

#[test]
fn documents_have_exactly_the_agreed_form() {
    let document = with_users(&["alice"]);
    let text = document.encode().unwrap();
    let prefix = format!(
        "{{\"v\":1,\"project\":{{\"id\":\"{}\",\"slug\":\"prod\"}},\"ssh_user_ca\":[\"ssh-ed25519 ",
        document.project.id
    );
    assert!(text.starts_with(&prefix), "{text}");
    assert!(text.contains("\"admin_sudo\":\"passwordless\",\"users\":{\"alice\":{\"id\":\"usr_"), "{text}");
    assert!(
        text.contains(
            "\"uid\":60001,\"gid\":63001,\"gecos\":\"User 1\",\"shell\":\"/bin/bash\",\"admin\":true}}"
        ),
        "{text}"
    );
    assert!(text.ends_with("\"groups\":{},\"state_keys\":[],\"pins\":[]}"), "{text}");
    let text = server(Role::Bastion).encode().unwrap();
    assert!(text.contains("\"role\":\"bastion\",\"hops\":{\"srv_"), "{text}");
    assert!(text.ends_with("{\"addresses\":[\"10.0.0.5\"],\"port\":22}}}"), "{text}");
}

#[test]
fn refuses_any_changed_byte() {
    let good = good();
    for index in 0..good.head.len() {
        let mut bytes = good.head.clone().into_bytes();
        bytes[index] ^= 1;
        let signed = Signed { head: &bytes, signature: &good.signature, document: good.document.as_bytes() };
        let fault = verify(signed, &[public(&key(7))], id(), Known::default()).unwrap_err();
        assert_eq!(fault, StateFault::Signature);
    }
    let mut changed = Package { document: good.document.replace("60001", "00000"), ..good };
    assert_eq!(check(&changed, id(), Known::default()).unwrap_err(), StateFault::Hash);
    changed.signature[10] ^= 1;
    assert_eq!(check(&changed, id(), Known::default()).unwrap_err(), StateFault::Signature);
    changed.signature.clear();
    assert_eq!(check(&changed, id(), Known::default()).unwrap_err(), StateFault::Signature);
}

#[test]
fn refuses_a_stranger_s_signature() {
    let good = good();
    let signed =
        Signed { head: good.head.as_bytes(), signature: &good.signature, document: good.document.as_bytes() };
    assert_eq!(
        verify(signed, &[public(&key(3))], id(), Known::default()).unwrap_err(),
        StateFault::Signature
    );
    assert_eq!(verify(signed, &[], id(), Known::default()).unwrap_err(), StateFault::Signature);
}

#[test]
fn generations_never_go_back() {
    let good = good();
    let known = check(&good, id(), Known::default()).unwrap().known();
    assert!(check(&good, id(), known).is_ok(), "the same again is fine");
    let newer = Known { generation: 6, sha256: None };
    assert_eq!(check(&good, id(), newer).unwrap_err(), StateFault::Older { offered: 5, known: 6 });
    let fork = package(id(), 5, &with_users(&["bob"]).encode().unwrap());
    assert_eq!(check(&fork, id(), known).unwrap_err(), StateFault::Fork(5));
}

#[test]
fn refuses_a_document_about_something_else() {
    let other = DocumentId::Server(crate::fixtures::server_id(8));
    assert_eq!(check(&good(), other, Known::default()).unwrap_err(), StateFault::Subject(id()));
    let inner = package(other, 1, &server(Role::Target).encode().unwrap());
    let verified = check(&inner, other, Known::default()).unwrap();
    assert!(matches!(verified.server().unwrap_err(), StateFault::Subject(DocumentId::Server(_))));
    assert!(matches!(verified.project().unwrap_err(), StateFault::Malformed(_)));
}

#[test]
fn refuses_a_later_version_whatever_it_looks_like() {
    let head = r#"{"v":2,"anything":true}"#.to_owned();
    assert_eq!(check(&sign(head, "{}"), id(), Known::default()).unwrap_err(), StateFault::Version(2));
    let head = r#"{"v":0}"#.to_owned();
    assert_eq!(check(&sign(head, "{}"), id(), Known::default()).unwrap_err(), StateFault::Version(0));
    let document = r#"{"v":9}"#;
    let later = package(id(), 1, document);
    assert_eq!(check(&later, id(), Known::default()).unwrap_err(), StateFault::Version(9));
}

#[test]
fn one_bad_entry_does_not_hold_up_the_rest() {
    let text = with_users(&["alice", "bob"]).encode().unwrap().replace("\"bob\":", "\"root\":");
    let (document, refused) =
        check(&package(id(), 1, &text), id(), Known::default()).unwrap().project().unwrap();
    assert_eq!(document.users.len(), 1);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].name, "root");
}

#[test]
fn keys_are_65_bytes_of_a_point_on_the_curve() {
    let text = public(&key(7)).to_string();
    assert_eq!(text.parse::<StateKey>().unwrap().to_string(), text);
    for bad in [
        "",
        "AAAA",
        &BASE64URL_NOPAD.encode(&[4; 65]),
        text.trim_start_matches('B').trim_end_matches(char::is_alphanumeric),
    ] {
        assert!(bad.parse::<StateKey>().is_err(), "{bad}");
    }
}

/// Older agents ignore what they do not know, so a lock is nothing that an unlocked document mentions.
#[test]
fn locks_and_x509_authorities_are_in_the_document_only_when_there_are_some() {
    let text = with_users(&["alice"]).encode().unwrap() + &server(Role::Target).encode().unwrap();
    assert!(!text.contains("locked") && !text.contains("x509_ca"), "{text}");
    let mut document = with_users(&["alice"]);
    document.locked = true;
    document.x509_ca = vec!["MIIB".to_owned()];
    document.users.values_mut().for_each(|user| user.locked = true);
    let (read, _) = check(&package(id(), 1, &document.encode().unwrap()), id(), Known::default())
        .unwrap()
        .project()
        .unwrap();
    assert_eq!(read, document);
}
