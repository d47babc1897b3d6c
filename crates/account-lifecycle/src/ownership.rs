//! The ownership record: what the agent made on this host. Whatever is not in it belongs to somebody else.
//!
//! An entry is written before its account is made (state `claimed`), so that a crash between the two leaves a claim that the
//! next pass honours or drops, never an account that nobody owns.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use usher_types::{Sha256, UnixTime};

use crate::account::UnixName;

/// Everything the agent made. Stored by the host adapter, changed only by [`crate::Step`]s.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// Format of this record.
    #[serde(default)]
    pub v: u32,
    /// Accounts, also those that are gone: their UIDs stay theirs.
    #[serde(default)]
    pub users: BTreeMap<UnixName, OwnedUser>,
    /// Groups that exist because of us.
    #[serde(default)]
    pub groups: BTreeMap<UnixName, OwnedGroup>,
    /// Files outside the homes that are ours to write.
    #[serde(default)]
    pub files: BTreeMap<ManagedFile, UnixTime>,
    /// SHA-256 of the drop-in that sshd was last seen running with.
    #[serde(default)]
    pub sshd_running: Option<Sha256>,
}

/// How far an account of ours is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// About to be made; was seen absent just before.
    Claimed,
    /// Made.
    Live,
    /// Deleted; the home is kept for the same UID.
    Retired,
}

/// One account of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedUser {
    /// Its user id.
    pub uid: u32,
    /// The id of its private group.
    pub gid: u32,
    /// How far it is.
    pub stage: Stage,
    /// When it was claimed first.
    pub created_at: UnixTime,
    /// Inode of its home directory, once there is one.
    #[serde(default)]
    pub home_inode: Option<u64>,
}

/// One group of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedGroup {
    /// Its group id.
    pub gid: u32,
    /// How far it is; never retired, an id is remembered by its user or not at all.
    pub stage: Stage,
    /// When it was claimed first.
    pub created_at: UnixTime,
}

/// A file with a fixed place whose whole content is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ManagedFile {
    /// The directory of principals files, with everything in it.
    Principals,
    /// The sshd drop-in.
    SshdDropIn,
    /// The sudoers drop-in.
    Sudoers,
    /// The trusted user CA keys.
    UserCa,
}

impl ManagedFile {
    /// What people call it in conflicts.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Principals => "/etc/ssh/usher/principals",
            Self::SshdDropIn => "/etc/ssh/sshd_config.d/00-usher.conf",
            Self::Sudoers => "/etc/sudoers.d/90-usher",
            Self::UserCa => "/etc/ssh/usher/user_ca.pub",
        }
    }
}

impl Ownership {
    /// The entry of `name` when the account should exist now.
    #[must_use]
    pub fn present_user(&self, name: &UnixName) -> Option<&OwnedUser> {
        self.users.get(name).filter(|user| user.stage != Stage::Retired)
    }

    /// Writes what a [`crate::Step::Claim`] claims.
    pub fn claim(&mut self, claims: &[Claim], now: UnixTime) {
        self.v = 1;
        for claim in claims {
            match claim {
                Claim::File(file) => {
                    self.files.entry(*file).or_insert(now);
                }
                Claim::Group { name, gid } => {
                    let group = OwnedGroup { gid: *gid, stage: Stage::Claimed, created_at: now };
                    self.groups.insert(name.clone(), group);
                }
                Claim::User { name, uid, gid, home_inode } => {
                    let before = self.users.get(name).filter(|user| user.uid == *uid);
                    let user = OwnedUser {
                        uid: *uid,
                        gid: *gid,
                        stage: Stage::Claimed,
                        created_at: before.map_or(now, |user| user.created_at),
                        home_inode: *home_inode,
                    };
                    self.users.insert(name.clone(), user);
                }
            }
        }
    }

    /// Marks claims as live whose account or group was made, and notes the homes.
    pub fn confirm(&mut self, confirmed: &[Confirmation]) {
        for confirmation in confirmed {
            match confirmation {
                Confirmation::Group { name } => {
                    if let Some(group) = self.groups.get_mut(name) {
                        group.stage = Stage::Live;
                    }
                }
                Confirmation::User { name, home_inode } => {
                    if let Some(user) = self.users.get_mut(name) {
                        user.stage = Stage::Live;
                        user.home_inode = home_inode.or(user.home_inode);
                    }
                }
            }
        }
    }

    /// Forgets a group; remembers a user as retired.
    pub fn release(&mut self, users: &[UnixName], groups: &[UnixName]) {
        for name in users {
            if let Some(user) = self.users.get_mut(name) {
                user.stage = Stage::Retired;
            }
        }
        for name in groups {
            self.groups.remove(name);
        }
    }
}

/// Something that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// A file.
    File(ManagedFile),
    /// A group.
    Group {
        /// Its name.
        name: UnixName,
        /// Its id.
        gid: u32,
    },
    /// An account.
    User {
        /// Its name.
        name: UnixName,
        /// Its id.
        uid: u32,
        /// The id of its private group.
        gid: u32,
        /// The kept home that it gets back; without one there was nothing at the home's place when this was claimed.
        home_inode: Option<u64>,
    },
}

/// Something that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confirmation {
    /// A group.
    Group {
        /// Its name.
        name: UnixName,
    },
    /// An account.
    User {
        /// Its name.
        name: UnixName,
        /// Its home, when it has one.
        home_inode: Option<u64>,
    },
}
