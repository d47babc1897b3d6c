//! What the two halves say to each other: a closed set of messages, one answer to each request, length-prefixed JSON
//! over a socket pair. The root half takes nothing else from the network half.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;
use usher_api::v1::{AccountConflict, HostFacts, StateResponse};

/// Longest message; a project document of 20,000 users is about 3 MB.
const MAX_LENGTH: usize = 16 * 1024 * 1024;

/// From the network process to the root helper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Verify these documents and make the host so.
    Apply {
        /// As the broker sent them.
        state: Box<StateResponse>,
    },
    /// How the way to the broker is; shown in `status`, decides nothing.
    Broker {
        /// The state of the connection.
        link: Link,
    },
    /// Look at the host, mend what drifted, and say what it looks like.
    Observe,
}

/// How the way to the broker is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Link {
    /// It answers.
    Connected,
    /// It does not know this server any more.
    Removed,
    /// Not asked yet.
    Starting,
    /// It cannot be reached, or answers with errors.
    Unreachable {
        /// Why, in one line.
        reason: String,
    },
}

/// From the root helper to the network process, one for each request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// Noted.
    Noted,
    /// What the host looks like now.
    Report(Box<Report>),
}

/// What the host looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// What it says about itself.
    pub(crate) facts: HostFacts,
    /// Generation of the project document that was accepted last.
    pub(crate) generation: u64,
    /// Generation of the server document that was accepted last.
    pub(crate) server_generation: u64,
    /// Generation of the project document that the host is in.
    pub(crate) applied_generation: u64,
    /// Generation of the server document that the host is in.
    pub(crate) applied_server_generation: u64,
    /// What is in the way.
    pub(crate) conflicts: Vec<AccountConflict>,
    /// Ids that something else has.
    pub(crate) taken_ids: Vec<u32>,
}

/// Why no message came or went.
#[derive(Debug, Error)]
pub(crate) enum IpcError {
    /// The other half is gone.
    #[error("the other half of the agent has ended")]
    Closed,
    /// Not a message.
    #[error("a message cannot be understood")]
    Form(#[source] serde_json::Error),
    /// The socket failed.
    #[error("the socket between the two halves failed")]
    Io(#[source] std::io::Error),
    /// Longer than any message.
    #[error("a message of {0} bytes is too long")]
    Length(usize),
}

/// Sends one message.
///
/// # Errors
/// [`IpcError`].
pub(crate) fn send(mut socket: &UnixStream, message: &impl Serialize) -> Result<(), IpcError> {
    let bytes = serde_json::to_vec(message).map_err(IpcError::Form)?;
    let length = u32::try_from(bytes.len()).map_err(|_error| IpcError::Length(bytes.len()))?;
    socket.write_all(&length.to_be_bytes()).and_then(|()| socket.write_all(&bytes)).map_err(from_io)
}

/// Waits for one message.
///
/// # Errors
/// [`IpcError`].
pub(crate) fn receive<T: DeserializeOwned>(mut socket: &UnixStream) -> Result<T, IpcError> {
    let mut prefix = [0_u8; 4];
    socket.read_exact(&mut prefix).map_err(from_io)?;
    let length = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    if length > MAX_LENGTH {
        return Err(IpcError::Length(length));
    }
    let mut bytes = vec![0_u8; length];
    socket.read_exact(&mut bytes).map_err(from_io)?;
    serde_json::from_slice(&bytes).map_err(IpcError::Form)
}

fn from_io(error: std::io::Error) -> IpcError {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => IpcError::Closed,
        _ => IpcError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::net::UnixStream};

    use super::{IpcError, Link, Request, receive, send};

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let (one, two) = UnixStream::pair().unwrap();
        send(&one, &Request::Broker { link: Link::Connected }).unwrap();
        assert!(matches!(receive(&two).unwrap(), Request::Broker { link: Link::Connected }));
    }

    #[test]
    fn refuses_what_is_no_request() {
        let (one, two) = UnixStream::pair().unwrap();
        send(&one, &serde_json::json!({"run": "/bin/sh"})).unwrap();
        assert!(matches!(receive::<Request>(&two), Err(IpcError::Form(_))));
    }

    #[test]
    fn refuses_a_length_before_it_allocates() {
        let (mut one, two) = UnixStream::pair().unwrap();
        one.write_all(&u32::MAX.to_be_bytes()).unwrap();
        assert!(matches!(receive::<Request>(&two), Err(IpcError::Length(_))));
    }

    #[test]
    fn notices_that_the_other_half_ended() {
        let (one, two) = UnixStream::pair().unwrap();
        drop(one);
        assert!(matches!(receive::<Request>(&two), Err(IpcError::Closed)));
    }
}
