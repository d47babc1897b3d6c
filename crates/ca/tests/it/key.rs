//! Which public keys are let in.

use usher_ca::{CaPublicKey, LocalKey as _, ParseKeyError, PortableP256, SubjectKey};
use usher_testkit::rng;

use crate::{example::SUBJECT, forge::Forged};

const P256: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBDwS0k9I7zeaT6ubBk6R+DBu9aslI2y290QdWKgWpC57Sfk2i3jLLXkyeePV4MfPz/eSqXnGe93Nu8eBVTkywE4= ca";
const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDRtf799q38IrxGnNoU/2SLFKd+YU0WcNKQa5cckpKTF0m01SbMTg3VMW4ZwWlWMQr0aAq9K9/bKKJbkuyhIme5e21hmkq0kIAW5omxPHSiBU+tJ9oz6Y7W51Rqw6zMALPzbaT3hLd4B+oZC6JTUdZVFsLEFiRyQky5fpfaGogK1Q==";

#[test]
fn reads_keys_and_drops_comments() {
    let key = SubjectKey::parse(SUBJECT).unwrap();
    assert_eq!(format!("{} alice@laptop", key.to_openssh()), SUBJECT);
    assert_eq!(key.fingerprint(), "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ");
    assert_eq!(CaPublicKey::parse(SUBJECT).unwrap().to_openssh(), key.to_openssh());
    let p256 = PortableP256::generate(&mut rng(1)).public_key();
    assert_eq!(p256.to_openssh().parse(), Ok(p256));
    assert_eq!(p256.algorithm(), "ecdsa-sha2-nistp256");
}

#[test]
fn takes_only_ed25519_from_a_client() {
    assert_eq!(SubjectKey::parse(P256), Err(ParseKeyError::Algorithm));
    assert_eq!(SubjectKey::parse(RSA), Err(ParseKeyError::Algorithm));
    assert_eq!(SubjectKey::parse(&Forged::good().to_text()), Err(ParseKeyError::Algorithm));
}

#[test]
fn takes_only_ed25519_and_p256_as_authority() {
    assert!(CaPublicKey::parse(P256).is_ok());
    assert_eq!(CaPublicKey::parse(RSA), Err(ParseKeyError::Algorithm));
    assert_eq!(CaPublicKey::parse(&Forged::good().to_text()), Err(ParseKeyError::Algorithm));
    assert_eq!(CaPublicKey::ecdsa_p256(&[4; 65]), Err(ParseKeyError::Point));
    assert_eq!(CaPublicKey::ecdsa_p256(&[2; 33]), Err(ParseKeyError::Point));
    assert_eq!(CaPublicKey::ed25519([2; 32]), Err(ParseKeyError::Point));
}

#[test]
fn refuses_text_that_is_more_than_one_key() {
    let two = format!("{SUBJECT}\n{SUBJECT}");
    let options = format!("command=\"id\" {SUBJECT}");
    let long = format!("{SUBJECT}{}", "x".repeat(1000));
    for line in ["", "ssh-ed25519", "ssh-ed25519 !!!", &two, &options, &long, "\0"] {
        assert!(SubjectKey::parse(line).is_err(), "{line:?}");
        assert!(CaPublicKey::parse(line).is_err(), "{line:?}");
    }
}

/// For such a key anybody can make a signature, so its certificate would be good for everybody.
#[test]
fn refuses_keys_of_small_order() {
    let mut weak: Vec<[u8; 32]> = vec![[0; 32]];
    for low in 0..=255 {
        let mut zeros = [0; 32];
        zeros[0] = low;
        let mut ones = [0xff; 32];
        ones[0] = low;
        ones[31] = 0x7f;
        weak.extend([zeros, ones]);
    }
    let order_8 = [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ];
    for hex in order_8 {
        weak.push(data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap());
    }
    let mut refused = 0;
    for mut bytes in weak {
        for sign in [0, 0x80] {
            bytes[31] = (bytes[31] & 0x7f) | sign;
            let known = ed25519_dalek::VerifyingKey::from_bytes(&bytes);
            let is_weak = known.is_ok_and(|key| key.is_weak());
            if is_weak {
                refused += 1;
                assert_eq!(SubjectKey::from_bytes(bytes), Err(ParseKeyError::Point), "{bytes:?}");
                assert_eq!(CaPublicKey::ed25519(bytes), Err(ParseKeyError::Point));
            }
        }
    }
    assert!(refused >= 10, "{refused}");
    assert!(SubjectKey::from_bytes(*SubjectKey::parse(SUBJECT).unwrap().as_bytes()).is_ok());
}
