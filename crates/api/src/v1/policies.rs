//! Policies in Cedar: what is forbidden whatever the roles say.

use serde::{Deserialize, Serialize};
use usher_types::{PolicyName, ProjectSlug, UnixTime, UserName};
use utoipa::ToSchema;

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// The project whose servers it is about; every server of the team when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectSlug>,
    /// The policy in Cedar, as it was written.
    pub text: String,
    /// What the names in it mean: the kind and name as it is written, such as `Group::"sre"`, and an id.
    #[serde(default)]
    pub names: std::collections::BTreeMap<String, String>,
    /// Who set it; absent when that user is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<UserName>,
    /// When.
    pub updated_at: UnixTime,
}

/// `PUT /v1/policies/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPolicy {
    /// The project whose servers it is about; every server of the team when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectSlug>,
    /// One `forbid` policy in Cedar that fits the schema of `GET /v1/policy-schema`, at most 8 KiB. Names in it are bound
    /// to what has them now.
    pub text: String,
}

/// What policies may look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicySchema {
    /// In Cedar's schema language.
    pub text: String,
}
