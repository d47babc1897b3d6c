//! Becoming root: the same command again under sudo, with the user's tools.

use std::process::ExitCode;

use anyhow::Result;

use crate::{out::say, process::Cmd, workspace};

/// What sudo would take away and cargo needs.
const KEPT: [&str; 8] =
    ["PATH", "HOME", "TERM", "CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];

/// Runs this very command line again under sudo, with `more` arguments behind it.
///
/// # Errors
/// When sudo cannot be started.
pub(crate) fn again(more: &[&str]) -> Result<ExitCode> {
    say!("hosts out of namespaces need root; going on under sudo");
    let mut command = Cmd::new(["sudo", "env"]);
    for name in KEPT {
        if let Some(value) = workspace::env(name) {
            command = command.arg(format!("{name}={value}"));
        }
    }
    let command = command.arg(workspace::own_executable()?).args(std::env::args_os().skip(1)).args(more);
    Ok(ExitCode::from(u8::try_from(command.status()?).unwrap_or(1)))
}
