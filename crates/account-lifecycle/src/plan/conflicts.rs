//! What is in the way: every check is "did we make it", never "would it work anyway".

use crate::{
    account::UnixName,
    allocate,
    desired::DesiredUser,
    observed::{FileState, Home, SshdSupport},
    ownership::{ManagedFile, Stage},
    plan::{ConflictKind, Planner},
};

impl Planner<'_> {
    /// Sorts the desired accounts and groups into those that may be made and those that are refused.
    pub(super) fn find_conflicts(&mut self) {
        for (name, user) in &self.desired.users {
            match self.user_conflict(name, user) {
                None => {
                    self.users.insert(name.clone());
                }
                Some(reason) => {
                    self.conflict(ConflictKind::User, name.as_str(), reason);
                    continue;
                }
            }
            if let Some(reason) = self.home_conflict(name, user.uid) {
                self.conflict(ConflictKind::Home, name.as_str(), reason);
                // A home that its host's owner moved must not lock its user out; without an account yet, none is made.
                if !self.is_ours(name) {
                    self.users.remove(name);
                }
            }
        }
        for (name, group) in &self.desired.groups {
            match self.group_conflict(name, group.gid) {
                None => {
                    self.groups.insert(name.clone());
                }
                Some(reason) => self.conflict(ConflictKind::Group, name.as_str(), reason),
            }
        }
        self.find_own_conflicts();
        // Nobody may get into them, so there is no hurry to make them.
        let (desired, observed) = (self.desired, self.observed);
        self.users.retain(|name| !desired.is_locked(name) || observed.users.contains_key(name.as_str()));
    }

    /// The groups and the account that every host has, or every bastion.
    fn find_own_conflicts(&mut self) {
        for name in [UnixName::managed(), UnixName::admin()] {
            let reason = match self.system_ids.get(&name) {
                None => Some("no group id below 1000 is free".to_owned()),
                Some(gid) => self.group_conflict(&name, *gid),
            };
            match reason {
                None => {
                    self.groups.insert(name);
                }
                Some(reason) => self.conflict(ConflictKind::Group, name.as_str(), reason),
            }
        }
        let hop = UnixName::hop();
        if self.desired.hop.is_some() {
            let reason = match self.system_ids.get(&hop) {
                None => Some("no user id below 1000 is free".to_owned()),
                Some(id) => self.account_conflict(&hop, *id, *id),
            };
            match reason {
                None => {
                    self.users.insert(hop);
                }
                Some(reason) => self.conflict(ConflictKind::User, hop.as_str(), reason),
            }
        }
    }

    fn user_conflict(&self, name: &UnixName, user: &DesiredUser) -> Option<String> {
        if self.limits.break_glass.contains(name.as_str()) {
            return Some("it is a break-glass account of this host".to_owned());
        }
        if !allocate::is_assignable_uid(user.uid) {
            return Some(format!("UID {} is the system's", user.uid));
        }
        if !allocate::is_assignable_gid(user.gid) {
            return Some(format!("GID {} is the system's", user.gid));
        }
        self.account_conflict(name, user.uid, user.gid)
    }

    /// What is in the way of an account with these ids and its private group.
    fn account_conflict(&self, name: &UnixName, uid: u32, gid: u32) -> Option<String> {
        let (text, observed) = (name.as_str(), self.observed);
        let owned = self.ownership.present_user(name);
        if let Some(user) = observed.users.get(text) {
            let Some(owned) = owned else {
                return Some(format!(
                    "an account of this name exists (UID {}) and was not made by Usher",
                    user.uid
                ));
            };
            if (user.uid, user.gid) != (owned.uid, owned.gid) {
                return Some(
                    "its UID or GID was changed on the host; it is not treated as Usher's any more"
                        .to_owned(),
                );
            }
            if owned.uid != uid || owned.gid != gid {
                return Some(format!(
                    "it exists with UID {} and GID {}; ids of an account cannot change",
                    user.uid, user.gid
                ));
            }
            if user.home != home_of(name) {
                return Some(format!("its home directory was changed on the host to `{}`", user.home));
            }
        } else if let Some(before) = self.ownership.users.get(name).filter(|before| before.uid != uid) {
            return Some(format!("the name was used before with UID {} on this host", before.uid));
        }
        if observed.directory.users.contains(text) {
            return Some("a directory service has an account of this name".to_owned());
        }
        self.uid_conflict(name, uid).or_else(|| self.group_conflict(name, gid))
    }

    fn uid_conflict(&self, name: &UnixName, uid: u32) -> Option<String> {
        let observed = self.observed;
        if let Some((other, _)) =
            observed.users.iter().find(|(other, user)| user.uid == uid && *other != name.as_str())
        {
            return Some(format!("UID {uid} belongs to `{other}`"));
        }
        if let Some(other) = observed.directory.uids.get(&uid) {
            return Some(format!("UID {uid} belongs to `{other}` of a directory service"));
        }
        let reused =
            |(other, user): &(&UnixName, &crate::ownership::OwnedUser)| user.uid == uid && *other != name;
        if let Some((other, _)) = self.ownership.users.iter().find(reused) {
            return Some(format!("UID {uid} was given to `{other}` before and is never given again"));
        }
        if observed.subordinate_ids.iter().any(|range| range.contains(&uid)) {
            return Some(format!("UID {uid} lies in a range of /etc/subuid or /etc/subgid"));
        }
        let exists = observed.users.contains_key(name.as_str());
        if !exists && !self.ownership.users.contains_key(name) && observed.running_uids.contains(&uid) {
            return Some(format!("processes run as UID {uid}, which has no account"));
        }
        None
    }

    fn group_conflict(&self, name: &UnixName, gid: u32) -> Option<String> {
        let (text, observed) = (name.as_str(), self.observed);
        if let Some(group) = observed.groups.get(text) {
            let Some(owned) = self.ownership.groups.get(name) else {
                return Some(format!(
                    "a group of this name exists (GID {}) and was not made by Usher",
                    group.gid
                ));
            };
            if group.gid != owned.gid {
                return Some(
                    "its group's GID was changed on the host; it is not treated as Usher's any more"
                        .to_owned(),
                );
            }
            if owned.gid != gid {
                return Some(format!(
                    "its group exists with GID {}; ids of a group cannot change",
                    group.gid
                ));
            }
        }
        if observed.directory.groups.contains(text) {
            return Some("a directory service has a group of this name".to_owned());
        }
        if let Some((other, _)) =
            observed.groups.iter().find(|(other, group)| group.gid == gid && *other != text)
        {
            return Some(format!("GID {gid} belongs to the group `{other}`"));
        }
        if let Some((other, _)) =
            observed.users.iter().find(|(other, user)| user.gid == gid && *other != text)
        {
            return Some(format!("GID {gid} is the primary group of `{other}`"));
        }
        observed
            .directory
            .gids
            .get(&gid)
            .map(|other| format!("GID {gid} belongs to the group `{other}` of a directory service"))
    }

    fn home_conflict(&self, name: &UnixName, uid: u32) -> Option<String> {
        let home = self.observed.homes.get(name)?;
        let Home::Directory { inode, uid: owner } = home else {
            return Some(format!("`{}` exists and is not a directory", home_of(name)));
        };
        let Some(owned) = self.ownership.users.get(name) else {
            return Some(format!("`{}` exists and was not made by Usher", home_of(name)));
        };
        match owned.home_inode {
            Some(expected) if expected != *inode => {
                Some(format!("`{}` was replaced on the host", home_of(name)))
            }
            Some(_) if *owner != uid && *owner != 0 => {
                Some(format!("`{}` belongs to UID {owner} now", home_of(name)))
            }
            Some(_) => None,
            // Claimed while nothing was there, and the right owner's: made just before a crash.
            None if owned.stage == Stage::Claimed && *owner == uid => None,
            None => Some(format!("`{}` exists and was not made by Usher", home_of(name))),
        }
    }

    /// Whether anything may be made at all. Without sshd's block an account would have no way in, or a wrong one.
    pub(super) fn may_make(&mut self) -> bool {
        let mut open = self.groups.contains(&UnixName::managed());
        if let SshdSupport::Unsupported(reason) = &self.observed.sshd {
            self.conflict(ConflictKind::Sshd, "sshd_config", reason.clone());
            open = false;
        }
        for file in [ManagedFile::Principals, ManagedFile::SshdDropIn, ManagedFile::UserCa] {
            open &= self.file_is_ours(file, ConflictKind::Sshd);
        }
        open
    }

    /// Reports a file in our place that we did not write.
    pub(super) fn file_is_ours(&mut self, file: ManagedFile, kind: ConflictKind) -> bool {
        let absent = matches!(self.observed.files.get(&file), None | Some(FileState::Absent));
        let ours = absent || self.ownership.files.contains_key(&file);
        if !ours {
            self.conflict(kind, file.path(), "it exists and was not written by Usher");
        }
        ours
    }
}

/// Where an account's home is.
pub(super) fn home_of(name: &UnixName) -> String {
    if *name == UnixName::hop() { crate::HOP_HOME.to_owned() } else { format!("{}/{name}", crate::HOME_BASE) }
}
