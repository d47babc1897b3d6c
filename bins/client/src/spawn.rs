//! The one place that starts other programs: our own binary, `ssh`, and a browser. Always by absolute path and as a list
//! of arguments. The environment is passed on, without secrets of a
//! program that signs in: these are the user's own programs, started on the user's behalf.

use std::{
    ffi::OsStr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cli::environment::{Environment, SECRETS},
    exit::Failure,
};

#[expect(clippy::disallowed_methods, reason = "the program's one way to start a process")]
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in SECRETS {
        command.env_remove(name);
    }
    command
}

/// This program.
///
/// # Errors
/// When its path cannot be found out.
pub fn own_path() -> Result<PathBuf, Failure> {
    let path = std::env::current_exe()
        .map_err(|error| Failure::io("cannot find the path of this program", &error))?;
    // The kernel's note that the file was replaced by an upgrade: the new one is at the same place.
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
}

/// Starts this program again.
///
/// # Errors
/// As [`own_path`].
pub fn own_binary() -> Result<Command, Failure> {
    Ok(command(&own_path()?))
}

/// The user's `ssh`.
///
/// # Errors
/// When there is none.
pub fn ssh(environment: &Environment) -> Result<Command, Failure> {
    Ok(command(&ssh_path(environment)?))
}

/// Where the user's `ssh` is.
///
/// # Errors
/// When there is none.
pub fn ssh_path(environment: &Environment) -> Result<PathBuf, Failure> {
    find(environment, "ssh").ok_or_else(|| missing("ssh"))
}

/// The user's `scp`.
///
/// # Errors
/// When there is none.
pub fn scp(environment: &Environment) -> Result<Command, Failure> {
    Ok(command(&find(environment, "scp").ok_or_else(|| missing("scp"))?))
}

/// A program by its absolute path.
#[must_use]
pub fn program(path: &Path) -> Command {
    command(path)
}

fn missing(name: &str) -> Failure {
    Failure::other(format!("there is no `{name}` on this machine")).next("install OpenSSH 8.9 or later")
}

/// Whatever opens a browser here.
#[must_use]
pub fn browser(environment: &Environment) -> Option<Command> {
    find(environment, "xdg-open").map(|path| command(&path))
}

/// Looks a program up as a shell would; only absolute directories count.
fn find(environment: &Environment, name: &str) -> Option<PathBuf> {
    std::env::split_paths(&environment.path)
        .chain([PathBuf::from("/usr/bin"), PathBuf::from("/bin")])
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(OsStr::new(name)))
        .find(|path| {
            path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        })
}
