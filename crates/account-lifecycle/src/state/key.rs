//! The public half of a team state key. There is no private half here.

use std::{fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;
use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier as _};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A P-256 public key that signs desired state: base64url of its SEC1 uncompressed point.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StateKey(VerifyingKey);

/// Text that is not a P-256 public key.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("expected a P-256 public key: base64url of 65 bytes starting with 04")]
pub struct ParseStateKeyError;

impl StateKey {
    /// From a SEC1 uncompressed point.
    ///
    /// # Errors
    /// [`ParseStateKeyError`] for anything else.
    pub fn from_sec1(bytes: &[u8]) -> Result<Self, ParseStateKeyError> {
        if bytes.len() != 65 {
            return Err(ParseStateKeyError);
        }
        VerifyingKey::from_sec1_bytes(bytes).map(Self).map_err(|_error| ParseStateKeyError)
    }

    /// As a SEC1 uncompressed point.
    #[must_use]
    pub fn to_sec1(&self) -> Vec<u8> {
        self.0.to_sec1_point(false).as_bytes().to_vec()
    }

    /// Whether `signature` (`r || s`) over `message` was made by this key.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}

impl fmt::Display for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.to_sec1()))
    }
}

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for StateKey {
    type Err = ParseStateKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_sec1(&BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_error| ParseStateKeyError)?)
    }
}

impl TryFrom<String> for StateKey {
    type Error = ParseStateKeyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<StateKey> for String {
    fn from(key: StateKey) -> Self {
        key.to_string()
    }
}
