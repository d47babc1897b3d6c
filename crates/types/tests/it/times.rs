//! Times and windows: whole seconds, half open, never long.

use std::time::Duration;

use proptest::prelude::*;
use usher_types::{Period, PeriodError, UnixTime, ValidityWindow};

const NOW: UnixTime = UnixTime::from_millis(1_700_000_000_500);

/// First second of the year 10000.
const END_OF_TIME: i64 = 253_402_300_800;

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
        Err(PeriodError::BeforeEpoch)
    );
    assert_eq!(ValidityWindow::around(NOW, secs(60), secs(541)), Err(PeriodError::TooLong));
    assert_eq!(ValidityWindow::around(NOW, secs(60), Duration::MAX), Err(PeriodError::TooLong));
    assert_eq!(ValidityWindow::around(NOW, secs(60), secs(0)), Err(PeriodError::Empty));
}

#[test]
fn rfc_3339_in_json() {
    assert_eq!(serde_json::to_string(&NOW).unwrap(), "\"2023-11-14T22:13:20.500Z\"");
    assert_eq!("2023-11-14T22:13:20.500Z".parse::<UnixTime>().unwrap(), NOW);
    for bad in ["", "now", "1700000000", "2023-11-14", "2023-11-14T22:13:20"] {
        assert!(bad.parse::<UnixTime>().is_err(), "{bad}");
    }
}

#[test]
fn the_ends_of_time_are_no_certificates() {
    let ends = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    for now in ends {
        for duration in [Duration::ZERO, secs(1), secs(u64::MAX), Duration::MAX] {
            let now = UnixTime::from_millis(now);
            // One of the two must refuse, and neither may panic.
            assert!(Period::around(now, duration, duration).is_err(), "{now:?} {duration:?}");
        }
    }
    let last = UnixTime::from_secs(END_OF_TIME - 1);
    assert!(Period::around(last, Duration::ZERO, secs(1)).is_ok());
    assert_eq!(Period::around(last, Duration::ZERO, secs(2)), Err(PeriodError::TooFar));
}

/// Any number, and often one near an end.
fn any_time() -> impl Strategy<Value = UnixTime> {
    prop_oneof![
        any::<i64>(),
        (0..2000_i64).prop_map(|back| i64::MAX - back),
        (0..2000_i64).prop_map(|on| i64::MIN + on),
        -2000..2000_i64,
    ]
    .prop_map(UnixTime::from_millis)
}

fn any_duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        any::<u64>().prop_map(Duration::from_millis),
        any::<u64>().prop_map(secs),
        (0..2000_u64).prop_map(Duration::from_millis),
        Just(Duration::MAX),
    ]
}

/// What stays in range of what was calculated without any.
fn clamped(millis: i128) -> i64 {
    i64::try_from(millis).unwrap_or(if millis < 0 { i64::MIN } else { i64::MAX })
}

proptest! {
    #[test]
    fn time_is_added_and_taken_away_to_the_last_millisecond(time in any_time(), duration in any_duration()) {
        let (start, length) = (i128::from(time.as_millis()), i128::try_from(duration.as_millis()).unwrap_or(i128::MAX / 2));
        prop_assert_eq!(time.saturating_add(duration).as_millis(), clamped(start + length));
        prop_assert_eq!(time.saturating_sub(duration).as_millis(), clamped(start - length));
    }

    #[test]
    fn the_time_between_is_what_must_be_added(one in any_time(), other in any_time()) {
        let (earlier, later) = (one.min(other), one.max(other));
        prop_assert_eq!(earlier.saturating_add(later.since(earlier)), later);
        prop_assert_eq!(later.saturating_sub(later.since(earlier)), earlier);
        prop_assert_eq!(earlier.since(later), Duration::ZERO);
    }

    #[test]
    fn seconds_are_rounded_down_and_stay_in_range(time in any_time(), seconds in any::<i64>()) {
        let rounded = UnixTime::from_secs(time.as_secs());
        prop_assert!(rounded <= time && time.since(rounded) < secs(1));
        prop_assert_eq!(UnixTime::from_secs(seconds).as_millis(), clamped(i128::from(seconds) * 1000));
    }

    /// Whatever the clock says, there is no window, or one of seconds that certificates can hold and that ends after `now`.
    #[test]
    fn windows_at_the_ends_of_time_do_not_wrap(now in any_time(), skew in any_duration(), life in any_duration()) {
        let Ok(window) = ValidityWindow::around(now, skew, life) else { return Ok(()) };
        let (after, before) = (window.valid_after(), window.valid_before());
        prop_assert!(after.as_secs() > 0 && after < before && before.since(after) <= ValidityWindow::MAX);
        prop_assert!(!window.contains(before) && window.contains(after) && window.contains(now));
        prop_assert!(before.as_secs() <= END_OF_TIME);
    }

    #[test]
    fn periods_are_half_open_and_never_wrap(now in any_time(), skew in any_duration(), life in any_duration(), at in any_time()) {
        let Ok(period) = Period::around(now, skew, life) else { return Ok(()) };
        let (after, before) = (period.valid_after(), period.valid_before());
        prop_assert!(after.as_secs() > 0 && after < before && before.as_secs() <= END_OF_TIME);
        prop_assert_eq!(period.contains(at), after <= at && at < before);
        prop_assert_eq!(after.saturating_add(period.length()), before);
    }

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
