//! A key that is ready to sign, wherever its private half is.
//!
//! Does not decide what is signed, but keeps a certificate authority's key from signing anything else.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use thiserror::Error;
use usher_ca::{CaPublicKey, CheckedKey, SignError, Signature, Signer};

use crate::{
    Algorithm, Custody, Purpose, SoftwareKey,
    key::FailedToSign,
    kms::{Calls, KmsError, KmsKey},
};

/// How the to-be-signed bytes of every SSH certificate begin (an SSH string), by algorithm of the subject's key.
const CERTIFICATE: &[u8] = b"\0\0\0\x20ssh-ed25519-cert-v01@openssh.com";

/// Why a message was not signed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SignMessageError {
    /// An SSH certificate authority's key signs certificates and nothing else.
    #[error("this key signs certificates only")]
    CertificatesOnly,
    /// The key is in this process, and the system gave no random bytes.
    #[error("the key could not sign")]
    Failed,
    /// The key management service gave no good signature.
    #[error("the key management service did not sign")]
    Kms(#[source] KmsError),
}

impl SignMessageError {
    /// Whether the same may work a little later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::CertificatesOnly => false,
            Self::Failed => true,
            Self::Kms(error) => error.is_temporary(),
        }
    }
}

impl From<SignMessageError> for SignError {
    fn from(error: SignMessageError) -> Self {
        if error.is_temporary() { Self::Unavailable(error.into()) } else { Self::Refused(error.into()) }
    }
}

#[derive(Debug)]
enum Held {
    Here(SoftwareKey),
    Kms(KmsKey),
}

/// A key of the [`Keystore`](crate::Keystore), ready to sign.
#[derive(Debug)]
pub struct SigningKey {
    held: Held,
    custody: Custody,
    certificates_only: bool,
}

impl SigningKey {
    pub(crate) fn here(key: SoftwareKey, custody: Custody, purpose: Purpose) -> Self {
        Self { held: Held::Here(key), custody, certificates_only: is_ssh_ca(purpose) }
    }

    pub(crate) fn in_kms(key: KmsKey, purpose: Purpose) -> Self {
        Self { held: Held::Kms(key), custody: Custody::AwsKms, certificates_only: is_ssh_ca(purpose) }
    }

    /// Where the private half is.
    #[must_use]
    pub fn custody(&self) -> Custody {
        self.custody
    }

    /// Its algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match &self.held {
            Held::Here(key) => key.algorithm(),
            Held::Kms(key) => key.algorithm(),
        }
    }

    /// The public half: 32 bytes for Ed25519, an uncompressed SEC1 point of 65 bytes for P-256.
    #[must_use]
    pub fn public_key_bytes(&self) -> &[u8] {
        match &self.held {
            Held::Here(key) => key.public_key_bytes(),
            Held::Kms(key) => key.public_key_bytes(),
        }
    }

    /// How many signatures this process asked KMS for, and how many it got; `None` for a key that is here.
    pub(crate) fn kms_calls(&self) -> Option<(u64, u64)> {
        match &self.held {
            Held::Here(_) => None,
            Held::Kms(key) => {
                let Calls { sent, made } = key.calls();
                Some((sent.load(Ordering::Relaxed), made.load(Ordering::Relaxed)))
            }
        }
    }

    /// The private half, when it is in this process.
    #[must_use]
    pub fn software(&self) -> Option<&SoftwareKey> {
        match &self.held {
            Held::Here(key) => Some(key),
            Held::Kms(_) => None,
        }
    }

    /// Signs `message` that is no SSH certificate: a state head, an audit checkpoint, an X.509 certificate. 64 bytes
    /// either way (`r || s` for P-256). What comes from outside was verified.
    ///
    /// # Errors
    /// [`SignMessageError`] for an SSH certificate authority's key, and when the key does not sign.
    pub async fn sign_message(&self, message: &[u8]) -> Result<[u8; 64], SignMessageError> {
        if self.certificates_only {
            return Err(SignMessageError::CertificatesOnly);
        }
        self.sign_any(message).await
    }

    async fn sign_any(&self, message: &[u8]) -> Result<[u8; 64], SignMessageError> {
        match &self.held {
            Held::Here(key) => key.sign_message(message).map_err(|FailedToSign| SignMessageError::Failed),
            Held::Kms(key) => key.sign(message).await.map_err(SignMessageError::Kms),
        }
    }
}

/// An SSH certificate authority's key must not become an oracle for other bytes.
fn is_ssh_ca(purpose: Purpose) -> bool {
    match purpose {
        Purpose::SshUserCa => true,
        Purpose::Audit
        | Purpose::ClientSecret
        | Purpose::Page
        | Purpose::State
        | Purpose::TlsRoot
        | Purpose::TotpSeed
        | Purpose::X509Ca => false,
    }
}

#[async_trait]
impl Signer for SigningKey {
    fn public_key(&self) -> CaPublicKey {
        match &self.held {
            Held::Here(key) => key.public_key(),
            Held::Kms(key) => key.public_key(),
        }
    }

    async fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        if self.certificates_only && !message.starts_with(CERTIFICATE) {
            return Err(SignMessageError::CertificatesOnly.into());
        }
        let bytes = self.sign_any(message).await?;
        match self.algorithm() {
            Algorithm::EcdsaP256 => {
                Signature::ecdsa_p256(&bytes).map_err(|error| SignError::Unavailable(error.into()))
            }
            Algorithm::Ed25519 => Ok(Signature::ed25519(bytes)),
        }
    }

    fn checked(&self) -> Option<&CheckedKey> {
        match &self.held {
            Held::Here(key) => key.checked(),
            Held::Kms(_) => None,
        }
    }
}
