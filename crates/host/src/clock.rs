//! The one monotonic clock and the one pause of this crate: deadlines of programs and of polling. Never a date.

use std::time::{Duration, Instant};

use rustix::event::{Timespec, poll};

/// A point in time after which something has taken too long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// `duration` from now.
    #[expect(clippy::disallowed_methods, reason = "the one monotonic clock of this crate")]
    pub(crate) fn after(duration: Duration) -> Self {
        let now = Instant::now();
        Self(now.checked_add(duration).unwrap_or(now))
    }

    /// What is left; `None` when it has passed.
    #[expect(clippy::disallowed_methods, reason = "the one monotonic clock of this crate")]
    pub(crate) fn left(self) -> Option<Duration> {
        self.0.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

/// `duration` for system calls.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// Waits between two looks at something that sends no notice (a lock file, a dying process).
pub(crate) fn pause(duration: Duration) {
    // Without descriptors poll only waits; a signal may end it early, which a polling loop does not mind.
    let _ = poll(&mut [], Some(&timespec(duration)));
}
