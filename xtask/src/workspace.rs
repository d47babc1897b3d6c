//! Where things are: the workspace, its target directory, this program. Reads the environment for cargo's own variables.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::process::Cmd;

/// The top of the repository.
///
/// # Errors
/// Never in a checkout.
pub(crate) fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is not inside a workspace")
}

/// An environment variable, empty counting as unset.
#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of the environment in xtask; it has no configuration"
)]
pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// This program.
///
/// # Errors
/// When /proc is missing.
pub(crate) fn own_executable() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find my own executable")
}

/// Where cargo builds to: found from this program's own place (`<target>/<profile>/xtask`).
///
/// # Errors
/// As [`own_executable`].
pub(crate) fn target_dir() -> Result<PathBuf> {
    if let Some(dir) = env("CARGO_TARGET_DIR") {
        return Ok(root()?.join(dir));
    }
    let own = own_executable()?;
    let from_own = own.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    from_own.map_or_else(|| root().map(|root| root.join("target")), |dir| Ok(dir.to_owned()))
}

/// A built binary.
///
/// # Errors
/// As [`target_dir`].
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    Ok(target_dir()?.join("debug").join(name))
}

/// cargo, as the user called it, at the top of the workspace.
pub(crate) fn cargo() -> Result<Cmd> {
    Ok(Cmd::new([env("CARGO").unwrap_or_else(|| "cargo".to_owned())]).dir(root()?))
}
