//! The driver that runs both halves of issuing over a [`Signer`].

use rand_core::CryptoRng;
use thiserror::Error;
use usher_types::{Period, UnixTime};

use super::{
    CaCertificate, Certificate, ClientAuthorization, CommonName, PrepareError, ProvenKey, SealError,
    ServerAuthorization, ToBeSigned, prepare_authority, prepare_client, prepare_server,
};
use crate::{SignError, Signer};

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
    /// The key is not the authority's.
    #[error("the signing key is not the authority's")]
    WrongKey,
}

/// Prepares, signs and seals one certificate of a person.
///
/// # Errors
/// [`IssueError`].
pub async fn issue_client<S: Signer + ?Sized>(
    signer: &S,
    authorization: impl ClientAuthorization,
    subject: &ProvenKey,
    authority: &CaCertificate,
    now: UnixTime,
    rng: &mut impl CryptoRng,
) -> Result<Certificate, IssueError> {
    let prepared =
        prepare_client(authorization, subject, authority, now, rng).map_err(IssueError::Prepare)?;
    sign(signer, prepared).await
}

/// Prepares, signs and seals one certificate of a server.
///
/// # Errors
/// [`IssueError`].
pub async fn issue_server<S: Signer + ?Sized>(
    signer: &S,
    authorization: impl ServerAuthorization,
    subject: &ProvenKey,
    authority: &CaCertificate,
    now: UnixTime,
    rng: &mut impl CryptoRng,
) -> Result<Certificate, IssueError> {
    let prepared =
        prepare_server(authorization, subject, authority, now, rng).map_err(IssueError::Prepare)?;
    sign(signer, prepared).await
}

/// Makes the certificate of a new authority whose key `signer` holds.
///
/// # Errors
/// [`IssueError`].
pub async fn self_sign<S: Signer + ?Sized>(
    signer: &S,
    name: &CommonName,
    period: Period,
    now: UnixTime,
    rng: &mut impl CryptoRng,
) -> Result<CaCertificate, IssueError> {
    let prepared =
        prepare_authority(name, &signer.public_key(), period, now, rng).map_err(IssueError::Prepare)?;
    let signature = signer.sign(prepared.bytes()).await.map_err(IssueError::Sign)?;
    prepared.seal(signature).map_err(IssueError::Seal)
}

async fn sign<S: Signer + ?Sized>(signer: &S, prepared: ToBeSigned) -> Result<Certificate, IssueError> {
    if signer.public_key() != prepared.authority {
        return Err(IssueError::WrongKey);
    }
    if let Some(key) = signer.checked() {
        return prepared.sign_with(key).map_err(IssueError::Seal);
    }
    let signature = signer.sign(prepared.bytes()).await.map_err(IssueError::Sign)?;
    prepared.seal(signature).map_err(IssueError::Seal)
}
