//! Keys: made, sealed, loaded, signing; compared with a second implementation.

use std::sync::Arc;

use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier as _};
use usher_ca::{SignError, Signer as _};
use usher_keystore::{
    Algorithm, Custody, GenerateError, KeyError, KeyLabel, Keystore, LoadError, Purpose, SignMessageError,
    SigningKey, SoftwareKey, forbid_core_dumps,
};

use crate::keystore;

async fn made(keystore: &Keystore, label: &KeyLabel, algorithm: Algorithm) -> (Vec<u8>, Arc<SigningKey>) {
    let made = keystore.generate(label, algorithm, Custody::Software).await.unwrap();
    assert_eq!((made.custody, made.key.custody()), (Custody::Software, Custody::Software));
    (made.material, made.key)
}

async fn load(keystore: &Keystore, label: &KeyLabel, material: &[u8]) -> Result<Arc<SigningKey>, LoadError> {
    keystore.load(label, Custody::Software, material).await
}

fn secret(key: &SigningKey) -> Vec<u8> {
    key.software().unwrap().to_secret_bytes().unwrap().to_vec()
}

const ALGORITHMS: [Algorithm; 2] = [Algorithm::EcdsaP256, Algorithm::Ed25519];

#[tokio::test]
async fn a_sealed_key_comes_back_as_itself() {
    let (_directory, keystore) = keystore();
    for (index, algorithm) in ALGORITHMS.into_iter().enumerate() {
        let label = KeyLabel::new(format!("key/{index}"), Purpose::State);
        let (sealed, key) = made(&keystore, &label, algorithm).await;
        assert_eq!(key.algorithm(), algorithm);
        let loaded = load(&keystore, &label, &sealed).await.unwrap();
        assert!(Arc::ptr_eq(&loaded, &key), "opened once, then kept");
        let again = SoftwareKey::from_secret_bytes(&secret(&key)).unwrap();
        assert_eq!(again.public_key_bytes(), key.public_key_bytes());
    }
}

#[tokio::test]
async fn a_sealed_key_holds_no_plain_key() {
    let (_directory, keystore) = keystore();
    for algorithm in ALGORITHMS {
        let (sealed, key) = made(&keystore, &KeyLabel::new("key", Purpose::State), algorithm).await;
        let plain = secret(&key);
        assert!(!sealed.windows(32).any(|window| window == &plain[1..33]));
        assert!(!sealed.windows(32).any(|window| window == &key.public_key_bytes()[..32]));
    }
}

#[tokio::test]
async fn a_key_of_another_purpose_or_row_does_not_load() {
    let (_directory, keystore) = keystore();
    let (sealed, _key) = made(&keystore, &KeyLabel::new("a", Purpose::SshUserCa), Algorithm::Ed25519).await;
    for label in [KeyLabel::new("b", Purpose::SshUserCa), KeyLabel::new("a", Purpose::State)] {
        assert!(matches!(load(&keystore, &label, &sealed).await, Err(LoadError::Open { .. })));
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
        let (sealed, generated) = made(&keystore, &label, algorithm).await;
        let loaded = load(&keystore, &label, &sealed).await.unwrap();
        for key in [&generated, &loaded] {
            let refused = key.sign_message(b"usher-state-v1\0{}").await.unwrap_err();
            assert_eq!(refused, SignMessageError::CertificatesOnly);
            assert!(matches!(key.sign(b"anything").await, Err(SignError::Refused(_))));
            let certificate = [&b"\0\0\0\x20ssh-ed25519-cert-v01@openssh.com"[..], b"..."].concat();
            let signature = key.sign(&certificate).await.unwrap();
            key.public_key().verify(&certificate, &signature).unwrap();
        }
    }
}

/// A broker that cannot reach a custody does not use another one.
#[tokio::test]
async fn without_kms_nothing_is_made_or_opened_in_its_custodies() {
    let (_directory, keystore) = keystore();
    let label = KeyLabel::new("prj_1/ssh-user-ca/1", Purpose::SshUserCa);
    let (sealed, _key) = made(&keystore, &label, Algorithm::Ed25519).await;
    for custody in [Custody::AwsKms, Custody::AwsKmsWrapped] {
        let error = keystore.generate(&label, Algorithm::Ed25519, custody).await.unwrap_err();
        assert_eq!(error, GenerateError::NoKms(custody));
        let error = keystore.load(&label, custody, b"arn:aws:kms:eu-central-1:1:key/1").await.unwrap_err();
        assert_eq!(error, LoadError::NoKms { purpose: "ssh-user-ca", custody });
    }
    // A row whose custody was changed does not get the key that it had.
    assert!(keystore.load(&label, Custody::AwsKms, &sealed).await.is_err());
}

#[test]
fn the_process_does_not_dump_core() {
    forbid_core_dumps().unwrap();
    let status = rustix::process::dumpable_behavior().unwrap();
    assert_eq!(status, rustix::process::DumpableBehavior::NotDumpable);
    assert_eq!(rustix::process::getrlimit(rustix::process::Resource::Core).current, Some(0));
}
