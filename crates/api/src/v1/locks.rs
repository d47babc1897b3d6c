//! Locks: deny now, everywhere, and give back later.

use serde::{Deserialize, Serialize};
use usher_types::{LockReason, UnixTime, UserName};
use utoipa::ToSchema;

/// What can be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LockKind {
    /// A client installation: its session is refused.
    Device,
    /// A project: nobody gets onto its servers.
    Project,
    /// A server: nobody gets in, nor through when it is a bastion.
    Server,
    /// A user: gets in nowhere, and administers nothing.
    User,
}

/// A lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lock {
    /// What kind of thing is locked.
    pub kind: LockKind,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: LockReason,
    /// Who locked it; absent when that user is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_by: Option<UserName>,
    /// Since when.
    pub created_at: UnixTime,
}

/// `PUT /v1/locks/{kind}/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetLock {
    /// Why; whoever is denied for it reads this.
    pub reason: LockReason,
}
