//! Service users, their API keys, whose identity tokens make a session of one, and the exchange itself (RFC 8693).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use usher_types::{DeviceName, DisplayName, Label, LoginName, TokenId, TrustId, UnixTime, UserName};
use utoipa::ToSchema;

use super::TokenRequest;

/// `POST /v1/service-users`: a user that is a program. In groups, roles and accounts it is a user like others; it has no
/// password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateServiceUser {
    /// Name in the directory; unique.
    pub user_name: UserName,
    /// What people call it; the user name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<DisplayName>,
    /// Unix account name; derived from the user name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix_user_name: Option<LoginName>,
}

/// `POST /v1/api-keys`. Keys that the user has go on working.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKey {
    /// The service user.
    pub service_user: UserName,
    /// What it is called in lists.
    pub description: Label,
    /// Seconds until it ends, at most a year.
    pub ttl_seconds: u32,
    /// Network it may be used from, for example `203.0.113.0/24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
}

/// `POST /v1/api-keys/{key}/rotate`: a new key like the old one, which ends soon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateApiKey {
    /// Seconds until the new one ends, at most a year; as long as the old one was made for when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u32>,
    /// Seconds until the old one ends, 0 to 30 days; a day when absent. It never ends later than before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_seconds: Option<u32>,
}

/// An API key without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiKey {
    /// Its id.
    pub id: TokenId,
    /// The service user.
    pub service_user: UserName,
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

/// Answer to [`CreateApiKey`] and [`RotateApiKey`]. The key is shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedApiKey {
    /// What was made.
    pub api_key: ApiKey,
    /// `uk1_...`: good for nothing but an exchange for a session.
    pub key: String,
}

impl std::fmt::Debug for CreatedApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedApiKey").field("api_key", &self.api_key).finish_non_exhaustive()
    }
}

/// `POST /v1/trusts`: whose identity tokens make a session of a service user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTrust {
    /// The service user.
    pub service_user: UserName,
    /// What it is called in lists.
    pub description: Label,
    /// Who says so, exactly as the tokens spell it, for example `https://token.actions.githubusercontent.com`.
    pub issuer: String,
    /// For whom the tokens must be made, and for nobody else; the broker's address when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// What they must say: a claim and its value, in which `*` stands for one whole part between `/` and `:`. All must
    /// fit, and one must be about who the workload is, such as `sub` or `repository`.
    pub claims: BTreeMap<String, String>,
    /// Private networks in which the issuer may be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub private_networks: Vec<String>,
}

/// A trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trust {
    /// Its id.
    pub id: TrustId,
    /// The service user.
    pub service_user: UserName,
    /// What it is called.
    pub description: Label,
    /// Who says so.
    pub issuer: String,
    /// For whom the tokens must be made.
    pub audience: String,
    /// What they must say.
    pub claims: BTreeMap<String, String>,
    /// Private networks in which the issuer may be.
    #[serde(default)]
    pub private_networks: Vec<String>,
    /// Who made it.
    pub created_by: UserName,
    /// When it was last used, give or take a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<UnixTime>,
}

/// The grant type of RFC 8693.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ExchangeGrantType {
    /// Token exchange.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
}

/// What is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum SubjectTokenType {
    /// An API key of a service user.
    #[serde(rename = "urn:usher:token-type:api-key")]
    ApiKey,
    /// An identity token of a workload.
    #[serde(rename = "urn:ietf:params:oauth:token-type:jwt")]
    Jwt,
}

/// `POST /v1/token` of a program: a credential of a service user for a short session. The proof's key becomes the key of a
/// device that is approved, and forgotten with the session.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenExchange {
    /// Token exchange.
    pub grant_type: ExchangeGrantType,
    /// What it is.
    pub subject_token_type: SubjectTokenType,
    /// The API key, or the identity token.
    pub subject_token: String,
    /// The service user; an API key names its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_user: Option<UserName>,
    /// What the device is called.
    pub device_name: DeviceName,
    /// Seconds that the session lasts, at most an hour; a quarter of one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_seconds: Option<u32>,
}

impl std::fmt::Debug for TokenExchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenExchange").field("device_name", &self.device_name).finish_non_exhaustive()
    }
}

/// The body of `POST /v1/token`: with a `grant_type` it is an exchange, without one an authorization code's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, try_from = "Value")]
pub enum TokenGrant {
    /// A person's.
    Code(TokenRequest),
    /// A program's.
    Exchange(TokenExchange),
}

impl TryFrom<Value> for TokenGrant {
    type Error = serde_json::Error;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        if value.get("grant_type").is_some() {
            serde_json::from_value(value).map(Self::Exchange)
        } else {
            serde_json::from_value(value).map(Self::Code)
        }
    }
}
