//! Key custody: where private keys live, and how they sign. [`Keystore`] makes and opens keys, each in its
//! [`Custody`]:
//!
//! - `software`: a [`SealKey`] encrypts the private key (and every other secret that the broker must read back, such as
//!   TOTP seeds); the ciphertext is bound to its id, its purpose and the format version, so a row moved to another place
//!   in the database does not open. The key is opened once, checked by a test signature and kept ready in memory.
//! - `aws-kms`: the private key is made in AWS KMS and never leaves it. Every signature that comes back is verified
//!   before it is used ([`kms`]).
//! - `aws-kms-wrapped`: like `software`, but AWS KMS encrypts the key, bound to team, project, purpose and id.
//!
//! A [`SigningKey`] implements [`usher_ca::Signer`] whichever it is. There is no way from one custody to another: a key
//! that cannot be used is an error, never another key.
//!
//! The crate does not decide what is signed: certificates are asked for through `usher-ca`, which wants a proof.
//! It stores nothing but the seal key: the keys' material goes to the caller, who keeps it.
//!
//! ```
//! use usher_keystore::{Algorithm, Custody, KeyLabel, Keystore, Purpose, SealKey};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("seal.key");
//! SealKey::create(&path)?;
//!
//! let keystore = Keystore::new(SealKey::load(&path)?);
//! let label = KeyLabel::new("prj_1/ssh-user-ca/1", Purpose::SshUserCa);
//! let made = keystore.generate(&label, Algorithm::Ed25519, Custody::Software).await?;
//!
//! // Another process, later: custody and material come back from the database.
//! let keystore = Keystore::new(SealKey::load(&path)?);
//! let key = keystore.load(&label, made.custody, &made.material).await?;
//! assert_eq!(key.public_key_bytes(), made.key.public_key_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod custody;
mod key;
pub mod kms;
mod process;
mod seal;
mod signing;
mod source;

pub use custody::{
    Custody, GenerateError, GeneratedKey, Keystore, KmsSignatures, LoadError, ParseCustodyError,
};
pub use key::{Algorithm, FailedToSign, GenerateKeyError, KeyError, SoftwareKey};
pub use process::{ProtectError, forbid_core_dumps};
pub use seal::{KeyLabel, OpenError, Purpose, SealError, SealKey};
pub use signing::{SignMessageError, SigningKey};
pub use source::{SealKeyError, SealSource};
