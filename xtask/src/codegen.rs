//! Files that are written by code and committed, so that a review sees when they change.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::{out::say, workspace};

/// The API's description.
const OPENAPI: &str = "crates/api/openapi/v1.json";

/// What to do with a file that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Fail.
    Check,
    /// Write it.
    Write,
}

/// Generates every file.
///
/// # Errors
/// In check mode when a committed file is not what the code says.
pub(crate) fn run(mode: Mode) -> Result<()> {
    let file = workspace::root()?.join(OPENAPI);
    let wanted = usher_api::openapi_json().context("cannot build the API's description")?;
    let found = fs::read_to_string(&file).unwrap_or_default();
    if found == wanted {
        return Ok(());
    }
    if mode == Mode::Check {
        bail!("{OPENAPI} is not what the code says; run `cargo xtask codegen` and look at the difference");
    }
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&file, wanted).with_context(|| format!("cannot write {OPENAPI}"))?;
    say!("wrote {OPENAPI}");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn committed_files_are_current() {
        super::run(super::Mode::Check).unwrap();
    }
}
