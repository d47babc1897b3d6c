//! What key management services return: keys as `SubjectPublicKeyInfo`, signatures in DER. No panic, one encoding for each
//! value, and the same opinion as other libraries.
#![no_main]

use ed25519_dalek::pkcs8::DecodePublicKey as _;
use usher_ca::{CaPublicKey, Signature, SubjectKey};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = CaPublicKey::from_spki_der(bytes) {
        assert_eq!(key.to_spki_der(), bytes);
        let p256 = p256::ecdsa::VerifyingKey::from_public_key_der(bytes).is_ok();
        let ed25519 = ed25519_dalek::VerifyingKey::from_public_key_der(bytes).is_ok();
        assert!(p256 || ed25519);
        assert_eq!(key.to_openssh().parse(), Ok(key));
    }
    if let Ok(signature) = Signature::ecdsa_p256_from_der(bytes) {
        let theirs = p256::ecdsa::Signature::from_der(bytes).unwrap();
        assert_eq!(theirs.to_der().as_bytes(), bytes);
        assert_eq!(Signature::ecdsa_p256(&theirs.to_bytes().into()), Ok(signature));
    }
    if let Ok(line) = std::str::from_utf8(bytes) {
        if let Ok(key) = SubjectKey::parse(line) {
            assert_eq!(SubjectKey::parse(&key.to_openssh()), Ok(key));
        }
        let _ = CaPublicKey::parse(line);
    }
});
