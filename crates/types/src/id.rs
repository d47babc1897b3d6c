//! One registry of ids: a prefix naming the kind, then 26 lower-case Crockford base32 digits of a UUIDv7 (RFC 9562).
//!
//! Lower case because `ssh` folds host aliases; Crockford because it has no `i l o u`. Ids say nothing secret.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::UnixTime;

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 26;

/// Text that is not an id of the expected kind.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not a {kind} id: expected `{prefix}` and 26 characters of 0-9 a-z without i, l, o, u")]
pub struct ParseIdError {
    text: String,
    kind: &'static str,
    prefix: &'static str,
}

fn encode(value: u128) -> String {
    let mut text = [0_u8; LENGTH];
    let mut rest = value;
    for slot in text.iter_mut().rev() {
        let digit = usize::try_from(rest & 31).unwrap_or_default();
        *slot = DIGITS.get(digit).copied().unwrap_or(b'0');
        rest >>= 5;
    }
    text.iter().copied().map(char::from).collect()
}

/// Canonical only: the first digit carries the top three bits, so it is at most `7`.
fn decode(text: &str) -> Option<u128> {
    if text.len() != LENGTH {
        return None;
    }
    let mut value = 0_u128;
    for (index, byte) in text.bytes().enumerate() {
        let digit = DIGITS.iter().position(|candidate| *candidate == byte)?;
        if index == 0 && digit > 7 {
            return None;
        }
        value = (value << 5) | u128::try_from(digit).ok()?;
    }
    Some(value)
}

macro_rules! id_types {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(u128);

        impl $name {
            /// What every id of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// A fresh id from the creation time and ten random bytes (RFC 9562 section 5.7).
            #[must_use]
            pub fn new(now: UnixTime, random: [u8; 10]) -> Self {
                let millis = u64::try_from(now.as_millis()).unwrap_or_default();
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().as_u128())
            }
        }

        impl $name {
            /// The UUID as sixteen bytes, for protocols that carry such.
            #[must_use]
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            /// The id whose [`Self::to_bytes`] these are.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix($prefix).and_then(decode).map(Self).ok_or_else(|| ParseIdError {
                    text: text.chars().take(64).collect(),
                    kind: $kind,
                    prefix: $prefix,
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        crate::text::string_schema!($name);
    )*};
}

id_types! {
    /// One authorized access to one server.
    ConnectionId = "con_", "connection";
    /// One identity provider of the team.
    ConnectorId = "idp_", "connector";
    /// A client installation with its own key.
    DeviceId = "dev_", "device";
    /// A group of users.
    GroupId = "grp_", "group";
    /// A key with which a person signs in at a browser.
    PasskeyId = "pky_", "passkey";
    /// The authorization scope of a set of servers.
    ProjectId = "prj_", "project";
    /// An enrolled host.
    ServerId = "srv_", "server";
    /// A signed-in user on a device.
    SessionId = "ses_", "session";
    /// A secret token's public half.
    TokenId = "tok_", "token";
    /// What a workload's identity token has to say to act as a service user.
    TrustId = "trs_", "trust";
    /// A person or a service.
    UserId = "usr_", "user";
}
