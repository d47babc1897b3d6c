//! What a decision is made from. The store loads it; nothing here is proof of anything.
//!
//! Health is not among the facts on purpose: a silent agent must not lock people out of its server. Which bastions are
//! up decides about routes, not about access.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use usher_types::{
    GroupId, GroupName, HostName, Label, LockReason, LoginName, ProjectId, ProjectSlug, ServerId, UnixTime,
    UserId,
};

use crate::{Authentication, Conditions, Policies};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A command, file transfer or tunnel: no terminal.
    Command,
    /// Somebody at a terminal.
    Interactive,
}

/// What the caller asks for, beyond the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRequest {
    /// The account it expects; its own when absent. It can only be refused, never chosen.
    pub login: Option<LoginName>,
    /// What it is for.
    pub purpose: Purpose,
}

/// Everything that decides about one user's access to one server, read in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessFacts {
    /// Whose facts these are; must be the user that asks.
    pub user_id: UserId,
    /// The user's own account in the server's project; none before its first access.
    pub login: Option<LoginName>,
    /// The groups that the user is a member of.
    pub groups: BTreeSet<GroupId>,
    /// The server.
    pub server: ServerFacts,
    /// The server's project.
    pub project: ProjectFacts,
    /// All groups of the project, also those without the user.
    pub assignments: Vec<Assignment>,
    /// What forbids something on servers of the project, whatever the roles say.
    pub policies: Arc<Policies>,
    /// When the user last proved who it is for this very server, on the device it calls from.
    pub named_at: Option<UnixTime>,
    /// Locks on the user, the device it calls from, the server and the project.
    pub locks: Vec<Lock>,
}

/// An administrator's "not now", with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// What is locked.
    pub on: Locked,
    /// Why.
    pub reason: LockReason,
}

/// What can be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Locked {
    /// The device that the caller calls from.
    Device,
    /// The server's project.
    Project,
    /// The server.
    Server,
    /// The caller.
    User,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its id.
    pub id: ServerId,
    /// Its name.
    pub name: HostName,
    /// Its project.
    pub project_id: ProjectId,
    /// Its labels.
    pub labels: Arc<BTreeMap<Label, Label>>,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectFacts {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub slug: ProjectSlug,
    /// How far a certificate reaches into the future.
    pub certificate_lifetime: Duration,
    /// How far it reaches into the past.
    pub clock_skew: Duration,
    /// What certificates may forward on targets.
    pub port_forwarding: PortForwarding,
    /// What is asked of everybody, whatever their role.
    pub authentication: Authentication,
}

/// What certificates may forward on targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortForwarding {
    /// Everything that sshd allows.
    All,
    /// Client to server only; which direction is sshd's business, the certificate says "forwarding".
    Local,
    /// Nothing.
    Off,
}

/// A group's role in the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The group.
    pub group_id: GroupId,
    /// Its name, for denials.
    pub group_name: GroupName,
    /// Members may log in on the project's servers.
    pub server_access: bool,
    /// Members may use sudo there; means nothing without `server_access`.
    pub server_admin: bool,
    /// When the role counts.
    pub conditions: Arc<Conditions>,
}
