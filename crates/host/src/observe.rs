//! Looks at everything that a plan may be about. Changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    path::Path,
};

use usher_account_lifecycle::{
    Interest, Observed,
    account::UnixName,
    observed::{FileState, SshdSupport, SudoSupport},
    ownership::ManagedFile,
};

use crate::{AccountFiles, HostError, account_files::subordinate_ids, home, ids, jobs, process, sshd, sudo};

/// Ids below belong to the system's own accounts, whose processes are nobody's business.
const FIRST_PERSON: u32 = 1000;

pub(crate) fn observe(interest: &Interest) -> Result<Observed, HostError> {
    let files = AccountFiles::read()?;
    let asked: BTreeMap<&UnixName, u32> = interest
        .names
        .iter()
        .filter_map(|name| files.users.get(name.as_str()).map(|user| (name, user.uid)))
        .collect();
    let mut jobs = BTreeSet::new();
    for (name, uid) in &asked {
        if jobs::exist(name.as_str(), *uid)? {
            jobs.insert((*name).clone());
        }
    }
    let mut homes = BTreeMap::new();
    for name in &interest.names {
        if let Some(home) = home::observe(name.as_str())? {
            homes.insert(name.clone(), home);
        }
    }
    Ok(Observed {
        users: files.observed_users()?,
        groups: files.observed_groups(),
        directory: ids::directory(interest, &files),
        subordinate_ids: subordinate_ids(),
        free_system_ids: ids::free_system_ids(&files),
        running_uids: running(&asked),
        jobs,
        homes,
        files: our_files()?,
        principals: sshd::observe_principals()?,
        sshd: sshd::support(),
        sudo: sudo::support(),
    })
}

fn running(asked: &BTreeMap<&UnixName, u32>) -> BTreeSet<u32> {
    let asked: BTreeSet<u32> = asked.values().copied().collect();
    let ids = process::all().filter(|process| !process.is_zombie);
    ids.flat_map(|process| [Some(process.real_uid), process.login_uid])
        .flatten()
        .filter(|uid| *uid >= FIRST_PERSON || asked.contains(uid))
        .collect()
}

fn our_files() -> Result<BTreeMap<ManagedFile, FileState>, HostError> {
    Ok(BTreeMap::from([
        (ManagedFile::Principals, sshd::observe_principals_directory()?),
        (ManagedFile::SshdDropIn, sshd::read_drop_in()?.state()),
        (ManagedFile::Sudoers, sudo::read()?.state()),
        (ManagedFile::UserCa, sshd::read_ca()?.state()),
    ]))
}

/// What a host looks like before anything of ours is there.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Local accounts and groups.
    pub accounts: AccountFiles,
    /// Ranges that containers use.
    pub subordinate_ids: Vec<RangeInclusive<u32>>,
    /// Whether sshd could take our drop-in.
    pub sshd: SshdSupport,
    /// Whether sudo could take our drop-in.
    pub sudo: SudoSupport,
    /// Whether systemd is installed.
    pub systemd: bool,
    /// Whether an agent made accounts here before.
    pub has_ownership_record: bool,
}

/// Looks at a host without changing or needing anything.
///
/// # Errors
/// [`HostError::Io`] when the account files cannot be read.
pub fn survey() -> Result<Survey, HostError> {
    Ok(Survey {
        accounts: AccountFiles::read()?,
        subordinate_ids: subordinate_ids(),
        sshd: sshd::support(),
        sudo: sudo::support(),
        systemd: Path::new("/usr/lib/systemd/systemd").exists() || Path::new("/lib/systemd/systemd").exists(),
        has_ownership_record: Path::new("/var/lib/usher-agent/root/ownership.json").exists(),
    })
}
