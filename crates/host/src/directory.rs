//! Directories reached without following a single symbolic link, and looked at before they are trusted.

use std::{os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, fchmod, fchown, fstat, fsync,
        mkdirat, openat2, statat,
    },
    io::Errno,
};

use crate::HostError;

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens an absolute directory path, none of whose parts may be a symbolic link.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, HostError> {
    openat2(CWD, path, OPEN, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS)
        .map_err(HostError::sys(format!("open directory `{}`", path.display())))
}

/// Opens one entry of `parent`, a directory and nothing else, on the same file system or another.
pub(crate) fn open_beneath(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    openat2(parent, name, OPEN, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH)
}

/// Opens a directory that only root can change.
pub(crate) fn open_trusted(path: &Path) -> Result<OwnedFd, HostError> {
    let directory = open_directory(path)?;
    let stat = fstat(&directory).map_err(HostError::sys(format!("look at `{}`", path.display())))?;
    match distrust(&stat) {
        None => Ok(directory),
        Some(reason) => Err(HostError::not_safe(path.display().to_string(), reason)),
    }
}

/// Opens a directory of ours below one that only root can change: made with `mode` when it is missing, and made root's own
/// again when it was changed.
pub(crate) fn make_trusted(parent: &Path, name: &str, mode: u32) -> Result<OwnedFd, HostError> {
    let above = open_trusted(parent)?;
    let path = parent.join(name);
    let action = || format!("make `{}`", path.display());
    let is_new = match mkdirat(&above, name, Mode::from_raw_mode(mode)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(HostError::sys(action())(errno)),
    };
    let directory =
        open_beneath(&above, name).map_err(HostError::sys(format!("open `{}`", path.display())))?;
    let stat = fstat(&directory).map_err(HostError::sys(action()))?;
    if distrust(&stat).is_some() || stat.st_mode & 0o7777 != mode {
        fchown(&directory, Some(Uid::ROOT), Some(Gid::ROOT)).map_err(HostError::sys(action()))?;
        // The process's umask may have taken bits away.
        fchmod(&directory, Mode::from_raw_mode(mode)).map_err(HostError::sys(action()))?;
    }
    if is_new {
        fsync(&above).map_err(HostError::sys(action()))?;
    }
    Ok(directory)
}

/// Why an owner or a mode is not to be trusted.
pub(crate) fn distrust(stat: &Stat) -> Option<&'static str> {
    if stat.st_uid != 0 {
        Some("it does not belong to root")
    } else if stat.st_mode & 0o022 != 0 {
        Some("others than root may write to it")
    } else {
        None
    }
}

/// What `name` in `directory` is, itself and not what it points to; `None` when there is nothing.
pub(crate) fn look(directory: &OwnedFd, name: &str) -> Result<Option<Stat>, HostError> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(HostError::sys(format!("look at `{name}`"))(errno)),
    }
}

/// The kind of a file.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The names in a directory, without `.` and `..`; names that are not UTF-8 are shown with replacement characters.
pub(crate) fn names(directory: &OwnedFd) -> Result<Vec<String>, HostError> {
    let entries = rustix::fs::Dir::read_from(directory).map_err(HostError::sys("list a directory"))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(HostError::sys("list a directory"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
