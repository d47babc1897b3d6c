//! What is pasted on a server.

use data_encoding::BASE64URL_NOPAD;
use usher_enrollment::{PastedToken, PastedTokenError};
use usher_types::{ParseTokenError, SecretToken, Sha256, TokenKind};

use crate::fixture::secret;

fn wrap(json: &str) -> String {
    format!("ut1_{}", BASE64URL_NOPAD.encode(json.as_bytes()))
}

fn json(url: &str) -> String {
    format!(r#"{{"url":"{url}","token":"{}"}}"#, *secret(1).reveal())
}

#[test]
fn survives_its_text() {
    for pin in [None, Some(Sha256::of(b"spki"))] {
        let pasted = PastedToken::new("https://broker.example:8443", pin, secret(1)).unwrap();
        let text = pasted.reveal();
        let read = PastedToken::parse(&format!("  {}\n", *text)).unwrap();
        assert_eq!((read.url(), read.pin()), ("https://broker.example:8443", pin));
        assert_eq!(read.token().hash(), secret(1).hash());
        assert_eq!(*read.reveal(), *text);
    }
}

#[test]
fn text_is_what_the_format_says() {
    let pasted = PastedToken::new("https://b", Some(Sha256::of(b"spki")), secret(1)).unwrap();
    let text = pasted.reveal();
    let decoded = BASE64URL_NOPAD.decode(text.strip_prefix("ut1_").unwrap().as_bytes()).unwrap();
    let expected =
        format!(r#"{{"url":"https://b","pin":"{}","token":"{}"}}"#, Sha256::of(b"spki"), *secret(1).reveal());
    assert_eq!(String::from_utf8(decoded).unwrap(), expected);
}

#[test]
fn prints_no_secret() {
    let pasted = PastedToken::new("https://b", None, secret(1)).unwrap();
    let secret_part = BASE64URL_NOPAD.encode(&[1; 32]);
    assert!(pasted.reveal().len() > secret_part.len());
    assert!(!format!("{pasted:?}").contains(&secret_part));
}

#[test]
fn takes_origins_only() {
    for good in [
        "https://broker",
        "https://10.0.0.1:8443",
        "https://[2001:db8::1]",
        "https://[::1]:8443",
        "https://b.example/",
    ] {
        assert!(PastedToken::new(good, None, secret(1)).is_ok(), "{good}");
    }
    let long = format!("https://{}", "a".repeat(600));
    for bad in [
        "",
        "broker",
        "http://broker",
        "HTTPS://broker",
        "https://",
        "https:///",
        "https://broker/path",
        "https://broker//",
        "https://broker?x",
        "https://broker#pin",
        "https://user@broker",
        "https://user:pass@broker",
        "https://broker:0",
        "https://broker:",
        "https://broker:+8",
        "https://broker:65536",
        "https://broker:1:2",
        "https://a..b",
        "https://a b",
        "https://a\nb",
        "https://b\\c",
        "https://bröker",
        "https://[::1",
        "https://[10.0.0.1]",
        "https://[::1]8443",
        "https://[::1%25eth0]",
        &long,
    ] {
        assert_eq!(PastedToken::new(bad, None, secret(1)).unwrap_err(), PastedTokenError::Url, "{bad}");
    }
}

#[test]
fn refuses_other_text_without_repeating_it() {
    let good = json("https://b");
    let secret_text = secret(1).reveal();
    let inner = good.trim_end_matches('}');
    let mutants = [
        String::new(),
        "ut1_".to_owned(),
        "ut1_!".to_owned(),
        "ut2_AAAA".to_owned(),
        (*secret_text).clone(),
        wrap(""),
        wrap("[]"),
        wrap("null"),
        wrap(r#"["https://b","x"]"#),
        wrap("{}"),
        wrap(&format!(r#"{inner},"more":1}}"#)),
        wrap(&format!(r#"{inner},"url":"https://c"}}"#)),
        wrap(&format!(r#"{inner},"pin":"short"}}"#)),
        wrap(&format!("{good} x")),
        wrap(&"[".repeat(2_000)),
        format!("{}=", wrap(&good)),
        format!("{} {}", wrap(&good), wrap(&good)),
        format!("ut1_{}", "A".repeat(5_000)),
    ];
    for mutant in mutants {
        let error = PastedToken::parse(&mutant).unwrap_err();
        assert_eq!(error, PastedTokenError::Form, "{mutant}");
        assert!(!format!("{error} {error:?}").contains(secret_text.as_str()));
    }
}

#[test]
fn refuses_a_damaged_or_foreign_secret() {
    let damaged = json("https://b").replace("ue1_", "ue2_");
    let refused = PastedToken::parse(&wrap(&damaged)).unwrap_err();
    assert_eq!(refused, PastedTokenError::Token(ParseTokenError::Form));

    let session = SecretToken::new(TokenKind::Session, secret(1).id(), [1; 32]);
    let foreign = format!(r#"{{"url":"https://b","token":"{}"}}"#, *session.reveal());
    let refused = PastedToken::parse(&wrap(&foreign)).unwrap_err();
    assert_eq!(refused, PastedTokenError::Token(ParseTokenError::Kind));
    let refused = PastedToken::new("https://b", None, session).unwrap_err();
    assert_eq!(refused, PastedTokenError::Token(ParseTokenError::Kind));
}
