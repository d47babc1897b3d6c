//! The only place that reads a clock or waits for time to pass.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use usher_types::UnixTime;

/// The wall clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the program's one reading of the wall clock")]
pub fn now() -> UnixTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// A clock that never jumps, for deadlines.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the program's one reading of the monotonic clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Lets `duration` pass, for back-off between attempts.
pub fn pause(duration: Duration) {
    let end = monotonic() + duration;
    loop {
        let left = end.saturating_duration_since(monotonic());
        if left.is_zero() {
            return;
        }
        // May wake early; then there is time left.
        std::thread::park_timeout(left);
    }
}
