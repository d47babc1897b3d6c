//! From desired and observed to steps. Deterministic and total: every difference is a step, a conflict or held back.
//!
//! Order: access is taken away first, then what everything stands on is laid, then accounts are made, then the unwanted
//! are cleared away.

mod accounts;
mod conflicts;
mod files;
mod leaving;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    account::UnixName,
    allocate,
    desired::{Desired, Sudo},
    observed::Observed,
    ownership::{Ownership, Stage},
    step::{Phase, Step},
};

/// How far the agent may go. (`adopt`, taking over named accounts after an administrator's approval, will join these.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Make and change what is its own.
    #[default]
    ManageNew,
    /// Make nothing; only take access away from what it made earlier.
    Observe,
}

/// What to do when desired state would delete many accounts at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MassDeletion {
    /// Delete them.
    Allow,
    /// Take their access away, but keep the accounts until an operator says so.
    #[default]
    Hold,
}

/// What the owner of the host decided, whatever a broker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How far the agent may go.
    pub mode: Mode,
    /// Accounts that can never be managed.
    pub break_glass: BTreeSet<String>,
    /// What to do about mass deletion.
    pub mass_deletion: MassDeletion,
    /// The most sudo that may be granted.
    pub sudo: Sudo,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            break_glass: BTreeSet::from(["root".to_owned()]),
            mass_deletion: MassDeletion::default(),
            sudo: Sudo::Passwordless,
        }
    }
}

/// Deleting up to this many accounts at once is never held.
const DELETIONS_ALWAYS_ALLOWED: usize = 5;

/// What a conflict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConflictKind {
    /// A group.
    Group,
    /// A home directory.
    Home,
    /// sshd's configuration.
    Sshd,
    /// sudo's configuration.
    Sudoers,
    /// An account.
    User,
}

impl fmt::Display for ConflictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Group => "group",
            Self::Home => "home",
            Self::Sshd => "sshd",
            Self::Sudoers => "sudoers",
            Self::User => "user",
        })
    }
}

/// Something in the way that the agent did not make and will not touch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Conflict {
    /// What it is about.
    pub kind: ConflictKind,
    /// Its name.
    pub name: String,
    /// What is in the way, in one sentence.
    pub reason: String,
}

impl Conflict {
    /// A conflict.
    #[must_use]
    pub fn new(kind: ConflictKind, name: &str, reason: String) -> Self {
        Self { kind, name: name.to_owned(), reason }
    }
}

/// What to do to a host, and what stands in the way of doing more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Plan {
    /// What to do, in this order.
    pub steps: Vec<Step>,
    /// What is in the way.
    pub conflicts: Vec<Conflict>,
    /// Accounts that lost all access but are not deleted, because too many would be at once.
    pub held: Vec<UnixName>,
    /// UIDs and GIDs in the range for people that something else has.
    pub taken_ids: BTreeSet<u32>,
}

/// What the parts of a plan share while it is made.
struct Planner<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    ownership: &'a Ownership,
    limits: &'a Limits,
    conflicts: Vec<Conflict>,
    /// Desired accounts that nothing is in the way of.
    users: BTreeSet<UnixName>,
    /// Desired groups that nothing is in the way of.
    groups: BTreeSet<UnixName>,
    /// Ids chosen for our own groups and the hop account.
    system_ids: BTreeMap<UnixName, u32>,
    revocation: Vec<Step>,
    foundation: Vec<Step>,
    accounts: Vec<Step>,
    deletion: Vec<Step>,
    held: Vec<UnixName>,
}

/// Plans. The same arguments give the same plan; a plan that was applied leaves nothing to plan.
pub fn plan(desired: &Desired, observed: &Observed, ownership: &Ownership, limits: &Limits) -> Plan {
    let mut planner = Planner {
        desired,
        observed,
        ownership,
        limits,
        conflicts: desired.conflicts.clone(),
        users: BTreeSet::new(),
        groups: BTreeSet::new(),
        system_ids: BTreeMap::new(),
        revocation: Vec::new(),
        foundation: Vec::new(),
        accounts: Vec::new(),
        deletion: Vec::new(),
        held: Vec::new(),
    };
    planner.choose_system_ids();
    planner.find_conflicts();
    let open = planner.may_make();
    planner.plan_principals(open);
    planner.plan_leaving();
    planner.lock_out();
    planner.revoke_sudo();
    planner.lock_unguarded();
    if open {
        planner.plan_accounts();
        planner.plan_files();
        planner.plan_claims();
    }
    planner.finish()
}

impl Planner<'_> {
    fn finish(mut self) -> Plan {
        let taken_ids = self.taken_ids();
        let mut steps = self.revocation;
        steps.append(&mut self.foundation);
        steps.append(&mut self.accounts);
        steps.append(&mut self.deletion);
        if self.limits.mode == Mode::Observe {
            steps.retain(|step| step.phase() == Phase::Revocation);
        }
        self.conflicts.sort();
        self.conflicts.dedup();
        Plan { steps, conflicts: self.conflicts, held: self.held, taken_ids }
    }

    fn conflict(&mut self, kind: ConflictKind, name: &str, reason: impl Into<String>) {
        self.conflicts.push(Conflict::new(kind, name, reason.into()));
    }

    /// Ids for what is ours on every host: the recorded ones, else free ones below 1000.
    fn choose_system_ids(&mut self) {
        let recorded = |name: &UnixName| {
            let group = self.ownership.groups.get(name).map(|group| group.gid);
            group.or_else(|| self.ownership.users.get(name).map(|user| user.gid))
        };
        let names = [UnixName::managed(), UnixName::admin(), UnixName::hop()];
        let used: BTreeSet<u32> = names.iter().filter_map(recorded).collect();
        let mut free = self.observed.free_system_ids.iter().copied().filter(|id| !used.contains(id));
        let ids: Vec<_> = names
            .into_iter()
            .filter_map(|name| recorded(&name).or_else(|| free.next()).map(|id| (name, id)))
            .collect();
        self.system_ids.extend(ids);
    }

    /// Whether `name` is an account of ours that exists as it was made.
    fn is_ours(&self, name: &UnixName) -> bool {
        match (self.ownership.present_user(name), self.observed.users.get(name.as_str())) {
            (Some(owned), Some(user)) => owned.uid == user.uid && owned.gid == user.gid,
            _ => false,
        }
    }

    /// Whether `name` is a group of ours that exists as it was made.
    fn is_our_group(&self, name: &UnixName) -> bool {
        match (self.ownership.groups.get(name), self.observed.groups.get(name.as_str())) {
            (Some(owned), Some(group)) => owned.gid == group.gid,
            _ => false,
        }
    }

    /// Our accounts that should not be any more.
    fn leaving(&self) -> Vec<UnixName> {
        let present = self.ownership.users.iter().filter(|(_, user)| user.stage != Stage::Retired);
        present.map(|(name, _)| name).filter(|name| !self.is_desired(name)).cloned().collect()
    }

    fn is_desired(&self, name: &UnixName) -> bool {
        self.desired.users.contains_key(name)
            || self.desired.untouched.contains(name.as_str())
            || (*name == UnixName::hop() && self.desired.hop.is_some())
    }

    fn taken_ids(&self) -> BTreeSet<u32> {
        let users = self.observed.users.iter().filter(|(name, user)| {
            let owned = name.parse().ok().and_then(|name: UnixName| self.ownership.users.get(&name));
            owned.is_none_or(|owned| owned.uid != user.uid)
        });
        let groups = self.observed.groups.iter().filter(|(name, group)| {
            let name: Option<UnixName> = name.parse().ok();
            let owned = name.and_then(|name| self.ownership.groups.get(&name));
            owned.is_none_or(|owned| owned.gid != group.gid)
        });
        let directory = self.observed.directory.uids.keys().chain(self.observed.directory.gids.keys());
        let ids = users
            .map(|(_, user)| user.uid)
            .chain(groups.map(|(_, group)| group.gid))
            .chain(directory.copied());
        ids.filter(|id| allocate::is_assignable_uid(*id) || allocate::is_assignable_gid(*id)).collect()
    }
}
