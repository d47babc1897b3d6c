//! Frames of the OpenSSH agent protocol (draft-ietf-sshm-ssh-agent), both ways, as pure functions over bytes. Knows
//! only the messages that Usher answers; everything else is one refusal.

use ssh_encoding::{Decode as _, Encode as _, Reader as _};
use thiserror::Error;

/// Longest frame that is read: a sign request carries a certificate of at most 4 KiB twice.
pub const MAX_FRAME: usize = 64 * 1024;

const SSH_AGENT_FAILURE: u8 = 5;
const SSH_AGENT_SUCCESS: u8 = 6;
const SSH_AGENTC_REQUEST_IDENTITIES: u8 = 11;
const SSH_AGENT_IDENTITIES_ANSWER: u8 = 12;
const SSH_AGENTC_SIGN_REQUEST: u8 = 13;
const SSH_AGENT_SIGN_RESPONSE: u8 = 14;
const SSH_AGENTC_EXTENSION: u8 = 27;
const SSH_AGENT_EXTENSION_FAILURE: u8 = 28;

const SESSION_BIND: &str = "session-bind@openssh.com";

/// What a client asks, of the little that Usher answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `SSH_AGENTC_REQUEST_IDENTITIES`.
    Identities,
    /// `SSH_AGENTC_EXTENSION` with `session-bind@openssh.com`.
    SessionBind(SessionBind),
    /// `SSH_AGENTC_SIGN_REQUEST`.
    Sign(SignRequest),
    /// An extension that Usher does not have.
    UnknownExtension,
    /// A message that Usher does not answer: adding or removing keys, locking, and whatever comes.
    Unsupported,
}

/// "This connection is about the session with that host" (OpenSSH `PROTOCOL.agent` section 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionBind {
    /// The host key of the key exchange, perhaps a host certificate.
    pub host_key: Vec<u8>,
    /// The session id.
    pub session_id: Vec<u8>,
    /// The host key's signature over the session id.
    pub signature: Vec<u8>,
    /// Whether the agent is being forwarded to that host.
    pub is_forwarding: bool,
}

/// "Sign this with that key".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignRequest {
    /// The key or certificate.
    pub key_blob: Vec<u8>,
    /// What is to be signed.
    pub data: Vec<u8>,
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// No.
    Failure,
    /// No such extension.
    ExtensionFailure,
    /// At most one identity.
    Identities(Option<OfferedIdentity>),
    /// A signature in SSH encoding.
    Signature(Vec<u8>),
    /// Done.
    Success,
}

/// A certificate as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedIdentity {
    /// The certificate in SSH encoding.
    pub blob: Vec<u8>,
    /// Shown by `ssh -v`.
    pub comment: String,
}

/// A frame that is no message.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// Nothing in it.
    #[error("empty frame")]
    Empty,
    /// Not what its message type promises.
    #[error("malformed message of type {0}")]
    Malformed(u8),
}

impl Request {
    /// Reads one frame, without its length.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is not worth keeping then.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        let (kind, mut rest) = frame.split_first().ok_or(FrameError::Empty)?;
        let parsed = match *kind {
            SSH_AGENTC_REQUEST_IDENTITIES => rest.finish(Self::Identities),
            SSH_AGENTC_SIGN_REQUEST => parse_sign(&mut rest),
            SSH_AGENTC_EXTENSION => parse_extension(&mut rest),
            _ => return Ok(Self::Unsupported),
        };
        parsed.map_err(|_error| FrameError::Malformed(*kind))
    }
}

fn parse_sign(rest: &mut &[u8]) -> ssh_encoding::Result<Request> {
    let key_blob = Vec::decode(rest)?;
    let data = Vec::decode(rest)?;
    // Flags choose a hash for RSA; Usher's keys are Ed25519.
    u32::decode(rest)?;
    rest.finish(Request::Sign(SignRequest { key_blob, data }))
}

fn parse_extension(rest: &mut &[u8]) -> ssh_encoding::Result<Request> {
    if String::decode(rest)? != SESSION_BIND {
        return Ok(Request::UnknownExtension);
    }
    let bind = SessionBind {
        host_key: Vec::decode(rest)?,
        session_id: Vec::decode(rest)?,
        signature: Vec::decode(rest)?,
        is_forwarding: bool::decode(rest)?,
    };
    rest.finish(Request::SessionBind(bind))
}

impl Response {
    /// The frame, with its length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match self {
            Self::Failure => body.push(SSH_AGENT_FAILURE),
            Self::ExtensionFailure => body.push(SSH_AGENT_EXTENSION_FAILURE),
            Self::Success => body.push(SSH_AGENT_SUCCESS),
            Self::Identities(offered) => {
                body.push(SSH_AGENT_IDENTITIES_ANSWER);
                put_u32(&mut body, u32::from(offered.is_some()));
                if let Some(identity) = offered {
                    put_string(&mut body, &identity.blob);
                    put_string(&mut body, identity.comment.as_bytes());
                }
            }
            Self::Signature(signature) => {
                body.push(SSH_AGENT_SIGN_RESPONSE);
                put_string(&mut body, signature);
            }
        }
        let mut frame = Vec::with_capacity(body.len() + 4);
        put_string(&mut frame, &body);
        frame
    }
}

/// Appends a `uint32` (RFC 4251 section 5).
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a `string` (RFC 4251 section 5). Longer than 4 GiB cannot come: frames are capped.
pub fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    // Writing to a vector cannot fail.
    let _ = bytes.encode(out);
}
