//! Where seal keys come from: a file of 32 random bytes, a passphrase (Argon2id), or a credential of systemd. Refuses what
//! others could read. Does not decide which of several keys is in force: the database says that.

use std::{
    fs::File,
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use argon2::{Algorithm, Argon2, Params, Version};
use tempfile::NamedTempFile;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::seal::{KEY_LENGTH, SealKey};

/// First line of a salt file; its parameters: 64 MiB, three passes, one lane (RFC 9106 section 4, second choice).
const SALT_HEAD: &str = "usher-argon2id-v1 m=65536,t=3,p=1";
const SALT_LENGTH: usize = 16;
/// A passphrase is for machines to read: nobody has to type it.
const SHORTEST: usize = 16;
const LONGEST: u64 = 4096;

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
    /// Argon2id failed.
    #[error("the seal key could not be derived from the passphrase")]
    Derive,
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
    /// Too short, or too long to be one.
    #[error("the passphrase in `{}` must have {SHORTEST} to {LONGEST} bytes", path.display())]
    Passphrase {
        /// Where.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// Not a salt of a version that is known here.
    #[error("`{}` is no salt file that this version knows", path.display())]
    Salt {
        /// Where.
        path: PathBuf,
    },
}

/// A place that a seal key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealSource {
    /// A credential of systemd that holds the 32 bytes.
    Credential(PathBuf),
    /// A file that holds the 32 bytes.
    File(PathBuf),
    /// A passphrase and its salt.
    Passphrase {
        /// Holds the passphrase; a line break at the end does not count.
        file: PathBuf,
        /// Holds the salt, which is no secret.
        salt: PathBuf,
    },
}

impl SealSource {
    /// Reads or derives the key. A passphrase takes a good part of a second and 64 MiB.
    ///
    /// # Errors
    /// [`SealKeyError`].
    pub fn load(&self) -> Result<SealKey, SealKeyError> {
        match self {
            Self::Credential(path) => {
                // systemd gives credentials to root, and lets the service's user read them.
                from_bytes(path, &read_private(path, &[rustix::process::geteuid().as_raw(), 0], 0o137)?)
            }
            Self::File(path) => {
                from_bytes(path, &read_private(path, &[rustix::process::geteuid().as_raw()], 0o177)?)
            }
            Self::Passphrase { file, salt } => derive(file, salt),
        }
    }
}

impl SealKey {
    /// Makes a new seal key at `path`, mode 0600, flushed to disk.
    ///
    /// # Errors
    /// [`SealKeyError::Exists`] when there is one, other variants when the system refuses.
    pub fn create(path: &Path) -> Result<(), SealKeyError> {
        let mut key = Zeroizing::new([0_u8; KEY_LENGTH]);
        aws_lc_rs::rand::fill(key.as_mut_slice()).map_err(|_error| SealKeyError::Random)?;
        write_new(path, key.as_slice())
    }

    /// Reads the seal key. Refuses a file that anybody but the owner may read, a link, and one of another user.
    ///
    /// # Errors
    /// [`SealKeyError`].
    pub fn load(path: &Path) -> Result<Self, SealKeyError> {
        SealSource::File(path.to_owned()).load()
    }

    /// Makes a salt file for a passphrase, unless there is one: every broker of a team needs the same.
    ///
    /// # Errors
    /// [`SealKeyError`] when the system refuses.
    pub fn create_salt(path: &Path) -> Result<(), SealKeyError> {
        let mut salt = [0_u8; SALT_LENGTH];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_error| SealKeyError::Random)?;
        let digits: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
        match write_new(path, format!("{SALT_HEAD}\n{digits}\n").as_bytes()) {
            Err(SealKeyError::Exists { .. }) => Ok(()),
            written => written,
        }
    }
}

/// The whole file or none, mode 0600, however the process ends: half a key would be taken for a damaged one.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), SealKeyError> {
    let failed = |source| SealKeyError::File { path: path.to_owned(), source };
    let parent =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut file = NamedTempFile::new_in(parent).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist_noclobber(path).map_err(|refused| match refused.error.kind() {
        ErrorKind::AlreadyExists => SealKeyError::Exists { path: path.to_owned() },
        _ => failed(refused.error),
    })?;
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed)
}

fn read_private(path: &Path, owners: &[u32], forbidden: u32) -> Result<Zeroizing<Vec<u8>>, SealKeyError> {
    let failed = |source| SealKeyError::File { path: path.to_owned(), source };
    let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(nofollow).open(path).map_err(failed)?;
    // Of the open file, so that nobody can swap it between the check and the read.
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    if !metadata.is_file() || mode & forbidden != 0 {
        return Err(SealKeyError::LooseMode { path: path.to_owned(), mode });
    }
    if !owners.contains(&metadata.uid()) {
        return Err(SealKeyError::Owner { path: path.to_owned() });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_LENGTH));
    file.take(LONGEST.saturating_add(2)).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn from_bytes(path: &Path, bytes: &[u8]) -> Result<SealKey, SealKeyError> {
    let wrong_length = || SealKeyError::Length { path: path.to_owned() };
    let key: &[u8; KEY_LENGTH] = bytes.try_into().map_err(|_error| wrong_length())?;
    SealKey::new(key).map_err(|_error| wrong_length())
}

fn derive(file: &Path, salt_file: &Path) -> Result<SealKey, SealKeyError> {
    let salt = read_salt(salt_file)?;
    let owners = [rustix::process::geteuid().as_raw(), 0];
    let read = read_private(file, &owners, 0o137)?;
    let passphrase = read.strip_suffix(b"\n").unwrap_or(&read);
    let length = u64::try_from(passphrase.len()).unwrap_or(u64::MAX);
    if passphrase.len() < SHORTEST || length > LONGEST {
        return Err(SealKeyError::Passphrase { path: file.to_owned() });
    }
    let params = Params::new(65_536, 3, 1, Some(KEY_LENGTH)).map_err(|_error| SealKeyError::Derive)?;
    let mut key = Zeroizing::new([0_u8; KEY_LENGTH]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, &salt, key.as_mut_slice())
        .map_err(|_error| SealKeyError::Derive)?;
    SealKey::new(&key).map_err(|_error| SealKeyError::Derive)
}

fn read_salt(path: &Path) -> Result<[u8; SALT_LENGTH], SealKeyError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SealKeyError::File { path: path.to_owned(), source })?;
    let salt = || {
        let digits = text.strip_prefix(SALT_HEAD)?.strip_prefix('\n')?.trim_end();
        let number = u128::from_str_radix(digits, 16).ok()?;
        (digits.len() == 2 * SALT_LENGTH).then(|| number.to_be_bytes())
    };
    salt().ok_or_else(|| SealKeyError::Salt { path: path.to_owned() })
}
