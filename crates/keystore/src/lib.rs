//! Key custody in software: private keys sealed at rest, cached as ready-to-sign key pairs in memory.
//!
//! A [`SealKey`] (32 random bytes in a file of mode 0600) encrypts every private key and every other secret that the
//! broker must read back, such as TOTP seeds. The ciphertext is bound to its id, its purpose and the format version,
//! so a row moved to another place in the database does not open. [`Keystore`] opens a key once, checks it by a test
//! signature and keeps it; [`SoftwareKey`] then signs without touching the disk and implements [`usher_ca::Signer`].
//!
//! The crate does not decide what is signed: certificates are asked for through `usher-ca`, which wants a proof.
//! It stores nothing but the seal key: sealed bytes go to the caller, who keeps them.
//!
//! ```
//! use usher_keystore::{Algorithm, KeyLabel, Keystore, Purpose, SealKey};
//!
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("seal.key");
//! SealKey::create(&path)?;
//!
//! let keystore = Keystore::new(SealKey::load(&path)?);
//! let label = KeyLabel::new("prj_1/ssh-user-ca/1", Purpose::SshUserCa);
//! let made = keystore.generate(&label, Algorithm::Ed25519)?;
//!
//! // Another process, later: the sealed bytes come back from the database.
//! let keystore = Keystore::new(SealKey::load(&path)?);
//! let key = keystore.load(&label, &made.sealed)?;
//! assert_eq!(key.public_key_bytes(), made.key.public_key_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod custody;
mod key;
mod process;
mod seal;

pub use custody::{GenerateError, GeneratedKey, Keystore, LoadError};
pub use key::{Algorithm, GenerateKeyError, KeyError, SignMessageError, SoftwareKey};
pub use process::{ProtectError, forbid_core_dumps};
pub use seal::{KeyLabel, OpenError, Purpose, SealError, SealKey, SealKeyError};
