//! Data on stdout, talk on stderr.

use std::io::Write as _;

use serde::Serialize;

use crate::exit::Failure;

/// How results are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// JSON, with a version in `v`.
    Json,
    /// For people.
    #[default]
    Text,
}

/// Writes to stdout as it is. A reader that went away is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::other(format!("cannot write the result: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes one line to stderr.
pub(crate) fn note(text: &str) {
    // Nothing can be said when stderr is gone.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes JSON to stdout.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::other(format!("cannot write the result: {error}")))?;
    print(&format!("{text}\n"))
}

/// Text from a host or a broker for a terminal: control characters are shown as spaces.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
