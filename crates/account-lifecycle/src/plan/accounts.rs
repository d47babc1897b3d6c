//! Making accounts and groups, and keeping them as they were made.

use std::collections::BTreeSet;

use crate::{
    account::{Shell, UnixName},
    desired::Sudo,
    observed::{Home, LocalUser},
    ownership::{Claim, ManagedFile, OwnedUser, Stage},
    plan::Planner,
    step::Step,
};

/// An account to have: a person's, or the hop account.
struct Account {
    uid: u32,
    gid: u32,
    gecos: String,
    shell: Shell,
    has_home: bool,
}

impl Planner<'_> {
    /// Who should be in a group of ours.
    pub(super) fn members(&self, group: &UnixName) -> BTreeSet<UnixName> {
        if *group == UnixName::managed() {
            // Leavers stay in: outside this group a key in their home would open their account again.
            let ours = self.ownership.users.keys().filter(|name| self.is_ours(name)).cloned();
            return self.users.iter().cloned().chain(ours).collect();
        }
        if *group == UnixName::admin() {
            if self.sudo() == Sudo::None {
                return BTreeSet::new();
            }
            let admins = self.desired.users.iter().filter(|(_, user)| user.admin).map(|(name, _)| name);
            let trusted = |name: &&UnixName| self.users.contains(*name) && !self.desired.is_locked(name);
            return admins.filter(trusted).cloned().collect();
        }
        let members = self.desired.groups.get(group).map(|group| &group.members);
        members.into_iter().flatten().filter(|name| self.users.contains(*name)).cloned().collect()
    }

    /// What is granted: at most what the host's owner allows.
    pub(super) fn sudo(&self) -> Sudo {
        self.desired.sudo.min(self.limits.sudo)
    }

    fn account(&self, name: &UnixName) -> Option<Account> {
        if *name == UnixName::hop() {
            let id = *self.system_ids.get(name)?;
            let gecos = "Usher hop".to_owned();
            return Some(Account { uid: id, gid: id, gecos, shell: Shell::nologin(), has_home: false });
        }
        let user = self.desired.users.get(name)?;
        let (gecos, shell) = (user.gecos.clone(), user.shell.clone());
        Some(Account { uid: user.uid, gid: user.gid, gecos, shell, has_home: true })
    }

    fn group_gid(&self, name: &UnixName) -> Option<u32> {
        let desired = self.desired.groups.get(name).map(|group| group.gid);
        desired.or_else(|| self.system_ids.get(name).copied())
    }

    /// Groups, accounts, homes and memberships that are missing or differ.
    pub(super) fn plan_accounts(&mut self) {
        for name in self.groups.clone() {
            if !self.observed.groups.contains_key(name.as_str())
                && let Some(gid) = self.group_gid(&name)
            {
                let step = Step::CreateGroup { name, gid };
                self.accounts.push(step);
            }
        }
        for name in self.users.clone() {
            if let Some(account) = self.account(&name) {
                self.plan_account(&name, account);
            }
        }
        for name in self.groups.clone() {
            self.plan_members(&name);
        }
        self.plan_confirmation();
    }

    fn plan_account(&mut self, name: &UnixName, account: Account) {
        let (uid, gid, has_home) = (account.uid, account.gid, account.has_home);
        if !self.observed.groups.contains_key(name.as_str()) {
            self.accounts.push(Step::CreateGroup { name: name.clone(), gid });
        }
        match self.observed.users.get(name.as_str()) {
            None => {
                let groups =
                    self.groups.iter().filter(|group| self.members(group).contains(name)).cloned().collect();
                let Account { gecos, shell, .. } = account;
                self.accounts.push(Step::CreateUser {
                    account: name.clone(),
                    uid,
                    gid,
                    gecos,
                    shell,
                    groups,
                });
            }
            Some(user) => self.plan_drift(name, user, account),
        }
        if has_home {
            self.plan_home(name, uid, gid);
        }
    }

    fn plan_drift(&mut self, name: &UnixName, user: &LocalUser, account: Account) {
        let Account { uid, gecos, shell, .. } = account;
        if user.gecos != gecos || user.shell != shell.as_str() {
            self.accounts.push(Step::UpdateUser { account: name.clone(), uid, gecos, shell });
        }
    }

    fn plan_home(&mut self, name: &UnixName, uid: u32, gid: u32) {
        match self.observed.homes.get(name) {
            None => self.accounts.push(Step::CreateHome { account: name.clone(), uid, gid }),
            Some(Home::Directory { inode, uid: owner }) if *owner != uid => {
                let kept = self.ownership.users.get(name).and_then(|owned| owned.home_inode) == Some(*inode);
                if kept {
                    self.accounts.push(Step::RestoreHome { account: name.clone(), uid, gid, inode: *inode });
                }
            }
            Some(_) => {}
        }
    }

    fn plan_members(&mut self, name: &UnixName) {
        let Some(gid) = self.group_gid(name) else { return };
        let wanted = self.members(name);
        // New accounts join as they are made; this is for those that exist.
        let have: BTreeSet<UnixName> = match self.observed.groups.get(name.as_str()) {
            None => BTreeSet::new(),
            Some(group) => group.members.iter().filter_map(|member| member.parse().ok()).collect(),
        };
        let missing =
            |member: &UnixName| !have.contains(member) && self.observed.users.contains_key(member.as_str());
        if wanted.iter().any(missing) {
            self.accounts.push(Step::SetMembers { group: name.clone(), gid, members: wanted });
        }
    }

    /// One record of everything that the steps will make, before the first of them.
    pub(super) fn plan_claims(&mut self) {
        let mut claims = Vec::new();
        for file in
            [ManagedFile::Principals, ManagedFile::SshdDropIn, ManagedFile::Sudoers, ManagedFile::UserCa]
        {
            let wanted = file != ManagedFile::Sudoers || self.steps_write_sudoers();
            if wanted && !self.ownership.files.contains_key(&file) {
                claims.push(Claim::File(file));
            }
        }
        for step in &self.accounts {
            if let Step::CreateGroup { name, gid } = step {
                let claimed = self
                    .ownership
                    .groups
                    .get(name)
                    .is_some_and(|group| group.gid == *gid && group.stage == Stage::Claimed);
                if !claimed {
                    claims.push(Claim::Group { name: name.clone(), gid: *gid });
                }
            }
        }
        for name in &self.users {
            claims.extend(self.user_claim(name));
        }
        if !claims.is_empty() {
            self.foundation.insert(0, Step::Claim { claims });
        }
    }

    fn steps_write_sudoers(&self) -> bool {
        self.accounts.iter().any(|step| matches!(step, Step::WriteSudoers { .. }))
    }

    /// An account or a home that will be made is claimed with exactly what is there now.
    fn user_claim(&self, name: &UnixName) -> Option<Claim> {
        let account = self.account(name)?;
        let home_inode = match self.observed.homes.get(name) {
            Some(Home::Directory { inode, .. }) => Some(*inode),
            _ => None,
        };
        let exists = self.observed.users.contains_key(name.as_str());
        if exists && (!account.has_home || self.observed.homes.contains_key(name)) {
            return None;
        }
        let claimed = |owned: &OwnedUser| {
            owned.stage == Stage::Claimed && owned.uid == account.uid && owned.gid == account.gid
        };
        if let Some(owned) = self.ownership.users.get(name).filter(|owned| claimed(owned)) {
            // A home that was made just before a crash keeps its open claim; it is confirmed below.
            let same = owned.home_inode == home_inode || owned.home_inode.is_none();
            if same {
                return None;
            }
        }
        Some(Claim::User { name: name.clone(), uid: account.uid, gid: account.gid, home_inode })
    }

    fn plan_confirmation(&mut self) {
        let made = |name: &&UnixName| {
            let owned = self.ownership.present_user(name);
            let missing_home = self.account(name).is_some_and(|account| account.has_home)
                && !self.observed.homes.contains_key(*name);
            owned.is_none_or(|owned| owned.stage == Stage::Claimed)
                || !self.observed.users.contains_key(name.as_str())
                || missing_home
        };
        let users: Vec<UnixName> = self.users.iter().filter(made).cloned().collect();
        let live = |name: &UnixName| {
            self.ownership.groups.get(name).is_some_and(|group| group.stage == Stage::Live)
                && self.observed.groups.contains_key(name.as_str())
        };
        let groups: Vec<UnixName> =
            self.groups.iter().chain(&self.users).filter(|name| !live(name)).cloned().collect();
        if !(users.is_empty() && groups.is_empty()) {
            self.accounts.push(Step::Confirm { users, groups });
        }
    }
}
