//! Ports to the keys that sign, and the driver that runs both halves of issuing.

use std::{error::Error as StdError, fmt};

use async_trait::async_trait;
use rand_core::CryptoRng;
use thiserror::Error;
use usher_types::UnixTime;

use crate::{
    Authorization, BadSignature, CaPublicKey, Certificate, HostAuthorization, HostCertificate, PrepareError,
    SealError, Signature, SubjectKey, prepare, prepare_host,
};

/// A certificate authority's key, wherever it lives.
#[async_trait]
pub trait Signer: Send + Sync {
    /// The public half.
    fn public_key(&self) -> CaPublicKey;

    /// Signs `message`: Ed25519 (RFC 8032, not pre-hashed) or ECDSA with SHA-256, as the key is.
    async fn sign(&self, message: &[u8]) -> Result<Signature, SignError>;

    /// The key itself, when it is in this process; [`issue`] then signs without waiting.
    fn checked(&self) -> Option<&CheckedKey> {
        None
    }
}

/// Why a key did not sign.
#[derive(Debug, Error)]
pub enum SignError {
    /// The custodian refused; asking again will not help.
    #[error("the signing key refused to sign")]
    Refused(#[source] Box<dyn StdError + Send + Sync>),
    /// The custodian cannot be reached or is overloaded; ask again.
    #[error("the signing key is unavailable")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
}

/// A private key in this process's memory.
pub trait LocalKey: Send + Sync {
    /// The public half.
    fn public_key(&self) -> CaPublicKey;

    /// Signs `message` now.
    ///
    /// # Errors
    /// [`SignError`] when the implementation's library fails.
    fn sign_now(&self, message: &[u8]) -> Result<Signature, SignError>;
}

/// A [`LocalKey`] that has made one good signature. Verifying each signature of a key in the same memory would cost
/// four times what signing costs and could only show what this shows.
pub struct CheckedKey {
    authority: CaPublicKey,
    key: Box<dyn LocalKey>,
}

/// Why a local key is not used.
#[derive(Debug, Error)]
pub enum CheckKeyError {
    /// Its signature does not fit its public half.
    #[error("the private key does not belong to the public key")]
    Mismatch(#[source] BadSignature),
    /// It does not sign.
    #[error("the key does not sign")]
    Sign(#[source] SignError),
}

impl CheckedKey {
    /// Signs and verifies a fixed text that is no certificate, once, when the key is loaded.
    ///
    /// # Errors
    /// [`CheckKeyError`].
    pub fn check(key: impl LocalKey + 'static) -> Result<Self, CheckKeyError> {
        const TEXT: &[u8] = b"usher-key-check-v1\0";
        let authority = key.public_key();
        let signature = key.sign_now(TEXT).map_err(CheckKeyError::Sign)?;
        authority.verify(TEXT, &signature).map_err(CheckKeyError::Mismatch)?;
        Ok(Self { authority, key: Box::new(key) })
    }

    pub(crate) fn authority(&self) -> &CaPublicKey {
        &self.authority
    }

    pub(crate) fn sign_now(&self, message: &[u8]) -> Result<Signature, SignError> {
        self.key.sign_now(message)
    }
}

#[async_trait]
impl Signer for CheckedKey {
    fn public_key(&self) -> CaPublicKey {
        self.authority
    }

    async fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        self.sign_now(message)
    }

    fn checked(&self) -> Option<&CheckedKey> {
        Some(self)
    }
}

impl fmt::Debug for CheckedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedKey").field("authority", &self.authority).finish_non_exhaustive()
    }
}

/// Why no certificate was issued.
#[derive(Debug, Error)]
pub enum IssueError {
    /// There was nothing to sign.
    #[error("the certificate could not be prepared")]
    Prepare(#[source] PrepareError),
    /// The signature or the result was wrong.
    #[error("the certificate could not be sealed")]
    Seal(#[source] SealError),
    /// The key did not sign.
    #[error("the certificate could not be signed")]
    Sign(#[source] SignError),
}

/// Prepares, signs and seals one certificate.
///
/// # Errors
/// [`IssueError`].
pub async fn issue<S: Signer + ?Sized>(
    signer: &S,
    authorization: impl Authorization,
    subject: &SubjectKey,
    now: UnixTime,
    rng: &mut impl CryptoRng,
) -> Result<Certificate, IssueError> {
    let prepared =
        prepare(authorization, subject, &signer.public_key(), now, rng).map_err(IssueError::Prepare)?;
    if let Some(key) = signer.checked() {
        return prepared.sign_with(key).map_err(IssueError::Seal);
    }
    let signature = signer.sign(prepared.bytes()).await.map_err(IssueError::Sign)?;
    prepared.seal(signature).map_err(IssueError::Seal)
}

/// Prepares, signs and seals one host certificate.
///
/// # Errors
/// [`IssueError`].
pub async fn issue_host<S: Signer + ?Sized>(
    signer: &S,
    authorization: impl HostAuthorization,
    subject: &SubjectKey,
    now: UnixTime,
    rng: &mut impl CryptoRng,
) -> Result<HostCertificate, IssueError> {
    let prepared =
        prepare_host(authorization, subject, &signer.public_key(), now, rng).map_err(IssueError::Prepare)?;
    if let Some(key) = signer.checked() {
        return prepared.sign_with(key).map_err(IssueError::Seal);
    }
    let signature = signer.sign(prepared.bytes()).await.map_err(IssueError::Sign)?;
    prepared.seal(signature).map_err(IssueError::Seal)
}
