//! The closed set of things that may be done to a host. There is no step that runs a command or writes a path by name.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    account::{PortForwarding, Shell, UnixName},
    ownership::Claim,
};

/// One change to a host. Applying it twice is the same as applying it once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Write what is about to be made into the ownership record.
    Claim {
        /// All of it.
        claims: Vec<Claim>,
    },
    /// Note in the ownership record what was made.
    Confirm {
        /// Accounts.
        users: Vec<UnixName>,
        /// Groups.
        groups: Vec<UnixName>,
    },
    /// Make a group.
    CreateGroup {
        /// Its name.
        name: UnixName,
        /// Its id.
        gid: u32,
    },
    /// Make a home directory from the skeleton, where nothing is.
    CreateHome {
        /// Whose.
        account: UnixName,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// Make an account that no password opens, without a home.
    CreateUser {
        /// Its name.
        account: UnixName,
        /// User id.
        uid: u32,
        /// Id of its private group, which exists.
        gid: u32,
        /// What the person is called.
        gecos: String,
        /// Login shell.
        shell: Shell,
        /// Groups of ours that it joins at once.
        groups: BTreeSet<UnixName>,
    },
    /// Delete a group that is nobody's primary group.
    DeleteGroup {
        /// Its name.
        name: UnixName,
        /// The id it must have.
        gid: u32,
    },
    /// Delete an account; its home stays.
    DeleteUser {
        /// Its name.
        account: UnixName,
        /// The id it must have.
        uid: u32,
    },
    /// End every process and every SSH session of an account.
    EndSessions {
        /// Its name.
        account: UnixName,
        /// Its id.
        uid: u32,
    },
    /// Lock and expire an account.
    LockUser {
        /// Its name.
        account: UnixName,
        /// The id it must have.
        uid: u32,
    },
    /// Note in the ownership record that something is gone.
    Release {
        /// Accounts.
        users: Vec<UnixName>,
        /// Groups.
        groups: Vec<UnixName>,
    },
    /// Remove an account's crontab, at jobs and lingering user manager.
    RemoveJobs {
        /// Its name.
        account: UnixName,
        /// Its id.
        uid: u32,
    },
    /// Remove a principals file: from now on no certificate logs in there.
    RemovePrincipals {
        /// Name of the file.
        account: String,
    },
    /// Remove the sudoers drop-in.
    RemoveSudoers,
    /// Give a kept home back to the account that has its UID.
    RestoreHome {
        /// Whose.
        account: UnixName,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
        /// The inode it must have.
        inode: u64,
    },
    /// Keep a home for later: root's, mode 0700.
    RetireHome {
        /// Whose.
        account: UnixName,
        /// The owner it must have.
        uid: u32,
        /// The inode it must have.
        inode: u64,
    },
    /// Set who is in a group.
    SetMembers {
        /// Its name.
        group: UnixName,
        /// The id it must have.
        gid: u32,
        /// All of its members.
        members: BTreeSet<UnixName>,
    },
    /// Open an account to keys again.
    UnlockUser {
        /// Its name.
        account: UnixName,
        /// The id it must have.
        uid: u32,
    },
    /// Set an account's description and shell.
    UpdateUser {
        /// Its name.
        account: UnixName,
        /// The id it must have.
        uid: u32,
        /// What the person is called.
        gecos: String,
        /// Login shell.
        shell: Shell,
    },
    /// Write the file of trusted user CA keys.
    WriteCa {
        /// Its content.
        content: String,
    },
    /// Write a principals file.
    WritePrincipals {
        /// Whose.
        account: UnixName,
        /// Its content.
        content: String,
    },
    /// Write the sshd drop-in, make sshd use it, and take it back when anything is wrong with that.
    WriteSshdDropIn {
        /// Its content.
        content: String,
        /// What it says about forwarding.
        forwarding: PortForwarding,
        /// A managed account to compare sshd's effective settings for.
        managed: UnixName,
        /// Whether this host forwards, so that the hop account's settings must hold too.
        hop: bool,
    },
    /// Write the sudoers drop-in, and take it back when sudo does not do what it says.
    WriteSudoers {
        /// Its content.
        content: String,
        /// An administrator to ask sudo about, when there is one.
        admin: Option<UnixName>,
    },
}

/// What a step's failure means for the steps after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Takes access away: always tried, never held back.
    Revocation,
    /// What everything that is made stands on: when it fails, nothing more is made.
    Foundation,
    /// One account or group: when it fails, the others go on.
    Account,
    /// Clears away what is not wanted any more.
    Deletion,
}

impl Step {
    /// See [`Phase`].
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self {
            Self::EndSessions { .. }
            | Self::LockUser { .. }
            | Self::RemoveJobs { .. }
            | Self::RemovePrincipals { .. }
            | Self::RemoveSudoers => Phase::Revocation,
            Self::Claim { .. } | Self::WriteCa { .. } | Self::WriteSshdDropIn { .. } => Phase::Foundation,
            Self::CreateGroup { name, .. } if *name == UnixName::managed() => Phase::Foundation,
            Self::Confirm { .. }
            | Self::CreateGroup { .. }
            | Self::CreateHome { .. }
            | Self::CreateUser { .. }
            | Self::RestoreHome { .. }
            | Self::SetMembers { .. }
            | Self::UnlockUser { .. }
            | Self::UpdateUser { .. }
            | Self::WritePrincipals { .. }
            | Self::WriteSudoers { .. } => Phase::Account,
            Self::DeleteGroup { .. }
            | Self::DeleteUser { .. }
            | Self::Release { .. }
            | Self::RetireHome { .. } => Phase::Deletion,
        }
    }

    /// The one account or group that the step is about.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::CreateHome { account, .. }
            | Self::CreateUser { account, .. }
            | Self::DeleteUser { account, .. }
            | Self::EndSessions { account, .. }
            | Self::LockUser { account, .. }
            | Self::RemoveJobs { account, .. }
            | Self::RestoreHome { account, .. }
            | Self::RetireHome { account, .. }
            | Self::UnlockUser { account, .. }
            | Self::UpdateUser { account, .. }
            | Self::WritePrincipals { account, .. } => Some(account.as_str()),
            Self::CreateGroup { name, .. } | Self::DeleteGroup { name, .. } => Some(name.as_str()),
            Self::RemovePrincipals { account } => Some(account),
            Self::SetMembers { group, .. } => Some(group.as_str()),
            Self::Claim { .. }
            | Self::Confirm { .. }
            | Self::Release { .. }
            | Self::RemoveSudoers
            | Self::WriteCa { .. }
            | Self::WriteSshdDropIn { .. }
            | Self::WriteSudoers { .. } => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim { claims } => write!(f, "record {} new things as ours", claims.len()),
            Self::Confirm { users, groups } => {
                write!(f, "record {} accounts and {} groups as made", users.len(), groups.len())
            }
            Self::CreateGroup { name, gid } => write!(f, "create group {name} ({gid})"),
            Self::CreateHome { account, .. } => write!(f, "create the home of {account}"),
            Self::CreateUser { account, uid, .. } => write!(f, "create user {account} ({uid})"),
            Self::DeleteGroup { name, .. } => write!(f, "delete group {name}"),
            Self::DeleteUser { account, .. } => write!(f, "delete user {account}"),
            Self::EndSessions { account, .. } => write!(f, "end the sessions of {account}"),
            Self::LockUser { account, .. } => write!(f, "lock {account}"),
            Self::Release { users, groups } => {
                write!(f, "record {} accounts and {} groups as gone", users.len(), groups.len())
            }
            Self::RemoveJobs { account, .. } => write!(f, "remove scheduled jobs of {account}"),
            Self::RemovePrincipals { account } => write!(f, "remove the principals of {account}"),
            Self::RemoveSudoers => f.write_str("remove the sudo rule"),
            Self::RestoreHome { account, .. } => write!(f, "give the kept home back to {account}"),
            Self::RetireHome { account, .. } => write!(f, "keep the home of {account} for later"),
            Self::SetMembers { group, members, .. } => {
                write!(f, "set the {} members of {group}", members.len())
            }
            Self::UnlockUser { account, .. } => write!(f, "open {account} to keys"),
            Self::UpdateUser { account, .. } => write!(f, "set name and shell of {account}"),
            Self::WriteCa { .. } => f.write_str("write the trusted user CA keys"),
            Self::WritePrincipals { account, .. } => write!(f, "write the principals of {account}"),
            Self::WriteSshdDropIn { .. } => f.write_str("write the sshd drop-in"),
            Self::WriteSudoers { .. } => f.write_str("write the sudo rule"),
        }
    }
}
