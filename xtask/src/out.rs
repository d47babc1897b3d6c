//! Printing for people: stdout for the report, one place. Formats nothing itself.

use std::{fmt, io::Write as _};

/// Prints one line at once, so that a watcher sees progress. A closed stdout is not worth failing for.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    let _ignored = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Prints without ending the line: for questions.
pub(crate) fn prompt(text: fmt::Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    let _ignored = write!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Prints a formatted line on stdout.
macro_rules! say {
    () => { $crate::out::line(format_args!("")) };
    ($($arg:tt)*) => { $crate::out::line(format_args!($($arg)*)) };
}

pub(crate) use say;
