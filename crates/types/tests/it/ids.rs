//! Ids: canonical text, kinds that do not mix, order by time.

use proptest::prelude::*;
use usher_types::{DeviceId, ServerId, UnixTime};

fn server(millis: i64, random: [u8; 10]) -> ServerId {
    ServerId::new(UnixTime::from_millis(millis), random)
}

#[test]
fn text_is_a_prefix_and_26_lower_case_digits() {
    let text = server(1_700_000_000_000, [0xff; 10]).to_string();
    assert_eq!(text.len(), 30);
    assert!(text.starts_with("srv_"));
    assert!(text.bytes().all(|byte| byte == b'_' || byte.is_ascii_digit() || byte.is_ascii_lowercase()));
}

#[test]
fn refuses_other_kinds_and_other_spellings() {
    let good = server(1_700_000_000_000, [7; 10]).to_string();
    assert!(good.parse::<DeviceId>().is_err());
    let shouted = good.replace("srv_", "SRV_");
    for bad in [
        shouted.as_str(),
        &good.to_uppercase(),
        &good[..29],
        &format!("{good}0"),
        "srv_",
        "",
        "srv_80000000000000000000000000",
    ] {
        assert!(bad.parse::<ServerId>().is_err(), "{bad}");
    }
    for letter in ["i", "l", "o", "u"] {
        assert!(format!("{}{letter}", &good[..29]).parse::<ServerId>().is_err());
    }
}

#[test]
fn later_ids_sort_behind_earlier_ones() {
    assert!(server(1_000, [0xff; 10]).to_string() < server(1_001, [0; 10]).to_string());
}

proptest! {
    #[test]
    fn every_id_survives_text_and_json(millis in 0_i64..(1 << 47), random: [u8; 10]) {
        let id = server(millis, random);
        prop_assert_eq!(id.to_string().parse::<ServerId>().unwrap(), id);
        let json = serde_json::to_string(&id).unwrap();
        prop_assert_eq!(serde_json::from_str::<ServerId>(&json).unwrap(), id);
    }

    #[test]
    fn parsing_never_panics(text in "\\PC{0,40}") {
        if let Ok(id) = text.parse::<ServerId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }
}
