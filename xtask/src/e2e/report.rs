//! The timeline that people read and the report that programs read.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{clock::Stopwatch, out::say};

/// What came of one check.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    name: String,
    passed: bool,
    ms: u64,
    detail: String,
}

/// Results so far.
#[derive(Debug)]
pub(super) struct Report {
    whole: Stopwatch,
    last: Stopwatch,
    only: Vec<String>,
    checks: Vec<Outcome>,
}

#[derive(Serialize)]
struct File<'a> {
    checks: &'a [Outcome],
}

impl Report {
    /// Starts the clock. Checks are filtered by `only`, unless it is empty.
    pub(super) fn start(only: Vec<String>) -> Self {
        Self { whole: Stopwatch::start(), last: Stopwatch::start(), only, checks: Vec::new() }
    }

    /// Whether a check of this name is wanted.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
    }

    fn print(&mut self, mark: &str, ms: u64, what: &str, detail: &str) {
        let at = self.whole.elapsed().as_secs_f32();
        let detail = if detail.is_empty() { String::new() } else { format!("  ({detail})") };
        say!("{at:6.1} s {ms:>6} ms  {mark:<4} {what}{detail}");
        self.last = Stopwatch::start();
    }

    /// Something happened that is no check.
    pub(super) fn step(&mut self, what: &str, detail: &str) {
        let ms = self.last.ms();
        self.print("..", ms, what, detail);
    }

    /// Runs a check, if it is wanted.
    pub(super) fn check(&mut self, name: &str, run: impl FnOnce() -> Result<String>) {
        if !self.wants(name) {
            return;
        }
        let watch = Stopwatch::start();
        let result = run();
        let ms = watch.ms();
        match result {
            Ok(detail) => {
                self.print("ok", ms, name, &detail);
                self.checks.push(Outcome { name: name.to_owned(), passed: true, ms, detail });
            }
            Err(error) => {
                self.print("FAIL", ms, name, "");
                let detail = format!("{error:#}");
                detail.lines().for_each(|line| say!("                   | {line}"));
                self.checks.push(Outcome { name: name.to_owned(), passed: false, ms, detail });
            }
        }
    }

    /// Notes a failure outside any check.
    pub(super) fn failed(&mut self, name: &str, error: &anyhow::Error) {
        let text = format!("{error:#}");
        self.only.clear();
        self.check(name, || Err(anyhow::anyhow!(text)));
    }

    /// Writes the report, prints the sum.
    pub(super) fn finish(&self, file: Option<&Path>) -> Result<ExitCode> {
        if let Some(file) = file {
            let text = serde_json::to_vec_pretty(&File { checks: &self.checks })?;
            fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let failed: Vec<_> = self.checks.iter().filter(|check| !check.passed).collect();
        if !failed.is_empty() {
            say!();
            failed.iter().for_each(|check| say!("failed: {}", check.name));
        }
        // Interrupted runs and mistyped `--only` must not look like success.
        let nothing = self.checks.iter().all(|check| check.name.starts_with("outer "));
        if nothing {
            say!("no check ran; `cargo xtask e2e --list` prints their names");
        }
        say!("e2e: {} passed, {} failed", self.checks.len() - failed.len(), failed.len());
        Ok(if failed.is_empty() && !nothing { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
