//! Secrets that people and machines carry: `u<kind>1_<id>_<43 base64url>_<crc32 hex>`.
//!
//! The prefix and the checksum let secret scanners find a leaked one without false alarms; the id finds the row, the
//! stored SHA-256 decides. A fast hash is right: the secret is 256 random bits.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{Sha256, TokenId};

/// What a token is good for; the second letter of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenKind {
    /// `uk1_`: a service user's API key.
    ApiKey,
    /// `ue1_`: lets a server join a project.
    Enrollment,
    /// `uf1_`: lets a deployed fleet fetch its enrollment.
    Fleet,
    /// `uc1_`: an identity provider's SCIM connector.
    Scim,
    /// `us1_`: a signed-in session, useless without its device's key.
    Session,
}

impl TokenKind {
    const ALL: [(Self, &'static str); 5] = [
        (Self::ApiKey, "uk1_"),
        (Self::Enrollment, "ue1_"),
        (Self::Fleet, "uf1_"),
        (Self::Scim, "uc1_"),
        (Self::Session, "us1_"),
    ];

    fn prefix(self) -> &'static str {
        match self {
            Self::ApiKey => "uk1_",
            Self::Enrollment => "ue1_",
            Self::Fleet => "uf1_",
            Self::Scim => "uc1_",
            Self::Session => "us1_",
        }
    }
}

/// A token with its secret. Shown once to its owner, stored only as [`SecretToken::hash`].
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretToken {
    #[zeroize(skip)]
    kind: TokenKind,
    #[zeroize(skip)]
    id: TokenId,
    secret: [u8; 32],
}

/// Why a text is no token. Never repeats the text: it may be most of a secret.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseTokenError {
    /// The checksum does not match: a character was lost or changed.
    #[error("the token's checksum does not match; copy it again, whole")]
    Checksum,
    /// Not of the form of a token.
    #[error("this is not an Usher token")]
    Form,
    /// A token, but for another purpose.
    #[error("this token is for another purpose")]
    Kind,
}

impl SecretToken {
    /// A token from its id and 32 random bytes.
    #[must_use]
    pub fn new(kind: TokenKind, id: TokenId, secret: [u8; 32]) -> Self {
        Self { kind, id, secret }
    }

    /// Reads a token of the expected kind.
    ///
    /// # Errors
    /// [`ParseTokenError`], without the text.
    pub fn parse(kind: TokenKind, text: &str) -> Result<Self, ParseTokenError> {
        let (found, rest) = TokenKind::ALL
            .iter()
            .find_map(|(candidate, prefix)| text.strip_prefix(prefix).map(|rest| (*candidate, rest)))
            .ok_or(ParseTokenError::Form)?;
        let (body, checksum) = text.rsplit_once('_').ok_or(ParseTokenError::Form)?;
        if checksum.len() != 8 || checksum != format!("{:08x}", crc32fast::hash(body.as_bytes())) {
            return Err(ParseTokenError::Checksum);
        }
        // The id itself holds one underscore, base64url may hold more: the id has a fixed length.
        let (id, tail) = rest.split_at_checked(30).ok_or(ParseTokenError::Form)?;
        let id: TokenId = id.parse().map_err(|_error| ParseTokenError::Form)?;
        let secret = tail.strip_prefix('_').and_then(|tail| tail.get(..43)).ok_or(ParseTokenError::Form)?;
        let secret = BASE64URL_NOPAD.decode(secret.as_bytes()).map_err(|_error| ParseTokenError::Form)?;
        let token = Self::new(found, id, secret.try_into().map_err(|_error| ParseTokenError::Form)?);
        if *token.reveal() != *text {
            return Err(ParseTokenError::Form);
        }
        if found == kind { Ok(token) } else { Err(ParseTokenError::Kind) }
    }

    /// The whole text, to be shown to its owner once.
    #[must_use]
    pub fn reveal(&self) -> zeroize::Zeroizing<String> {
        let body = format!("{}{}_{}", self.kind.prefix(), self.id, BASE64URL_NOPAD.encode(&self.secret));
        let checksum = crc32fast::hash(body.as_bytes());
        zeroize::Zeroizing::new(format!("{body}_{checksum:08x}"))
    }

    /// What is stored, and compared in constant time.
    #[must_use]
    pub fn hash(&self) -> Sha256 {
        Sha256::of(&self.secret)
    }

    /// Finds the stored row.
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// What the token is good for.
    #[must_use]
    pub fn kind(&self) -> TokenKind {
        self.kind
    }
}

impl fmt::Debug for SecretToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}_[secret]", self.kind.prefix(), self.id)
    }
}
