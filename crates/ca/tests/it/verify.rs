//! What a strict reader refuses. Each case is a certificate with a good signature and one thing wrong.

use std::time::Duration;

use usher_ca::{CaPublicKey, Signer as _, VerifyError, verify_at};
use usher_testkit::NOW;

use crate::{
    example::{SUBJECT, ed25519},
    forge::{Forged, text_of, value},
};

#[track_caller]
fn check(change: impl FnOnce(&mut Forged), expected: Result<(), VerifyError>) {
    let mut forged = Forged::good();
    change(&mut forged);
    let verified = verify_at(&forged.to_text(), &[Forged::authority()], NOW);
    assert_eq!(verified.map(|_| ()), expected);
}

#[test]
fn accepts_a_certificate_of_the_profile() {
    check(|_| {}, Ok(()));
    check(|f| f.extensions = vec![("zzz@example.com", value("ignored"))], Ok(()));
    check(|f| f.critical_options = vec![("source-address", value("192.0.2.0/24"))], Ok(()));
}

#[test]
fn tells_what_the_certificate_says() {
    let mut forged = Forged::good();
    forged.critical_options = vec![("source-address", value("192.0.2.0/24"))];
    let verified = verify_at(&forged.to_text(), &[ed25519().public_key(), Forged::authority()], NOW).unwrap();
    assert_eq!(*verified.authority(), Forged::authority());
    assert_eq!(verified.key_id(), "payments:alice@laptop:1");
    assert_eq!(verified.serial().get(), 7);
    assert_eq!(verified.subject().as_bytes(), &forged.subject);
    assert!(verified.permit_pty() && !verified.permit_port_forwarding());
    assert!(!verified.source_addresses().contains("203.0.113.1".parse().unwrap()));
    assert_eq!(verified.valid_after(), NOW.saturating_sub(Duration::from_secs(60)));
    assert_eq!(verified.valid_before(), NOW.saturating_add(Duration::from_secs(180)));
}

/// CVE-2025-49825: a verifier that looked through the certificate at the key inside let everybody in.
#[test]
fn refuses_a_certificate_as_authority() {
    let inner = Forged { subject: raw(&Forged::authority()), ..Forged::good() };
    check(|f| f.signature_key = Some(inner.to_blob()), Err(VerifyError::NestedAuthority));
    let mut chain = inner.to_blob();
    for _ in 0..20 {
        chain = Forged { signature_key: Some(chain), ..Forged::good() }.to_blob();
    }
    assert!(verify_at(&text_of(&chain), &[Forged::authority()], NOW).is_err());
}

#[test]
fn refuses_an_authority_that_is_not_trusted() {
    let text = Forged::good().to_text();
    assert_eq!(verify_at(&text, &[], NOW), Err(VerifyError::Authority));
    let other = CaPublicKey::parse(SUBJECT).unwrap();
    assert_eq!(verify_at(&text, &[other], NOW), Err(VerifyError::Authority));
}

#[test]
fn refuses_a_host_certificate() {
    check(|f| f.kind = 2, Err(VerifyError::Type));
    check(|f| f.kind = 3, Err(VerifyError::Malformed));
}

/// CVE-2024-7594 (none), CVE-2026-35414 (comma), and their relatives.
#[test]
fn refuses_principals_that_are_not_exactly_one_login_on_one_server() {
    let good = String::from_utf8(Forged::good().principals.remove(0)).unwrap();
    check(|f| f.principals.clear(), Err(VerifyError::Principals));
    check(|f| f.principals.push(b"root".to_vec()), Err(VerifyError::Principals));
    let bad = [
        String::new(),
        "*".to_owned(),
        "root".to_owned(),
        good.replace("alice", "root"),
        good.to_uppercase(),
        format!("{good},root"),
        format!("root,{good}"),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}\0"),
        format!("command=\"id\" {good}"),
        good.replace("alice", "al*"),
    ];
    for principal in bad {
        check(|f| f.principals = vec![principal.clone().into_bytes()], Err(VerifyError::Principals));
    }
    let many = vec![good.into_bytes(); 257];
    check(|f| f.principals = many, Err(VerifyError::Principals));
}

#[test]
fn accepts_only_from_the_first_second_to_before_the_last() {
    let text = Forged::good().to_text();
    let at = |offset: i64| {
        let now = usher_types::UnixTime::from_millis(NOW.as_millis() + offset);
        verify_at(&text, &[Forged::authority()], now).map(|_| ())
    };
    assert_eq!(at(-60_001), Err(VerifyError::NotYetValid));
    assert_eq!(at(-60_000), Ok(()));
    assert_eq!(at(179_999), Ok(()));
    assert_eq!(at(180_000), Err(VerifyError::Expired));
}

#[test]
fn refuses_windows_without_limits_or_longer_than_ten_minutes() {
    let now = u64::try_from(NOW.as_secs()).unwrap();
    let windows = [
        (0, now + 180),
        (now - 60, u64::MAX),
        (0, u64::MAX),
        (now - 60, u64::MAX / 2),
        (now, now),
        (now + 1, now - 1),
        (now - 60, now + 541),
    ];
    for (after, before) in windows {
        check(
            |f| {
                f.valid_after = after;
                f.valid_before = before;
            },
            Err(VerifyError::Window),
        );
    }
    check(|f| f.valid_before = now + 540, Ok(()));
}

#[test]
fn refuses_critical_options_that_it_does_not_know() {
    let options = [
        ("force-command", value("/bin/sh")),
        ("verify-required", Vec::new()),
        ("x@example.com", Vec::new()),
        ("source-address", value("")),
        ("source-address", value("192.0.2.1/24")),
        ("source-address", value("192.0.2.1, 192.0.2.2")),
        ("source-address", value("192.0.2.2,192.0.2.1")),
        ("source-address", value("192.0.2.1/99")),
        ("source-address", value("host.example")),
    ];
    for (name, value) in options {
        let refused = VerifyError::CriticalOption { name: name.to_owned() };
        check(|f| f.critical_options = vec![(name, value)], Err(refused));
    }
}

#[test]
fn refuses_options_out_of_order_or_with_data_behind() {
    let (a, b) = (("a@x", Vec::new()), ("b@x", Vec::new()));
    check(|f| f.extensions = vec![b.clone(), a.clone()], Err(VerifyError::Malformed));
    check(|f| f.extensions = vec![a.clone(), a.clone()], Err(VerifyError::Malformed));
    let mut trailing = value("x");
    trailing.push(0);
    check(|f| f.extensions = vec![("a@x", trailing)], Err(VerifyError::Malformed));
}

#[test]
fn refuses_serials_that_cannot_be_revoked_or_stored() {
    check(|f| f.serial = 0, Err(VerifyError::Serial));
    check(|f| f.serial = 1 << 63, Err(VerifyError::Serial));
    check(|f| f.serial = (1 << 63) - 1, Ok(()));
}

/// sshd writes the key id to its log as it is.
#[test]
fn refuses_key_ids_that_forge_log_lines() {
    let bad: [&[u8]; 5] = [b"", b"x\nAccepted certificate", b"x\"y", b"x y", &[b'a'; 201]];
    for key_id in bad {
        check(|f| f.key_id = key_id.to_vec(), Err(VerifyError::KeyId));
    }
}

#[test]
fn refuses_a_subject_that_anybody_can_sign_for() {
    let mut one = [0; 32];
    one[0] = 1;
    check(|f| f.subject = one, Err(VerifyError::SubjectKey));
}

#[test]
fn refuses_what_is_no_certificate() {
    let good = Forged::good().to_text();
    let other_name = good.replace("ssh-ed25519-cert", "ecdsa-sha2-nistp256-cert");
    let cut = good[..good.len() - 8].to_owned();
    let mut longer = Forged::good().to_blob();
    longer.push(0);
    let huge = format!("{good} {}", "x".repeat(20_000));
    for text in ["", SUBJECT, &other_name, &cut, &text_of(&longer), &huge] {
        assert_eq!(verify_at(text, &[Forged::authority()], NOW), Err(VerifyError::Malformed), "{text:.80}");
    }
}

fn raw(key: &CaPublicKey) -> [u8; 32] {
    let line = key.to_openssh();
    let blob = data_encoding::BASE64.decode(line.split(' ').nth(1).unwrap().as_bytes()).unwrap();
    blob[blob.len() - 32..].try_into().unwrap()
}
