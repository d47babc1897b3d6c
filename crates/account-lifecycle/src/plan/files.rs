//! The files that say who gets in and what they may do: CA keys, sshd drop-in, principals, sudoers.

use usher_types::Sha256;

use crate::{
    account::UnixName,
    desired::Sudo,
    observed::{FileState, Password, SudoSupport},
    ownership::ManagedFile,
    plan::{ConflictKind, Planner},
    render,
    step::Step,
};

fn differs(state: Option<&FileState>, content: &str) -> bool {
    state != Some(&FileState::Clean(Sha256::of(content.as_bytes())))
}

impl Planner<'_> {
    /// Files that are missing or differ; after the accounts, so that sshd's and sudo's effect on them can be checked.
    pub(super) fn plan_files(&mut self) {
        if differs(self.observed.files.get(&ManagedFile::UserCa), &self.desired.user_ca) {
            self.accounts.push(Step::WriteCa { content: self.desired.user_ca.clone() });
        }
        self.plan_sshd();
        self.plan_unlocking();
        self.plan_sudoers();
        let open: Vec<UnixName> =
            self.users.iter().filter(|name| !self.desired.is_locked(name)).cloned().collect();
        for name in open {
            let content = if name == UnixName::hop() {
                self.desired.hop.clone()
            } else {
                self.desired.users.get(&name).map(|user| user.principals.clone())
            };
            let Some(content) = content else { continue };
            if differs(self.observed.principals.get(name.as_str()), &content) {
                self.accounts.push(Step::WritePrincipals { account: name, content });
            }
        }
    }

    fn sshd_drop_in(&self) -> String {
        render::sshd_drop_in(self.desired.port_forwarding)
    }

    /// Whether sshd's block is missing or changed: then a key in a managed home would open the account.
    fn is_unguarded(&self) -> bool {
        differs(self.observed.files.get(&ManagedFile::SshdDropIn), &self.sshd_drop_in())
    }

    /// Locks existing accounts until sshd's block is back.
    pub(super) fn lock_unguarded(&mut self) {
        if !self.is_unguarded() {
            return;
        }
        let present = self.ownership.users.keys().filter(|name| self.is_desired(name) && self.is_ours(name));
        let present = present.filter(|name| !self.desired.is_locked(name));
        let open: Vec<UnixName> = present.cloned().collect();
        for account in open {
            if let Some(user) = self.observed.users.get(account.as_str())
                && user.password != Password::Locked
            {
                self.revocation.push(Step::LockUser { uid: user.uid, account });
            }
        }
    }

    /// Opens accounts that are locked, were just locked, or were given a password on the host.
    fn plan_unlocking(&mut self) {
        let unguarded = self.is_unguarded();
        for account in self.users.clone() {
            if let Some(user) = self.observed.users.get(account.as_str())
                && !self.desired.is_locked(&account)
                && (user.password != Password::Star || unguarded)
            {
                self.accounts.push(Step::UnlockUser { uid: user.uid, account });
            }
        }
    }

    /// Without an account there is nothing to check sshd's settings for, and nobody to let in.
    fn plan_sshd(&mut self) {
        let content = self.sshd_drop_in();
        // One that exists already, if any: a new one may turn out not to be possible.
        let known = self.users.iter().find(|name| self.observed.users.contains_key(name.as_str()));
        let Some(managed) = known.or_else(|| self.users.first()).cloned() else { return };
        let running = self.ownership.sshd_running == Some(Sha256::of(content.as_bytes()));
        if differs(self.observed.files.get(&ManagedFile::SshdDropIn), &content) || !running {
            let hop = self.users.contains(&UnixName::hop());
            self.accounts.push(Step::WriteSshdDropIn {
                content,
                forwarding: self.desired.port_forwarding,
                managed,
                hop,
            });
        }
    }

    /// Takes the sudo rule away when nobody is to have it.
    pub(super) fn revoke_sudo(&mut self) {
        let present =
            !matches!(self.observed.files.get(&ManagedFile::Sudoers), None | Some(FileState::Absent));
        if self.file_is_ours(ManagedFile::Sudoers, ConflictKind::Sudoers)
            && present
            && self.sudo() == Sudo::None
        {
            self.revocation.push(Step::RemoveSudoers);
        }
    }

    fn plan_sudoers(&mut self) {
        let admins = self.members(&UnixName::admin());
        let content = render::sudoers();
        let ours = self.file_is_ours(ManagedFile::Sudoers, ConflictKind::Sudoers);
        let needed = !admins.is_empty() && differs(self.observed.files.get(&ManagedFile::Sudoers), &content);
        if !ours || !needed {
            return;
        }
        if let SudoSupport::Unsupported(reason) = &self.observed.sudo {
            let reason = reason.clone();
            self.conflict(ConflictKind::Sudoers, "sudo", reason);
            return;
        }
        self.accounts.push(Step::WriteSudoers { content, admin: admins.first().cloned() });
    }
}
