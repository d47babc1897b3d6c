//! Tokens with which identity providers say who their users are, as administrators see them.

use serde::{Deserialize, Serialize};
use usher_types::{ConnectorName, Label, TokenId, UnixTime, UserName};
use utoipa::ToSchema;

/// `POST /v1/scim-tokens`. Tokens that the connector has go on working.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateScimToken {
    /// The connector for which it speaks.
    pub connector: ConnectorName,
    /// What it is called in lists.
    pub description: Label,
    /// Seconds until it ends; a year when absent, at most two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u32>,
    /// Network it may be used from, for example `203.0.113.0/24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
}

/// A SCIM token without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScimToken {
    /// Its id.
    pub id: TokenId,
    /// The connector for which it speaks.
    pub connector: ConnectorName,
    /// What it is called.
    pub description: Label,
    /// Who made it.
    pub created_by: UserName,
    /// When it ends.
    pub expires_at: UnixTime,
    /// Network it may be used from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// When it was last used, give or take a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<UnixTime>,
}

/// Answer to [`CreateScimToken`]. The token is shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedScimToken {
    /// What was made.
    pub scim_token: ScimToken,
    /// Where the identity provider sends what it says.
    pub url: String,
    /// `uc1_...`: the bearer token that it shows there.
    pub token: String,
}

impl std::fmt::Debug for CreatedScimToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedScimToken").field("scim_token", &self.scim_token).finish_non_exhaustive()
    }
}
