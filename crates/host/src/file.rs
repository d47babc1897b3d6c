//! Files that are replaced as a whole: written beside, synced, renamed, and the directory synced.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, fchmod, fchown, fsync, openat2, renameat,
        unlinkat,
    },
    io::Errno,
};
use usher_account_lifecycle::observed::FileState;
use usher_types::Sha256;

use crate::{
    HostError,
    directory::{distrust, kind, look, make_trusted, names, open_trusted},
};

/// More than this is no file of ours.
const MAX_SIZE: u64 = 64 << 20;

/// The file under construction. It has a dot, so sudo skips it; it does not end in `.conf`, so sshd skips it; it is no login.
const TEMPORARY: &str = ".usher-agent.new";

/// A directory that only root can change, and the files in it.
#[derive(Debug)]
pub struct SecureDirectory {
    path: PathBuf,
    fd: OwnedFd,
}

/// A file as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredFile {
    /// Nothing there.
    Absent,
    /// Root's regular file with the expected mode.
    Clean(Vec<u8>),
    /// Something else, and what.
    Dirty(String),
}

impl StoredFile {
    pub(crate) fn state(&self) -> FileState {
        match self {
            Self::Absent => FileState::Absent,
            Self::Clean(bytes) => FileState::Clean(Sha256::of(bytes)),
            Self::Dirty(reason) => FileState::Dirty(reason.clone()),
        }
    }
}

impl SecureDirectory {
    /// Opens an existing directory; no part of the path may be a symbolic link, and only root may write to it.
    ///
    /// # Errors
    /// [`HostError`] when it is missing or not safe.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, HostError> {
        let path = path.into();
        Ok(Self { fd: open_trusted(&path)?, path })
    }

    /// Opens `parent/name`, which is made with `mode` when it is missing. `parent` must exist and be root's.
    ///
    /// # Errors
    /// [`HostError`] when it cannot be made or is not safe.
    pub fn make(parent: &Path, name: &str, mode: u32) -> Result<Self, HostError> {
        Ok(Self { fd: make_trusted(parent, name, mode)?, path: parent.join(name) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// The names in it, sorted, without the file under construction.
    ///
    /// # Errors
    /// [`HostError::Io`] when it cannot be listed.
    pub fn names(&self) -> Result<Vec<String>, HostError> {
        Ok(names(&self.fd)?.into_iter().filter(|name| name != TEMPORARY).collect())
    }

    /// Reads a file of root's that should have `mode`.
    ///
    /// # Errors
    /// [`HostError::Io`] when it is there and cannot be read.
    pub fn read(&self, name: &str, mode: u32) -> Result<StoredFile, HostError> {
        let Some(stat) = look(&self.fd, name)? else { return Ok(StoredFile::Absent) };
        let dirty = |reason: &str| Ok(StoredFile::Dirty(reason.to_owned()));
        if kind(&stat) != FileType::RegularFile {
            return dirty("it is not a regular file");
        }
        if let Some(reason) = distrust(&stat) {
            return dirty(reason);
        }
        if stat.st_mode & 0o7777 != mode {
            return dirty("its mode was changed");
        }
        if stat.st_nlink != 1 {
            return dirty("it has a second name");
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        let file = openat2(&self.fd, name, flags, Mode::empty(), resolve)
            .map_err(HostError::sys(format!("open `{}`", self.path.join(name).display())))?;
        let mut bytes = Vec::new();
        let read = File::from(file).take(MAX_SIZE).read_to_end(&mut bytes);
        read.map_err(HostError::io(format!("read `{}`", self.path.join(name).display())))?;
        Ok(StoredFile::Clean(bytes))
    }

    /// Puts `content` in place of whatever `name` is now (but a directory): owner and group as given, all or nothing.
    ///
    /// # Errors
    /// [`HostError::Io`]; then the file is as it was.
    pub fn write(&self, name: &str, content: &[u8], mode: u32, owner: (u32, u32)) -> Result<(), HostError> {
        self.stage(content, mode, owner)?;
        self.commit(name)
    }

    /// Renames what [`SecureDirectory::stage`] wrote into place.
    pub(crate) fn commit(&self, name: &str) -> Result<(), HostError> {
        let action = || HostError::sys(format!("replace `{}`", self.path.join(name).display()));
        renameat(&self.fd, TEMPORARY, &self.fd, name).map_err(action())?;
        self.sync()
    }

    /// Writes the new content beside the old, and says where.
    pub(crate) fn stage(&self, content: &[u8], mode: u32, owner: (u32, u32)) -> Result<PathBuf, HostError> {
        let action = || format!("write in `{}`", self.path.display());
        match unlinkat(&self.fd, TEMPORARY, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(HostError::sys(action())(errno)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        let fd = openat2(&self.fd, TEMPORARY, flags, Mode::from_raw_mode(0o600), resolve)
            .map_err(HostError::sys(action()))?;
        let mut file = File::from(fd);
        let written = file
            .write_all(content)
            .and_then(|()| Ok(fchown(&file, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))?))
            .and_then(|()| Ok(fchmod(&file, Mode::from_raw_mode(mode))?))
            .and_then(|()| file.sync_all());
        if written.is_err() {
            let _ = unlinkat(&self.fd, TEMPORARY, AtFlags::empty());
        }
        written.map_err(HostError::io(action()))?;
        Ok(self.path.join(TEMPORARY))
    }

    /// Removes a file; fine when it is gone.
    ///
    /// # Errors
    /// [`HostError::Io`] when it is still there.
    pub fn remove(&self, name: &str) -> Result<(), HostError> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => self.sync(),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(HostError::sys(format!("remove `{}`", self.path.join(name).display()))(errno)),
        }
    }

    fn sync(&self) -> Result<(), HostError> {
        fsync(&self.fd).map_err(HostError::sys(format!("sync `{}`", self.path.display())))
    }
}
