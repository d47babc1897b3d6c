//! Points in time and certificate windows. Nothing here reads a clock.

use std::{fmt, ops::Deref, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Milliseconds since 1970-01-01T00:00:00Z, not counting leap seconds. In JSON and on screen RFC 3339, in the database
/// [`UnixTime::as_millis`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnixTime(i64);

impl UnixTime {
    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the epoch.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This time and `duration` more; stays at the last representable time.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add_unsigned(millis(duration)))
    }

    /// This time less `duration`; stays at the first representable time.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub_unsigned(millis(duration)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(if self < earlier { 0 } else { self.0.abs_diff(earlier.0) })
    }
}

/// More than the whole range of [`UnixTime`] is the whole range.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.3}"),
            // Years beyond 9999 have no RFC 3339 form.
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl fmt::Debug for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not an RFC 3339 time.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("expected an RFC 3339 time such as 2026-01-31T12:00:00Z")]
pub struct ParseTimeError;

impl FromStr for UnixTime {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let timestamp: jiff::Timestamp = text.parse().map_err(|_error| ParseTimeError)?;
        Ok(Self(timestamp.as_millisecond()))
    }
}

impl TryFrom<String> for UnixTime {
    type Error = ParseTimeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<UnixTime> for String {
    fn from(time: UnixTime) -> Self {
        time.to_string()
    }
}

crate::text::string_schema!(UnixTime);

/// When a certificate is valid: half open, `valid_after <= now < valid_before`, whole seconds, neither of them zero nor
/// beyond what certificates can say. How long it may be depends on what it is for, and is checked there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    valid_after: i64,
    valid_before: i64,
}

/// Why there is no such period.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PeriodError {
    /// It would not begin after 1970; zero means "forever" to sshd.
    #[error("a certificate cannot begin before 1970")]
    BeforeEpoch,
    /// It would be empty.
    #[error("a certificate must end after it begins")]
    Empty,
    /// It would end after the year 9999, which X.509 cannot say.
    #[error("a certificate cannot end after the year 9999")]
    TooFar,
    /// It is longer than [`ValidityWindow::MAX`].
    #[error("a certificate for a person cannot live longer than ten minutes")]
    TooLong,
}

/// First second of the year 10000.
const END_OF_TIME: i64 = 253_402_300_800;

impl Period {
    /// `now - skew .. now + lifetime`.
    ///
    /// # Errors
    /// [`PeriodError`], but never for its length.
    pub fn around(now: UnixTime, skew: Duration, lifetime: Duration) -> Result<Self, PeriodError> {
        Self::between(now.saturating_sub(skew), now.saturating_add(lifetime))
    }

    /// From one time, rounded down, to before the other, rounded down.
    ///
    /// # Errors
    /// [`PeriodError`], but never for its length.
    pub fn between(valid_after: UnixTime, valid_before: UnixTime) -> Result<Self, PeriodError> {
        let (valid_after, valid_before) = (valid_after.as_secs(), valid_before.as_secs());
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

/// The period of a certificate for a person: it holds the moment that it was made for, and is never long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValidityWindow(Period);

impl ValidityWindow {
    /// No certificate for a person lives longer than this, skew included.
    pub const MAX: Duration = Duration::from_secs(600);

    /// `now - skew .. now + lifetime`.
    ///
    /// # Errors
    /// [`PeriodError`].
    pub fn around(now: UnixTime, skew: Duration, lifetime: Duration) -> Result<Self, PeriodError> {
        if skew.saturating_add(lifetime) > Self::MAX {
            return Err(PeriodError::TooLong);
        }
        let period = Period::around(now, skew, lifetime)?;
        if period.contains(now) { Ok(Self(period)) } else { Err(PeriodError::Empty) }
    }
}

/// A window is a period of which more is known.
impl Deref for ValidityWindow {
    type Target = Period;

    fn deref(&self) -> &Period {
        &self.0
    }
}
