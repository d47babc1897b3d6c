//! Reading and replacing the agent's own small files. The host's files are `usher-host`'s business.

use std::{
    fs::{self, DirBuilder, Permissions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use serde::{Serialize, de::DeserializeOwned};

/// Makes a directory of root's, or checks that it is one.
///
/// # Errors
/// When it cannot be made, or is something else or somebody else's.
pub(crate) fn directory(path: &Path, mode: u32) -> Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
    }
    let found = fs::symlink_metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    if !found.is_dir() || found.uid() != 0 {
        bail!("{} is not a directory that belongs to root", path.display());
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}

/// Replaces a file so that a reader or a crash sees the old or the new content, never a part.
///
/// # Errors
/// When it cannot be written; the old content is then still there.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32, owner: Option<(u32, u32)>) -> Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    let write = || -> std::io::Result<()> {
        let mut new = tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
        new.write_all(content)?;
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::fchown(new.as_file(), Some(uid), Some(gid))?;
        }
        new.as_file().sync_all()?;
        new.persist(path).map_err(|failed| failed.error)?;
        fs::File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Replaces a file with JSON.
///
/// # Errors
/// As [`replace`].
pub(crate) fn replace_json(path: &Path, value: &impl Serialize, mode: u32) -> Result<()> {
    replace(path, &serde_json::to_vec_pretty(value).context("cannot encode")?, mode, None)
}

/// Reads JSON, `None` when there is no file.
///
/// # Errors
/// When it cannot be read or understood.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} is damaged", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
