//! Taking access away, and clearing away accounts and groups that are not wanted any more.

use std::collections::BTreeSet;

use crate::{
    account::UnixName,
    observed::{FileState, Home, Password},
    ownership::{ManagedFile, Stage},
    plan::{DELETIONS_ALWAYS_ALLOWED, MassDeletion, Mode, Planner},
    step::Step,
};

impl Planner<'_> {
    /// Principals files that should not be there, first of all: from then on nobody new gets in.
    pub(super) fn plan_principals(&mut self, open: bool) {
        if !self.ownership.files.contains_key(&ManagedFile::Principals) {
            return;
        }
        for (file, state) in &self.observed.principals {
            let name: Option<UnixName> = file.parse().ok();
            // An account in conflict is not ours, whatever its name: nobody may reach it with our certificates. While
            // nothing may be made (sshd's block is in question), files that would stay are left as they are.
            let locked = name.as_ref().is_some_and(|name| self.desired.is_locked(name));
            let wanted = !locked
                && (name.as_ref().is_some_and(|name| self.users.contains(name))
                    || (!open
                        && name.as_ref().is_some_and(|name| self.is_desired(name) && self.is_ours(name)))
                    || self.desired.untouched.contains(file));
            if !wanted && *state != FileState::Absent {
                self.revocation.push(Step::RemovePrincipals { account: file.clone() });
            }
        }
    }

    /// Revokes and deletes accounts and groups of ours that are not desired.
    pub(super) fn plan_leaving(&mut self) {
        let leaving = self.leaving();
        self.demote();
        let existing: Vec<UnixName> = leaving.iter().filter(|name| self.is_ours(name)).cloned().collect();
        let present = self.ownership.users.values().filter(|user| user.stage != Stage::Retired).count();
        let many = existing.len() > DELETIONS_ALWAYS_ALLOWED && existing.len().saturating_mul(5) > present;
        let hold =
            many && self.limits.mass_deletion == MassDeletion::Hold || self.limits.mode == Mode::Observe;
        for name in &existing {
            self.revoke(name, hold);
        }
        let (gone, changed): (Vec<UnixName>, Vec<UnixName>) = leaving
            .into_iter()
            .filter(|name| !existing.contains(name))
            .partition(|name| !self.observed.users.contains_key(name.as_str()));
        let deleted = if hold { Vec::new() } else { existing.clone() };
        for name in deleted.iter().chain(&gone) {
            self.retire(name, deleted.contains(name));
        }
        // What was changed on the host is somebody else's now: it leaves our record and is otherwise left alone.
        self.release([deleted, gone, changed].concat());
        if hold {
            self.held = existing;
        }
    }

    /// Members that a group must lose, before anything is added anywhere. A process keeps the groups it started with and
    /// sudo believes it, so losing sudo ends the sessions.
    fn demote(&mut self) {
        let mut names: Vec<UnixName> = self.groups.iter().cloned().collect();
        names.retain(|name| self.is_our_group(name));
        for name in names {
            let Some(group) = self.observed.groups.get(name.as_str()) else { continue };
            let wanted = self.members(&name);
            let is = |member: &String| member.parse::<UnixName>().ok();
            let stays: BTreeSet<UnixName> =
                group.members.iter().filter_map(is).filter(|member| wanted.contains(member)).collect();
            if stays.len() == group.members.len() {
                continue;
            }
            let lost: Vec<UnixName> =
                group.members.iter().filter_map(is).filter(|member| !wanted.contains(member)).collect();
            self.revocation.push(Step::SetMembers { group: name.clone(), gid: group.gid, members: stays });
            if name == UnixName::admin() {
                let ours =
                    lost.into_iter().filter(|account| self.users.contains(account) && self.is_ours(account));
                let demoted: Vec<UnixName> = ours.collect();
                for account in demoted {
                    if let Some(user) = self.observed.users.get(account.as_str()) {
                        self.revocation.push(Step::EndSessions { uid: user.uid, account });
                    }
                }
            }
        }
    }

    /// Everything that ends a leaver's access, in an order that leaves no gap: no new login, no new process, no old one.
    fn revoke(&mut self, name: &UnixName, hold: bool) {
        let Some(user) = self.observed.users.get(name.as_str()) else { return };
        let (account, uid) = (name.clone(), user.uid);
        if user.password != Password::Locked {
            self.revocation.push(Step::LockUser { account: account.clone(), uid });
        }
        let running = self.observed.running_uids.contains(&uid);
        let jobs = self.observed.jobs.contains(name);
        if hold && !running && !jobs {
            return;
        }
        self.revocation.push(Step::EndSessions { account: account.clone(), uid });
        self.revocation.push(Step::RemoveJobs { account: account.clone(), uid });
        // Again: a process may have come from a job between the two.
        self.revocation.push(Step::EndSessions { account, uid });
    }

    /// Ends the access of locked accounts and leaves everything else as it is: what was locked comes back unharmed.
    pub(super) fn lock_out(&mut self) {
        let present = self.ownership.users.keys().filter(|name| self.is_desired(name) && self.is_ours(name));
        let locked: Vec<UnixName> = present.filter(|name| self.desired.is_locked(name)).cloned().collect();
        let uid_of =
            |planner: &Self, name: &UnixName| planner.observed.users.get(name.as_str()).map(|user| user.uid);
        // People at work first: locking an account takes a while, and there may be many.
        for account in &locked {
            let Some(uid) = uid_of(self, account) else { continue };
            let opened = self.observed.principals.contains_key(account.as_str());
            if opened || self.observed.running_uids.contains(&uid) {
                self.revocation.push(Step::EndSessions { account: account.clone(), uid });
            }
        }
        // Expired: scheduled jobs do not start, and no key elsewhere opens it.
        for account in &locked {
            let Some(user) = self.observed.users.get(account.as_str()) else { continue };
            let (uid, running) = (user.uid, self.observed.running_uids.contains(&user.uid));
            if user.password != Password::Locked {
                self.revocation.push(Step::LockUser { account: account.clone(), uid });
                if running {
                    // Again: a process may have come from a job between the two.
                    self.revocation.push(Step::EndSessions { account: account.clone(), uid });
                }
            }
        }
    }

    fn retire(&mut self, name: &UnixName, exists: bool) {
        let Some(owned) = self.ownership.users.get(name) else { return };
        let home = self.observed.homes.get(name);
        if let (Some(inode), Some(Home::Directory { inode: found, uid })) = (owned.home_inode, home)
            && inode == *found
            && *uid == owned.uid
        {
            self.deletion.push(Step::RetireHome { account: name.clone(), uid: owned.uid, inode });
        }
        if exists {
            self.deletion.push(Step::DeleteUser { account: name.clone(), uid: owned.uid });
        }
    }

    fn release(&mut self, users: Vec<UnixName>) {
        let groups = self.unwanted_groups(&users);
        for name in &groups {
            if self.is_our_group(name)
                && let Some(owned) = self.ownership.groups.get(name)
            {
                self.deletion.push(Step::DeleteGroup { name: name.clone(), gid: owned.gid });
            }
        }
        if !(users.is_empty() && groups.is_empty()) {
            self.deletion.push(Step::Release { users, groups });
        }
    }

    /// Groups of ours that are neither desired nor the private group of an account that stays.
    fn unwanted_groups(&self, deleted: &[UnixName]) -> Vec<UnixName> {
        let kept = |name: &UnixName| {
            let private = self.ownership.present_user(name).is_some() && !deleted.contains(name);
            private
                || self.is_desired(name)
                || self.desired.groups.contains_key(name)
                || [UnixName::managed(), UnixName::admin()].contains(name)
        };
        self.ownership.groups.keys().filter(|name| !kept(name)).cloned().collect()
    }
}
