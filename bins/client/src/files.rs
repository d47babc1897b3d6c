//! Reading and writing the client's own files: atomic, private where it matters, never through somebody else's
//! directory. Knows nothing about their contents.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use crate::exit::Failure;

/// Mode of files that hold a secret.
pub const PRIVATE: u32 = 0o600;
/// Mode of files that hold none.
pub const PUBLIC: u32 = 0o644;

/// The file's bytes, `None` when there is no such file.
///
/// # Errors
/// When it exists and cannot be read.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::io(format_args!("cannot read `{}`", path.display()), &error)),
    }
}

/// Replaces the file in one step: readers see the old bytes or the new ones.
///
/// # Errors
/// When the directory cannot be made or written.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let failed =
        |error: &std::io::Error| Failure::io(format_args!("cannot write `{}`", path.display()), error);
    let directory = path.parent().ok_or_else(|| Failure::other("a file needs a directory"))?;
    make_directory(directory, 0o755)?;
    let mut file = tempfile::Builder::new()
        .prefix(".usher-")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(directory)
        .map_err(|error| failed(&error))?;
    file.write_all(bytes).map_err(|error| failed(&error))?;
    file.as_file().sync_all().map_err(|error| failed(&error))?;
    // The umask may have taken bits away; what is asked for is what there will be.
    file.as_file().set_permissions(fs::Permissions::from_mode(mode)).map_err(|error| failed(&error))?;
    file.persist(path).map_err(|error| failed(&error.error))?;
    Ok(())
}

/// Creates a file that must not exist yet; a second creator loses.
///
/// # Errors
/// When it exists or cannot be written.
pub fn create_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), std::io::Error> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a directory and its parents when missing.
///
/// # Errors
/// When that is not possible.
pub fn make_directory(path: &Path, mode: u32) -> Result<(), Failure> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| Failure::io(format_args!("cannot make `{}`", path.display()), &error))
}

/// Makes a directory that only its owner can enter, and refuses one that others could have prepared.
///
/// # Errors
/// When it belongs to somebody else, is a link, or is open to others.
pub fn private_directory(path: &Path) -> Result<(), Failure> {
    if let Some(parent) = path.parent() {
        make_directory(parent, 0o700)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Failure::io(format_args!("cannot make `{}`", path.display()), &error)),
    }
    let metadata = fs::symlink_metadata(path)
        .map_err(|error| Failure::io(format_args!("cannot look at `{}`", path.display()), &error))?;
    let ours = metadata.uid() == rustix::process::getuid().as_raw();
    if !metadata.is_dir() || !ours || metadata.mode() & 0o077 != 0 {
        return Err(Failure::other(format!(
            "`{}` is not a directory that only you can enter",
            path.display()
        ))
        .next(format!("remove it, or run `chmod 700 {}` if it is yours", path.display())));
    }
    Ok(())
}

/// Whether a file that holds a secret can be read by its owner alone.
///
/// # Errors
/// When it is a link, belongs to somebody else, or others may read or write it.
pub fn check_private(path: &Path) -> Result<(), Failure> {
    let metadata = fs::symlink_metadata(path)
        .map_err(|error| Failure::io(format_args!("cannot look at `{}`", path.display()), &error))?;
    let ours = metadata.uid() == rustix::process::getuid().as_raw();
    if metadata.is_file() && ours && metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(Failure::other(format!("`{}` can be used by others", path.display()))
        .next(format!("run `chmod 600 {}`; if it was open for long, revoke the device", path.display())))
}

/// Waits for the lock that `path` stands for; it is held until the result is dropped.
///
/// # Errors
/// When the file cannot be made or locked.
pub fn lock(path: &Path) -> Result<fs::File, Failure> {
    let failed =
        |error: std::io::Error| Failure::io(format_args!("cannot lock `{}`", path.display()), &error);
    if let Some(directory) = path.parent() {
        make_directory(directory, 0o755)?;
    }
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(PRIVATE)
        .open(path)
        .map_err(failed)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| failed(error.into()))?;
    Ok(file)
}

/// The lock that `path` stands for, or `None` when another process holds it.
///
/// # Errors
/// When the file cannot be made.
pub fn try_lock(path: &Path) -> Result<Option<fs::File>, Failure> {
    let failed =
        |error: std::io::Error| Failure::io(format_args!("cannot lock `{}`", path.display()), &error);
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(PRIVATE)
        .open(path)
        .map_err(failed)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(failed(error.into())),
    }
}
