//! Printing for people and programs: results on stdout, talk on stderr.

use std::{fmt, io::Write as _};

/// Prints a result line. A closed stdout is not worth failing for.
pub(crate) fn line(text: impl fmt::Display) {
    let _closed = writeln!(std::io::stdout().lock(), "{text}");
}

/// Tells the operator something.
pub(crate) fn say(text: impl fmt::Display) {
    let _closed = writeln!(std::io::stderr().lock(), "{text}");
}
