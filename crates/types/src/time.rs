//! Points in time and certificate windows. Nothing here reads a clock.

use std::{fmt, str::FromStr, time::Duration};

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
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This time less `duration`; stays at the first representable time.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or_default())
    }
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

/// When a certificate is valid: half open, `valid_after <= now < valid_before`, whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValidityWindow {
    valid_after: i64,
    valid_before: i64,
}

/// Why a window cannot be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum WindowError {
    /// It would not begin after 1970; zero means "forever" to sshd.
    #[error("a certificate cannot begin before 1970")]
    BeforeEpoch,
    /// It is longer than [`ValidityWindow::MAX`].
    #[error("a certificate cannot live longer than ten minutes")]
    TooLong,
    /// It would be empty.
    #[error("a certificate must end after it begins")]
    Empty,
}

impl ValidityWindow {
    /// No certificate for a person lives longer than this, skew included.
    pub const MAX: Duration = Duration::from_secs(600);

    /// `now - skew .. now + lifetime`.
    ///
    /// # Errors
    /// [`WindowError`] when the window would be empty, longer than ten minutes or reach before 1970.
    pub fn around(now: UnixTime, skew: Duration, lifetime: Duration) -> Result<Self, WindowError> {
        let valid_after = now.saturating_sub(skew).as_secs();
        let valid_before = now.saturating_add(lifetime).as_secs();
        if valid_after <= 0 {
            return Err(WindowError::BeforeEpoch);
        }
        if valid_before <= now.as_secs() {
            return Err(WindowError::Empty);
        }
        if skew.saturating_add(lifetime) > Self::MAX {
            return Err(WindowError::TooLong);
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
}
