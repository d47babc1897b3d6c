//! Names that a token may be restricted to.

use std::{fmt, str::FromStr};

use thiserror::Error;
use usher_types::HostName;

/// Names that a token may be used for: one exact name, or a prefix followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    literal: String,
    wildcard: Wildcard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wildcard {
    Absent,
    Trailing,
}

/// Text that is not a name pattern.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("a name pattern is a server name, or the beginning of one followed by `*`")]
pub struct ParsePatternError;

impl NamePattern {
    /// Whether `name` may be claimed.
    #[must_use]
    pub fn matches(&self, name: &HostName) -> bool {
        match self.wildcard {
            Wildcard::Absent => name.as_str() == self.literal,
            Wildcard::Trailing => name.as_str().starts_with(&self.literal),
        }
    }
}

impl FromStr for NamePattern {
    type Err = ParsePatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(prefix) = text.strip_suffix('*') else {
            let name: HostName = text.parse().map_err(|_error| ParsePatternError)?;
            return Ok(Self { literal: name.into(), wildcard: Wildcard::Absent });
        };
        // A prefix is good when some name begins with it; `web-` is not a name itself, `web-0` is.
        let example = format!("{prefix}0a");
        let _: HostName = example.parse().map_err(|_error| ParsePatternError)?;
        Ok(Self { literal: prefix.to_owned(), wildcard: Wildcard::Trailing })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wildcard {
            Wildcard::Absent => f.write_str(&self.literal),
            Wildcard::Trailing => write!(f, "{}*", self.literal),
        }
    }
}
