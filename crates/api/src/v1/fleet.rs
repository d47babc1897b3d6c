//! Projects, servers, enrollment tokens and the audit log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use usher_types::{
    GroupName, HostName, Label, ProjectId, ProjectSlug, ServerId, Sha256, TokenId, UnixGroupName, UnixTime,
    UserName,
};
use utoipa::ToSchema;

use super::{Address, Authentication, Conditions, KeyCustody};

/// A whole list; `next` is for later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
}

/// The CA's algorithm for SSH certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateType {
    /// `ecdsa-sha2-nistp256`.
    EcdsaP256,
    /// `ssh-ed25519`.
    #[default]
    Ed25519,
}

/// What certificates may forward on targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PortForwarding {
    /// Both ways: ports on the server too (`-R`).
    All,
    /// Client to server only (`-L`, `-D`, `-W`).
    #[default]
    Local,
    /// Nothing.
    Off,
}

/// How members of an admin group use sudo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AdminSudo {
    /// Without being asked.
    #[default]
    Passwordless,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: ProjectSlug,
    /// Next UID to be given to a user.
    pub next_unix_uid: u32,
    /// Next GID to be given to a user's private group or a project group.
    pub next_unix_gid: u32,
    /// The CA's algorithm.
    pub ssh_certificate_type: CertificateType,
    /// Seconds that a certificate lives.
    pub certificate_lifetime_seconds: u32,
    /// Seconds that a certificate reaches into the past.
    pub clock_skew_seconds: u32,
    /// What certificates may forward on targets.
    pub port_forwarding: PortForwarding,
    /// How admins use sudo.
    pub admin_sudo: AdminSudo,
    /// The user CA's public keys, as in `TrustedUserCAKeys`.
    #[serde(default)]
    pub ssh_user_ca: Vec<String>,
    /// Networks in which its servers may have addresses; anywhere when there is none.
    #[serde(default)]
    pub networks: Vec<String>,
    /// What is asked of everybody who connects.
    #[serde(default, skip_serializing_if = "Authentication::is_empty")]
    pub authentication: Authentication,
    /// When it was created.
    pub created_at: UnixTime,
}

/// `POST /v1/projects`; makes the CA keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// Its name; unique.
    pub name: ProjectSlug,
    /// First UID, 60001 when absent. Ranges that the system uses are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_unix_uid: Option<u32>,
    /// First GID, 63001 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_unix_gid: Option<u32>,
    /// The CA's algorithm.
    #[serde(default)]
    pub ssh_certificate_type: CertificateType,
    /// Where the CA's keys are to live; as the team's own keys when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custody: Option<KeyCustody>,
    /// 180 when absent; lifetime and skew together at most 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_lifetime_seconds: Option<u32>,
    /// 60 when absent; 30 to 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_seconds: Option<u32>,
    /// What certificates may forward on targets.
    #[serde(default)]
    pub port_forwarding: PortForwarding,
    /// How admins use sudo.
    #[serde(default)]
    pub admin_sudo: AdminSudo,
}

/// `PATCH /v1/projects/{project}`; absent fields stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateProject {
    /// New lifetime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_lifetime_seconds: Option<u32>,
    /// New skew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_seconds: Option<u32>,
    /// New forwarding rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_forwarding: Option<PortForwarding>,
    /// New sudo rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_sudo: Option<AdminSudo>,
    /// Networks in which its servers may have new addresses, for example `10.0.0.0/16`; none for anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    /// What to ask of everybody who connects; `{}` for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
}

/// A group's role in a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectGroup {
    /// The project.
    pub project: ProjectSlug,
    /// The directory group.
    pub group: GroupName,
    /// Its members may log in on the project's servers.
    pub server_access: bool,
    /// Its members may also use sudo there.
    pub server_admin: bool,
    /// The Unix group on servers.
    pub unix_group_name: UnixGroupName,
    /// The Unix group's GID; never reused.
    pub unix_gid: u32,
    /// When the role counts.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
}

/// `PUT /v1/projects/{project}/groups/{group}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetProjectGroup {
    /// Members may log in; false with `server_admin` true is refused.
    pub server_access: bool,
    /// Members may use sudo.
    pub server_admin: bool,
    /// When the role counts; always when absent.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
}

/// What a server is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServerRole {
    /// Forwards to others as well.
    Bastion,
    /// Is logged in to.
    #[default]
    Target,
}

/// How a server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServerState {
    /// Reported lately.
    Healthy,
    /// Has not reported for 90 seconds.
    Silent,
}

/// An enrolled server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Server {
    /// Its id.
    pub id: ServerId,
    /// Its name, unique in the team.
    pub name: HostName,
    /// Its project.
    pub project: ProjectSlug,
    /// What it is for.
    pub role: ServerRole,
    /// The bastion group it belongs to.
    #[serde(default)]
    pub bastion_group: Option<Label>,
    /// The bastion group it is reached through.
    #[serde(default)]
    pub via: Option<Label>,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<Label, Label>,
    /// Where its sshd listens.
    pub addresses: Vec<Address>,
    /// The port of its sshd that is accepted: as first reported, or as an administrator set it.
    #[serde(default)]
    pub ssh_port: Option<u16>,
    /// Its SSH host keys.
    pub host_keys: Vec<String>,
    /// How it is doing.
    pub state: ServerState,
    /// State generation it has applied.
    pub applied_generation: u64,
    /// What stands in the way of the desired state, as its agent reported it; and reported addresses that it does not get.
    #[serde(default)]
    pub conflicts: Vec<super::AccountConflict>,
    /// When it joined.
    pub enrolled_at: UnixTime,
    /// When it last reported.
    pub last_seen_at: Option<UnixTime>,
}

/// `PATCH /v1/servers/{server}`; absent fields stay, `null` clears.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateServer {
    /// New role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<ServerRole>,
    /// New bastion group; `""` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bastion_group: Option<String>,
    /// New `via`; `""` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Another port of its sshd that its agent may report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_port: Option<u16>,
}

/// `POST /v1/tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// The project that servers join.
    pub project: ProjectSlug,
    /// What it is called in lists.
    pub description: Label,
    /// Seconds until it ends; 3600 when absent, at most 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u32>,
    /// How many servers it makes; 1 when absent, at most 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u32>,
    /// Role of the servers it makes.
    #[serde(default)]
    pub role: ServerRole,
    /// Bastion group of the servers it makes; only with role `bastion`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bastion_group: Option<Label>,
    /// Bastion group they are reached through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Label>,
    /// Labels of the servers it makes.
    #[serde(default)]
    pub labels: BTreeMap<Label, Label>,
    /// Names it may be used for: exact, or a prefix followed by `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_pattern: Option<String>,
    /// Network it may be used from, for example `10.0.0.0/16`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
}

/// An enrollment token without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnrollmentToken {
    /// Its id.
    pub id: TokenId,
    /// The project that servers join.
    pub project: ProjectSlug,
    /// What it is called.
    pub description: Label,
    /// Who made it.
    pub created_by: UserName,
    /// When it ends.
    pub expires_at: UnixTime,
    /// How many servers it may make.
    pub max_uses: u32,
    /// How many it made.
    pub uses: u32,
    /// Role of the servers it makes.
    pub role: ServerRole,
    /// Bastion group of the servers it makes.
    #[serde(default)]
    pub bastion_group: Option<Label>,
    /// Bastion group they are reached through.
    #[serde(default)]
    pub via: Option<Label>,
    /// Labels of the servers it makes.
    #[serde(default)]
    pub labels: BTreeMap<Label, Label>,
    /// Names it may be used for.
    #[serde(default)]
    pub name_pattern: Option<String>,
    /// Network it may be used from.
    #[serde(default)]
    pub cidr: Option<String>,
}

/// Answer to [`CreateToken`]. The token is shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// What was made.
    pub enrollment_token: EnrollmentToken,
    /// `ut1_...`: URL, pin and secret in one, to be pasted on the server.
    pub token: String,
}

impl std::fmt::Debug for CreatedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedToken")
            .field("enrollment_token", &self.enrollment_token)
            .finish_non_exhaustive()
    }
}

/// Which way a page of the audit log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditOrder {
    /// From the newest row back.
    Newest,
    /// From the oldest row on.
    #[default]
    Oldest,
}

/// Query of `GET /v1/audit`. Filters are all to be met; users, servers and projects are named or given by id, ids of
/// what is gone included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Which way; `oldest` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<AuditOrder>,
    /// Where to go on: `next` or `follow` of an earlier answer, with the same order and filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Oldest first: rows after this position, when there is no cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
    /// At most this many; 100 when absent, at most 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Events of this type (`user.disable`), or of all types of a noun (`user`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// Done by this user or server, or by `operator`, `system` or `anonymous`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// By or about this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// By or about this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// About this project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<UnixTime>,
    /// Not after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixTime>,
    /// Rows whose JSON text holds this, in either case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl AuditQuery {
    /// The query string, without `?`.
    #[must_use]
    pub fn to_query(&self) -> String {
        let fields = serde_json::to_value(self).unwrap_or_default();
        let fields = fields.as_object().into_iter().flatten();
        let pairs = fields.map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{name}={}", percent_encoded(&text))
        });
        pairs.collect::<Vec<_>>().join("&")
    }
}

/// Everything but RFC 3986's unreserved characters as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A page of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The rows, in the order that was asked for. May be fewer than the limit, even none, with more to come.
    pub items: Vec<AuditEvent>,
    /// The cursor for the next page of the same search; absent when everything was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The cursor for what is written from now on, oldest first.
    pub follow: String,
}

/// One row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEvent {
    /// Position in the log.
    pub position: i64,
    /// The process that wrote it.
    pub writer: String,
    /// Its number in that writer's chain.
    pub sequence: i64,
    /// Its hash in the chain.
    pub hash: Sha256,
    /// The event as it was hashed.
    #[schema(value_type = Object)]
    pub event: serde_json::Value,
}
