//! API keys of service users: whether one is good, here and now. Exchanged for a session and never used for anything else.

use std::net::IpAddr;

use thiserror::Error;
use usher_types::{Cidr, SecretToken, Sha256, TokenId, TokenKind, UnixTime, UserId};

use crate::VerifiedLogin;

/// What is stored of a key that bears on signing in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredApiKey {
    /// Its id.
    pub id: TokenId,
    /// [`SecretToken::hash`] of it.
    pub hash: Sha256,
    /// The service user that it is of.
    pub user_id: UserId,
    /// From where it may be used; from everywhere when absent.
    pub cidr: Option<Cidr>,
    /// When it ends.
    pub expires_at: UnixTime,
    /// When it was revoked.
    pub revoked_at: Option<UnixTime>,
}

/// Why a key is worth nothing. All but the first are told to whoever holds the secret.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ApiKeyRefusal {
    /// There is no such key.
    #[error("there is no such API key")]
    Unknown,
    /// It is used from elsewhere.
    #[error("the API key cannot be used from this address")]
    Address,
    /// Its time is over.
    #[error("the API key has expired")]
    Expired,
    /// It was revoked.
    #[error("the API key was revoked")]
    Revoked,
}

impl ApiKeyRefusal {
    /// A stable word for the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "api_key_unknown",
            Self::Address => "api_key_address",
            Self::Expired => "api_key_expired",
            Self::Revoked => "api_key_revoked",
        }
    }
}

/// Checks a key that `address` shows. Whether its user may do anything is for the caller to ask.
///
/// # Errors
/// [`ApiKeyRefusal`].
pub fn verify_api_key(
    stored: Option<&StoredApiKey>,
    shown: &SecretToken,
    address: IpAddr,
    now: UnixTime,
) -> Result<VerifiedLogin, ApiKeyRefusal> {
    let stored = stored.filter(|stored| {
        shown.kind() == TokenKind::ApiKey && stored.id == shown.id() && stored.hash == shown.hash()
    });
    let stored = stored.ok_or(ApiKeyRefusal::Unknown)?;
    if stored.revoked_at.is_some() {
        return Err(ApiKeyRefusal::Revoked);
    }
    if now >= stored.expires_at {
        return Err(ApiKeyRefusal::Expired);
    }
    if stored.cidr.is_some_and(|cidr| !cidr.contains(address)) {
        return Err(ApiKeyRefusal::Address);
    }
    // No methods: a key is no factor of a person, and what asks for one is not met by it.
    Ok(VerifiedLogin::new(stored.user_id, now, Vec::new(), None))
}
