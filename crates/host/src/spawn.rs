//! Starts our own program again as an unprivileged user, with one socket to talk over and nothing else.

use std::{
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::Path,
    process::{Child, Stdio},
};

use crate::{HostError, ServiceUser, exec};

/// A running unprivileged copy of the program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Unprivileged(Child);

/// Starts `program` as `user`: no supplementary groups, no environment, `socket` as standard input, the caller's error output.
///
/// # Errors
/// [`HostError::Io`].
pub fn spawn_unprivileged(
    program: &Path,
    arguments: &[&str],
    user: ServiceUser,
    socket: OwnedFd,
) -> Result<Unprivileged, HostError> {
    exec::command(program)
        .args(arguments)
        .uid(user.uid)
        .gid(user.gid)
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .map(Unprivileged)
        .map_err(HostError::io("start the network process"))
}

impl Unprivileged {
    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn ended(&mut self) -> Result<Option<String>, HostError> {
        let status = self.0.try_wait().map_err(HostError::io("look at the network process"))?;
        Ok(status.map(|status| status.to_string()))
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it and waits until it is gone.
    pub fn stop(&mut self) {
        // Already gone is what we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Unprivileged {
    fn drop(&mut self) {
        self.stop();
    }
}
