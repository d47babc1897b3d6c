//! Proof of possession on every request (RFC 9449), extended by the hashes of query and body (`qsh`, `bsh`).
//!
//! A proof is a JWT that is good for one method, URL, query, body and session token, for one minute around its `iat`,
//! with a nonce of the broker. [`verify`] does all checks that need no memory; whoever calls it keeps the `jti`.

mod jwt;
mod nonce;
mod verifier;

use std::{fmt, str::FromStr, time::Duration};

use data_encoding::BASE64URL_NOPAD;
pub use nonce::{NONCE_SLOT, NonceKey, NonceKeys};
use thiserror::Error;
use usher_types::{SecretToken, Sha256, Thumbprint, UnixTime};
pub use verifier::{Es256Verifier, PortableVerifier};

use crate::{PrivateKey, PublicKey};

/// Longest proof that is looked at.
pub const MAX_PROOF_LENGTH: usize = 8 * 1024;

/// How far `iat` may lie in the past or in the future.
pub const TOLERANCE: Duration = Duration::from_secs(60);

/// The request that a proof is for.
#[derive(Clone, Copy, Debug)]
pub struct ProofRequest<'a> {
    /// HTTP method in capitals.
    pub method: &'a str,
    /// `scheme://authority/path` as the client addressed it: the broker's public URL and the path.
    pub htu: &'a str,
    /// Raw query string without `?`; empty for none.
    pub query: &'a str,
    /// Raw body; empty for none.
    pub body: &'a [u8],
    /// The session token that the request carries.
    pub token: Option<&'a SecretToken>,
}

/// Names a request: 16 random bytes, 22 characters of base64url. A retry is a fresh proof with the same `jti`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Jti([u8; 16]);

impl Jti {
    /// From 16 bytes of any kind that no other request of the key has.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// From the time and 10 random bytes, as a UUIDv7 is (RFC 9562 section 5.7): names of requests that were made
    /// together lie together in the broker's index, which is several times cheaper to write.
    #[must_use]
    pub fn at(now: UnixTime, random: [u8; 10]) -> Self {
        let [_, _, time @ ..] = now.as_millis().to_be_bytes();
        let mut bytes = [0; 16];
        for (slot, byte) in bytes.iter_mut().zip(time.into_iter().chain(random)) {
            *slot = byte;
        }
        Self(bytes)
    }
}

impl fmt::Display for Jti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for Jti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not a `jti` of ours.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("expected 22 characters of base64url")]
pub struct ParseJtiError;

impl FromStr for Jti {
    type Err = ParseJtiError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_error| ParseJtiError)?;
        Ok(Self(bytes.try_into().map_err(|_error| ParseJtiError)?))
    }
}

/// Makes the proof for `request`; the value of the `dpop` header.
#[must_use]
pub fn make(
    key: &PrivateKey,
    request: &ProofRequest<'_>,
    jti: Jti,
    nonce: Option<&str>,
    now: UnixTime,
) -> String {
    jwt::encode(key, &Expected::of(request), request, jti, nonce, now)
}

/// The hashes of a request's parts.
struct Expected {
    qsh: Sha256,
    bsh: Sha256,
    ath: Option<Sha256>,
}

impl Expected {
    fn of(request: &ProofRequest<'_>) -> Self {
        Self {
            qsh: Sha256::of(request.query.as_bytes()),
            bsh: Sha256::of(request.body),
            ath: request.token.map(token_hash),
        }
    }
}

/// `ath`: SHA-256 of the token's text (RFC 9449 section 4.2), not of its secret alone.
fn token_hash(token: &SecretToken) -> Sha256 {
    Sha256::of(token.reveal().as_bytes())
}

/// Evidence that the caller holds a private key and made this request with it.
///
/// ```compile_fail,E0451
/// use usher_identity::{PublicKey, dpop::VerifiedProof};
/// fn forge(key: PublicKey, proof: VerifiedProof) -> VerifiedProof {
///     VerifiedProof { key, ..proof }
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct VerifiedProof {
    key: PublicKey,
    jkt: Thumbprint,
    jti: Jti,
    ath: Option<Sha256>,
}

impl VerifiedProof {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The key's thumbprint: names the device or the agent.
    #[must_use]
    pub fn jkt(&self) -> Thumbprint {
        self.jkt
    }

    /// Names the request.
    #[must_use]
    pub fn jti(&self) -> Jti {
        self.jti
    }

    /// Whether the proof was made for a request that carries `token`.
    #[must_use]
    pub fn is_for(&self, token: &SecretToken) -> bool {
        self.ath == Some(token_hash(token))
    }
}

/// Why a proof is refused. Messages repeat nothing of the proof.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ProofError {
    /// The body's hash differs.
    #[error("the proof is for another body")]
    Body,
    /// Not three base64url parts of the expected JSON, or with members that are not expected.
    #[error("the proof is malformed")]
    Form,
    /// Another algorithm than ES256, another type, or not a P-256 public key.
    #[error("the proof must be a dpop+jwt signed with ES256 by the P-256 key in its header")]
    Header,
    /// `iat` is too old or too far ahead: look at the clock.
    #[error("the proof was not made within a minute of now; check the clock")]
    IssuedAt,
    /// Longer than [`MAX_PROOF_LENGTH`].
    #[error("the proof is too long")]
    Length,
    /// For another method.
    #[error("the proof is for another method")]
    Method,
    /// Without nonce, or with an old one: make it again with the nonce of the answer (RFC 9449 section 8).
    #[error("the proof needs a fresh nonce")]
    Nonce,
    /// For another query.
    #[error("the proof is for another query")]
    Query,
    /// Not signed by its key.
    #[error("the proof's signature is wrong")]
    Signature,
    /// For another session token, for none when there is one, or for one when there is none.
    #[error("the proof is for another session token")]
    Token,
    /// For another URL.
    #[error("the proof is for another url")]
    Url,
}

impl ProofError {
    /// Whether the client should simply try again with the nonce of the answer.
    #[must_use]
    pub fn wants_nonce(self) -> bool {
        self == Self::Nonce
    }
}

/// Checks that `proof` was made for exactly this request, now, by the key that it names.
///
/// The signature comes last: a proof without a fresh nonce costs no signature check.
///
/// # Errors
/// [`ProofError`] for the first check that fails.
pub fn verify(
    proof: &str,
    request: &ProofRequest<'_>,
    nonces: &NonceKeys,
    now: UnixTime,
    verifier: &(impl Es256Verifier + ?Sized),
) -> Result<VerifiedProof, ProofError> {
    if proof.len() > MAX_PROOF_LENGTH {
        return Err(ProofError::Length);
    }
    let parts = jwt::Parts::split(proof)?;
    let key = parts.key()?;
    let claims = parts.claims()?;
    let jti = claims.jti.parse().map_err(|_error| ProofError::Form)?;
    let expected = Expected::of(request);

    if claims.htm != request.method {
        return Err(ProofError::Method);
    }
    if claims.htu != request.htu {
        return Err(ProofError::Url);
    }
    if claims.qsh != expected.qsh {
        return Err(ProofError::Query);
    }
    if claims.bsh != expected.bsh {
        return Err(ProofError::Body);
    }
    if claims.ath != expected.ath {
        return Err(ProofError::Token);
    }
    let issued_at = UnixTime::from_secs(claims.iat);
    if issued_at < now.saturating_sub(TOLERANCE) || issued_at > now.saturating_add(TOLERANCE) {
        return Err(ProofError::IssuedAt);
    }
    if !claims.nonce.as_deref().is_some_and(|nonce| nonces.accepts(nonce, now)) {
        return Err(ProofError::Nonce);
    }
    if !verifier.verify(&key, parts.signed(), parts.signature()) {
        return Err(ProofError::Signature);
    }
    Ok(VerifiedProof { key, jkt: key.thumbprint(), jti, ath: expected.ath })
}
