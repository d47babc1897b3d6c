//! Secrets: never printed, found by scanners, one form only.

use proptest::prelude::*;
use usher_types::{ParseTokenError, Secret, SecretToken, Sha256, TokenId, TokenKind, UnixTime};

fn token(secret: [u8; 32]) -> SecretToken {
    SecretToken::new(TokenKind::Enrollment, TokenId::new(UnixTime::from_secs(1_700_000_000), [9; 10]), secret)
}

#[test]
fn debug_shows_no_secret() {
    assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "[secret]");
    let token = token([0xab; 32]);
    let secret = token.reveal()[35..78].to_owned();
    assert!(!format!("{token:?}").contains(&secret[..8]));
}

#[test]
fn errors_do_not_repeat_the_token() {
    let text = token([0xab; 32]).reveal().to_string();
    let cut = &text[..text.len() - 1];
    let error = SecretToken::parse(TokenKind::Enrollment, cut).unwrap_err();
    assert_eq!(error, ParseTokenError::Checksum);
    assert!(!error.to_string().contains("ue1_"));
}

#[test]
fn refuses_a_token_for_another_purpose() {
    let text = token([1; 32]).reveal();
    assert_eq!(SecretToken::parse(TokenKind::Session, &text).unwrap_err(), ParseTokenError::Kind);
}

#[test]
fn digest_has_one_text() {
    let digest = Sha256::of(b"abc");
    assert_eq!(digest.to_string(), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
    assert_eq!(digest.to_string().parse::<Sha256>().unwrap(), digest);
    // The last character carries two unused bits; another spelling of them is another text, not the same digest.
    assert!("ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa1".parse::<Sha256>().is_err());
}

proptest! {
    #[test]
    fn every_token_survives_text(secret: [u8; 32]) {
        let text = token(secret).reveal();
        let parsed = SecretToken::parse(TokenKind::Enrollment, &text).unwrap();
        prop_assert_eq!(parsed.hash(), token(secret).hash());
        prop_assert_eq!(parsed.reveal(), text);
    }

    #[test]
    fn one_changed_character_is_noticed(secret: [u8; 32], at in 4_usize..86, to in "[0-9A-Za-z_-]") {
        let text = token(secret).reveal().to_string();
        prop_assume!(at < text.len());
        let mut changed = text.clone();
        changed.replace_range(at..=at, &to);
        prop_assume!(changed != text);
        prop_assert!(SecretToken::parse(TokenKind::Enrollment, &changed).is_err());
    }

    #[test]
    fn parsing_never_panics(text in "\\PC{0,100}") {
        let _outcome = SecretToken::parse(TokenKind::Session, &text);
    }
}
