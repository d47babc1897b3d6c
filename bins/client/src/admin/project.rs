//! `usher project`: authorization scopes with their own CA keys.

use usher_api::v1::{
    AdminSudo, Authentication, CertificateType, CreateProject, KeyCustody, KeyKind, PortForwarding, Project,
    ProjectGroup, UpdateProject,
};
use usher_types::ProjectSlug;

use super::{
    ProjectReference, ServerReference, api,
    conditions::{self, AuthenticationOptions},
    done, fields, keys, list,
};
use crate::{
    cli::{Context, wire_value},
    exit::Failure,
    output::{self, Table},
};

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ProjectCommand {
    /// A project's CA keys: which sign, and which servers know them
    Ca {
        /// Name or id
        project: ProjectReference,
    },
    /// Create a project and its CA keys
    Create {
        /// Its name
        name: ProjectSlug,
        /// First UID
        #[arg(long, value_name = "UID")]
        next_unix_uid: Option<u32>,
        /// First GID
        #[arg(long, value_name = "GID")]
        next_unix_gid: Option<u32>,
        /// Algorithm of the CA: `ed25519` or `ecdsa-p256`
        #[arg(long, value_name = "TYPE", value_parser = wire_value::<CertificateType>, default_value = "ed25519")]
        certificate_type: CertificateType,
        /// Where the CA's keys live: `software`, `aws-kms` or `aws-kms-wrapped`; as the team's own keys when absent
        #[arg(long, value_name = "CUSTODY", value_parser = wire_value::<KeyCustody>)]
        custody: Option<KeyCustody>,
        /// Seconds that a certificate lives
        #[arg(long, value_name = "SECONDS")]
        lifetime: Option<u32>,
        /// Seconds that a certificate reaches into the past
        #[arg(long, value_name = "SECONDS")]
        skew: Option<u32>,
        /// What certificates may forward on targets: `off`, `local` or `all`
        #[arg(long, value_name = "RULE", value_parser = wire_value::<PortForwarding>, default_value = "local")]
        port_forwarding: PortForwarding,
    },
    /// Delete a project that has no servers
    Delete {
        /// Name or id
        project: ProjectReference,
    },
    /// Groups of a project
    Groups {
        /// Name or id
        project: ProjectReference,
    },
    /// Projects that you may see
    List,
    /// Retire all but the newest CA key; refused as long as a server does not know it
    RetireCa {
        /// Name or id
        project: ProjectReference,
        /// Which CA
        #[arg(long, value_enum, default_value_t = Ca::Ssh)]
        kind: Ca,
        /// A server that may be left behind although it does not know the new key yet
        #[arg(long, value_name = "SERVER")]
        leave_behind: Vec<ServerReference>,
    },
    /// Put a new CA key beside the old one; nothing is interrupted
    RotateCa {
        /// Name or id
        project: ProjectReference,
        /// Which CA
        #[arg(long, value_enum, default_value_t = Ca::Ssh)]
        kind: Ca,
        /// Where it is to live: `software`, `aws-kms` or `aws-kms-wrapped`; as the old one unless given
        #[arg(long, value_name = "CUSTODY", value_parser = wire_value::<KeyCustody>)]
        custody: Option<KeyCustody>,
    },
    /// Change a project
    Set {
        /// Name or id
        project: ProjectReference,
        /// Seconds that a certificate lives
        #[arg(long, value_name = "SECONDS")]
        lifetime: Option<u32>,
        /// Seconds that a certificate reaches into the past
        #[arg(long, value_name = "SECONDS")]
        skew: Option<u32>,
        /// What certificates may forward on targets: `off`, `local` or `all`
        #[arg(long, value_name = "RULE", value_parser = wire_value::<PortForwarding>)]
        port_forwarding: Option<PortForwarding>,
        /// A network in which its servers may have new addresses, once for each; `any` for everywhere
        #[arg(long, value_name = "CIDR")]
        network: Vec<String>,
        /// What everybody who connects is asked for.
        #[command(flatten)]
        authentication: AuthenticationOptions,
        /// Ask nothing of sign-ins any more
        #[arg(long, conflicts_with_all = ["max_age", "second_factor", "named_server"])]
        any_sign_in: bool,
    },
    /// One project, with its CA's public keys
    Show {
        /// Name or id
        project: ProjectReference,
    },
}

/// A certificate authority of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Ca {
    /// Signs SSH certificates
    Ssh,
    /// Signs X.509 certificates
    X509,
}

impl From<Ca> for KeyKind {
    fn from(ca: Ca) -> Self {
        match ca {
            Ca::Ssh => Self::SshUserCa,
            Ca::X509 => Self::X509Ca,
        }
    }
}

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn run(context: &Context, command: ProjectCommand) -> Result<(), Failure> {
    let path = |project: &ProjectReference| format!("/v1/projects/{project}");
    match command {
        ProjectCommand::Ca { project } => keys::show(context, &format!("{}/keys", path(&project))),
        ProjectCommand::RetireCa { project, kind, leave_behind } => {
            let leave_behind = leave_behind.iter().map(ToString::to_string).collect();
            keys::retire(context, &format!("{}/keys", path(&project)), kind.into(), leave_behind)
        }
        ProjectCommand::RotateCa { project, kind, custody } => {
            keys::rotate(context, &format!("{}/keys", path(&project)), kind.into(), custody)
        }
        ProjectCommand::Create {
            name,
            next_unix_uid,
            next_unix_gid,
            certificate_type,
            custody,
            lifetime,
            skew,
            port_forwarding,
        } => {
            let create = CreateProject {
                name,
                next_unix_uid,
                next_unix_gid,
                ssh_certificate_type: certificate_type,
                custody,
                certificate_lifetime_seconds: lifetime,
                clock_skew_seconds: skew,
                port_forwarding,
                admin_sudo: AdminSudo::default(),
            };
            let project: Project = api(context)?.send("POST", "/v1/projects", &create)?;
            output::show(context.format, &project, show)
        }
        ProjectCommand::Delete { project } => {
            api(context)?.act("DELETE", &path(&project))?;
            done(format_args!("deleted project `{project}`"))
        }
        ProjectCommand::Groups { project } => list(context, &format!("{}/groups", path(&project)), groups),
        ProjectCommand::List => list(context, "/v1/projects", table),
        ProjectCommand::Set {
            project,
            lifetime,
            skew,
            port_forwarding,
            network,
            authentication,
            any_sign_in,
        } => {
            let authentication = Authentication::from(authentication);
            let update = UpdateProject {
                certificate_lifetime_seconds: lifetime,
                clock_skew_seconds: skew,
                port_forwarding,
                admin_sudo: None,
                networks: match network.as_slice() {
                    [] => None,
                    [any] if any == "any" => Some(Vec::new()),
                    _ => Some(network),
                },
                authentication: (any_sign_in || !authentication.is_empty()).then_some(authentication),
            };
            if update == UpdateProject::default() {
                return Err(Failure::usage("nothing to change"));
            }
            let project: Project = api(context)?.send("PATCH", &path(&project), &update)?;
            output::show(context.format, &project, show)
        }
        ProjectCommand::Show { project } => {
            let project: Project = api(context)?.get(&path(&project))?;
            output::show(context.format, &project, show)
        }
    }
}

/// Projects as a table.
#[must_use]
pub fn table(projects: &[Project]) -> String {
    let mut table = Table::new(&["name", "certificates", "lifetime", "forwarding", "created"]);
    for project in projects {
        table.row([
            project.name.to_string(),
            text(&project.ssh_certificate_type),
            format!("{} s", project.certificate_lifetime_seconds),
            text(&project.port_forwarding),
            project.created_at.to_string(),
        ]);
    }
    table.render()
}

fn show(project: &Project) -> String {
    let mut text = fields([
        ("name", project.name.to_string()),
        ("id", project.id.to_string()),
        ("certificates", text(&project.ssh_certificate_type)),
        ("lifetime", format!("{} s", project.certificate_lifetime_seconds)),
        ("clock skew", format!("{} s", project.clock_skew_seconds)),
        ("forwarding", text(&project.port_forwarding)),
        ("next uid, gid", format!("{}, {}", project.next_unix_uid, project.next_unix_gid)),
        ("created", project.created_at.to_string()),
    ]);
    if let Some(words) = conditions::authentication_words(&project.authentication) {
        text.push_str(&fields([("access", words)]));
    }
    for network in &project.networks {
        text.push_str(&fields([("network", network.clone())]));
    }
    for key in &project.ssh_user_ca {
        text.push_str(&fields([("user ca", key.clone())]));
    }
    text
}

fn groups(groups: &[ProjectGroup]) -> String {
    let mut table = Table::new(&["group", "access", "admin", "unix group", "gid", "when"]);
    for group in groups {
        table.row([
            group.group.to_string(),
            yes(group.server_access),
            yes(group.server_admin),
            group.unix_group_name.to_string(),
            group.unix_gid.to_string(),
            conditions::words(&group.conditions),
        ]);
    }
    table.render()
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// An enum of the API as JSON spells it.
pub(crate) fn text<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => "?".to_owned(),
    }
}
