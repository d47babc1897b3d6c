//! Proofs of possession as they arrive: no panic, and never a yes but to the seed.
#![no_main]

use usher_identity::dpop::{self, NonceKey, NonceKeys, PortableVerifier, ProofRequest};
use usher_types::UnixTime;

libfuzzer_sys::fuzz_target!(|proof: &str| {
    let request = ProofRequest {
        method: "GET",
        htu: "https://broker.example:8443/v1/servers",
        query: "",
        body: b"",
        token: None,
    };
    let nonces = NonceKeys::new(NonceKey::new([1; 32]), None);
    let now = UnixTime::from_secs(1_800_000_000);
    if dpop::verify(proof, &request, &nonces, now, &PortableVerifier).is_ok() {
        assert_eq!(proof, include_str!("../seeds/identity_dpop/good"));
    }
});
