//! The agent's own records below a root-only directory: JSON, replaced atomically.

use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use serde::{Serialize, de::DeserializeOwned};

use crate::{HostError, SecureDirectory, StoredFile};

/// A root-only directory of records. Only one process holds it.
#[derive(Debug)]
pub struct RootStore {
    directory: SecureDirectory,
}

impl RootStore {
    /// Opens `path`, which is made with mode 0700 when it is missing; the directory above must exist and be root's.
    ///
    /// # Errors
    /// [`HostError::Busy`] when another process holds it.
    pub fn open(path: &Path) -> Result<Self, HostError> {
        let parent = path.parent().unwrap_or_else(|| Path::new("/"));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let directory = SecureDirectory::make(parent, name, 0o700)?;
        match flock(directory.fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { directory }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(HostError::Busy(path.display().to_string())),
            Err(errno) => Err(HostError::sys(format!("lock `{}`", path.display()))(errno)),
        }
    }

    /// Where copies for checks may be put for a moment.
    pub(crate) fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// Reads a record; `None` when there is none.
    ///
    /// # Errors
    /// [`HostError::Record`] when it cannot be understood: nothing is overwritten then.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, HostError> {
        let path = || self.directory.path().join(name).display().to_string();
        match self.directory.read(name, 0o600)? {
            StoredFile::Absent => Ok(None),
            StoredFile::Clean(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|source| HostError::Record { path: path(), source }),
            StoredFile::Dirty(reason) => Err(HostError::not_safe(path(), reason)),
        }
    }

    /// Replaces a record.
    ///
    /// # Errors
    /// [`HostError::Io`]; the record is as it was.
    pub fn write<T: Serialize>(&self, name: &str, record: &T) -> Result<(), HostError> {
        let path = self.directory.path().join(name).display().to_string();
        let bytes = serde_json::to_vec(record).map_err(|source| HostError::Record { path, source })?;
        self.directory.write(name, &bytes, 0o600, (0, 0))
    }

    /// Removes a record; fine when it is gone.
    ///
    /// # Errors
    /// [`HostError::Io`] when it is still there.
    pub fn remove(&self, name: &str) -> Result<(), HostError> {
        self.directory.remove(name)
    }
}
