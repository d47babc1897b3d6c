//! Certificate signing requests as agents and clients send them: no panic, and never a yes to a key that did not sign.
#![no_main]

use usher_ca::x509::ProvenKey;

/// Requests of Ed25519 keys, whose signatures nobody can turn into others.
const SIGNED: [&[u8]; 2] = [include_bytes!("../seeds/ca_csr/ed25519"), include_bytes!("../seeds/ca_csr/openssl-ed25519")];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(proven) = ProvenKey::from_csr_der(bytes) {
        let known = SIGNED.iter().any(|signed| bytes == *signed);
        // A P-256 signature has a second form; the key is the seed's all the same.
        let p256 = include_bytes!("../seeds/ca_csr/p256");
        let same_key = ProvenKey::from_csr_der(p256).is_ok_and(|other| other == proven);
        assert!(known || same_key, "forged: {proven:?}");
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = ProvenKey::from_csr_pem(text);
    }
});
