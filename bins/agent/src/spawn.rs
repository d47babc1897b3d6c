//! Starts the network process: this program again, as another user, with one end of a socket pair as standard input.

use std::{
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use rustix::process::{Signal, set_parent_process_death_signal};

/// The other half, running.
#[derive(Debug)]
pub(crate) struct NetworkProcess {
    child: Child,
    socket: UnixStream,
}

impl NetworkProcess {
    /// Starts it as the user `uid` with the one group `gid`, an empty environment and no other open files.
    ///
    /// # Errors
    /// When it cannot be started.
    #[expect(clippy::disallowed_methods, reason = "the one process that the agent itself starts")]
    pub(crate) fn start(uid: u32, gid: u32) -> Result<Self> {
        let (socket, theirs) = UnixStream::pair().context("no socket pair")?;
        let program = std::env::current_exe().context("cannot find my own executable")?;
        let child = Command::new(program)
            .arg("network")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            // Setting a user as root also drops every supplementary group.
            .uid(uid)
            .gid(gid)
            .spawn()
            .context("cannot start the network process")?;
        Ok(Self { child, socket })
    }

    /// Where it talks.
    pub(crate) fn socket(&self) -> &UnixStream {
        &self.socket
    }
}

impl Drop for NetworkProcess {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// In the network process: takes over the socket, and ends when the root helper does.
///
/// # Errors
/// When standard input is no socket, or the helper has ended already.
pub(crate) fn parent_socket() -> Result<UnixStream> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot tie my life to the root helper's")?;
    let socket = std::io::stdin().as_fd().try_clone_to_owned().context("no standard input")?;
    let socket = UnixStream::from(socket);
    socket.peer_addr().context("this command is only ever run by `usher-agent run`")?;
    Ok(socket)
}
