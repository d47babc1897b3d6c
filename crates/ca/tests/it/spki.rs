//! Public keys and signatures in DER, as key management services return them.

use p256::{
    ecdsa::signature::Signer as _, elliptic_curve::sec1::ToSec1Point as _, pkcs8::EncodePublicKey as _,
};
use proptest::prelude::*;
use usher_ca::{
    CaPublicKey, LocalKey as _, ParseKeyError, PortableEd25519, PortableP256, Signature, SignatureForm,
};
use usher_testkit::rng;

#[test]
fn writes_what_other_libraries_write_and_reads_it_back() {
    for seed in 1..20 {
        let key = p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
        let ours = PortableP256::from_scalar(&[seed; 32]).unwrap().public_key();
        let theirs = key.verifying_key().to_public_key_der().unwrap();
        assert_eq!(ours.to_spki_der(), theirs.as_bytes());
        assert_eq!(CaPublicKey::from_spki_der(theirs.as_bytes()), Ok(ours));

        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        let ours = PortableEd25519::from_seed(&[seed; 32]).unwrap().public_key();
        let theirs = key.verifying_key().to_public_key_der().unwrap();
        assert_eq!(ours.to_spki_der(), theirs.as_bytes());
        assert_eq!(CaPublicKey::from_spki_der(theirs.as_bytes()), Ok(ours));
    }
}

#[test]
fn takes_only_the_one_encoding_of_an_allowed_key() {
    let good = PortableP256::generate(&mut rng(1)).public_key().to_spki_der();
    let mut longer = good.clone();
    longer.push(0);
    let shorter = &good[..good.len() - 1];
    let mut off_the_curve = good.clone();
    off_the_curve[60] ^= 1;
    let point = p256::PublicKey::from_sec1_bytes(&good[26..]).unwrap();
    let mut compressed = good[..26].to_vec();
    (compressed[1], compressed[24]) = (0x39, 0x22);
    compressed.extend_from_slice(point.to_sec1_point(true).as_bytes());
    // The order matters: each says the most useful thing about what is wrong.
    assert_eq!(CaPublicKey::from_spki_der(&off_the_curve), Err(ParseKeyError::Point));
    assert_eq!(CaPublicKey::from_spki_der(&compressed), Err(ParseKeyError::Form));
    for bad in [&longer, shorter, &[], &[0x30, 0x80]] {
        assert!(CaPublicKey::from_spki_der(bad).is_err());
    }
    let identity = [&[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0, 1][..], &[0; 31]].concat();
    assert_eq!(CaPublicKey::from_spki_der(&identity), Err(ParseKeyError::Point));
}

#[test]
fn names_an_algorithm_that_is_not_allowed() {
    // id-ecPublicKey with secp384r1, and rsaEncryption: the algorithm alone decides.
    let p384 = [
        0x30, 0x15, 0x30, 0x10, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22, 3, 1,
        0,
    ];
    let rsa = [0x30, 0x12, 0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0, 3, 1, 0];
    assert_eq!(CaPublicKey::from_spki_der(&p384), Err(ParseKeyError::Algorithm));
    assert_eq!(CaPublicKey::from_spki_der(&rsa), Err(ParseKeyError::Algorithm));
}

/// Leading zeros, high bits and short halves all occur in this many signatures.
#[test]
fn converts_ten_thousand_signatures_of_another_library() {
    let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
    let authority = PortableP256::from_scalar(&[7; 32]).unwrap().public_key();
    for number in 0..10_000_u32 {
        let message = number.to_be_bytes();
        let signed: p256::ecdsa::Signature = key.sign(&message);
        let read = Signature::ecdsa_p256_from_der(signed.to_der().as_bytes()).unwrap();
        if number % 100 == 0 {
            authority.verify(&message, &read).unwrap();
        }
        assert_eq!(read, Signature::ecdsa_p256(&signed.to_bytes().into()).unwrap());
    }
}

#[test]
fn refuses_signatures_that_are_not_der_or_not_below_the_order() {
    let signed: p256::ecdsa::Signature = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap().sign(b"x");
    let good = signed.to_der().as_bytes().to_vec();
    let mut longer = good.clone();
    longer.push(0);
    let zero = [0x30, 6, 2, 1, 0, 2, 1, 0];
    let negative = [0x30, 6, 2, 1, 0x81, 2, 1, 1];
    let padded = [0x30, 7, 2, 2, 0, 1, 2, 1, 1];
    let long_form = [0x30, 0x81, 6, 2, 1, 1, 2, 1, 1];
    let huge = [&[0x30, 0x26, 2, 0x21, 0][..], &[0xff; 32], &[2, 1, 1]].concat();
    let order_of_checks: [&[u8]; 9] =
        [&longer, &good[..good.len() - 1], &zero, &negative, &padded, &long_form, &huge, b"", &[0; 64]];
    for (number, bad) in order_of_checks.iter().enumerate() {
        assert_eq!(Signature::ecdsa_p256_from_der(bad), Err(SignatureForm), "{number}");
    }
    assert!(Signature::ecdsa_p256_from_der(&good).is_ok());
}

proptest! {
    #[test]
    fn what_is_read_is_written_back_unchanged(bytes in prop::collection::vec(any::<u8>(), 0..100), flip in any::<(prop::sample::Index, u8)>()) {
        let mut near = PortableP256::generate(&mut rng(3)).public_key().to_spki_der();
        let position = flip.0.index(near.len());
        near[position] ^= flip.1;
        for der in [bytes, near] {
            if let Ok(key) = CaPublicKey::from_spki_der(&der) {
                prop_assert_eq!(key.to_spki_der(), der);
            }
        }
    }
}
