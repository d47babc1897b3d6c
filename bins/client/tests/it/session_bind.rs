//! Session binding, with host keys and signatures made by other code than the one that verifies. That real servers' own
//! signatures pass is in `openssh`.

use ed25519_dalek::{Signer as _, SigningKey};
use ssh_key::{Algorithm, certificate};
use usher::ssh_agent::{
    protocol::{SessionBind, put_string},
    session_bind::{BindError, BoundSession},
};

use crate::support::rng;

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn blob(key: &SigningKey) -> Vec<u8> {
    let mut blob = Vec::new();
    put_string(&mut blob, b"ssh-ed25519");
    put_string(&mut blob, key.verifying_key().as_bytes());
    blob
}

pub(crate) fn bind(key: &SigningKey, session_id: &[u8]) -> SessionBind {
    let mut signature = Vec::new();
    put_string(&mut signature, b"ssh-ed25519");
    put_string(&mut signature, &key.sign(session_id).to_bytes());
    SessionBind { host_key: blob(key), session_id: session_id.to_vec(), signature, is_forwarding: false }
}

#[test]
fn believes_the_host_that_signed_the_session() {
    let bound = BoundSession::verify(&bind(&key(1), b"session")).unwrap();
    assert_eq!(bound.host_key(), blob(&key(1)));
    assert_eq!(bound.session_id(), b"session");
}

#[test]
fn refuses_another_host_session_or_signature() {
    let good = bind(&key(1), b"session");
    let mut other_host = good.clone();
    other_host.host_key = blob(&key(2));
    let mut other_session = good.clone();
    other_session.session_id = b"sessioN".to_vec();
    let mut changed = good.clone();
    *changed.signature.last_mut().unwrap() ^= 1;
    let mut longer = good.clone();
    longer.signature.push(0);
    let mut empty = good;
    empty.session_id.clear();
    for (what, bad) in [
        ("host", other_host),
        ("session", other_session),
        ("signature", changed),
        ("trailing bytes", longer),
        ("no session", empty),
    ] {
        assert_eq!(BoundSession::verify(&bad), Err(BindError::Signature), "{what}");
    }
}

#[test]
fn refuses_a_forwarded_agent() {
    let mut forwarded = bind(&key(1), b"session");
    forwarded.is_forwarding = true;
    assert_eq!(BoundSession::verify(&forwarded), Err(BindError::Forwarding));
}

#[test]
fn refuses_weak_and_unknown_kinds() {
    for (kind, algorithm) in [
        ("ssh-rsa", "ssh-rsa"),
        ("ssh-dss", "ssh-dss"),
        ("sk-ssh-ed25519@openssh.com", "sk-ssh-ed25519@openssh.com"),
        ("ssh-ed25519", "rsa-sha2-512"),
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384"),
    ] {
        let mut bad = bind(&key(1), b"session");
        bad.host_key.clear();
        put_string(&mut bad.host_key, kind.as_bytes());
        put_string(&mut bad.host_key, b"key");
        bad.signature.clear();
        put_string(&mut bad.signature, algorithm.as_bytes());
        put_string(&mut bad.signature, b"signature");
        assert_eq!(BoundSession::verify(&bad), Err(BindError::Unsupported), "{kind} {algorithm}");
    }
}

#[test]
fn of_a_host_certificate_the_key_inside_counts() {
    let mut host = ssh_key::PrivateKey::from(ssh_key::private::Ed25519Keypair::from_seed(&[1; 32]));
    host.set_comment("");
    let authority = ssh_key::PrivateKey::random(&mut rng(), Algorithm::Ed25519).unwrap();
    let mut builder =
        certificate::Builder::new_with_random_nonce(&mut rng(), host.public_key(), 1, 2_000_000_000).unwrap();
    builder.cert_type(certificate::CertType::Host).unwrap().valid_principal("web-1").unwrap();
    let certificate = builder.sign(&authority).unwrap();
    let mut bound = bind(&key(1), b"session");
    bound.host_key = certificate.to_bytes().unwrap();
    let session = BoundSession::verify(&bound).unwrap();
    assert_eq!(session.host_key(), blob(&key(1)));
    assert_eq!(session.host_blob(), bound.host_key);
}
