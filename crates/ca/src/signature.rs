//! Signatures of a certificate authority, from whichever encoding a key's custodian returns.

use std::fmt;

use ssh_key::Algorithm;
use thiserror::Error;

use crate::wire::Writer;

pub(crate) const ECDSA_P256: &str = "ecdsa-sha2-nistp256";
pub(crate) const ED25519: &str = "ssh-ed25519";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// `r` and `s`, 32 bytes each.
    EcdsaP256([u8; 64]),
    Ed25519([u8; 64]),
}

/// An Ed25519 or P-256 (with SHA-256) signature, not yet checked against anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(Value);

/// Bytes that are no signature.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a signature in the expected encoding")]
pub struct SignatureForm;

impl Signature {
    /// The 64 bytes of RFC 8032.
    #[must_use]
    pub fn ed25519(bytes: [u8; 64]) -> Self {
        Self(Value::Ed25519(bytes))
    }

    /// `r` and `s` behind each other, 32 bytes each.
    ///
    /// # Errors
    /// [`SignatureForm`] when either is zero or too large.
    pub fn ecdsa_p256(bytes: &[u8; 64]) -> Result<Self, SignatureForm> {
        p256::ecdsa::Signature::from_slice(bytes).map_err(|_error| SignatureForm)?;
        Ok(Self(Value::EcdsaP256(*bytes)))
    }

    /// A DER `ECDSA-Sig-Value` (RFC 3279 section 2.2.3), as key management services return it.
    ///
    /// # Errors
    /// [`SignatureForm`].
    pub fn ecdsa_p256_from_der(der: &[u8]) -> Result<Self, SignatureForm> {
        let signature = p256::ecdsa::Signature::from_der(der).map_err(|_error| SignatureForm)?;
        Ok(Self(Value::EcdsaP256(signature.to_bytes().into())))
    }

    /// From a certificate that was read; `None` for any other algorithm.
    pub(crate) fn from_ssh_key(signature: &ssh_key::Signature) -> Option<Self> {
        if signature.algorithm() == Algorithm::Ed25519 {
            return signature.as_bytes().try_into().ok().map(Self::ed25519);
        }
        // Refuses every other algorithm.
        let value = p256::ecdsa::Signature::try_from(signature).ok()?;
        Some(Self(Value::EcdsaP256(value.to_bytes().into())))
    }

    pub(crate) fn value(&self) -> &Value {
        &self.0
    }

    /// The signature in the encoding of RFC 4253 section 6.6 and RFC 5656 section 3.1.2.
    pub(crate) fn write(&self, writer: &mut Writer) {
        match &self.0 {
            Value::EcdsaP256(bytes) => {
                let (r, s) = bytes.split_at(32);
                writer.string(ECDSA_P256.as_bytes());
                writer.nested(|writer| {
                    writer.mpint(r);
                    writer.mpint(s);
                });
            }
            Value::Ed25519(bytes) => {
                writer.string(ED25519.as_bytes());
                writer.string(bytes);
            }
        }
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Value::EcdsaP256(_) => ECDSA_P256,
            Value::Ed25519(_) => ED25519,
        })
    }
}
