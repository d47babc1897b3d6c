//! The seal key and what it encrypts: AES-256-GCM with the place of the secret as associated data.
//!
//! Does not know what a secret is for beyond its [`Purpose`]; does not keep ciphertexts.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use thiserror::Error;
use zeroize::Zeroizing;

const KEY_LENGTH: usize = 32;
const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"usher-seal\0";

/// What a sealed secret is for; part of what the seal protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Signs heads of the audit log.
    Audit,
    /// What a page hands to the browser and gets back.
    Page,
    /// A project's SSH user CA.
    SshUserCa,
    /// Signs desired state.
    State,
    /// The team's TLS root.
    TlsRoot,
    /// A person's second factor.
    TotpSeed,
    /// A project's X.509 CA.
    X509Ca,
}

impl Purpose {
    /// As it is bound into the seal and may be stored; never changes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Page => "page",
            Self::SshUserCa => "ssh-user-ca",
            Self::State => "state",
            Self::TlsRoot => "tls-root",
            Self::TotpSeed => "totp-seed",
            Self::X509Ca => "x509-ca",
        }
    }
}

/// Where a secret belongs: its id in the database and its purpose. A sealed secret opens only under its own label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyLabel {
    id: String,
    purpose: Purpose,
}

impl KeyLabel {
    /// The label of the secret with this id.
    #[must_use]
    pub fn new(id: impl Into<String>, purpose: Purpose) -> Self {
        Self { id: id.into(), purpose }
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The purpose.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Unambiguous: the purpose has no NUL and the id is last.
    fn associated_data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(DOMAIN.len().saturating_add(self.id.len()).saturating_add(24));
        data.extend_from_slice(DOMAIN);
        data.push(VERSION);
        data.extend_from_slice(self.purpose.as_str().as_bytes());
        data.push(0);
        data.extend_from_slice(self.id.as_bytes());
        data
    }
}

/// Why the seal key could not be made or read.
#[derive(Debug, Error)]
pub enum SealKeyError {
    /// There is one already; making another would lose everything that the first sealed.
    #[error("there is a seal key at `{}` already", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot read or write the seal key at `{}`", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not exactly 32 bytes.
    #[error("the seal key at `{}` is damaged: it must be exactly 32 bytes", path.display())]
    Length {
        /// Where.
        path: PathBuf,
    },
    /// Others could read it.
    #[error("the seal key at `{}` has mode {mode:04o}; it must be a regular file that only its owner can read: chmod 0600", path.display())]
    LooseMode {
        /// Where.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not owned by the user that runs this process.
    #[error("the seal key at `{}` belongs to another user", path.display())]
    Owner {
        /// Where.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
}

/// Why something could not be sealed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("could not seal the secret")]
pub struct SealError;

/// Why a sealed secret did not open: damaged, moved to another place, or sealed by another key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "the sealed secret does not open: it is damaged, belongs elsewhere or was sealed by another seal key"
)]
pub struct OpenError;

/// The key that protects all others.
pub struct SealKey {
    cipher: LessSafeKey,
    derivation: hmac::Key,
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey([secret])")
    }
}

impl SealKey {
    /// Makes a new seal key at `path`, mode 0600, flushed to disk.
    ///
    /// # Errors
    /// [`SealKeyError::Exists`] when there is one, other variants when the system refuses.
    pub fn create(path: &Path) -> Result<(), SealKeyError> {
        let failed = |source| SealKeyError::File { path: path.to_owned(), source };
        let mut key = Zeroizing::new([0_u8; KEY_LENGTH]);
        aws_lc_rs::rand::fill(key.as_mut_slice()).map_err(|_error| SealKeyError::Random)?;
        let mut file = match File::options().write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(SealKeyError::Exists { path: path.to_owned() });
            }
            Err(error) => return Err(failed(error)),
        };
        file.write_all(key.as_slice()).and_then(|()| file.sync_all()).map_err(failed)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed)?;
        }
        Ok(())
    }

    /// Reads the seal key. Refuses a file that anybody but the owner may read, a link, and one of another user.
    ///
    /// # Errors
    /// [`SealKeyError`].
    pub fn load(path: &Path) -> Result<Self, SealKeyError> {
        let failed = |source| SealKeyError::File { path: path.to_owned(), source };
        let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let mut file = File::options().read(true).custom_flags(nofollow).open(path).map_err(failed)?;
        // Of the open file, so that nobody can swap it between the check and the read.
        let metadata = file.metadata().map_err(failed)?;
        let mode = metadata.mode() & 0o7777;
        if !metadata.is_file() || mode & 0o177 != 0 {
            return Err(SealKeyError::LooseMode { path: path.to_owned(), mode });
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(SealKeyError::Owner { path: path.to_owned() });
        }
        let wrong_length = || SealKeyError::Length { path: path.to_owned() };
        if metadata.len() != u64::try_from(KEY_LENGTH).unwrap_or_default() {
            return Err(wrong_length());
        }
        let mut key = Zeroizing::new([0_u8; KEY_LENGTH]);
        file.read_exact(key.as_mut_slice()).map_err(failed)?;
        let cipher = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_error| wrong_length())?;
        let derivation = hmac::Key::new(hmac::HMAC_SHA256, key.as_slice());
        Ok(Self { cipher: LessSafeKey::new(cipher), derivation })
    }

    /// A secret that follows from this key and the purpose: HMAC-SHA256, whose output says nothing about the key.
    #[must_use]
    pub fn derive(&self, purpose: Purpose) -> Zeroizing<[u8; 32]> {
        let mut context = hmac::Context::with_key(&self.derivation);
        context.update(b"usher-derive\0");
        context.update(purpose.as_str().as_bytes());
        let mut secret = Zeroizing::new([0_u8; 32]);
        for (slot, byte) in secret.iter_mut().zip(context.sign().as_ref()) {
            *slot = *byte;
        }
        secret
    }

    /// Encrypts `secret` for this label: version, nonce, ciphertext and tag in one.
    ///
    /// # Errors
    /// [`SealError`] when the system gives no random bytes.
    pub fn seal(&self, label: &KeyLabel, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0_u8; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_error| SealError)?;
        let mut buffer = Zeroizing::new(secret.to_vec());
        let tag = self
            .cipher
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(label.associated_data()),
                buffer.as_mut_slice(),
            )
            .map_err(|_error| SealError)?;
        let mut sealed = Vec::with_capacity(buffer.len().saturating_add(1 + NONCE_LEN + 16));
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&buffer);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Decrypts what [`SealKey::seal`] made for the same label.
    ///
    /// # Errors
    /// [`OpenError`]; on purpose it does not say which of its causes it was.
    pub fn open(&self, label: &KeyLabel, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (version, rest) = sealed.split_first().ok_or(OpenError)?;
        let (nonce, ciphertext) = rest.split_at_checked(NONCE_LEN).ok_or(OpenError)?;
        if *version != VERSION {
            return Err(OpenError);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_error| OpenError)?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let plain = self
            .cipher
            .open_in_place(nonce, Aad::from(label.associated_data()), buffer.as_mut_slice())
            .map_err(|_error| OpenError)?;
        Ok(Zeroizing::new(plain.to_vec()))
    }
}
