//! What would be decided, and what a proposed set of rules would change. Questions: nothing is signed and nothing changed.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};
use usher_types::{DeviceName, HostName, LoginName, PolicyName, ProjectSlug, UnixTime, UserName};
use utoipa::ToSchema;

use super::{Authentication, Purpose, SetPolicy, SetProjectGroup, Verdict};

/// `POST /v1/policy-test`: what would be decided if these people asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    /// At most 100.
    pub cases: Vec<PolicyTestCase>,
}

/// Somebody who asks for a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyTestCase {
    /// Who, by name or id.
    pub user: String,
    /// To which server, by name or id.
    pub server: String,
    /// What for.
    #[serde(default = "terminal")]
    pub purpose: Purpose,
    /// The account that is asked for; the user's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginName>,
    /// Where the client is; nobody knows when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub from: Option<IpAddr>,
    /// When; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<UnixTime>,
    /// How the user signed in; just before and with a second factor when absent.
    #[serde(default)]
    pub sign_in: PolicyTestSignIn,
}

fn terminal() -> Purpose {
    Purpose::Interactive
}

/// How somebody signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyTestSignIn {
    /// So many seconds before.
    pub age_seconds: u32,
    /// With a second factor.
    pub second_factor: bool,
    /// For the very server, named when signing in.
    pub named_server: bool,
    /// On which of the user's devices; on an approved one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceName>,
}

impl Default for PolicyTestSignIn {
    fn default() -> Self {
        Self { age_seconds: 0, second_factor: true, named_server: false, device: None }
    }
}

/// What would be decided, in the order of the cases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyTestResult {
    /// One for each case.
    pub decisions: Vec<PolicyTestDecision>,
}

/// What would be decided about one case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyTestDecision {
    /// Yes, no, or after signing in again.
    pub verdict: Verdict,
    /// The account, where the answer is yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginName>,
    /// Whether it may use sudo.
    #[serde(default)]
    pub server_admin: bool,
    /// Whether it may forward ports.
    #[serde(default)]
    pub port_forwarding: bool,
    /// Why not: codes as the audit log has them.
    #[serde(default)]
    pub codes: Vec<String>,
    /// Why not: a sentence for each code.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// What signing in again has to be like.
    #[serde(default, skip_serializing_if = "Authentication::is_empty")]
    pub asks: Authentication,
}

/// `POST /v1/policy-diff`: what other rules would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyDiff {
    /// By project: all roles of its groups, as they would be. Projects that are not named keep theirs.
    #[schema(value_type = BTreeMap<String, ProposedRoles>)]
    pub projects: BTreeMap<ProjectSlug, ProposedRoles>,
    /// By name: policies that would be set.
    #[schema(value_type = BTreeMap<String, SetPolicy>)]
    pub policies: BTreeMap<PolicyName, SetPolicy>,
    /// Policies that would be removed.
    pub removed_policies: Vec<PolicyName>,
    /// Compare for what people come for this only; for what can make a difference when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// Compare for clients at this address only; for those that can make a difference when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub from: Option<IpAddr>,
    /// Compare for this time only; for times that can make a difference when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<UnixTime>,
}

/// The roles of a project's groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposedRoles {
    /// By group, by name or id.
    pub groups: BTreeMap<String, SetProjectGroup>,
}

/// What other rules would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyDiffResult {
    /// How many active users were looked at.
    pub users: u64,
    /// How many servers, of every project that could be touched.
    pub servers: u64,
    /// Every change, together with all whom it is the same for.
    pub differences: Vec<PolicyDifference>,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyDifference {
    /// The project of the servers.
    pub project: ProjectSlug,
    /// Whether access comes, goes or becomes another.
    pub change: PolicyChange,
    /// Whose.
    pub users: Vec<PolicyDiffUser>,
    /// Where.
    pub servers: Vec<HostName>,
    /// What they may do there now; nothing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<PolicyReach>,
    /// What they might.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PolicyReach>,
    /// Circumstances that show it.
    pub when: PolicyCircumstances,
}

/// What becomes of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyChange {
    /// It becomes another.
    Change,
    /// There was none.
    Gain,
    /// There is none any more.
    Loss,
}

/// Somebody, and the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyDiffUser {
    /// Who.
    pub user: UserName,
    /// The account that it has, or would get.
    pub login: LoginName,
}

/// What somebody may do on a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyReach {
    /// Use sudo.
    pub server_admin: bool,
    /// Forward ports.
    pub port_forwarding: bool,
    /// What is asked of the sign-in, at the least.
    #[serde(default, skip_serializing_if = "Authentication::is_empty")]
    pub asks: Authentication,
}

/// Where, when and for what somebody comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyCircumstances {
    /// For what.
    pub purpose: Purpose,
    /// From where.
    #[schema(value_type = String)]
    pub from: IpAddr,
    /// When.
    pub at: UnixTime,
}
