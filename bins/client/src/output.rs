//! Data on stdout, talk on stderr: tables for people, wire types as JSON for programs.

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

use crate::exit::{Exit, Failure};

/// How results are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// JSON of the API's own types.
    Json,
    /// For people.
    #[default]
    Text,
}

/// Writes `text` to stdout as it is. A reader that went away is no error.
///
/// # Errors
/// When stdout cannot be written for another reason.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::io("cannot write the result", &error))
        }
        _ => Ok(()),
    }
}

/// Writes one line to stderr.
pub fn note(text: &str) {
    // Nothing can be said when stderr is gone.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes `value` as JSON to stdout.
///
/// # Errors
/// As [`print()`].
pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::other(format!("cannot write the result: {error}")))?;
    text.push('\n');
    print(&text)
}

/// Rows under headings, in columns as wide as they need.
#[derive(Clone, Debug)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| clean(&cell)).collect());
    }

    /// The table's text.
    #[must_use]
    pub fn render(&self) -> String {
        let headings: Vec<String> = self.headings.iter().map(|heading| heading.to_uppercase()).collect();
        let lines = || std::iter::once(&headings).chain(&self.rows);
        let mut widths = vec![0; headings.len()];
        for line in lines() {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for line in lines() {
            let mut out = String::new();
            for (width, cell) in widths.iter().zip(line) {
                out.push_str(&format!("{cell:width$}  "));
            }
            text.push_str(out.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Shows `value` as JSON, or what `table` makes of it.
///
/// # Errors
/// As [`print()`].
pub fn show<T: Serialize + ?Sized>(
    format: Format,
    value: &T,
    table: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    match format {
        Format::Json => json(value),
        Format::Text => print(&table(value)),
    }
}

/// What others named or wrote must not move the cursor.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Says why a command failed: every reason, and what to do next.
pub fn failure(format: Format, color: bool, failure: &Failure) {
    let mut stderr = std::io::stderr().lock();
    if format == Format::Json {
        // One object on stderr: stdout stays empty when there is no result.
        if let Ok(text) = serde_json::to_string(&serde_json::json!({ "error": failure })) {
            let _ = writeln!(stderr, "{text}");
        }
        return;
    }
    let color = color && stderr.is_terminal();
    let (bold, plain) = if color { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
    let _ = writeln!(stderr, "{bold}error:{plain} {}", clean(&failure.message));
    for reason in &failure.reasons {
        let _ = writeln!(stderr, "  - {}", clean(reason));
    }
    if let Some(next) = &failure.next {
        let _ = writeln!(stderr, "next: {}", clean(next));
    }
}

/// The process's end.
#[must_use]
pub fn code(exit: Exit) -> std::process::ExitCode {
    std::process::ExitCode::from(exit.code())
}
