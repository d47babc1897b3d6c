//! Proof of possession: which requests are believed.

use usher_ca::{
    BadSignature, LocalKey as _, ParseKeyError, PortableEd25519, PortableP256,
    x509::{CsrError, CsrToBeSigned, ProvenKey},
};
use usher_testkit::rng;

use super::example::request;

#[test]
fn believes_a_request_that_is_signed_with_its_own_key() {
    let p256 = PortableP256::generate(&mut rng(1));
    assert_eq!(*ProvenKey::from_csr_der(&request(&p256)).unwrap().public_key(), p256.public_key());
    let ed25519 = PortableEd25519::generate(&mut rng(1));
    assert_eq!(*ProvenKey::from_csr_der(&request(&ed25519)).unwrap().public_key(), ed25519.public_key());
    let pem = CsrToBeSigned::new(p256.public_key()).unwrap();
    let signature = p256.sign_now(pem.bytes()).unwrap();
    assert!(ProvenKey::from_csr_pem(&pem.seal_pem(&signature).unwrap()).is_ok());
}

/// Somebody takes another's public key and asks for a certificate that the other could then not deny.
#[test]
fn refuses_a_request_for_a_key_that_its_sender_does_not_hold() {
    let (victim, thief) = (PortableP256::generate(&mut rng(1)), PortableP256::generate(&mut rng(2)));
    let request = CsrToBeSigned::new(victim.public_key()).unwrap();
    let signature = thief.sign_now(request.bytes()).unwrap();
    assert_eq!(request.seal(&signature), Err(CsrError::Signature(BadSignature)));
    // A good request whose key was exchanged afterwards.
    let mut forged = super::example::request(&thief);
    let (from, to) = (thief.public_key().to_spki_der(), victim.public_key().to_spki_der());
    let at = forged.windows(from.len()).position(|window| window == from).unwrap();
    forged[at..at + to.len()].copy_from_slice(&to);
    assert_eq!(ProvenKey::from_csr_der(&forged), Err(CsrError::Signature(BadSignature)));
}

#[test]
fn refuses_a_request_with_any_byte_changed() {
    let good = request(&PortableP256::generate(&mut rng(1)));
    for position in 0..good.len() {
        let mut changed = good.clone();
        changed[position] ^= 1;
        assert!(ProvenKey::from_csr_der(&changed).is_err(), "{position}");
    }
}

#[test]
fn refuses_other_algorithms_and_other_things() {
    // `openssl req -new -newkey rsa:2048 -nodes -subj /CN=x`, and the same with secp384r1.
    let rsa = include_str!("../../golden/rsa.csr.pem");
    let p384 = include_str!("../../golden/p384.csr.pem");
    for text in [rsa, p384] {
        assert_eq!(ProvenKey::from_csr_pem(text), Err(CsrError::Key(ParseKeyError::Algorithm)));
    }
    let certificate = rsa.replace("CERTIFICATE REQUEST", "CERTIFICATE");
    for text in
        ["", "x", &certificate, "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----"]
    {
        assert_eq!(ProvenKey::from_csr_pem(text), Err(CsrError::Malformed), "{text}");
    }
    let huge = format!("{rsa}{}", "x".repeat(ProvenKey::MAX));
    assert_eq!(ProvenKey::from_csr_pem(&huge), Err(CsrError::TooLarge));
    assert_eq!(ProvenKey::from_csr_der(&vec![0; ProvenKey::MAX + 1]), Err(CsrError::TooLarge));
}

/// An Ed25519 signature declared as ECDSA, and the reverse.
#[test]
fn refuses_a_signature_algorithm_that_is_not_the_keys() {
    let good = request(&PortableEd25519::generate(&mut rng(1)));
    let ed25519 = [6, 3, 0x2b, 0x65, 0x70];
    let at = good.windows(ed25519.len()).rposition(|window| window == ed25519).unwrap();
    let mut other = good;
    other[at + 4] = 0x71; // Ed448
    assert_eq!(ProvenKey::from_csr_der(&other), Err(CsrError::Algorithm));
}

/// openssl's requests carry a subject, names and extensions of the requester's choice: none of it is taken over.
#[test]
fn takes_nothing_but_the_key_from_a_request() {
    let greedy = ProvenKey::from_csr_pem(include_str!("../../golden/greedy.csr.pem")).unwrap();
    let ca = super::example::Ca::p256();
    let certificate = ca.client(super::example::Person::plain(), &greedy);
    let read = usher_ca::x509::inspect(certificate.der()).unwrap();
    assert!(!format!("{read:?}").contains("root"), "{read:?}");
    assert!(!read.authority);
}
