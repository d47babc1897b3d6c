//! Stored keys in, ready keys out, each opened once. What is stored is the caller's to keep.
//!
//! A key stays in the custody that it was made in: nothing here falls back from one to another.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    sync::{Arc, PoisonError, RwLock},
};

use thiserror::Error;
use tokio::sync::OnceCell;
use usher_types::{SealKeyId, Sha256};
use zeroize::Zeroizing;

use crate::{
    Algorithm, GenerateKeyError, KeyError, KeyLabel, OpenError, Purpose, SealError, SealKey, SigningKey,
    SoftwareKey,
    kms::{CreateKeyError, Kms, KmsError},
};

/// Where a key's private half is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Custody {
    /// In AWS KMS, which signs. It never leaves.
    AwsKms,
    /// In the database, encrypted by AWS KMS; in memory while the process runs.
    AwsKmsWrapped,
    /// In the database, under the seal key; in memory while the process runs.
    #[default]
    Software,
}

impl Custody {
    /// As it is stored and typed: `aws-kms`, `aws-kms-wrapped` or `software`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwsKms => "aws-kms",
            Self::AwsKmsWrapped => "aws-kms-wrapped",
            Self::Software => "software",
        }
    }
}

impl fmt::Display for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no custody.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("expected `software`, `aws-kms` or `aws-kms-wrapped`")]
pub struct ParseCustodyError;

impl FromStr for Custody {
    type Err = ParseCustodyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "aws-kms" => Ok(Self::AwsKms),
            "aws-kms-wrapped" => Ok(Self::AwsKmsWrapped),
            "software" => Ok(Self::Software),
            _ => Err(ParseCustodyError),
        }
    }
}

/// A new key: what the database keeps of it, and the key ready for use.
#[derive(Debug)]
pub struct GeneratedKey {
    /// To be stored under the key's label, with its custody: the sealed key, the KMS ciphertext, or the KMS key's ARN.
    pub material: Vec<u8>,
    /// Where the private half is.
    pub custody: Custody,
    /// Ready to sign.
    pub key: Arc<SigningKey>,
}

/// Why a key could not be made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GenerateError {
    /// Generation failed.
    #[error("could not make the key")]
    Key(#[source] GenerateKeyError),
    /// The key management service did not make, encrypt or try out the key.
    #[error("the key management service could not make the key")]
    Kms(#[source] KmsError),
    /// There is no connection to the service that this custody needs.
    #[error("custody `{0}` needs the section [kms] in the broker's configuration")]
    NoKms(Custody),
    /// Sealing failed.
    #[error("could not seal the key")]
    Seal(#[source] SealError),
    /// A key was made in the key management service that cannot be used. It is still there.
    #[error("the key `{arn}` was made, but cannot be used; an administrator of the account can delete it")]
    Useless {
        /// The key.
        arn: String,
        /// Why it cannot be used.
        #[source]
        source: KmsError,
    },
}

impl GenerateError {
    /// Whether the same may work a little later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Kms(error) | Self::Useless { source: error, .. } => error.is_temporary(),
            Self::Key(_) | Self::NoKms(_) | Self::Seal(_) => false,
        }
    }
}

/// Why a stored key could not be loaded.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
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
    /// The key management service did not show or decrypt it.
    #[error("key `{purpose}` is not to be had from the key management service")]
    Kms {
        /// Which kind of key.
        purpose: &'static str,
        /// Why.
        #[source]
        source: KmsError,
    },
    /// There is no connection to the service that its custody needs.
    #[error(
        "key `{purpose}` is in custody `{custody}`, which needs the section [kms] in the broker's configuration"
    )]
    NoKms {
        /// Which kind of key.
        purpose: &'static str,
        /// Its custody.
        custody: Custody,
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

impl LoadError {
    /// Whether the same may work a little later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Kms { source, .. } => source.is_temporary(),
            Self::Key { .. } | Self::NoKms { .. } | Self::Open { .. } => false,
        }
    }
}

/// A key's place: its label, its custody and the digest of its stored material, so that a rotated or rewritten row
/// never gets the old key.
type Place = (KeyLabel, Custody, Sha256);

/// Reads every seal key that there is.
type Candidates = Box<dyn Fn() -> Vec<SealKey> + Send + Sync>;

/// How many signatures of a key this process asked for. What KMS counts lies between the two: a request that was never
/// answered may have been executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsSignatures {
    /// The key's id.
    pub id: String,
    /// Requests, without those that were certainly not executed.
    pub sent: u64,
    /// Answers.
    pub made: u64,
}

/// All keys of one broker.
pub struct Keystore {
    seal: RwLock<Arc<SealKey>>,
    /// Where the next seal key may have come to lie.
    candidates: Option<Candidates>,
    kms: Option<Kms>,
    // A cell is filled once; whoever comes meanwhile waits for it instead of opening the key again.
    opened: RwLock<BTreeMap<Place, Arc<OnceCell<Arc<SigningKey>>>>>,
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keystore").field("seal", &self.seal_key_id()).finish_non_exhaustive()
    }
}

impl Keystore {
    /// An empty keystore over this seal key, for keys in software custody only.
    #[must_use]
    pub fn new(seal: SealKey) -> Self {
        Self {
            seal: RwLock::new(Arc::new(seal)),
            candidates: None,
            kms: None,
            opened: RwLock::new(BTreeMap::new()),
        }
    }

    /// When a secret was sealed by another key than the one at hand, these are looked at too: a re-seal does not stop
    /// brokers that run.
    #[must_use]
    pub fn with_candidates(mut self, candidates: impl Fn() -> Vec<SealKey> + Send + Sync + 'static) -> Self {
        self.candidates = Some(Box::new(candidates));
        self
    }

    /// Adds the custodies that AWS KMS offers.
    #[must_use]
    pub fn with_kms(mut self, kms: Kms) -> Self {
        self.kms = Some(kms);
        self
    }

    /// Makes a key in a custody.
    ///
    /// # Errors
    /// [`GenerateError`]. A key that was made in KMS but did not pass its trial stays there: [`GenerateError::Useless`].
    pub async fn generate(
        &self,
        label: &KeyLabel,
        algorithm: Algorithm,
        custody: Custody,
    ) -> Result<GeneratedKey, GenerateError> {
        let kms = || self.kms.as_ref().ok_or(GenerateError::NoKms(custody));
        let (material, key) = match custody {
            Custody::AwsKms => {
                let key = kms()?.create_key(label, algorithm).await.map_err(|error| match error {
                    CreateKeyError::Kms(error) => GenerateError::Kms(error),
                    CreateKeyError::Useless { arn, source } => GenerateError::Useless { arn, source },
                })?;
                (key.arn().as_bytes().to_vec(), SigningKey::in_kms(key, label.purpose()))
            }
            Custody::AwsKmsWrapped => {
                let kms = kms()?;
                let (key, secret) = software(algorithm)?;
                let wrapped = kms.wrap(label, &secret).await.map_err(GenerateError::Kms)?;
                (wrapped, SigningKey::here(key, custody, label.purpose()))
            }
            Custody::Software => {
                let (key, secret) = software(algorithm)?;
                let sealed = self.seal(label, &secret).map_err(GenerateError::Seal)?;
                (sealed, SigningKey::here(key, custody, label.purpose()))
            }
        };
        let key = Arc::new(key);
        let cell = self.cell(label, custody, &material);
        let _first = cell.set(Arc::clone(&key)).is_ok();
        Ok(GeneratedKey { material, custody, key })
    }

    /// The key that was made under this label in this custody; opened and checked the first time, from memory after
    /// that.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn load(
        &self,
        label: &KeyLabel,
        custody: Custody,
        material: &[u8],
    ) -> Result<Arc<SigningKey>, LoadError> {
        let cell = self.cell(label, custody, material);
        let key = cell.get_or_try_init(|| self.open_key(label, custody, material)).await?;
        Ok(Arc::clone(key))
    }

    async fn open_key(
        &self,
        label: &KeyLabel,
        custody: Custody,
        material: &[u8],
    ) -> Result<Arc<SigningKey>, LoadError> {
        let purpose = label.purpose().as_str();
        let kms = || self.kms.as_ref().ok_or(LoadError::NoKms { purpose, custody });
        let failed = |source| LoadError::Kms { purpose, source };
        let secret = match custody {
            Custody::AwsKms => {
                let key = kms()?.open_key(label, material).await.map_err(failed)?;
                return Ok(Arc::new(SigningKey::in_kms(key, label.purpose())));
            }
            Custody::AwsKmsWrapped => kms()?.unwrap(label, material).await.map_err(failed)?,
            Custody::Software => {
                self.open(label, material).map_err(|source| LoadError::Open { purpose, source })?
            }
        };
        let key =
            SoftwareKey::from_secret_bytes(&secret).map_err(|source| LoadError::Key { purpose, source })?;
        Ok(Arc::new(SigningKey::here(key, custody, label.purpose())))
    }

    /// What this process asked of every key in custody `aws-kms` that it has opened, since it began.
    #[must_use]
    pub fn kms_signatures(&self) -> Vec<KmsSignatures> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let counted = opened.iter().filter_map(|((label, _, _), cell)| {
            let (sent, made) = cell.get()?.kms_calls()?;
            Some(KmsSignatures { id: label.id().to_owned(), sent, made })
        });
        counted.collect()
    }

    fn cell(&self, label: &KeyLabel, custody: Custody, material: &[u8]) -> Arc<OnceCell<Arc<SigningKey>>> {
        let place = (label.clone(), custody, Sha256::of(material));
        if let Some(cell) = self.opened.read().unwrap_or_else(PoisonError::into_inner).get(&place) {
            return Arc::clone(cell);
        }
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(opened.entry(place).or_default())
    }

    /// Seals a secret that is not a signing key.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, label: &KeyLabel, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        self.seal_key().seal(label, secret)
    }

    /// Opens what [`Keystore::seal`] made.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, label: &KeyLabel, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        // Pages come back from browsers: what they name is not looked for.
        if let Some(id) = SealKeyId::of_sealed(sealed).filter(|_| label.purpose() != Purpose::Page) {
            self.use_seal_key(id);
        }
        self.seal_key().open(label, sealed)
    }

    /// The key that seals now.
    #[must_use]
    pub fn seal_key_id(&self) -> SealKeyId {
        self.seal_key().id()
    }

    /// Seals and opens with the key of this id from now on, if it is to be had; whether it is.
    pub fn use_seal_key(&self, id: SealKeyId) -> bool {
        if self.seal_key_id() == id {
            return true;
        }
        let candidates = self.candidates.as_ref().map(|read| read()).unwrap_or_default();
        let Some(found) = candidates.into_iter().find(|key| key.id() == id) else { return false };
        *self.seal.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(found);
        true
    }

    fn seal_key(&self) -> Arc<SealKey> {
        Arc::clone(&self.seal.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A secret that follows from the seal key and the purpose; the same in every process that has the seal key.
    #[must_use]
    pub fn derive(&self, purpose: Purpose) -> Zeroizing<[u8; 32]> {
        self.seal_key().derive(purpose)
    }
}

/// A new key with its secret bytes.
fn software(algorithm: Algorithm) -> Result<(SoftwareKey, Zeroizing<Vec<u8>>), GenerateError> {
    let key = SoftwareKey::generate(algorithm).map_err(GenerateError::Key)?;
    let secret = key.to_secret_bytes().map_err(GenerateError::Key)?;
    Ok((key, secret))
}
