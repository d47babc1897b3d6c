//! What would start something for an account later: crontabs, at jobs, a lingering user manager.

use std::{io::ErrorKind, path::Path};

use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, FileType, unlinkat},
    io::Errno,
};

use crate::{
    HostError,
    directory::{kind, look, names, open_directory, open_trusted},
};

/// Directories with one file for each account, named like it.
const BY_NAME: [&str; 3] = ["/var/spool/cron/crontabs", "/var/spool/cron", "/var/lib/systemd/linger"];

/// Directories with files that belong to the account.
const BY_OWNER: [&str; 3] = ["/var/spool/cron/atjobs", "/var/spool/at", "/var/spool/cron/atspool"];

/// Whether an account left any job.
pub(crate) fn exist(account: &str, uid: u32) -> Result<bool, HostError> {
    let mut found = false;
    visit(account, uid, &mut |_, _| {
        found = true;
        Ok(())
    })?;
    Ok(found)
}

/// Removes them.
pub(crate) fn remove(account: &str, uid: u32) -> Result<(), HostError> {
    visit(account, uid, &mut |directory, name| match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(HostError::sys(format!("remove a job of `{account}`"))(errno)),
    })
}

type Visitor<'a> = &'a mut dyn FnMut(&OwnedFd, &str) -> Result<(), HostError>;

fn visit(account: &str, uid: u32, visitor: Visitor<'_>) -> Result<(), HostError> {
    for place in BY_NAME.map(Path::new) {
        let Some(directory) = open(place)? else { continue };
        if look(&directory, account)?.is_some_and(|stat| kind(&stat) == FileType::RegularFile) {
            visitor(&directory, account)?;
        }
    }
    for place in BY_OWNER.map(Path::new) {
        let Some(directory) = open(place)? else { continue };
        for name in names(&directory)? {
            let theirs = |stat: &rustix::fs::Stat| stat.st_uid == uid && kind(stat) == FileType::RegularFile;
            if look(&directory, &name)?.as_ref().is_some_and(theirs) {
                visitor(&directory, &name)?;
            }
        }
    }
    Ok(())
}

/// Opens a place, which may be elsewhere by a link (`/var/spool` on its own disk); `None` when there is none.
///
/// SECURITY: files are removed there by name. Who can set or change a link on the way would choose which, so a link is
/// followed only where it leads through directories that root alone can change.
fn open(place: &Path) -> Result<Option<OwnedFd>, HostError> {
    let real = match place.canonicalize() {
        Ok(real) if real.is_dir() => real,
        Ok(_) => return Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(HostError::io(format!("look at `{}`", place.display()))(error)),
    };
    if real != place
        && let Some(above) = real.parent()
    {
        for directory in above.ancestors() {
            open_trusted(directory)?;
        }
    }
    // Without following anything: whatever changed since then is an error.
    open_directory(&real).map(Some)
}
