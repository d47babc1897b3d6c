//! A host in memory that behaves like the real one where a plan can tell: ids collide, deleting a user with its group takes
//! the group along, steps are idempotent, and it can lose power before or after any step.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use thiserror::Error;
use usher_account_lifecycle::{
    HOME_BASE, HOP_HOME, Host, Interest, Observed, Ownership, Step,
    account::UnixName,
    observed::{FileState, Home, LocalGroup, LocalUser, Password},
    ownership::{Claim, Confirmation, ManagedFile},
};
use usher_types::Sha256;

use crate::fixtures::NOW;

#[derive(Clone, Debug, Default)]
pub(crate) struct FakeHost {
    pub(crate) seen: Observed,
    pub(crate) owned: Ownership,
    /// Steps that may still be applied before the power goes.
    pub(crate) power: Option<usize>,
    pub(crate) inode: u64,
    pub(crate) asked: Cell<usize>,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Refusal {
    #[error("no power")]
    Power,
    #[error("cannot: {0}")]
    Cannot(String),
}

impl FakeHost {
    pub(crate) fn new() -> Self {
        let mut host = Self::default();
        host.add_user("root", 0, 0);
        host.add_user("nobody", 65_534, 65_534);
        host.seen.free_system_ids = vec![999, 998, 997, 996];
        host
    }

    pub(crate) fn add_user(&mut self, name: &str, uid: u32, gid: u32) {
        let home = format!("/home/{name}");
        let user = LocalUser {
            uid,
            gid,
            gecos: String::new(),
            home,
            shell: "/bin/sh".to_owned(),
            password: Password::Other,
        };
        self.seen.users.insert(name.to_owned(), user);
        self.seen.groups.insert(name.to_owned(), LocalGroup { gid, members: BTreeSet::new() });
    }

    /// Everything that is not ours, to compare before and after.
    pub(crate) fn foreign(&self) -> BTreeMap<String, String> {
        let name = |name: &str| name.parse::<UnixName>().ok();
        let ours = |text: &str| {
            name(text).is_some_and(|name| {
                self.owned.users.contains_key(&name) || self.owned.groups.contains_key(&name)
            })
        };
        let users = self.seen.users.iter().filter(|(name, _)| !ours(name));
        let groups = self.seen.groups.iter().filter(|(name, _)| !ours(name));
        let users = users.map(|(name, user)| (format!("user {name}"), format!("{user:?}")));
        let groups = groups.map(|(name, group)| (format!("group {name}"), format!("{group:?}")));
        users.chain(groups).collect()
    }

    fn write(&mut self, file: ManagedFile, content: &str) {
        assert!(self.owned.files.contains_key(&file), "{file:?} was written without a claim");
        self.seen.files.insert(file, FileState::Clean(Sha256::of(content.as_bytes())));
    }

    fn user(&mut self, account: &UnixName, uid: u32) -> Result<&mut LocalUser, Refusal> {
        assert!(self.owned.users.contains_key(account), "{account} is touched but not ours");
        match self.seen.users.get_mut(account.as_str()) {
            Some(user) if user.uid == uid => Ok(user),
            _ => Err(Refusal::Cannot(format!("no account {account} with UID {uid}"))),
        }
    }

    fn create_user(&mut self, step: &Step) -> Result<(), Refusal> {
        let Step::CreateUser { account, uid, gid, gecos, shell, groups } = step else { unreachable!() };
        assert!(self.owned.users.contains_key(account), "{account} is made without a claim");
        if let Some(user) = self.seen.users.get(account.as_str()) {
            assert_eq!((user.uid, user.gid), (*uid, *gid), "made over another account");
            return Ok(());
        }
        assert!(self.seen.users.values().all(|user| user.uid != *uid), "UID {uid} is taken");
        assert!(self.seen.groups.values().any(|group| group.gid == *gid), "the primary group is missing");
        let home =
            if *account == UnixName::hop() { HOP_HOME.to_owned() } else { format!("{HOME_BASE}/{account}") };
        let user = LocalUser {
            uid: *uid,
            gid: *gid,
            gecos: gecos.clone(),
            home,
            shell: shell.to_string(),
            password: Password::Star,
        };
        self.seen.users.insert(account.to_string(), user);
        for group in groups {
            self.seen.groups.get_mut(group.as_str()).unwrap().members.insert(account.to_string());
        }
        Ok(())
    }

    fn delete_user(&mut self, account: &UnixName, uid: u32) {
        assert!(self.owned.users.contains_key(account), "{account} is deleted but not ours");
        let Some(user) = self.seen.users.get(account.as_str()) else { return };
        assert_eq!(user.uid, uid);
        assert!(!self.seen.running_uids.contains(&uid), "deleted with processes running");
        assert!(!self.seen.principals.contains_key(account.as_str()), "deleted before its principals");
        self.seen.users.remove(account.as_str());
        for group in self.seen.groups.values_mut() {
            group.members.remove(account.as_str());
        }
        // As userdel does with USERGROUPS_ENAB.
        self.seen.groups.remove(account.as_str());
    }

    fn confirm(&mut self, users: &[UnixName], groups: &[UnixName]) {
        let made = |name: &&UnixName| {
            let owned = self.owned.users.get(*name);
            owned.is_some_and(|owned| {
                self.seen.users.get(name.as_str()).is_some_and(|user| user.uid == owned.uid)
            })
        };
        let users = users.iter().filter(made).map(|name| {
            let home_inode = match self.seen.homes.get(name) {
                Some(Home::Directory { inode, uid })
                    if Some(*uid) == self.owned.users.get(name).map(|user| user.uid) =>
                {
                    Some(*inode)
                }
                _ => None,
            };
            Confirmation::User { name: name.clone(), home_inode }
        });
        let groups = groups.iter().filter(|name| self.seen.groups.contains_key(name.as_str()));
        let confirmed: Vec<_> =
            users.chain(groups.map(|name| Confirmation::Group { name: name.clone() })).collect();
        self.owned.confirm(&confirmed);
    }

    fn set_members(&mut self, group: &UnixName, members: &BTreeSet<UnixName>) {
        assert!(self.owned.groups.contains_key(group), "{group} is changed but not ours");
        let existing = members.iter().filter(|name| self.seen.users.contains_key(name.as_str()));
        let members = existing.map(ToString::to_string).collect();
        self.seen.groups.get_mut(group.as_str()).unwrap().members = members;
    }

    fn set_home(&mut self, account: &UnixName, from: Option<u32>, to: u32) {
        match self.seen.homes.get_mut(account) {
            Some(Home::Directory { uid, .. }) => {
                assert!(
                    from.is_none_or(|from| from == *uid || *uid == to),
                    "a home of somebody else is touched"
                );
                *uid = to;
            }
            _ => panic!("no home of {account}"),
        }
    }
}

impl Host for FakeHost {
    type Error = Refusal;

    fn ownership(&self) -> Result<Ownership, Refusal> {
        Ok(self.owned.clone())
    }

    fn observe(&self, interest: &Interest) -> Result<Observed, Refusal> {
        let mut seen = self.seen.clone();
        seen.homes.retain(|name, _| interest.names.contains(name));
        Ok(seen)
    }

    fn apply(&mut self, step: &Step) -> Result<(), Refusal> {
        match &mut self.power {
            Some(0) => return Err(Refusal::Power),
            Some(left) => *left -= 1,
            None => {}
        }
        self.asked.set(self.asked.get() + 1);
        match step {
            Step::Claim { claims } => {
                for claim in claims {
                    if let Claim::User { name, .. } = claim {
                        let free = self.owned.users.contains_key(name)
                            || !self.seen.users.contains_key(name.as_str());
                        assert!(free, "claims {name}, which exists");
                    }
                }
                self.owned.claim(claims, NOW);
            }
            Step::Confirm { users, groups } => self.confirm(users, groups),
            Step::CreateGroup { name, gid } => {
                assert!(self.owned.groups.contains_key(name), "{name} is made without a claim");
                let clash =
                    self.seen.groups.iter().any(|(other, group)| group.gid == *gid && other != name.as_str());
                assert!(!clash, "GID {gid} is taken");
                let group = self.seen.groups.entry(name.to_string()).or_default();
                group.gid = *gid;
            }
            Step::CreateHome { account, uid, .. } => {
                self.user(account, *uid)?;
                assert!(!self.seen.homes.contains_key(account), "a home is made over something");
                self.inode += 1;
                self.seen.homes.insert(account.clone(), Home::Directory { inode: self.inode, uid: *uid });
            }
            Step::CreateUser { .. } => self.create_user(step)?,
            Step::DeleteGroup { name, gid } => {
                assert!(self.owned.groups.contains_key(name), "{name} is deleted but not ours");
                assert!(self.seen.groups.get(name.as_str()).is_none_or(|group| group.gid == *gid));
                self.seen.groups.remove(name.as_str());
            }
            Step::DeleteUser { account, uid } => self.delete_user(account, *uid),
            Step::EndSessions { uid, .. } => {
                self.seen.running_uids.remove(uid);
            }
            Step::LockUser { account, uid } => self.user(account, *uid)?.password = Password::Locked,
            Step::Release { users, groups } => self.owned.release(users, groups),
            Step::RemoveJobs { account, .. } => {
                self.seen.jobs.remove(account);
            }
            Step::RemovePrincipals { account } => {
                self.seen.principals.remove(account);
            }
            Step::RemoveSudoers => {
                self.seen.files.remove(&ManagedFile::Sudoers);
            }
            Step::RestoreHome { account, uid, .. } => self.set_home(account, Some(0), *uid),
            Step::RetireHome { account, uid, .. } => self.set_home(account, Some(*uid), 0),
            Step::SetMembers { group, members, .. } => self.set_members(group, members),
            Step::UnlockUser { account, uid } => self.user(account, *uid)?.password = Password::Star,
            Step::UpdateUser { account, uid, gecos, shell } => {
                let user = self.user(account, *uid)?;
                user.gecos.clone_from(gecos);
                user.shell = shell.to_string();
            }
            Step::WriteCa { content } => self.write(ManagedFile::UserCa, content),
            Step::WritePrincipals { account, content } => {
                assert!(self.owned.files.contains_key(&ManagedFile::Principals));
                self.seen.files.insert(ManagedFile::Principals, FileState::Clean(Sha256::of(b"")));
                let state = FileState::Clean(Sha256::of(content.as_bytes()));
                self.seen.principals.insert(account.to_string(), state);
            }
            Step::WriteSshdDropIn { content, managed, .. } => {
                let group = self.seen.groups.get("usher-managed");
                let probe = group.is_some_and(|group| group.members.contains(managed.as_str()));
                assert!(probe, "sshd is checked for {managed}, who is not managed");
                self.write(ManagedFile::SshdDropIn, content);
                self.owned.sshd_running = Some(Sha256::of(content.as_bytes()));
            }
            Step::WriteSudoers { content, .. } => self.write(ManagedFile::Sudoers, content),
        }
        Ok(())
    }
}
