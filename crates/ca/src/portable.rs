//! Signing keys in pure Rust, for embedders and tests. The broker uses a faster library behind the same port.

use std::fmt;

use rand_core::CryptoRng;
use signature::Signer as _;

use crate::{CaPublicKey, LocalKey, ParseKeyError, SignError, Signature};

/// An Ed25519 key.
#[derive(Clone)]
pub struct PortableEd25519 {
    key: ed25519_dalek::SigningKey,
    public: CaPublicKey,
}

impl PortableEd25519 {
    /// A new key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        loop {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            if let Ok(key) = Self::from_seed(&seed) {
                return key;
            }
        }
    }

    /// The key of a 32-byte seed (RFC 8032 section 5.1.5).
    ///
    /// # Errors
    /// [`ParseKeyError::Point`], which no seed is known to cause.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, ParseKeyError> {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = CaPublicKey::ed25519(key.verifying_key().to_bytes())?;
        Ok(Self { key, public })
    }
}

impl LocalKey for PortableEd25519 {
    fn public_key(&self) -> CaPublicKey {
        self.public
    }

    fn sign_now(&self, message: &[u8]) -> Result<Signature, SignError> {
        let signature = self.key.try_sign(message).map_err(|error| SignError::Refused(Box::new(error)))?;
        Ok(Signature::ed25519(signature.to_bytes()))
    }
}

impl fmt::Debug for PortableEd25519 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortableEd25519").field("public", &self.public).finish_non_exhaustive()
    }
}

/// A P-256 key.
#[derive(Clone)]
pub struct PortableP256 {
    key: p256::ecdsa::SigningKey,
    public: CaPublicKey,
}

impl PortableP256 {
    /// A new key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        loop {
            let mut scalar = [0; 32];
            rng.fill_bytes(&mut scalar);
            if let Ok(key) = Self::from_scalar(&scalar) {
                return key;
            }
        }
    }

    /// The key of a 32-byte big-endian scalar.
    ///
    /// # Errors
    /// [`ParseKeyError::Point`] when it is zero or not below the order of the curve.
    pub fn from_scalar(scalar: &[u8; 32]) -> Result<Self, ParseKeyError> {
        let key = p256::ecdsa::SigningKey::from_slice(scalar).map_err(|_error| ParseKeyError::Point)?;
        let public = CaPublicKey::ecdsa_p256(key.verifying_key().to_sec1_point(false).as_bytes())?;
        Ok(Self { key, public })
    }
}

impl LocalKey for PortableP256 {
    fn public_key(&self) -> CaPublicKey {
        self.public
    }

    fn sign_now(&self, message: &[u8]) -> Result<Signature, SignError> {
        let signature: p256::ecdsa::Signature =
            self.key.try_sign(message).map_err(|error| SignError::Refused(Box::new(error)))?;
        Signature::ecdsa_p256(&signature.to_bytes().into())
            .map_err(|error| SignError::Refused(Box::new(error)))
    }
}

impl fmt::Debug for PortableP256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortableP256").field("public", &self.public).finish_non_exhaustive()
    }
}
