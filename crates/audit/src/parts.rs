//! What events are made of: settings, places, counts. Add fields that may be absent at the end; never change what is there.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};
use usher_types::{DisplayName, Label, Principal, Sha256, TeamRole};

use crate::{Code, KeyId, Reported, Serial, text::as_text};

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Its first address.
    pub address: IpAddr,
    /// How many bits of it all its addresses share.
    pub prefix_length: u8,
}

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Forwards to others as well.
    Bastion,
    /// Is logged in to.
    Target,
}

/// What certificates may forward on targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardingRule {
    /// Everything that sshd allows.
    All,
    /// Client to server only.
    Local,
    /// Nothing.
    Off,
}

/// What a connection was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionPurpose {
    /// A command, file transfer or tunnel.
    Command,
    /// Somebody at a terminal.
    Interactive,
}

/// One certificate of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuedCertificate {
    /// Its serial.
    pub serial: Serial,
    /// SHA-256 of the certificate's bytes.
    pub sha256: Sha256,
    /// Its one principal: names server and account.
    #[serde(with = "as_text")]
    pub principal: Principal,
    /// The CA key that signed it, as `key.create` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Sha256>,
    /// Which kind of certificate.
    #[serde(default, skip_serializing_if = "CertificateKind::is_ssh")]
    pub kind: CertificateKind,
}

/// Kind of a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateKind {
    /// OpenSSH's; not written down, because nearly all are.
    #[default]
    Ssh,
    /// X.509, for the listener of the server's agent.
    X509,
}

impl CertificateKind {
    fn is_ssh(&self) -> bool {
        *self == Self::Ssh
    }
}

/// A server's place among the routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerPlace {
    /// What it is for.
    pub role: Role,
    /// The bastion group it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bastion_group: Option<Label>,
    /// The bastion group it is reached through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Label>,
}

/// What a group may do in a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleInProject {
    /// Members may log in.
    pub server_access: bool,
    /// Members may use sudo.
    pub server_admin: bool,
}

/// When a role in a project counts; always when all of it is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleConditions {
    /// On servers with these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<Label, Label>,
    /// For clients in these networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    /// At these hours of the week, commas for spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Reported>,
    /// What is asked of the person's sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<WantedAuthentication>,
}

impl RoleConditions {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is asked of a person's last sign-in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedAuthentication {
    /// How old it may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u32>,
    /// With a second factor.
    pub second_factor: bool,
    /// For the server by name.
    pub named_server: bool,
}

/// What a team asks of its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRules {
    /// How long one lasts.
    pub lifetime_seconds: u32,
    /// How long one may rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<u32>,
    /// Whether one is good only for the network it was opened from.
    pub bound: bool,
}

/// How many signatures a key was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyCount {
    /// The key.
    pub key: KeyId,
    /// Requests.
    pub sent: u64,
    /// Answers: a request without one may have been executed all the same.
    pub made: u64,
}

/// Settings of a connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectorProperties {
    /// The identity provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Reported>,
    /// The broker's name there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Reported>,
    /// Which claim is the external id.
    pub external_id_claim: Code,
    /// Who is let in by an external id that nobody here has; `_` for `-`.
    pub join_rule: Code,
    /// Whether it is used.
    pub active: bool,
    /// SHA-256 of all settings, as they are stored.
    pub settings: Sha256,
}

/// Settings of a project; absent ones are not spoken about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectSettings {
    /// Lifetime of certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_lifetime_seconds: Option<u32>,
    /// Skew of clocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_seconds: Option<u32>,
    /// Forwarding rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_forwarding: Option<ForwardingRule>,
    /// Sudo rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_sudo: Option<Code>,
    /// What everybody who connects is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<WantedAuthentication>,
}

/// Properties of a user; absent ones are not spoken about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserProperties {
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<DisplayName>,
    /// Its own role in the team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_role: Option<TeamRole>,
}
