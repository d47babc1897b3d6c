//! Sealed keys in, ready keys out, each opened once. The sealed bytes are the caller's to store.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use thiserror::Error;
use usher_types::Sha256;
use zeroize::Zeroizing;

use crate::{
    Algorithm, GenerateKeyError, KeyError, KeyLabel, OpenError, Purpose, SealError, SealKey, SoftwareKey,
};

/// A new key: sealed for the database, and ready for use.
#[derive(Debug)]
pub struct GeneratedKey {
    /// To be stored under the key's label.
    pub sealed: Vec<u8>,
    /// Ready to sign.
    pub key: Arc<SoftwareKey>,
}

/// Why a key could not be made.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum GenerateError {
    /// Generation failed.
    #[error("could not make the key")]
    Key(#[source] GenerateKeyError),
    /// Sealing failed.
    #[error("could not seal the key")]
    Seal(#[source] SealError),
}

/// Why a stored key could not be loaded.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LoadError {
    /// It opened, but is no working key.
    #[error("key `{purpose}` is unusable")]
    Key {
        /// Which kind of key.
        purpose: &'static str,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// It did not open.
    #[error("key `{purpose}` does not open")]
    Open {
        /// Which kind of key.
        purpose: &'static str,
        /// Why.
        #[source]
        source: OpenError,
    },
}

/// All keys of one broker in software custody.
#[derive(Debug)]
pub struct Keystore {
    seal: SealKey,
    // Keyed by label and by the sealed bytes' digest: a rotated or rewritten row never gets the old key.
    opened: RwLock<BTreeMap<(KeyLabel, Sha256), Arc<SoftwareKey>>>,
}

impl Keystore {
    /// An empty keystore over this seal key.
    #[must_use]
    pub fn new(seal: SealKey) -> Self {
        Self { seal, opened: RwLock::new(BTreeMap::new()) }
    }

    /// Makes and seals a key.
    ///
    /// # Errors
    /// [`GenerateError`].
    pub fn generate(&self, label: &KeyLabel, algorithm: Algorithm) -> Result<GeneratedKey, GenerateError> {
        let key = SoftwareKey::generate(algorithm).map_err(GenerateError::Key)?;
        let secret = key.to_secret_bytes().map_err(GenerateError::Key)?;
        let sealed = self.seal.seal(label, &secret).map_err(GenerateError::Seal)?;
        let key = Arc::new(limited(key, label));
        self.keep(label, &sealed, Arc::clone(&key));
        Ok(GeneratedKey { sealed, key })
    }

    /// The key that was sealed under this label; opened and checked the first time, from memory after that.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(&self, label: &KeyLabel, sealed: &[u8]) -> Result<Arc<SoftwareKey>, LoadError> {
        let place = (label.clone(), Sha256::of(sealed));
        if let Some(key) = self.opened.read().unwrap_or_else(PoisonError::into_inner).get(&place) {
            return Ok(Arc::clone(key));
        }
        let purpose = label.purpose().as_str();
        let secret = self.seal.open(label, sealed).map_err(|source| LoadError::Open { purpose, source })?;
        let key =
            SoftwareKey::from_secret_bytes(&secret).map_err(|source| LoadError::Key { purpose, source })?;
        let key = Arc::new(limited(key, label));
        self.keep(label, sealed, Arc::clone(&key));
        Ok(key)
    }

    /// Seals a secret that is not a signing key.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, label: &KeyLabel, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        self.seal.seal(label, secret)
    }

    /// Opens what [`Keystore::seal`] made.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, label: &KeyLabel, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.seal.open(label, sealed)
    }

    /// A secret that follows from the seal key and the purpose; the same in every process that has the seal key.
    #[must_use]
    pub fn derive(&self, purpose: Purpose) -> Zeroizing<[u8; 32]> {
        self.seal.derive(purpose)
    }

    fn keep(&self, label: &KeyLabel, sealed: &[u8], key: Arc<SoftwareKey>) {
        let place = (label.clone(), Sha256::of(sealed));
        self.opened.write().unwrap_or_else(PoisonError::into_inner).insert(place, key);
    }
}

/// A certificate authority's key must not become an oracle for other bytes.
fn limited(key: SoftwareKey, label: &KeyLabel) -> SoftwareKey {
    match label.purpose() {
        Purpose::SshUserCa => key.for_certificates_only(),
        Purpose::Audit
        | Purpose::Page
        | Purpose::State
        | Purpose::TlsRoot
        | Purpose::TotpSeed
        | Purpose::X509Ca => key,
    }
}
