//! What the two halves say to each other: a closed set of typed messages, length first, JSON behind.
//!
//! Nothing in a message is a command, a path or an account to change. Signed state is handed over as the bytes that were
//! received, and the root helper makes up its own mind.

use std::io::{Error, ErrorKind, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use usher_api::v1::{AccountConflict, EnrollRequest, EnrollResponse, HostFacts, SignedDocument, Trusts};
use usher_types::Sha256;

use crate::{config::Logging, exit::Failure};

/// A state of ten thousand users is 2 MB.
const MAX_LENGTH: u32 = 32 << 20;

/// What a network process is started for; the first message to it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Redeem a token, say how it went, and end.
    Enroll {
        /// The broker.
        url: String,
        /// Its pin.
        pin: Option<Sha256>,
        /// The request, with the token in it.
        request: Box<EnrollRequest>,
    },
    /// Keep the helper supplied with state and the broker with reports.
    Serve {
        /// The broker.
        url: String,
        /// Pins, any of which may match; none for the platform's trusted roots.
        pins: Vec<Sha256>,
        /// How to log.
        logging: Logging,
    },
}

/// Answer to [`Job::Enroll`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Enrolled {
    /// The broker's answer.
    Done(Box<EnrollResponse>),
    /// Why not.
    Failed(Failure),
}

/// What the network process may ask the root helper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// How the broker is doing, for `usher-agent status`.
    Broker(BrokerState),
    /// Signed state from the broker.
    Offer {
        /// The project's document.
        project: SignedDocument,
        /// The server's document.
        server: SignedDocument,
    },
    /// Look at the host, repair it, and say what it looks like.
    Report,
}

/// How the broker is doing, as the network process sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub(crate) enum BrokerState {
    /// It answers.
    Reachable,
    /// It does not know this server any more.
    Removed {
        /// What it said.
        reason: String,
    },
    /// Not asked yet.
    #[default]
    Unknown,
    /// It cannot be asked.
    Unreachable {
        /// Why.
        reason: String,
    },
}

/// What the root helper answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Generation of the project document that the helper holds; 0 for none.
    pub(crate) generation: u64,
    /// Generation of the server document that the helper holds; 0 for none.
    pub(crate) server_generation: u64,
    /// Why offered state was refused.
    pub(crate) refused: Option<String>,
    /// What to report.
    pub(crate) report: Option<Box<Report>>,
    /// Pins that signed state names; empty when the token's still holds.
    pub(crate) pins: Vec<Sha256>,
}

/// What to report to the broker, apart from the clock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) facts: HostFacts,
    pub(crate) applied_generation: u64,
    pub(crate) applied_server_generation: u64,
    pub(crate) conflicts: Vec<AccountConflict>,
    pub(crate) taken_ids: Vec<u32>,
    pub(crate) trusts: Option<Trusts>,
}

fn too_long() -> Error {
    Error::new(ErrorKind::InvalidData, "message too long")
}

fn frame<T: Serialize>(message: &T) -> Result<Vec<u8>, Error> {
    let body = serde_json::to_vec(message)?;
    let length =
        u32::try_from(body.len()).ok().filter(|length| *length <= MAX_LENGTH).ok_or_else(too_long)?;
    Ok([length.to_be_bytes().as_slice(), &body].concat())
}

fn body_length(header: [u8; 4]) -> Result<usize, Error> {
    let length = u32::from_be_bytes(header);
    if length > MAX_LENGTH {
        return Err(too_long());
    }
    usize::try_from(length).map_err(|_error| too_long())
}

/// Writes one message.
pub(crate) fn write<T: Serialize>(stream: &mut impl Write, message: &T) -> Result<(), Error> {
    stream.write_all(&frame(message)?)
}

/// Reads one message.
pub(crate) fn read<T: DeserializeOwned>(stream: &mut impl Read) -> Result<T, Error> {
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let mut body = vec![0; body_length(header)?];
    stream.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// Writes one message without blocking the thread.
pub(crate) async fn send<T: Serialize>(
    stream: &mut tokio::net::UnixStream,
    message: &T,
) -> Result<(), Error> {
    stream.write_all(&frame(message)?).await
}

/// Reads one message without blocking the thread.
pub(crate) async fn receive<T: DeserializeOwned>(stream: &mut tokio::net::UnixStream) -> Result<T, Error> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await?;
    let mut body = vec![0; body_length(header)?];
    stream.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use super::{Request, read, write};

    #[test]
    fn messages_survive_the_way() {
        let mut bytes = Vec::new();
        write(&mut bytes, &Request::Report).unwrap();
        assert!(matches!(read(&mut bytes.as_slice()).unwrap(), Request::Report));
    }

    #[test]
    fn refuses_what_is_no_message() {
        for bad in [
            &b""[..],
            b"\0\0\0",
            b"\0\0\0\x02{}",
            b"\xff\xff\xff\xff",
            b"\0\0\0\x09\"Command\"",
            b"\0\0\0\x05\"x\"",
        ] {
            assert!(read::<Request>(&mut &*bad).is_err(), "{bad:?}");
        }
    }
}
