//! What a proof is good for, and how long.

use std::time::Duration;

use usher_identity::PublicKey;
use usher_identity::dpop::{
    Es256Verifier, Jti, MAX_PROOF_LENGTH, PortableVerifier, ProofError, ProofRequest, TOLERANCE, make, verify,
};

use crate::fixture::{JTI, NOW, check, key, nonces, prove, request, session_token};

#[test]
fn verifies_for_its_request() {
    let (key, token) = (key(1), session_token(1));
    let proof = prove(&key, &request(Some(&token)));
    let verified = check(&proof, &request(Some(&token))).unwrap();
    assert_eq!(*verified.key(), key.public());
    assert_eq!(verified.jkt(), key.public().thumbprint());
    assert_eq!(verified.jti(), JTI);
    assert!(verified.is_for(&token));
    assert!(!verified.is_for(&session_token(2)));
}

#[test]
fn every_part_of_the_request_counts() {
    let (token, other) = (session_token(1), session_token(2));
    let asked = request(Some(&token));
    let proof = prove(&key(1), &asked);
    let cases = [
        (ProofRequest { method: "PUT", ..asked }, ProofError::Method),
        (ProofRequest { method: "post", ..asked }, ProofError::Method),
        (ProofRequest { htu: "https://broker.example:8443/v1/connection", ..asked }, ProofError::Url),
        (ProofRequest { htu: "http://broker.example:8443/v1/connections", ..asked }, ProofError::Url),
        (ProofRequest { htu: "https://broker.example/v1/connections", ..asked }, ProofError::Url),
        (ProofRequest { query: "", ..asked }, ProofError::Query),
        (ProofRequest { query: "wait=2", ..asked }, ProofError::Query),
        (ProofRequest { body: b"", ..asked }, ProofError::Body),
        (ProofRequest { body: br#"{"server":"web-1" }"#, ..asked }, ProofError::Body),
        (ProofRequest { token: None, ..asked }, ProofError::Token),
        (ProofRequest { token: Some(&other), ..asked }, ProofError::Token),
    ];
    for (request, expected) in cases {
        assert_eq!(check(&proof, &request).unwrap_err(), expected, "{request:?}");
    }
}

#[test]
fn a_proof_without_token_is_no_proof_for_one() {
    let token = session_token(1);
    let proof = prove(&key(1), &request(None));
    assert_eq!(check(&proof, &request(Some(&token))).unwrap_err(), ProofError::Token);
    assert!(!check(&proof, &request(None)).unwrap().is_for(&token));
}

#[test]
fn lives_for_a_minute_either_way() {
    // Nonces of every moment are accepted here, so that only `iat` decides.
    let made_at = |at| make(&key(1), &request(None), JTI, Some(&nonces().issue(NOW)), at);
    let second = Duration::from_secs(1);
    let accepted = [NOW, NOW.saturating_sub(TOLERANCE), NOW.saturating_add(TOLERANCE)];
    for at in accepted {
        assert!(check(&made_at(at), &request(None)).is_ok(), "{at}");
    }
    for at in [NOW.saturating_sub(TOLERANCE + second), NOW.saturating_add(TOLERANCE + second)] {
        assert_eq!(check(&made_at(at), &request(None)).unwrap_err(), ProofError::IssuedAt, "{at}");
    }
}

#[test]
fn asks_for_a_nonce_when_there_is_none_or_an_old_one() {
    let old = nonces().issue(NOW.saturating_sub(Duration::from_secs(180)));
    for nonce in [None, Some(""), Some("nonsense"), Some(old.as_str())] {
        let proof = make(&key(1), &request(None), JTI, nonce, NOW);
        let error = check(&proof, &request(None)).unwrap_err();
        assert!(error.wants_nonce(), "{nonce:?}: {error}");
    }
}

#[test]
fn costs_no_signature_check_without_a_fresh_nonce() {
    struct Unreachable;
    impl Es256Verifier for Unreachable {
        fn verify(&self, _: &PublicKey, _: &[u8], _: &[u8; 64]) -> bool {
            panic!("the signature was looked at")
        }
    }
    let proof = make(&key(1), &request(None), JTI, None, NOW);
    assert_eq!(verify(&proof, &request(None), &nonces(), NOW, &Unreachable).unwrap_err(), ProofError::Nonce);
}

#[test]
fn a_retry_keeps_the_jti_and_nothing_else() {
    let later = NOW.saturating_add(Duration::from_secs(45));
    let first = prove(&key(1), &request(None));
    let retry = make(&key(1), &request(None), JTI, Some(&nonces().issue(later)), later);
    assert_ne!(first, retry);
    let verified = verify(&retry, &request(None), &nonces(), later, &PortableVerifier).unwrap();
    assert_eq!(verified.jti(), check(&first, &request(None)).unwrap().jti());
}

#[test]
fn looks_at_eight_kibibytes_at_most() {
    assert_eq!(check(&"a".repeat(MAX_PROOF_LENGTH + 1), &request(None)).unwrap_err(), ProofError::Length);
    assert_eq!(check(&"a".repeat(MAX_PROOF_LENGTH), &request(None)).unwrap_err(), ProofError::Form);
}

#[test]
fn jti_has_one_form() {
    assert_eq!(JTI.to_string().parse::<Jti>().unwrap(), JTI);
    assert_eq!(JTI.to_string().len(), 22);
    let good = JTI.to_string();
    let stray_bits = format!("{}R", &good[..21]);
    for bad in ["", "abc", &good[..21], &format!("{good}="), &stray_bits] {
        assert!(bad.parse::<Jti>().is_err(), "{bad}");
    }
}

#[test]
fn request_prints_no_token() {
    let token = session_token(1);
    assert!(!format!("{:?}", request(Some(&token))).contains(token.reveal().get(35..78).unwrap()));
}
