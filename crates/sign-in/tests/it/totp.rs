//! Codes: the vectors of RFC 6238, the window, and one spelling only.

use std::time::Duration;

use usher_sign_in::TotpSecret;
use usher_types::UnixTime;

use crate::NOW;

fn rfc() -> TotpSecret {
    TotpSecret::new(*b"12345678901234567890")
}

/// RFC 6238 appendix B, SHA-1; the last six of its eight digits.
#[test]
fn makes_the_codes_of_the_standard() {
    for (seconds, code) in [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ] {
        assert_eq!(rfc().code_at(UnixTime::from_secs(seconds)), code);
    }
}

#[test]
fn takes_one_step_to_either_side_and_says_which() {
    let code = rfc().code_at(NOW);
    let step = NOW.as_secs() / 30;
    for (seconds, found) in [(-60, None), (-30, Some(step)), (0, Some(step)), (30, Some(step)), (60, None)] {
        let at = UnixTime::from_secs(NOW.as_secs() + seconds);
        assert_eq!(rfc().step_of(&code, at), found, "{seconds}");
    }
}

#[test]
fn takes_a_code_in_groups_and_nothing_else() {
    let code = rfc().code_at(NOW);
    let (left, right) = code.split_at(3);
    for good in [code.clone(), format!("{left} {right}"), format!(" {left}-{right} ")] {
        assert!(rfc().step_of(&good, NOW).is_some(), "{good:?}");
    }
    let fullwidth: String =
        code.chars().map(|c| char::from_u32(u32::from(c) - u32::from('0') + 0xff10).unwrap()).collect();
    for bad in [
        "".to_owned(),
        code.chars().take(5).collect(),
        format!("{code}0"),
        format!("+{}", code.chars().skip(1).collect::<String>()),
        fullwidth,
        "      ".repeat(8),
    ] {
        assert_eq!(rfc().step_of(&bad, NOW), None, "{bad:?}");
    }
}

#[test]
fn is_shown_as_base32_and_as_a_link_for_a_qr_code() {
    assert_eq!(*rfc().to_base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    let uri = rfc().to_uri(&"acme".parse().unwrap(), &"alice".parse().unwrap());
    assert_eq!(
        *uri,
        "otpauth://totp/Usher%20acme:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Usher%20acme"
    );
    assert_eq!(format!("{:?}", rfc()), "TotpSecret([secret])");
}

#[test]
fn a_window_at_the_beginning_of_time_is_no_overflow() {
    let start = UnixTime::from_millis(0);
    assert!(rfc().step_of(&rfc().code_at(start), start.saturating_add(Duration::from_secs(1))).is_some());
    assert!(rfc().step_of("000000", UnixTime::from_millis(i64::MIN)).is_none());
}
