//! Connectors: the team's identity providers.

use serde::{Deserialize, Serialize};
use usher_types::{ConnectorId, ConnectorName, UnixTime};
use utoipa::ToSchema;

/// Who is let in by an external id that nobody here has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JoinRule {
    /// Anybody: the first login creates the user.
    FirstLogin,
    /// Nobody: users come by SCIM.
    Scim,
}

/// Whether a connector is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectorState {
    /// People sign in by it.
    Active,
    /// Nobody does; sessions of its users have ended.
    Disabled,
}

/// Which claim of an ID token names a person for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExternalIdClaim {
    /// Entra's, the same for every client of its tenant.
    Oid,
    /// OpenID Connect's own.
    Sub,
}

/// An identity provider of the team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Connector {
    /// Its id.
    pub id: ConnectorId,
    /// Its name; groups of it begin with it and a dot.
    pub name: ConnectorName,
    /// The provider's issuer identifier; absent when it only provisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Usher's name there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Whether a client secret is stored; it is never shown.
    pub has_client_secret: bool,
    /// To be entered at the provider: where the browser comes back to.
    pub redirect_uri: String,
    /// To be entered at the provider: where it says that somebody signed out.
    pub backchannel_logout_uri: String,
    /// Scopes that are asked for beside `openid`.
    pub scopes: Vec<String>,
    /// Authentication contexts that are asked for.
    pub acr_values: Vec<String>,
    /// Which claim names a person.
    pub external_id_claim: ExternalIdClaim,
    /// The claim that lists a person's groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups_claim: Option<String>,
    /// Private networks in which the provider may be.
    pub private_networks: Vec<String>,
    /// Who is let in by an external id that nobody here has.
    pub join_rule: JoinRule,
    /// Whether it is used.
    pub state: ConnectorState,
    /// When it was created.
    pub created_at: UnixTime,
}

/// `POST /v1/connectors`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateConnector {
    /// Its name; unique.
    pub name: ConnectorName,
    /// Who is let in by an external id that nobody here has.
    pub join_rule: JoinRule,
    /// The rest.
    #[serde(default)]
    pub settings: ConnectorSettings,
}

/// What can be set of a connector; absent fields stay, or are the default of a new one.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectorSettings {
    /// The provider's issuer identifier, exactly as the provider spells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Usher's name there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Usher's secret there; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// Scopes to ask for beside `openid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Authentication contexts to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr_values: Option<Vec<String>>,
    /// Which claim names a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id_claim: Option<ExternalIdClaim>,
    /// The claim that lists a person's groups; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups_claim: Option<String>,
    /// Private networks in which the provider may be, such as `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_networks: Option<Vec<String>>,
}

/// `PATCH /v1/connectors/{connector}`; absent fields stay.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateConnector {
    /// Who is let in by an external id that nobody here has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_rule: Option<JoinRule>,
    /// Use it or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ConnectorState>,
    /// The rest.
    #[serde(default)]
    pub settings: ConnectorSettings,
}

impl std::fmt::Debug for ConnectorSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectorSettings").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for CreateConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateConnector").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for UpdateConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpdateConnector").field("state", &self.state).finish_non_exhaustive()
    }
}
