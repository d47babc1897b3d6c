//! One row: who did what, when, from where; and its exact bytes.

use std::net::IpAddr;

use serde::{Deserialize, Serialize, de::IgnoredAny};
use thiserror::Error;
use usher_types::{ConnectorId, DeviceId, ServerId, SessionId, TokenId, UnixTime, UserId};

use crate::Event;

/// Longest record. Nothing that the log can say comes near it; what grows with input is bounded where it comes in.
pub const MAX_RECORD_LENGTH: usize = 64 * 1024;

const VERSION: u32 = 1;

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Actor {
    /// Nobody known: before or without sign-in.
    Anonymous,
    /// An identity provider, about its own users and groups.
    Connector {
        /// Which.
        connector_id: ConnectorId,
        /// The token that it showed.
        token_id: TokenId,
    },
    /// Whoever runs the broker's command line on its host.
    Operator,
    /// A server's agent.
    Server {
        /// The server.
        server_id: ServerId,
    },
    /// The broker by itself.
    System,
    /// A person or service.
    User {
        /// Who.
        user_id: UserId,
        /// On which device; none on web pages.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device_id: Option<DeviceId>,
        /// In which session; none before there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_id: Option<SessionId>,
    },
}

/// What is written down about one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: UnixTime,
    /// Who.
    pub actor: Actor,
    /// TCP peer of the request.
    pub client_address: Option<IpAddr>,
    /// What.
    pub event: Event,
}

/// Field order is the order in the stored bytes.
#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    at: UnixTime,
    actor: &'a Actor,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_address: Option<IpAddr>,
    event: &'a Event,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "v")]
    _version: IgnoredAny,
    at: UnixTime,
    actor: Actor,
    #[serde(default)]
    client_address: Option<IpAddr>,
    event: Event,
}

/// A record could not be encoded. Nothing that it would have recorded may happen.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// JSON cannot express it.
    #[error("the audit record cannot be encoded")]
    Form(#[source] serde_json::Error),
    /// Longer than [`MAX_RECORD_LENGTH`].
    #[error("the audit record is too long")]
    Length,
}

/// The bytes that are stored and hashed: JSON of `{v, at, actor, client_address?, event}`, without white space.
///
/// # Errors
/// [`EncodeError`] when JSON cannot express it, or it is too long.
pub fn encode(record: &Record) -> Result<Vec<u8>, EncodeError> {
    let Record { at, actor, client_address, event } = record;
    let written = Written { v: VERSION, at: *at, actor, client_address: *client_address, event };
    let bytes = to_json(&written)?;
    if bytes.len() <= MAX_RECORD_LENGTH { Ok(bytes) } else { Err(EncodeError::Length) }
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<Vec<u8>, EncodeError> {
    serde_json::to_vec(value).map_err(EncodeError::Form)
}

/// Why bytes are no record.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Not what [`encode`] makes of any record: other order, white space, repeated or unknown members.
    #[error("the audit record is not in its exact form")]
    Exactness,
    /// Not JSON of a record.
    #[error("this is not an audit record")]
    Form(#[source] serde_json::Error),
    /// Longer than [`MAX_RECORD_LENGTH`].
    #[error("the audit record is too long")]
    Length,
    /// Written by a newer program.
    #[error("the audit record has version {0}, which this program does not know")]
    Version(u32),
}

/// Reads exactly what [`encode`] wrote. To show a row of any age, parse it as JSON instead; the chain needs neither.
///
/// # Errors
/// [`DecodeError`] for everything else.
pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    if bytes.len() > MAX_RECORD_LENGTH {
        return Err(DecodeError::Length);
    }
    let Version { v } = serde_json::from_slice(bytes).map_err(DecodeError::Form)?;
    if v != VERSION {
        return Err(DecodeError::Version(v));
    }
    let Read { _version, at, actor, client_address, event } =
        serde_json::from_slice(bytes).map_err(DecodeError::Form)?;
    let record = Record { at, actor, client_address, event };
    if encode(&record).is_ok_and(|again| again == bytes) { Ok(record) } else { Err(DecodeError::Exactness) }
}
