//! What would start something for an account later: crontabs, at jobs, a lingering user manager.

use std::path::Path;

use rustix::{
    fs::{AtFlags, FileType, unlinkat},
    io::Errno,
};

use crate::{
    HostError,
    directory::{kind, look, names, open_directory},
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

type Visitor<'a> = &'a mut dyn FnMut(&rustix::fd::OwnedFd, &str) -> Result<(), HostError>;

fn visit(account: &str, uid: u32, visitor: Visitor<'_>) -> Result<(), HostError> {
    for place in BY_NAME.map(Path::new).into_iter().filter(|place| place.is_dir()) {
        let directory = open_directory(place)?;
        if look(&directory, account)?.is_some_and(|stat| kind(&stat) == FileType::RegularFile) {
            visitor(&directory, account)?;
        }
    }
    for place in BY_OWNER.map(Path::new).into_iter().filter(|place| place.is_dir()) {
        let directory = open_directory(place)?;
        for name in names(&directory)? {
            let theirs = |stat: &rustix::fs::Stat| stat.st_uid == uid && kind(stat) == FileType::RegularFile;
            if look(&directory, &name)?.as_ref().is_some_and(theirs) {
                visitor(&directory, &name)?;
            }
        }
    }
    Ok(())
}
