//! The one kind of data that Usher's keys sign: an SSH public-key authentication request (RFC 4252 section 7), plain or
//! bound to a host key (OpenSSH `PROTOCOL` section 1.8). Parses; [`super::store`] compares.

use ssh_encoding::{Decode as _, Reader as _};
use thiserror::Error;

const SSH_MSG_USERAUTH_REQUEST: u8 = 50;
const CERTIFICATE_ALGORITHM: &str = "ssh-ed25519-cert-v01@openssh.com";

/// What will be signed, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticationRequest {
    /// The session it is for.
    pub session_id: Vec<u8>,
    /// The account on the server.
    pub user: String,
    /// The certificate.
    pub key_blob: Vec<u8>,
    /// The host it is for, when the method names it.
    pub host_key: Option<Vec<u8>>,
}

/// Data that is not an authentication with a certificate of ours.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AuthenticationDataError {
    /// Another service, method or algorithm.
    #[error("not a public-key authentication for an SSH connection with an Ed25519 certificate")]
    Kind,
    /// Not the form of an authentication request.
    #[error("malformed authentication request")]
    Malformed,
}

impl From<ssh_encoding::Error> for AuthenticationDataError {
    fn from(_error: ssh_encoding::Error) -> Self {
        Self::Malformed
    }
}

impl AuthenticationRequest {
    /// Reads the data of a sign request. Everything is fixed but session, user, certificate and host key.
    ///
    /// # Errors
    /// [`AuthenticationDataError`]: nothing else is ever signed.
    pub fn parse(mut data: &[u8]) -> Result<Self, AuthenticationDataError> {
        let reader = &mut data;
        let session_id = Vec::decode(reader)?;
        let message = u8::decode(reader)?;
        let user = String::decode(reader)?;
        let service = String::decode(reader)?;
        let method = String::decode(reader)?;
        let has_signature = bool::decode(reader)?;
        let algorithm = String::decode(reader)?;
        let key_blob = Vec::decode(reader)?;
        let host_bound = match method.as_str() {
            "publickey" => false,
            "publickey-hostbound-v00@openssh.com" => true,
            _ => return Err(AuthenticationDataError::Kind),
        };
        let host_key = if host_bound { Some(Vec::decode(reader)?) } else { None };
        let fixed = message == SSH_MSG_USERAUTH_REQUEST
            && service == "ssh-connection"
            && has_signature
            && algorithm == CERTIFICATE_ALGORITHM;
        if !fixed {
            return Err(AuthenticationDataError::Kind);
        }
        reader.ensure_finished()?;
        Ok(Self { session_id, user, key_blob, host_key })
    }
}
