//! Failed sign-ins and how long to wait after them. A lock always ends by itself, but somebody who fails all the time
//! starts the next one: so the caller counts each approved device of a user on its own, apart from all other attempts.

use std::time::Duration;

use usher_types::UnixTime;

/// Failures that cost nothing: people mistype.
const FREE: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// Failed sign-ins of one user, or on one of their devices, since the last good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// How many.
    pub count: u32,
    /// Until when further ones are not even looked at.
    pub locked_until: Option<UnixTime>,
}

impl Failures {
    /// Whether sign-in is locked at `now`.
    #[must_use]
    pub fn locked(&self, now: UnixTime) -> bool {
        self.locked_until.is_some_and(|end| now < end)
    }

    /// One more. Record it before looking at the password, and forget all once the sign-in is good: attempts that run
    /// in parallel are then all counted.
    #[must_use]
    pub fn one_more(&self, now: UnixTime) -> Self {
        let count = self.count.saturating_add(1);
        let locked_until = count.checked_sub(FREE.saturating_add(1)).map(|over| {
            let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(over.min(16)));
            now.saturating_add(wait.min(LONGEST_WAIT))
        });
        Self { count, locked_until }
    }
}
