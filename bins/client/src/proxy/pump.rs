//! Copies bytes both ways until either side ends. Leaves no process behind: when `ssh` is gone, so are we and our hops.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::Shutdown,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::mpsc,
    time::Duration,
};

use super::route::{Stream, Wire};
use crate::exit::Failure;

/// A server gets so long to end its side after `ssh` has ended.
const LINGER: Duration = Duration::from_secs(2);
/// As much as a pipe holds.
const BUFFER: usize = 64 * 1024;

enum End {
    Client,
    Server,
}

/// Writes the greeting to stdout, then copies.
pub(super) fn run(wire: Wire, banner: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io("cannot pass bytes on", &error);
    // Plain descriptors: std's own handles buffer.
    let mut input = own(std::io::stdin().as_fd()).map_err(failed)?;
    let mut output = own(std::io::stdout().as_fd()).map_err(failed)?;
    let (mut from_server, mut to_server, socket) = match wire.stream {
        Stream::Tcp(stream) => {
            let socket = stream.try_clone().map_err(failed)?;
            (
                File::from(OwnedFd::from(stream.try_clone().map_err(failed)?)),
                File::from(OwnedFd::from(stream)),
                Some(socket),
            )
        }
        Stream::Pipes(stdin, stdout) => {
            (File::from(OwnedFd::from(stdout)), File::from(OwnedFd::from(stdin)), None)
        }
    };
    let (sender, ends) = mpsc::channel();
    let client_ended = sender.clone();
    std::thread::spawn(move || {
        // However it ends, this direction is over.
        let _ = copy(&mut input, &mut to_server);
        drop(to_server);
        if let Some(socket) = socket {
            let _ = socket.shutdown(Shutdown::Write);
        }
        let _ = client_ended.send(End::Client);
    });
    let banner = banner.to_owned();
    std::thread::spawn(move || {
        let _ = output.write_all(&banner).and_then(|()| copy(&mut from_server, &mut output));
        let _ = sender.send(End::Server);
    });
    if let Ok(End::Client) = ends.recv() {
        let _ = ends.recv_timeout(LINGER);
    }
    if let Some(mut hops) = wire.hops {
        hops.end();
    }
    Ok(())
}

/// Not `io::copy`: it would use splice(2), which keeps the pipe locked while it waits for the socket, and `ssh` could not
/// read what is in the pipe already.
fn copy(from: &mut File, to: &mut File) -> std::io::Result<()> {
    let mut buffer = vec![0_u8; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => to.write_all(buffer.get(..read).unwrap_or_default())?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn own(descriptor: BorrowedFd<'_>) -> std::io::Result<File> {
    descriptor.try_clone_to_owned().map(File::from)
}
