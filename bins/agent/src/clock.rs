//! The agent's one reading of the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use usher_types::UnixTime;

/// Now.
#[expect(clippy::disallowed_methods, reason = "the program's one reading of the wall clock")]
pub(crate) fn now() -> UnixTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
