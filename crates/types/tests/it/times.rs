//! Times and windows: whole seconds, half open, never long.

use std::time::Duration;

use proptest::prelude::*;
use usher_types::{UnixTime, ValidityWindow, WindowError};

const NOW: UnixTime = UnixTime::from_millis(1_700_000_000_500);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn the_default_window_is_a_minute_back_and_three_ahead() {
    let window = ValidityWindow::around(NOW, secs(60), secs(180)).unwrap();
    assert_eq!(window.valid_after().as_secs(), 1_699_999_940);
    assert_eq!(window.valid_before().as_secs(), 1_700_000_180);
    assert!(window.contains(window.valid_after()) && !window.contains(window.valid_before()));
}

#[test]
fn refuses_windows_that_sshd_reads_as_forever_or_that_are_too_long() {
    assert_eq!(
        ValidityWindow::around(UnixTime::from_secs(0), secs(60), secs(180)),
        Err(WindowError::BeforeEpoch)
    );
    assert_eq!(ValidityWindow::around(NOW, secs(60), secs(541)), Err(WindowError::TooLong));
    assert_eq!(ValidityWindow::around(NOW, secs(60), Duration::MAX), Err(WindowError::TooLong));
    assert_eq!(ValidityWindow::around(NOW, secs(60), secs(0)), Err(WindowError::Empty));
}

#[test]
fn rfc_3339_in_json() {
    assert_eq!(serde_json::to_string(&NOW).unwrap(), "\"2023-11-14T22:13:20.500Z\"");
    assert_eq!("2023-11-14T22:13:20.500Z".parse::<UnixTime>().unwrap(), NOW);
    for bad in ["", "now", "1700000000", "2023-11-14", "2023-11-14T22:13:20"] {
        assert!(bad.parse::<UnixTime>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn every_window_is_short_and_holds_now(millis in 200_000_i64..4_000_000_000_000, skew in 0_u64..700, life in 0_u64..700) {
        if let Ok(window) = ValidityWindow::around(UnixTime::from_millis(millis), secs(skew), secs(life)) {
            prop_assert!(window.contains(UnixTime::from_millis(millis)));
            prop_assert!(window.valid_before().since(window.valid_after()) <= ValidityWindow::MAX);
        }
    }

    #[test]
    fn time_survives_text(millis in 0_i64..4_000_000_000_000) {
        let time = UnixTime::from_millis(millis);
        prop_assert_eq!(time.to_string().parse::<UnixTime>().unwrap(), time);
    }
}
