//! The exact bytes of a record.

use std::collections::BTreeSet;

use usher_audit::{
    Actor, Code, DecodeError, Event, MAX_RECORD_LENGTH, Record, Serial, WriterId, decode, encode,
};
use usher_types::{SecretToken, TokenId, TokenKind};

use crate::fixture::{NOW, deny, issue, record, user_id};

fn text(record: &Record) -> String {
    String::from_utf8(encode(record).unwrap()).unwrap()
}

#[test]
fn bytes_of_an_issue_are_these() {
    // Stored and hashed for ever: a change of this text is a change of format.
    let expected = concat!(
        r#"{"v":1,"at":"2026-09-21T14:13:20.000Z","#,
        r#""actor":{"type":"user","user_id":"usr_01m3250v00e40r2081040g2081","#,
        r#""device_id":"dev_01m3250v00e81840g2081040g2","session_id":"ses_01m3250v00ec1r60r30c1g60r3"},"#,
        r#""client_address":"192.0.2.7","event":{"type":"connection.issue","#,
        r#""connection_id":"con_01m3250v00em2ra1850m2ga185","project_id":"prj_01m3250v00er38c1g60r30c1g6","#,
        r#""server_id":"srv_01m3250v00eg2881040g208104","login":"alice","server_admin":false,"#,
        r#""purpose":"interactive","valid_before":"2026-09-21T14:16:20.000Z","certificates":[{"#,
        r#""serial":"18446744073709551615","sha256":"A9Zt0Ig1wco_EozOrNHzGslBYwlrIPRFroQoW8CDLXI","#,
        r#""principal":"alice@srv_01m3250v00eg2881040g208104"}]}}"#,
    );
    assert_eq!(text(&record(issue())), expected);
}

#[test]
fn survives_its_bytes() {
    let actors = [Actor::Anonymous, Actor::Operator, Actor::System];
    for event in [issue(), deny(), Event::LogStart { after: None, checkpoint: None }] {
        let record = record(event);
        assert_eq!(decode(&encode(&record).unwrap()).unwrap(), record);
        for actor in actors.clone() {
            let record = Record { actor, client_address: None, ..record.clone() };
            assert_eq!(decode(&encode(&record).unwrap()).unwrap(), record);
        }
    }
}

#[test]
fn reads_its_exact_form_only() {
    let good = text(&record(Event::UserDisable { user_id: user_id(1) }));
    assert!(decode(good.as_bytes()).is_ok());
    let mutants = [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        format!(" {good}"),
        format!("{good}\n"),
        good.replace("\"v\":1,", "\"v\": 1,"),
        good.replace("\"v\":1,", ""),
        good.replace("\"v\":1,", "\"v\":2,"),
        good.replace("\"v\":1,", "\"v\":1,\"more\":0,"),
        good.replace("\"v\":1,", "\"v\":1,\"v\":1,"),
        good.replace(".000Z", "Z"),
        good.replace("user.disable", "user.destroy"),
        good.replace("\"type\":\"user.disable\",", "\"type\":\"user.disable\",\"reason\":\"x\","),
        good.replace("\"type\":\"user\",", "\"type\":\"root\","),
        good.replace("192.0.2.7", "192.0.2.007"),
        good.replace("usr_", "USR_"),
        "[".repeat(MAX_RECORD_LENGTH),
    ];
    for mutant in mutants {
        assert!(decode(mutant.as_bytes()).is_err(), "{mutant}");
    }
}

#[test]
fn says_when_a_record_is_newer_or_too_long() {
    let newer = text(&record(deny())).replace("\"v\":1,", "\"v\":2,\"new\":true,");
    assert!(matches!(decode(newer.as_bytes()).unwrap_err(), DecodeError::Version(2)));
    let long = vec![b' '; MAX_RECORD_LENGTH + 1];
    assert!(matches!(decode(&long).unwrap_err(), DecodeError::Length));
}

#[test]
fn carries_serial_digest_principal_and_address() {
    let written = text(&record(issue()));
    for part in [
        format!(r#""serial":"{}""#, u64::MAX),
        format!(r#""sha256":"{}""#, usher_types::Sha256::of(b"certificate")),
        r#""principal":"alice@srv_"#.to_owned(),
        r#""client_address":"192.0.2.7""#.to_owned(),
        r#""valid_before":"2026-09-21T"#.to_owned(),
    ] {
        assert!(written.contains(&part), "{part} is not in {written}");
    }
    assert!(text(&record(deny())).contains(r#""reasons":["no_access","other_login"]"#));
}

#[test]
fn kinds_are_distinct_and_well_formed() {
    let kinds: BTreeSet<&str> = Event::KINDS.iter().copied().collect();
    assert_eq!(kinds.len(), Event::KINDS.len());
    for kind in kinds {
        let (noun, verb) = kind.split_once('.').unwrap();
        let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(word(noun) && word(verb), "{kind}");
    }
    assert_eq!(issue().kind(), "connection.issue");
}

#[test]
fn a_code_cannot_hold_a_secret() {
    // Row 56: no secrets in the log. There is no other free text in any event.
    let token = SecretToken::new(TokenKind::Session, TokenId::new(NOW, [1; 10]), [0xA5; 32]);
    assert_ne!(Code::new(&token.reveal()).as_str(), token.reveal().as_str());
    assert!(
        !Code::new(&token.reveal()).as_str().chars().any(|c| c.is_ascii_digit() || c.is_ascii_uppercase())
    );
    assert_eq!(Code::new(&"a".repeat(100)).as_str().len(), 48);
    assert_eq!(Code::new("no_access").as_str(), "no_access");
    assert_eq!(Code::new("two\nlines\"").as_str(), "twolines");
}

#[test]
fn a_serial_is_not_zero_and_has_one_form() {
    assert!(Serial::new(0).is_none());
    for bad in ["", "0", "01", "+1", "-1", "18446744073709551616", "1 ", "0x1"] {
        assert!(bad.parse::<Serial>().is_err(), "{bad}");
    }
    assert_eq!("1".parse::<Serial>().unwrap().as_u64(), 1);
}

#[test]
fn a_writer_survives_its_text_and_sorts_by_time() {
    let writer = WriterId::new(NOW, [1; 10]);
    assert_eq!(writer.to_string().parse::<WriterId>().unwrap(), writer);
    let later = WriterId::new(NOW.saturating_add(std::time::Duration::from_millis(1)), [0; 10]);
    assert!(writer < later && writer.to_string() < later.to_string());
    for bad in ["", "AB", &writer.to_string().to_uppercase(), &"0".repeat(31), &"0".repeat(33)] {
        assert!(bad.parse::<WriterId>().is_err(), "{bad}");
    }
}
