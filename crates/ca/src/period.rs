//! When certificates of machines and authorities are valid. Those of people have the shorter
//! [`ValidityWindow`](usher_types::ValidityWindow).

use std::time::Duration;

use thiserror::Error;
use usher_types::{UnixTime, ValidityWindow};

/// A stretch of time in whole seconds, half open: `valid_after <= now < valid_before`. How long it may be depends on what
/// it is for, and is checked there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    valid_after: i64,
    valid_before: i64,
}

/// Why there is no such period.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PeriodError {
    /// It would not begin after 1970.
    #[error("a certificate cannot begin before 1970")]
    BeforeEpoch,
    /// It would be empty.
    #[error("a certificate must end after it begins")]
    Empty,
    /// It would end after the year 9999, which certificates cannot say.
    #[error("a certificate cannot end after the year 9999")]
    TooFar,
}

/// First second of the year 10000.
const END_OF_TIME: i64 = 253_402_300_800;

impl Period {
    /// `now - skew .. now + lifetime`.
    ///
    /// # Errors
    /// [`PeriodError`].
    pub fn around(now: UnixTime, skew: Duration, lifetime: Duration) -> Result<Self, PeriodError> {
        Self::between(now.saturating_sub(skew).as_secs(), now.saturating_add(lifetime).as_secs())
    }

    pub(crate) fn between(valid_after: i64, valid_before: i64) -> Result<Self, PeriodError> {
        if valid_after <= 0 {
            return Err(PeriodError::BeforeEpoch);
        }
        if valid_before <= valid_after {
            return Err(PeriodError::Empty);
        }
        if valid_before > END_OF_TIME {
            return Err(PeriodError::TooFar);
        }
        Ok(Self { valid_after, valid_before })
    }

    /// First second of validity.
    #[must_use]
    pub fn valid_after(self) -> UnixTime {
        UnixTime::from_secs(self.valid_after)
    }

    /// First second after validity.
    #[must_use]
    pub fn valid_before(self) -> UnixTime {
        UnixTime::from_secs(self.valid_before)
    }

    /// Whether `now` lies inside.
    #[must_use]
    pub fn contains(self, now: UnixTime) -> bool {
        self.valid_after() <= now && now < self.valid_before()
    }

    /// How long it is.
    #[must_use]
    pub fn length(self) -> Duration {
        self.valid_before().since(self.valid_after())
    }
}

impl From<ValidityWindow> for Period {
    fn from(window: ValidityWindow) -> Self {
        Self { valid_after: window.valid_after().as_secs(), valid_before: window.valid_before().as_secs() }
    }
}
