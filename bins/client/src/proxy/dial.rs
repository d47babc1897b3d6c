//! Opens a TCP connection to an sshd: the first address that answers, again for a while when the server is too busy to
//! greet. As `usher dial`, the same for the first bastion of a route.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::{
    RETRY_FOR,
    banner::{self, Greeting},
    pump,
    route::{Stream, Wire},
};
use crate::{
    clock,
    exit::{Exit, Failure},
    random,
};

/// Per address: further ones and another route may be waiting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between TCP and the greeting.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// The command line of `usher dial`.
#[derive(Clone, Debug, clap::Args)]
pub struct DialCommand {
    /// Addresses and ports, the preferred first
    #[arg(required = true, value_name = "ADDRESS:PORT")]
    pub addresses: Vec<SocketAddr>,
}

/// Connects stdin and stdout to the first address that answers.
///
/// # Errors
/// When none does.
pub fn run(command: &DialCommand) -> Result<(), Failure> {
    let (stream, banner) = dial(&command.addresses)?;
    pump::run(Wire { stream: Stream::Tcp(stream), hops: None }, &banner)
}

/// A connection that greeted, and the greeting.
pub(super) fn dial(addresses: &[SocketAddr]) -> Result<(TcpStream, Vec<u8>), Failure> {
    let deadline = clock::monotonic() + RETRY_FOR;
    loop {
        let mut busy = false;
        let mut failures = Vec::new();
        for address in addresses {
            match attempt(*address) {
                Ok((stream, Greeting::Ssh(banner))) => return Ok((stream, banner)),
                Ok((_, Greeting::Dropped)) => {
                    busy = true;
                    failures.push(format!("{address}: the server is too busy"));
                }
                Ok((_, Greeting::NotSsh)) => failures.push(format!("{address}: not an SSH server")),
                Err(error) => failures.push(format!("{address}: {error}")),
            }
        }
        if !busy || clock::monotonic() >= deadline {
            let mut failure = Failure::new(Exit::Network, "the server cannot be reached");
            failure.reasons = failures;
            return Err(failure.next("check the network; `usher servers` shows whether the server is up"));
        }
        clock::pause(random::jitter(500));
    }
}

fn attempt(address: SocketAddr) -> std::io::Result<(TcpStream, Greeting)> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
    let greeting = banner::read(&mut stream)?;
    stream.set_read_timeout(None)?;
    Ok((stream, greeting))
}
