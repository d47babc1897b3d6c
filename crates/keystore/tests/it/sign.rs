//! Keys: made, sealed, loaded, signing; compared with a second implementation.

use std::sync::Arc;

use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier as _};
use usher_ca::{SignError, Signer as _};
use usher_keystore::{
    Algorithm, KeyError, KeyLabel, LoadError, Purpose, SignMessageError, SoftwareKey, forbid_core_dumps,
};

use crate::keystore;

const ALGORITHMS: [Algorithm; 2] = [Algorithm::EcdsaP256, Algorithm::Ed25519];

#[test]
fn a_sealed_key_comes_back_as_itself() {
    let (_directory, keystore) = keystore();
    for (index, algorithm) in ALGORITHMS.into_iter().enumerate() {
        let label = KeyLabel::new(format!("key/{index}"), Purpose::State);
        let made = keystore.generate(&label, algorithm).unwrap();
        assert_eq!(made.key.algorithm(), algorithm);
        let loaded = keystore.load(&label, &made.sealed).unwrap();
        assert!(Arc::ptr_eq(&loaded, &made.key), "opened once, then kept");
        let again = SoftwareKey::from_secret_bytes(&made.key.to_secret_bytes().unwrap()).unwrap();
        assert_eq!(again.public_key_bytes(), made.key.public_key_bytes());
    }
}

#[test]
fn a_sealed_key_holds_no_plain_key() {
    let (_directory, keystore) = keystore();
    for algorithm in ALGORITHMS {
        let made = keystore.generate(&KeyLabel::new("key", Purpose::State), algorithm).unwrap();
        let plain = made.key.to_secret_bytes().unwrap();
        let secret = &plain[1..33];
        assert!(!made.sealed.windows(32).any(|window| window == secret));
        assert!(!made.sealed.windows(32).any(|window| window == &made.key.public_key_bytes()[..32]));
    }
}

#[test]
fn a_key_of_another_purpose_or_row_does_not_load() {
    let (_directory, keystore) = keystore();
    let made = keystore.generate(&KeyLabel::new("a", Purpose::SshUserCa), Algorithm::Ed25519).unwrap();
    for label in [KeyLabel::new("b", Purpose::SshUserCa), KeyLabel::new("a", Purpose::State)] {
        assert!(matches!(keystore.load(&label, &made.sealed), Err(LoadError::Open { .. })));
    }
}

#[test]
fn p256_signatures_verify_elsewhere() {
    let key = SoftwareKey::generate(Algorithm::EcdsaP256).unwrap();
    let signature = key.sign_message(b"state head").unwrap();
    let verifier = VerifyingKey::from_sec1_bytes(key.public_key_bytes()).unwrap();
    verifier.verify(b"state head", &Signature::from_slice(&signature).unwrap()).unwrap();
    assert!(verifier.verify(b"another", &Signature::from_slice(&signature).unwrap()).is_err());
}

#[test]
fn a_key_whose_halves_do_not_belong_together_is_refused() {
    for algorithm in ALGORITHMS {
        let one = SoftwareKey::generate(algorithm).unwrap().to_secret_bytes().unwrap();
        let other = SoftwareKey::generate(algorithm).unwrap().to_secret_bytes().unwrap();
        let mixed = [&one[..33], &other[33..]].concat();
        assert_eq!(SoftwareKey::from_secret_bytes(&mixed).unwrap_err(), KeyError::Check);
    }
    for bytes in [&b""[..], &[1], &[9; 66], &[0; 65]] {
        assert_eq!(SoftwareKey::from_secret_bytes(bytes).unwrap_err(), KeyError::Form);
    }
}

/// Threat 2: a certificate authority's key is no oracle for other bytes.
#[tokio::test]
async fn a_ca_key_signs_certificates_only() {
    let (_directory, keystore) = keystore();
    for algorithm in ALGORITHMS {
        let label = KeyLabel::new(algorithm.as_str(), Purpose::SshUserCa);
        let made = keystore.generate(&label, algorithm).unwrap();
        let loaded = keystore.load(&label, &made.sealed).unwrap();
        for key in [&made.key, &loaded] {
            assert_eq!(
                key.sign_message(b"usher-state-v1\0{}").unwrap_err(),
                SignMessageError::CertificatesOnly
            );
            assert!(matches!(key.sign(b"anything").await, Err(SignError::Refused(_))));
            let certificate = [&b"\0\0\0\x20ssh-ed25519-cert-v01@openssh.com"[..], b"..."].concat();
            let signature = key.sign(&certificate).await.unwrap();
            key.public_key().verify(&certificate, &signature).unwrap();
        }
    }
}

#[test]
fn the_process_does_not_dump_core() {
    forbid_core_dumps().unwrap();
    let status = rustix::process::dumpable_behavior().unwrap();
    assert_eq!(status, rustix::process::DumpableBehavior::NotDumpable);
    assert_eq!(rustix::process::getrlimit(rustix::process::Resource::Core).current, Some(0));
}
