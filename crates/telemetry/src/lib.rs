//! Logging set-up and error chains, the same in every program.
//!
//! Logs go to stderr, because stdout is for results. What must never be logged is kept out by its type: secrets cannot
//! be formatted. Metrics and traces are not here.
//!
//! ```
//! use std::num::ParseIntError;
//!
//! use usher_telemetry::Chain;
//!
//! #[derive(Debug, thiserror::Error)]
//! #[error("the port cannot be read")]
//! struct PortError(#[source] ParseIntError);
//!
//! let error = PortError("x".parse::<u16>().unwrap_err());
//! assert_eq!(Chain(&error).to_string(), "the port cannot be read: invalid digit found in string");
//! ```
#![forbid(unsafe_code)]

use std::{error::Error, fmt, io, str::FromStr};

use thiserror::Error as ThisError;
use tracing_subscriber::{
    EnvFilter, fmt as subscriber, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line, for collectors.
    Json,
    /// For people.
    #[default]
    Text,
}

/// Not a log format.
#[derive(Clone, Copy, Debug, ThisError, PartialEq, Eq)]
#[error("expected `json` or `text`")]
pub struct ParseFormatError;

impl FromStr for Format {
    type Err = ParseFormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(ParseFormatError),
        }
    }
}

/// Why logging was not set up.
#[derive(Debug, ThisError)]
pub enum InitError {
    /// Logging was set up before.
    #[error("logging is set up already")]
    Already,
    /// Not a level or filter.
    #[error("`{level}` is not a log level; use error, warn, info, debug or trace")]
    Level {
        /// What was asked for.
        level: String,
    },
}

/// Libraries that say at `info` what is of no use to anybody who runs the program, such as which access key they found.
const QUIET: [&str; 4] = ["aws_config", "aws_credential_types", "aws_runtime", "aws_smithy_runtime"];

/// Sets up logging to stderr. `level` is a level or a list such as `info,usher_store=debug`. Of libraries for AWS only
/// errors are shown, unless the list names them.
///
/// # Errors
/// [`InitError`].
pub fn init(level: &str, format: Format) -> Result<(), InitError> {
    let filter = filter(level)?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = subscriber::layer().with_writer(io::stderr).with_target(true);
    match format {
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
        Format::Text => {
            let colours = io::IsTerminal::is_terminal(&io::stderr());
            registry.with(lines.with_ansi(colours)).try_init()
        }
    }
    .map_err(|_error| InitError::Already)
}

fn filter(level: &str) -> Result<EnvFilter, InitError> {
    let quiet = QUIET.iter().filter(|target| !level.contains(**target));
    let all = quiet.fold(level.to_owned(), |all, target| format!("{all},{target}=error"));
    all.parse().map_err(|_error| InitError::Level { level: level.escape_default().take(64).collect() })
}

/// An error and all its causes in one line: `what: why: why that`.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Some libraries repeat their cause's words; once is enough.
            if !last.contains(&text) {
                write!(f, ": {text}")?;
            }
            last = text;
            next = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet_unless_they_are_asked_for() {
        assert!(filter("info").unwrap().to_string().contains("aws_config=error"));
        let asked = filter("info,aws_config=debug").unwrap().to_string();
        assert!(asked.contains("aws_config=debug") && !asked.contains("aws_config=error"), "{asked}");
        assert!(filter("loud,=").is_err());
    }
}
