//! Small values that are text in JSON: reason codes, keys' ids and places, days and serials.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;
use usher_types::UnixTime;

/// A short word for a reason or a kind: at most 48 characters of `a-z` and `_`. Cannot hold a token, a key or a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Code(String);

impl Code {
    const MAX_LENGTH: usize = 48;

    /// What is left of `text` without all characters that a code cannot have. Codes come from the program, not from
    /// input, so nothing is lost.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.chars().filter(|c| is_code(*c)).take(Self::MAX_LENGTH).collect())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_code(c: char) -> bool {
    c.is_ascii_lowercase() || c == '_'
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let code = Self::new(&text);
        if code.0 == text { Ok(code) } else { Err(D::Error::custom("not a code")) }
    }
}

/// What another system says: at most 256 characters of those that names and addresses have. Whatever else it said is left
/// out, so that it cannot break a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Reported(String);

impl Reported {
    const MAX_LENGTH: usize = 256;

    /// What is left of `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let good = |c: &char| c.is_ascii_alphanumeric() || "-_.:/@=+,".contains(*c);
        Self(text.chars().filter(good).take(Self::MAX_LENGTH).collect())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Reported {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let reported = Self::new(&text);
        if reported.0 == text { Ok(reported) } else { Err(D::Error::custom("not a plain text")) }
    }
}

macro_rules! plain_text {
    ($(#[$doc:meta])* $name:ident, $error:ident, $expected:literal, $longest:literal, $also:pat) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        #[doc = concat!("Text that is not ", $expected, ".")]
        #[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
        #[error("expected {}", $expected)]
        pub struct $error;

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, $also);
                let bounded = (1..=$longest).contains(&text.len());
                if bounded && text.chars().all(good) { Ok(Self(text)) } else { Err($error) }
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

plain_text! {
    /// The id of a stored key, such as `prj_.../ssh-user-ca/1`. Cannot hold a key.
    KeyId, ParseKeyIdError, "a key's id: at most 96 characters of a-z, 0-9, `-`, `_` and `/`", 96, '-' | '_' | '/'
}
plain_text! {
    /// Where a key lives that never leaves there: its ARN. Cannot hold a key.
    KeyPlace, ParseKeyPlaceError, "an ARN: at most 128 characters of a-z, 0-9, `-`, `_`, `:` and `/`", 128,
    '-' | '_' | ':' | '/'
}
plain_text! {
    /// What a token is restricted to: a pattern of names or a network. Cannot hold a secret.
    Restriction, ParseRestrictionError,
    "a pattern of names or a network: at most 254 characters of a-z, 0-9, `-`, `.`, `:`, `/` and `*`", 254,
    '-' | '.' | ':' | '/' | '*'
}

/// A day of UTC, `2026-11-24` in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(i64);

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

impl Day {
    /// The day of `time`.
    #[must_use]
    pub fn of(time: UnixTime) -> Self {
        Self(time.as_millis().div_euclid(DAY_MILLIS))
    }

    /// Its first moment.
    #[must_use]
    pub fn begin(self) -> UnixTime {
        UnixTime::from_millis(self.0.saturating_mul(DAY_MILLIS))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.begin().to_string();
        f.write_str(text.split('T').next().unwrap_or_default())
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not a day.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("expected a day as YYYY-MM-DD")]
pub struct ParseDayError;

impl FromStr for Day {
    type Err = ParseDayError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time: UnixTime = format!("{text}T00:00:00.000Z").parse().map_err(|_error| ParseDayError)?;
        let day = Self::of(time);
        // One form for one day.
        if day.to_string() == text { Ok(day) } else { Err(ParseDayError) }
    }
}

impl TryFrom<String> for Day {
    type Error = ParseDayError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

/// A certificate's serial: not zero. A decimal string in JSON, because 64 bits do not survive JavaScript.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial(u64);

impl Serial {
    /// None for zero, which means "no serial".
    #[must_use]
    pub fn new(serial: u64) -> Option<Self> {
        (serial != 0).then_some(Self(serial))
    }

    /// The number.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Text that is not a serial.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("expected a decimal number that is not zero")]
pub struct ParseSerialError;

impl FromStr for Serial {
    type Err = ParseSerialError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let serial = text.parse().ok().and_then(Self::new).ok_or(ParseSerialError)?;
        // One form for one number: no sign, no leading zero.
        if serial.to_string() == text { Ok(serial) } else { Err(ParseSerialError) }
    }
}

impl Serialize for Serial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        as_text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        as_text::deserialize(deserializer)
    }
}

/// `#[serde(with = "as_text")]` for types that have one text form but no serde of their own.
pub(crate) mod as_text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
