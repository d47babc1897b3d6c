//! Who is believed to be the broker.

use std::time::Duration;

use rustls::CertificateError;
use usher_api_client::{CallError, Client, ClientConfig, ClientError};
use usher_types::Sha256;

use crate::server::{Identity, Reply, Root, Server, key, now};

const TEAM: &str = r#"{"team":"acme","version":"1.0.0"}"#;

#[track_caller]
fn refused(result: Result<usher_api::v1::Team, CallError>) -> CertificateError {
    match result {
        Err(CallError::Certificate(rustls::Error::InvalidCertificate(reason))) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn believes_a_chain_to_the_pinned_root() {
    let server = Server::with(&[Reply::ok(TEAM)]).await;
    assert_eq!(server.client().team().await.unwrap().team.as_str(), "acme");
}

#[tokio::test]
async fn says_pin_when_the_root_is_another() {
    let server = Server::with(&[Reply::ok(TEAM)]).await;
    let client = server.client_with(Root::new().pin, Duration::from_secs(120), None);
    let error = client.team().await.unwrap_err();
    assert!(matches!(error, CallError::Pin), "{error:?}");
    assert!(error.is_network());
    assert!(server.seen().is_empty(), "no request may leave before the broker is known");
}

/// A root is replaced while clients run: first they know both, then the broker shows the other.
#[tokio::test]
async fn believes_any_of_several_pins_and_takes_new_ones() {
    let server = Server::with(&[Reply::ok(TEAM), Reply::ok(TEAM)]).await;
    let client = server.client_with(Root::new().pin, Duration::from_secs(120), None);
    assert!(matches!(client.team().await, Err(CallError::Pin)));
    client.set_pins([Root::new().pin, server.pin()]);
    client.team().await.unwrap();
    client.set_pins([]);
    client.team().await.unwrap();
}

#[tokio::test]
async fn a_client_without_pins_is_not_talked_into_some() {
    let server = Server::with(&[Reply::ok(TEAM)]).await;
    let client = match Client::new(ClientConfig::new(server.url(), key(), now)) {
        Ok(client) => client,
        Err(ClientError::NoRoots) => return,
        Err(other) => panic!("{other:?}"),
    };
    client.set_pins([server.pin()]);
    refused(client.team().await);
}

#[tokio::test]
async fn takes_no_pin_of_the_leaf() {
    let identity = Root::new().identity(|_| {});
    let leaf = webpki::EndEntityCert::try_from(&identity.chain[0]).unwrap();
    let pin = Sha256::of(&leaf.subject_public_key_info());
    let server = Server::start(identity, &[Reply::ok(TEAM)]).await;
    let client = server.client_with(pin, Duration::from_secs(120), None);
    assert!(matches!(client.team().await, Err(CallError::Pin)));
}

/// Anybody can send the team's root along; nobody else can sign below it.
#[tokio::test]
async fn refuses_a_foreign_leaf_beside_the_pinned_root() {
    let (ours, theirs) = (Root::new(), Root::new());
    let Identity { mut chain, key, .. } = theirs.identity(|_| {});
    chain.push(ours.certificate());
    let server = Server::start(Identity { chain, key, pin: ours.pin }, &[Reply::ok(TEAM)]).await;
    // Both roots have the same name, so the signature itself is what fails.
    refused(server.client().team().await);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn refuses_an_expired_leaf() {
    let identity = Root::new().identity(|leaf| {
        leaf.not_before = rcgen::date_time_ymd(2026, 1, 1);
        leaf.not_after = rcgen::date_time_ymd(2027, 1, 15);
    });
    let server = Server::start(identity, &[Reply::ok(TEAM)]).await;
    let reason = refused(server.client().team().await);
    assert!(matches!(reason, CertificateError::ExpiredContext { .. }), "{reason:?}");
}

#[tokio::test]
async fn refuses_a_leaf_that_is_not_valid_yet() {
    let identity = Root::new().identity(|leaf| leaf.not_before = rcgen::date_time_ymd(2027, 1, 16));
    let server = Server::start(identity, &[Reply::ok(TEAM)]).await;
    let reason = refused(server.client().team().await);
    assert!(matches!(reason, CertificateError::NotValidYetContext { .. }), "{reason:?}");
}

#[tokio::test]
async fn refuses_a_leaf_for_another_name() {
    let identity = Root::new().identity(|leaf| {
        leaf.subject_alt_names =
            rcgen::CertificateParams::new(vec!["broker.example".to_owned()]).unwrap().subject_alt_names;
    });
    let server = Server::start(identity, &[Reply::ok(TEAM)]).await;
    assert_eq!(refused(server.client().team().await), CertificateError::NotValidForName);
}

#[tokio::test]
async fn refuses_an_unknown_root_when_there_is_no_pin() {
    let server = Server::with(&[Reply::ok(TEAM)]).await;
    let client = match Client::new(ClientConfig::new(server.url(), key(), now)) {
        Ok(client) => client,
        // A machine without any trusted root believes nobody either.
        Err(ClientError::NoRoots) => return,
        Err(other) => panic!("{other:?}"),
    };
    refused(client.team().await);
    assert!(server.seen().is_empty());
}
