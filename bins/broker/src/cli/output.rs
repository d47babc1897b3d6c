//! Standard output and standard error of the command line. Write errors (a closed pipe) are not worth a panic.

use std::io::Write as _;

use serde::Serialize;

/// How results look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// One JSON object with `schema`.
    Json,
    /// For people.
    Text,
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    schema: u32,
    #[serde(flatten)]
    value: &'a T,
}

impl Output {
    /// Prints a result: as text, or as JSON with the version of its schema.
    pub(super) fn print<T: Serialize>(self, value: &T, text: &str) -> Result<(), serde_json::Error> {
        let line = match self {
            Self::Json => serde_json::to_string(&Versioned { schema: 1, value })?,
            Self::Text => text.trim_end().to_owned(),
        };
        let mut out = std::io::stdout().lock();
        let _written = writeln!(out, "{line}").and_then(|()| out.flush()).is_ok();
        Ok(())
    }
}

/// `error: what: why`, then what to do about it.
pub(super) fn failed(error: &anyhow::Error) {
    let mut out = std::io::stderr().lock();
    let _written = writeln!(out, "error: {error:#}").is_ok();
}
