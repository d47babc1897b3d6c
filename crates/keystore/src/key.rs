//! One private key, ready to sign. Does no I/O and knows no certificate.

use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::{
    encoding::{AsBigEndian as _, EcPrivateKeyBin},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use thiserror::Error;
use usher_ca::{CaPublicKey, CheckedKey, LocalKey, SignError, Signature, Signer};
use zeroize::Zeroizing;

const SECRET_LENGTH: usize = 32;

/// Signature algorithm of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// ECDSA over P-256 with SHA-256; signatures are `r || s`, 64 bytes.
    EcdsaP256,
    /// Ed25519.
    Ed25519,
}

impl Algorithm {
    /// As it is stored: `ed25519` or `p256`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "p256",
            Self::Ed25519 => "ed25519",
        }
    }

    fn tag(self) -> u8 {
        match self {
            Self::EcdsaP256 => 2,
            Self::Ed25519 => 1,
        }
    }

    fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Ed25519),
            2 => Some(Self::EcdsaP256),
            _ => None,
        }
    }
}

/// Why a key could not be made.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("could not generate a key")]
pub struct GenerateKeyError;

/// Why stored bytes are no usable key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// A test signature did not verify, or the public half does not belong to the private half.
    #[error("the private key does not work: its signature does not verify")]
    Check,
    /// Not the encoding of a key.
    #[error("the stored private key has an unknown form")]
    Form,
}

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the key could not sign")]
pub struct FailedToSign;

enum Pair {
    EcdsaP256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// The pair itself; shared by a key and the checked view of it.
struct Local {
    pair: Pair,
    public: CaPublicKey,
    random: SystemRandom,
}

impl Local {
    fn new(pair: Pair) -> Result<Self, KeyError> {
        let public = match &pair {
            Pair::EcdsaP256(pair) => CaPublicKey::ecdsa_p256(pair.public_key().as_ref()),
            Pair::Ed25519(pair) => pair
                .public_key()
                .as_ref()
                .try_into()
                .map_err(|_error| usher_ca::ParseKeyError::Point)
                .and_then(CaPublicKey::ed25519),
        };
        let public = public.map_err(|_error| KeyError::Check)?;
        Ok(Self { pair, public, random: SystemRandom::new() })
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], FailedToSign> {
        let signature = match &self.pair {
            Pair::EcdsaP256(pair) => pair.sign(&self.random, message).map_err(|_error| FailedToSign)?,
            Pair::Ed25519(pair) => pair.try_sign(message).map_err(|_error| FailedToSign)?,
        };
        signature.as_ref().try_into().map_err(|_error| FailedToSign)
    }
}

/// What `usher-ca` checks and signs with.
struct Shared(Arc<Local>);

impl LocalKey for Shared {
    fn public_key(&self) -> CaPublicKey {
        self.0.public
    }

    fn sign_now(&self, message: &[u8]) -> Result<Signature, SignError> {
        let bytes = self.0.sign(message).map_err(|error| SignError::Unavailable(error.into()))?;
        match &self.0.pair {
            Pair::EcdsaP256(_) => {
                Signature::ecdsa_p256(&bytes).map_err(|error| SignError::Unavailable(error.into()))
            }
            Pair::Ed25519(_) => Ok(Signature::ed25519(bytes)),
        }
    }
}

/// A private key in memory, ready to sign; checked once, when it was made or loaded.
pub struct SoftwareKey {
    local: Arc<Local>,
    checked: CheckedKey,
}

impl std::fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SoftwareKey").field("public", &self.local.public).finish_non_exhaustive()
    }
}

impl SoftwareKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`GenerateKeyError`] when the system gives no random bytes.
    pub fn generate(algorithm: Algorithm) -> Result<Self, GenerateKeyError> {
        let pair = match algorithm {
            Algorithm::EcdsaP256 => {
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Pair::EcdsaP256)
            }
            Algorithm::Ed25519 => Ed25519KeyPair::generate().map(Pair::Ed25519),
        };
        Self::checked_once(pair.map_err(|_error| GenerateKeyError)?).map_err(|_error| GenerateKeyError)
    }

    /// Reads what [`SoftwareKey::to_secret_bytes`] wrote and makes a test signature.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let (tag, rest) = bytes.split_first().ok_or(KeyError::Form)?;
        let (secret, public) = rest.split_at_checked(SECRET_LENGTH).ok_or(KeyError::Form)?;
        let pair = match Algorithm::from_tag(*tag).ok_or(KeyError::Form)? {
            Algorithm::EcdsaP256 => EcdsaKeyPair::from_private_key_and_public_key(
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                secret,
                public,
            )
            .map(Pair::EcdsaP256),
            Algorithm::Ed25519 => Ed25519KeyPair::from_seed_and_public_key(secret, public).map(Pair::Ed25519),
        };
        Self::checked_once(pair.map_err(|_error| KeyError::Check)?)
    }

    fn checked_once(pair: Pair) -> Result<Self, KeyError> {
        let local = Arc::new(Local::new(pair)?);
        let checked = CheckedKey::check(Shared(Arc::clone(&local))).map_err(|_error| KeyError::Check)?;
        Ok(Self { local, checked })
    }

    /// The private and the public half, to be sealed.
    ///
    /// # Errors
    /// [`GenerateKeyError`] when the library does not give the private half out.
    pub fn to_secret_bytes(&self) -> Result<Zeroizing<Vec<u8>>, GenerateKeyError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + SECRET_LENGTH + 65));
        bytes.push(self.algorithm().tag());
        match &self.local.pair {
            Pair::EcdsaP256(pair) => {
                let secret: EcPrivateKeyBin<'_> =
                    pair.private_key().as_be_bytes().map_err(|_error| GenerateKeyError)?;
                bytes.extend_from_slice(secret.as_ref());
            }
            Pair::Ed25519(pair) => {
                let seed = pair.seed().map_err(|_error| GenerateKeyError)?;
                let seed = seed.as_be_bytes().map_err(|_error| GenerateKeyError)?;
                bytes.extend_from_slice(seed.as_ref());
            }
        }
        bytes.extend_from_slice(self.public_key_bytes());
        Ok(bytes)
    }

    /// Its algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match &self.local.pair {
            Pair::EcdsaP256(_) => Algorithm::EcdsaP256,
            Pair::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    /// The public half: 32 bytes for Ed25519, an uncompressed SEC1 point of 65 bytes for P-256.
    #[must_use]
    pub fn public_key_bytes(&self) -> &[u8] {
        match &self.local.pair {
            Pair::EcdsaP256(pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    /// Signs `message`; 64 bytes either way (`r || s` for P-256).
    ///
    /// # Errors
    /// [`FailedToSign`] when the system gives no random bytes.
    pub fn sign_message(&self, message: &[u8]) -> Result<[u8; 64], FailedToSign> {
        self.local.sign(message)
    }
}

#[async_trait]
impl Signer for SoftwareKey {
    fn public_key(&self) -> CaPublicKey {
        self.local.public
    }

    async fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        self.checked.sign(message).await
    }

    fn checked(&self) -> Option<&CheckedKey> {
        Some(&self.checked)
    }
}
