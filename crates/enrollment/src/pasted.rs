//! What an administrator copies and pastes on a server: URL, pin and secret in one line, `ut1_` and base64url of JSON.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use usher_types::{ParseTokenError, SecretToken, Sha256, TokenKind};
use zeroize::Zeroizing;

const PREFIX: &str = "ut1_";
/// Longest text that is looked at.
const MAX_LENGTH: usize = 4 * 1024;
const MAX_URL_LENGTH: usize = 512;

/// An enrollment token with where to present it and whom to trust. Cannot be printed.
#[derive(Clone)]
pub struct PastedToken {
    url: String,
    pin: Option<Sha256>,
    token: SecretToken,
}

/// Why a text is no pasted token. Never repeats the text: it may be most of a secret.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PastedTokenError {
    /// Does not begin with `ut1_`, is too long or holds something else.
    #[error("this is not an enrollment token: it begins with ut1_ and is one line; copy it again, whole")]
    Form,
    /// The secret inside is not an enrollment token.
    #[error("the enrollment token is damaged; copy it again, whole")]
    Token(#[source] ParseTokenError),
    /// The broker's URL is not `https://host` with an optional port.
    #[error("the broker's url must be https://host or https://host:port, without a path")]
    Url,
}

/// Borrows, so that the secret is not copied; nothing that we write needs JSON escapes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    url: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pin: Option<Sha256>,
    token: &'a str,
}

impl PastedToken {
    /// Puts the three together. Without a pin the broker's certificate must be one that the host trusts anyway.
    ///
    /// # Errors
    /// [`PastedTokenError`] for a URL that is no broker's, or a token of another kind.
    pub fn new(url: &str, pin: Option<Sha256>, token: SecretToken) -> Result<Self, PastedTokenError> {
        if token.kind() != TokenKind::Enrollment {
            return Err(PastedTokenError::Token(ParseTokenError::Kind));
        }
        Ok(Self { url: checked_url(url)?, pin, token })
    }

    /// Reads what [`Self::reveal`] wrote; white space around it is forgiven.
    ///
    /// # Errors
    /// [`PastedTokenError`], without the text.
    pub fn parse(text: &str) -> Result<Self, PastedTokenError> {
        let text = text.trim();
        let encoded =
            text.strip_prefix(PREFIX).filter(|_| text.len() <= MAX_LENGTH).ok_or(PastedTokenError::Form)?;
        let json = BASE64URL_NOPAD
            .decode(encoded.as_bytes())
            .map(Zeroizing::new)
            .map_err(|_error| PastedTokenError::Form)?;
        if json.first() != Some(&b'{') {
            return Err(PastedTokenError::Form);
        }
        let wire: Wire<'_> = serde_json::from_slice(&json).map_err(|_error| PastedTokenError::Form)?;
        let token = SecretToken::parse(TokenKind::Enrollment, wire.token).map_err(PastedTokenError::Token)?;
        Self::new(wire.url, wire.pin, token)
    }

    /// The whole text, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let token = self.token.reveal();
        let wire = Wire { url: &self.url, pin: self.pin, token: &token };
        // INVARIANT: strings under string keys always serialize; an empty part would not parse.
        let json = Zeroizing::new(serde_json::to_vec(&wire).unwrap_or_default());
        Zeroizing::new(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&json)))
    }

    /// `https://host` or `https://host:port`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// SHA-256 of the SPKI of the team's TLS root.
    #[must_use]
    pub fn pin(&self) -> Option<Sha256> {
        self.pin
    }

    /// The secret.
    #[must_use]
    pub fn token(&self) -> &SecretToken {
        &self.token
    }
}

impl fmt::Debug for PastedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PastedToken")
            .field("url", &self.url)
            .field("pin", &self.pin)
            .field("token", &self.token)
            .finish()
    }
}

/// An origin and nothing more, in characters that mean the same to every URL parser.
fn checked_url(url: &str) -> Result<String, PastedTokenError> {
    let url = url.strip_suffix('/').unwrap_or(url);
    let authority =
        url.strip_prefix("https://").filter(|_| url.len() <= MAX_URL_LENGTH).ok_or(PastedTokenError::Url)?;
    let (host, port) = match authority.strip_prefix('[') {
        // An IPv6 address: `[2001:db8::1]` or `[2001:db8::1]:8443`.
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(PastedTokenError::Url)?;
            let _: std::net::Ipv6Addr = address.parse().map_err(|_error| PastedTokenError::Url)?;
            let port = if port.is_empty() {
                None
            } else {
                Some(port.strip_prefix(':').ok_or(PastedTokenError::Url)?)
            };
            (None, port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(authority), None),
        },
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let good_host =
        host.is_none_or(|host| host.bytes().all(plain) && host.split('.').all(|label| !label.is_empty()));
    let good_port = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if good_host && good_port { Ok(url.to_owned()) } else { Err(PastedTokenError::Url) }
}
