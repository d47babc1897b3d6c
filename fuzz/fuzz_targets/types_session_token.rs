//! Session tokens and their relatives, with a checksum that fits, so that the rest is looked at: what is accepted is written
//! back exactly as it came, and is of one kind.
#![no_main]

use usher_types::{SecretToken, TokenKind};

const KINDS: [TokenKind; 5] =
    [TokenKind::ApiKey, TokenKind::Enrollment, TokenKind::Fleet, TokenKind::Scim, TokenKind::Session];

fn check(text: &str) {
    let accepted = KINDS.iter().filter(|kind| {
        SecretToken::parse(**kind, text).is_ok_and(|token| {
            assert_eq!(*token.reveal(), *text);
            assert!(!format!("{token:?}").contains(text));
            true
        })
    });
    assert!(accepted.count() <= 1);
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    check(text);
    let body = text.rsplit_once('_').map_or(text, |(body, _checksum)| body);
    check(&format!("{body}_{:08x}", crc32fast::hash(body.as_bytes())));
});
