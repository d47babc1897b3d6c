//! Home directories, through descriptors only: whatever a local user swaps under our feet, no other inode changes owner.
//!
//! A home is built in a directory that only root can enter and appears at its place, whole, by one rename that refuses to
//! replace anything. Nothing is ever changed recursively.

use std::{fs::File, io::copy, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Uid, chownat, fchmod, fchown, fstat,
        fsync, mkdirat, openat2, readlinkat, renameat_with, symlinkat, unlinkat,
    },
    io::Errno,
};
use usher_account_lifecycle::{HOME_BASE, observed::Home};

use crate::{
    Checkpoint, HostError, Stage,
    directory::{kind, look, make_trusted, names, open_beneath, open_directory, open_trusted},
};

const STAGING: &str = ".usher-agent";
const SKELETON: &str = "/etc/skel";

/// Deeper skeletons are cut off.
const MAX_DEPTH: usize = 8;

/// Who a home is for.
#[derive(Clone, Copy, Debug)]
struct Owner {
    uid: Uid,
    gid: Gid,
}

/// What is at the home's place.
pub(crate) fn observe(name: &str) -> Result<Option<Home>, HostError> {
    // Unreachable homes are shown as something that is in the way.
    let Ok(base) = open_directory(Path::new(HOME_BASE)) else { return Ok(Some(Home::Other)) };
    Ok(look(&base, name)?.map(|stat| match kind(&stat) {
        FileType::Directory => Home::Directory { inode: stat.st_ino, uid: stat.st_uid },
        _ => Home::Other,
    }))
}

/// Makes a home from the skeleton where nothing is; fine when it was made already.
pub(crate) fn create(name: &str, uid: u32, gid: u32, checkpoint: &mut Checkpoint) -> Result<(), HostError> {
    let base = open_trusted(Path::new(HOME_BASE))?;
    match observe(name)? {
        None => {}
        Some(Home::Directory { uid: owner, .. }) if owner == uid => return Ok(()),
        Some(_) => return Err(HostError::Changed(format!("something is at `{HOME_BASE}/{name}`"))),
    }
    let owner = Owner { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) };
    let staging = make_trusted(Path::new(HOME_BASE), STAGING, 0o700)?;
    clear(&staging, name, 0)?;
    mkdirat(&staging, name, Mode::from_raw_mode(0o700)).map_err(HostError::sys("make a home"))?;
    checkpoint.pass(Stage::HomeStaged)?;
    let home = open_beneath(&staging, name).map_err(HostError::sys("open a new home"))?;
    if let Ok(skeleton) = open_trusted(Path::new(SKELETON)) {
        fill(&skeleton, &home, owner, 0)?;
    }
    fchown(&home, Some(owner.uid), Some(owner.gid)).map_err(HostError::sys("give a home to its user"))?;
    fsync(&home).map_err(HostError::sys("sync a home"))?;
    checkpoint.pass(Stage::HomeFilled)?;
    renameat_with(&staging, name, &base, name, RenameFlags::NOREPLACE)
        .map_err(HostError::sys(format!("put a home at `{HOME_BASE}/{name}`")))?;
    fsync(&base).map_err(HostError::sys("sync the homes"))?;
    checkpoint.pass(Stage::HomePlaced)?;
    // Empty unless another home is being made; then it stays for that one.
    let _ = unlinkat(&base, STAGING, AtFlags::REMOVEDIR);
    Ok(())
}

/// Copies the skeleton. Symbolic links are copied as links; devices, sockets and pipes are not.
fn fill(from: &OwnedFd, to: &OwnedFd, owner: Owner, depth: usize) -> Result<(), HostError> {
    if depth >= MAX_DEPTH {
        return Ok(());
    }
    for name in names(from)? {
        let Some(stat) = look(from, &name)? else { continue };
        let mode = Mode::from_raw_mode(stat.st_mode & 0o755);
        match kind(&stat) {
            FileType::Directory => {
                mkdirat(to, &name, Mode::from_raw_mode(0o700))
                    .map_err(HostError::sys("copy the skeleton"))?;
                let source = open_beneath(from, &name).map_err(HostError::sys("read the skeleton"))?;
                let target = open_beneath(to, &name).map_err(HostError::sys("copy the skeleton"))?;
                fill(&source, &target, owner, depth.saturating_add(1))?;
                fchmod(&target, mode).map_err(HostError::sys("copy the skeleton"))?;
                fchown(&target, Some(owner.uid), Some(owner.gid))
                    .map_err(HostError::sys("copy the skeleton"))?;
            }
            FileType::RegularFile => copy_file(from, to, &name, mode, owner)?,
            FileType::Symlink => {
                let place =
                    readlinkat(from, &name, Vec::new()).map_err(HostError::sys("read the skeleton"))?;
                symlinkat(place, to, &name).map_err(HostError::sys("copy the skeleton"))?;
                chownat(to, &name, Some(owner.uid), Some(owner.gid), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(HostError::sys("copy the skeleton"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &str, mode: Mode, owner: Owner) -> Result<(), HostError> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source =
        openat2(from, name, read, Mode::empty(), resolve).map_err(HostError::sys("read the skeleton"))?;
    let target = openat2(to, name, write, Mode::from_raw_mode(0o600), resolve)
        .map_err(HostError::sys("copy the skeleton"))?;
    let mut target = File::from(target);
    copy(&mut File::from(source), &mut target).map_err(HostError::io("copy the skeleton"))?;
    fchmod(&target, mode).map_err(HostError::sys("copy the skeleton"))?;
    fchown(&target, Some(owner.uid), Some(owner.gid)).map_err(HostError::sys("copy the skeleton"))
}

/// Removes what a crash left in the staging directory, which only root can enter.
fn clear(parent: &OwnedFd, name: &str, depth: usize) -> Result<(), HostError> {
    let action = || HostError::sys("clear the staging directory");
    match look(parent, name)? {
        None => Ok(()),
        Some(stat) if kind(&stat) == FileType::Directory && depth < MAX_DEPTH.saturating_add(2) => {
            let directory = open_beneath(parent, name).map_err(action())?;
            for entry in names(&directory)? {
                clear(&directory, &entry, depth.saturating_add(1))?;
            }
            unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(action())
        }
        Some(_) => unlinkat(parent, name, AtFlags::empty()).map_err(action()),
    }
}

/// Keeps a home for later: root's, closed. Fine when it is gone or closed already.
pub(crate) fn retire(name: &str, uid: u32, inode: u64) -> Result<(), HostError> {
    change_owner(name, inode, uid, (0, 0))
}

/// Gives a kept home back.
pub(crate) fn restore(name: &str, owner: (u32, u32), inode: u64) -> Result<(), HostError> {
    change_owner(name, inode, 0, owner)
}

/// Changes the owner of the one directory that has this inode and this owner, and of nothing in it.
fn change_owner(name: &str, inode: u64, from: u32, to: (u32, u32)) -> Result<(), HostError> {
    let base = open_trusted(Path::new(HOME_BASE))?;
    let home = match open_beneath(&base, name) {
        Ok(home) => home,
        Err(Errno::NOENT) if to == (0, 0) => return Ok(()),
        Err(errno) => return Err(HostError::sys(format!("open `{HOME_BASE}/{name}`"))(errno)),
    };
    let stat = fstat(&home).map_err(HostError::sys("look at a home"))?;
    if stat.st_ino != inode || (stat.st_uid != from && stat.st_uid != to.0) {
        return Err(HostError::Changed(format!("`{HOME_BASE}/{name}` is not the directory that was made")));
    }
    // Closed first: between the two calls nobody but root gets in.
    fchmod(&home, Mode::from_raw_mode(0o700)).map_err(HostError::sys("close a home"))?;
    fchown(&home, Some(Uid::from_raw(to.0)), Some(Gid::from_raw(to.1)))
        .map_err(HostError::sys("change a home's owner"))?;
    fsync(&home).map_err(HostError::sys("sync a home"))
}
