//! What a host looks like: accounts, groups, homes and our files, as the [`crate::Host`] port saw them. Nothing is judged here.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use usher_types::Sha256;

use crate::{
    account::UnixName,
    desired::Desired,
    ownership::{ManagedFile, Ownership, Stage},
};

/// What to look at beyond the local account files: a directory service cannot be listed, only asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Account and group names to look up, and whose homes and jobs to look at.
    pub names: BTreeSet<UnixName>,
    /// User ids to look up.
    pub uids: BTreeSet<u32>,
    /// Group ids to look up.
    pub gids: BTreeSet<u32>,
}

impl Interest {
    /// Everything that a plan from `ownership` to `desired` may be about.
    #[must_use]
    pub fn new(desired: &Desired, ownership: &Ownership) -> Self {
        let mut interest = Self::default();
        for (name, user) in &desired.users {
            interest.names.insert(name.clone());
            interest.uids.insert(user.uid);
            interest.gids.insert(user.gid);
        }
        for (name, group) in &desired.groups {
            interest.names.insert(name.clone());
            interest.gids.insert(group.gid);
        }
        interest.names.extend([UnixName::managed(), UnixName::admin(), UnixName::hop()]);
        let present = ownership.users.iter().filter(|(_, user)| user.stage != Stage::Retired);
        interest.names.extend(present.map(|(name, _)| name.clone()));
        interest.names.extend(ownership.groups.keys().cloned());
        interest
    }
}

/// A host at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// `/etc/passwd` with what matters of `/etc/shadow`.
    pub users: BTreeMap<String, LocalUser>,
    /// `/etc/group`.
    pub groups: BTreeMap<String, LocalGroup>,
    /// Answers of other name services to what was asked.
    pub directory: Directory,
    /// Ranges of `/etc/subuid` and `/etc/subgid`.
    pub subordinate_ids: Vec<RangeInclusive<u32>>,
    /// Ids below 1000 that neither an account nor a group has, best first; for our own groups and the hop account.
    pub free_system_ids: Vec<u32>,
    /// Real user ids of processes, and login ids, that are not the system's (1000 and up, and accounts asked about).
    pub running_uids: BTreeSet<u32>,
    /// Accounts asked about that left a crontab, an at job or a lingering user manager.
    pub jobs: BTreeSet<UnixName>,
    /// What lies at the home's place of the names asked about.
    pub homes: BTreeMap<UnixName, Home>,
    /// Our fixed files.
    pub files: BTreeMap<ManagedFile, FileState>,
    /// Every entry of the principals directory.
    pub principals: BTreeMap<String, FileState>,
    /// Whether sshd can take a drop-in.
    pub sshd: SshdSupport,
    /// Whether sudo can take a drop-in.
    pub sudo: SudoSupport,
}

/// A line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalUser {
    /// User id.
    pub uid: u32,
    /// Id of the primary group.
    pub gid: u32,
    /// Free text.
    pub gecos: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// What the shadow file says.
    pub password: Password,
}

/// The state of an account's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Password {
    /// Locked and expired: PAM refuses the account.
    Locked,
    /// A hash, or no password at all.
    Other,
    /// `*`: no password fits, the account is open to keys.
    Star,
}

/// A line of `/etc/group`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalGroup {
    /// Group id.
    pub gid: u32,
    /// Members that are listed; primary membership does not show here.
    pub members: BTreeSet<String>,
}

/// What other name services (LDAP, SSSD, systemd) know of the names and ids asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Accounts by name.
    pub users: BTreeSet<String>,
    /// Names of accounts by id.
    pub uids: BTreeMap<u32, String>,
    /// Groups by name.
    pub groups: BTreeSet<String>,
    /// Names of groups by id.
    pub gids: BTreeMap<u32, String>,
}

/// What lies at a home's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// A directory.
    Directory {
        /// Its inode.
        inode: u64,
        /// Its owner.
        uid: u32,
    },
    /// Something else, a symbolic link for example.
    Other,
}

/// A file of ours, or what is in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FileState {
    /// Nothing.
    #[default]
    Absent,
    /// A regular file (for a directory: a directory) of root's, with the mode it should have.
    Clean(Sha256),
    /// Anything else.
    Dirty(String),
}

/// Whether sshd can take our drop-in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SshdSupport {
    /// It includes `sshd_config.d` before any `Match`.
    #[default]
    Ready,
    /// It cannot, and why.
    Unsupported(String),
}

/// Whether sudo can take our drop-in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SudoSupport {
    /// It is installed.
    #[default]
    Ready,
    /// It cannot, and why.
    Unsupported(String),
}
