//! Properties that hold for every proof.

use proptest::prelude::*;
use usher_identity::dpop::{Jti, PortableVerifier, ProofRequest, make, verify};
use usher_types::{SecretToken, UnixTime};

use crate::fixture::{NOW, key, nonces, session_token};

/// A request that owns its parts.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    method: String,
    htu: String,
    query: String,
    body: Vec<u8>,
    token: Option<u8>,
}

impl Owned {
    fn with<T>(&self, then: impl FnOnce(ProofRequest<'_>) -> T) -> T {
        let token: Option<SecretToken> = self.token.map(session_token);
        then(ProofRequest {
            method: &self.method,
            htu: &self.htu,
            query: &self.query,
            body: &self.body,
            token: token.as_ref(),
        })
    }
}

prop_compose! {
    fn requests()(
        method in prop::sample::select(vec!["GET", "POST", "PUT", "PATCH", "DELETE"]),
        path in "/v1/[a-z0-9/\"\\\\é]{0,20}",
        query in "[ -~é]{0,20}",
        body in prop::collection::vec(any::<u8>(), 0..40),
        token in prop::option::of(0_u8..3),
    ) -> Owned {
        Owned { method: method.to_owned(), htu: format!("https://broker.example:8443{path}"), query, body, token }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_proof_verifies_for_exactly_its_request(made in requests(), asked in requests(), jti in any::<[u8; 16]>()) {
        let proof = made.with(|request| make(&key(1), &request, Jti::new(jti), Some(&nonces().issue(NOW)), NOW));
        let outcome = |asked: &Owned| {
            asked.with(|request| verify(&proof, &request, &nonces(), NOW, &PortableVerifier).map(|proof| proof.jti()))
        };
        prop_assert_eq!(outcome(&made), Ok(Jti::new(jti)));
        prop_assert_eq!(outcome(&asked).is_ok(), asked == made);

        // One part at a time, which random requests rarely do.
        let mixed = [
            Owned { method: asked.method.clone(), ..made.clone() },
            Owned { htu: asked.htu.clone(), ..made.clone() },
            Owned { query: asked.query.clone(), ..made.clone() },
            Owned { body: asked.body.clone(), ..made.clone() },
            Owned { token: asked.token, ..made.clone() },
        ];
        for request in mixed {
            prop_assert_eq!(outcome(&request).is_ok(), request == made);
        }
    }

    #[test]
    fn no_byte_of_a_proof_can_be_changed(position in any::<prop::sample::Index>(), byte in 1_u8..128) {
        let request = crate::fixture::request(None);
        let proof = crate::fixture::prove(&key(1), &request);
        let mut bytes = proof.clone().into_bytes();
        let position = position.index(bytes.len());
        bytes[position] = (bytes[position] ^ byte) & 0x7f;
        let mutant = String::from_utf8(bytes).unwrap();
        prop_assume!(mutant != proof);
        prop_assert!(crate::fixture::check(&mutant, &request).is_err());
    }

    #[test]
    fn no_text_makes_the_verifier_panic(text in ".{0,300}") {
        prop_assert!(crate::fixture::check(&text, &crate::fixture::request(None)).is_err());
    }

    #[test]
    fn no_time_makes_nonces_panic(now in any::<i64>(), nonce in "[A-Za-z0-9_-]{0,50}") {
        let now = UnixTime::from_millis(now);
        prop_assert!(nonces().accepts(&nonces().issue(now), now));
        prop_assert!(!nonces().accepts(&nonce, now));
    }
}
