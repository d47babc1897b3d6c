//! Keys: forms, names, signatures.

use usher_identity::{KeyError, PrivateKey, PublicKey};

use crate::fixture::key;

#[test]
fn thumbprint_is_the_one_of_rfc_7638() {
    // RFC 9449 section 4.1: the key of its first example, and the `jkt` of section 6.1.
    let x = "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs";
    let y = "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA";
    let decode = |text: &str| data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    let public = PublicKey::from_sec1(&[vec![4], decode(x), decode(y)].concat()).unwrap();
    assert_eq!(public.thumbprint().to_string(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

#[test]
fn private_key_survives_its_pem() {
    let key = key(1);
    let pem = key.to_pkcs8_pem().unwrap();
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----"));
    assert_eq!(PrivateKey::from_pkcs8_pem(&pem).unwrap().public(), key.public());
}

#[test]
fn refuses_pem_that_is_no_p256_key() {
    let public = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n";
    for pem in ["", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", public] {
        assert_eq!(PrivateKey::from_pkcs8_pem(pem).unwrap_err(), KeyError::Private);
    }
}

#[test]
fn private_key_prints_no_secret() {
    let key = key(1);
    let shown = format!("{key:?}");
    assert_eq!(shown, format!("PrivateKey([secret] of {})", key.public().thumbprint()));
}

#[test]
fn public_key_survives_its_text() {
    let public = key(1).public();
    assert_eq!(public.to_string().parse::<PublicKey>().unwrap(), public);
}

#[test]
fn refuses_points_that_are_not_on_the_curve() {
    let good = key(1).public().to_sec1();
    let mut off = good;
    off[64] ^= 1;
    let mut compressed_tag = good;
    compressed_tag[0] = 2;
    let identity = [0_u8];
    for bad in [&off[..], &compressed_tag[..], &identity[..], &good[..64], &[&good[..], &[0]].concat()[..]] {
        assert_eq!(PublicKey::from_sec1(bad).unwrap_err(), KeyError::Public);
    }
}

#[test]
fn signature_verifies_for_its_message_and_key_only() {
    let key = key(1);
    let signature = key.sign(b"message");
    assert!(key.public().verifies(b"message", &signature));
    assert!(!key.public().verifies(b"messages", &signature));
    assert!(!crate::fixture::key(2).public().verifies(b"message", &signature));
    assert!(!key.public().verifies(b"message", &[0; 64]));
}
