//! When a group's role counts, what a person is asked for, and why somebody may connect or not.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};
use usher_types::{GroupName, HostName, Label, LoginName, ProjectSlug, UserName};
use utoipa::ToSchema;

/// Conditions on a role; without any it always counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Conditions {
    /// Only on servers that have all of these labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: BTreeMap<Label, Label>,
    /// Only for clients in one of these networks, for example `10.0.0.0/8`. The broker must see clients' addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Only at these hours: `mon-fri 08:00-18:00 Europe/Vienna`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<String>,
    /// How the person must have signed in.
    #[serde(skip_serializing_if = "Authentication::is_empty")]
    pub authentication: Authentication,
    /// What a newer version has besides: tolerated in answers, refused in requests.
    #[serde(flatten)]
    #[schema(ignore)]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

/// What is asked of a person's last sign-in (RFC 9470).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Authentication {
    /// At most so many seconds ago; up to a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u32>,
    /// With a second factor.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub second_factor: bool,
    /// For the very server, named when signing in.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub named_server: bool,
    /// As in [`Conditions`].
    #[serde(flatten)]
    #[schema(ignore)]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

impl Conditions {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Authentication {
    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is said of `GET /v1/servers/{server}/access/{user}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplanationQuery {
    /// The address that the user would come from; from nowhere in particular when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub from: Option<IpAddr>,
}

/// Why a user may, or may not, connect to a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Who.
    pub user: UserName,
    /// Where to.
    pub server: HostName,
    /// The server's project.
    pub project: ProjectSlug,
    /// What would be decided now.
    pub verdict: Verdict,
    /// Why not, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What to do about the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The user's account there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginName>,
    /// What is asked of the user's sign-in.
    #[serde(default, skip_serializing_if = "Authentication::is_empty")]
    pub asks: Authentication,
    /// Every group with a role in the project.
    pub roles: Vec<RoleExplained>,
}

/// What would be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Yes.
    Allow,
    /// Yes, after a sign-in as is asked for.
    AllowAfterSignIn,
    /// No.
    Deny,
}

/// A group's part in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleExplained {
    /// The group.
    pub group: GroupName,
    /// Whether the user is a member.
    pub member: bool,
    /// Members may log in.
    pub server_access: bool,
    /// Members may use sudo.
    pub server_admin: bool,
    /// When the role counts.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// Whether it counts here and now, for this user.
    pub counts: bool,
}
