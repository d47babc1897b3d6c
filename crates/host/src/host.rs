//! The [`Host`] port on Linux: every step of a plan, as the system's tools and files do it.

use std::{fmt, path::Path};

use usher_account_lifecycle::{
    Host, Interest, Observed, Ownership, Step, account::UnixName, observed::Home, ownership::Confirmation,
};
use usher_types::UnixTime;

use crate::{
    AccountFiles, HostError, RootStore, SecureDirectory, account, home, jobs, observe, sessions,
    sshd::{self, DropIn},
    sudo,
};

/// Name of the ownership record below the root-only directory.
const OWNERSHIP: &str = "ownership.json";

/// A point inside a step where power may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// An empty directory stands in the staging place.
    HomeStaged,
    /// It holds the skeleton and belongs to its user.
    HomeFilled,
    /// It is at its place.
    HomePlaced,
    /// A copy of sshd's whole configuration with our drop-in passed its checks.
    SshdChecked,
    /// The drop-in is at its place; sshd runs with the old configuration.
    SshdPlaced,
    /// The configuration at its place passed the checks too.
    SshdProved,
    /// sshd was told to read it.
    SshdReloaded,
    /// sshd answers on its port.
    SshdAnswered,
    /// The rule passed `visudo`.
    SudoersChecked,
    /// The rule is at its place.
    SudoersPlaced,
    /// sudo does what it says.
    SudoersProved,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 11] = [
        Self::HomeStaged,
        Self::HomeFilled,
        Self::HomePlaced,
        Self::SshdChecked,
        Self::SshdPlaced,
        Self::SshdProved,
        Self::SshdReloaded,
        Self::SshdAnswered,
        Self::SudoersChecked,
        Self::SudoersPlaced,
        Self::SudoersProved,
    ];
}

type Hook = Box<dyn FnMut(Stage) -> Result<(), HostError> + Send>;

/// Where a test may stop a step. The product passes everywhere.
#[derive(Default)]
pub struct Checkpoint(Option<Hook>);

impl Checkpoint {
    /// Calls `hook` at every [`Stage`].
    pub fn new(hook: impl FnMut(Stage) -> Result<(), HostError> + Send + 'static) -> Self {
        Self(Some(Box::new(hook)))
    }

    pub(crate) fn pass(&mut self, stage: Stage) -> Result<(), HostError> {
        self.0.as_mut().map_or(Ok(()), |hook| hook(stage))
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checkpoint")
    }
}

/// This machine.
#[derive(Debug)]
pub struct LinuxHost {
    store: RootStore,
    /// Accounts whose way in and whose rights no change of ours may touch.
    unmanaged: Vec<String>,
    now: fn() -> UnixTime,
    checkpoint: Checkpoint,
}

impl LinuxHost {
    /// Opens the agent's root-only directory and takes its lock.
    ///
    /// # Errors
    /// [`HostError`] when it is not safe or another agent holds it.
    pub fn open(
        root: impl AsRef<Path>,
        break_glass: &[String],
        now: fn() -> UnixTime,
    ) -> Result<Self, HostError> {
        let mut unmanaged = break_glass.to_vec();
        unmanaged.push("nobody".to_owned());
        Ok(Self { store: RootStore::open(root.as_ref())?, unmanaged, now, checkpoint: Checkpoint::default() })
    }

    /// Stops at stages, for tests of crashes.
    #[must_use]
    pub fn with_checkpoint(mut self, checkpoint: Checkpoint) -> Self {
        self.checkpoint = checkpoint;
        self
    }

    /// The agent's own records.
    #[must_use]
    pub fn store(&self) -> &RootStore {
        &self.store
    }

    fn change(&self, change: impl FnOnce(&mut Ownership)) -> Result<(), HostError> {
        let mut ownership = self.ownership()?;
        change(&mut ownership);
        self.store.write(OWNERSHIP, &ownership)
    }

    /// Notes as made what is there as it was claimed.
    fn confirm(&self, users: &[UnixName], groups: &[UnixName]) -> Result<(), HostError> {
        let (files, ownership) = (AccountFiles::read()?, self.ownership()?);
        let mut confirmed = Vec::new();
        for name in users {
            let Some(owned) = ownership.users.get(name) else { continue };
            if files
                .users
                .get(name.as_str())
                .is_none_or(|user| (user.uid, user.gid) != (owned.uid, owned.gid))
            {
                continue;
            }
            let home_inode = match home::observe(name.as_str())? {
                Some(Home::Directory { inode, uid }) if uid == owned.uid => Some(inode),
                _ => None,
            };
            confirmed.push(Confirmation::User { name: name.clone(), home_inode });
        }
        for name in groups {
            let made = ownership.groups.get(name).map(|group| group.gid);
            if made.is_some() && files.groups.get(name.as_str()).map(|group| group.gid) == made {
                confirmed.push(Confirmation::Group { name: name.clone() });
            }
        }
        self.change(|ownership| ownership.confirm(&confirmed))
    }

    fn write_sshd_drop_in(&mut self, drop_in: &DropIn<'_>) -> Result<(), HostError> {
        let running = self.ownership()?.sshd_running;
        // Until sshd has been seen to run with the new file, a crash must make the next pass look again.
        self.change(|ownership| ownership.sshd_running = None)?;
        let sha256 = sshd::write(drop_in, running, self.store.scratch(), &mut self.checkpoint)?;
        self.change(|ownership| ownership.sshd_running = Some(sha256))
    }
}

impl Host for LinuxHost {
    type Error = HostError;

    fn ownership(&self) -> Result<Ownership, HostError> {
        Ok(self.store.read(OWNERSHIP)?.unwrap_or_default())
    }

    fn observe(&self, interest: &Interest) -> Result<Observed, HostError> {
        observe::observe(interest)
    }

    fn apply(&mut self, step: &Step) -> Result<(), HostError> {
        match step {
            Step::Claim { claims } => {
                let now = (self.now)();
                self.change(|ownership| ownership.claim(claims, now))
            }
            Step::Confirm { users, groups } => self.confirm(users, groups),
            Step::CreateGroup { name, gid } => account::create_group(name, *gid),
            Step::CreateHome { account, uid, gid } => {
                home::create(account.as_str(), *uid, *gid, &mut self.checkpoint)
            }
            Step::CreateUser { account, uid, gid, gecos, shell, groups } => {
                account::create_user(account, (*uid, *gid), gecos, shell, groups)
            }
            Step::DeleteGroup { name, gid } => account::delete_group(name, *gid),
            Step::DeleteUser { account, uid } => account::delete_user(account, *uid),
            Step::EndSessions { account, uid } => sessions::end(account.as_str(), *uid),
            Step::LockUser { account, uid } => account::lock_user(account, *uid),
            Step::Release { users, groups } => self.change(|ownership| ownership.release(users, groups)),
            Step::RemoveJobs { account, uid } => jobs::remove(account.as_str(), *uid),
            Step::RemovePrincipals { account } => sshd::principals()?.remove(account),
            Step::RemoveSudoers => sudo::remove(),
            Step::RestoreHome { account, uid, gid, inode } => {
                home::restore(account.as_str(), (*uid, *gid), *inode)
            }
            Step::RetireHome { account, uid, inode } => home::retire(account.as_str(), *uid, *inode),
            Step::SetMembers { group, gid, members } => account::set_members(group, *gid, members),
            Step::UnlockUser { account, uid } => account::unlock_user(account, *uid),
            Step::UpdateUser { account, uid, gecos, shell } => {
                account::update_user(account, *uid, gecos, shell)
            }
            Step::WriteCa { content } => sshd::write_ca(content),
            Step::WritePrincipals { account, content } => sshd::write_principals(account.as_str(), content),
            Step::WriteSshdDropIn { content, forwarding, managed, hop } => {
                let unmanaged = self.unmanaged.clone();
                let drop_in =
                    DropIn { content, forwarding: *forwarding, managed, hop: *hop, unmanaged: &unmanaged };
                self.write_sshd_drop_in(&drop_in)
            }
            Step::WriteSudoers { content, admin } => {
                sudo::write(content, admin.as_ref(), &self.unmanaged, &mut self.checkpoint)
            }
        }
    }
}

impl SecureDirectory {
    /// Removes everything that a scratch directory of ours holds, files only.
    pub(crate) fn empty(&self) -> Result<(), HostError> {
        for name in self.names()? {
            self.remove(&name)?;
        }
        Ok(())
    }
}
