//! `usher server`: enrolled hosts, their role and their route.

use usher_api::v1::{Server, ServerRole, UpdateServer};
use usher_types::Label;

use super::{ServerReference, api, done, fields, list, or_dash, project::text};
use crate::{
    cli::{Context, wire_value},
    exit::Failure,
    output::{self, Table},
};

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ServerCommand {
    /// Remove a server; its accounts stay until its agent is removed
    Delete {
        /// Name or id
        server: ServerReference,
    },
    /// Servers that you may see
    List,
    /// Change a server's role or route, or accept another port of its sshd
    Set {
        /// Name or id
        server: ServerReference,
        /// `target` or `bastion`
        #[arg(long, value_parser = wire_value::<ServerRole>)]
        role: Option<ServerRole>,
        /// Bastion group it belongs to; `none` for none
        #[arg(long, value_name = "GROUP", value_parser = label_or_none)]
        bastion_group: Option<String>,
        /// Bastion group it is reached through; `none` for none
        #[arg(long, value_name = "GROUP", value_parser = label_or_none)]
        via: Option<String>,
        /// Port of its sshd; the first that its agent reported stays until you name another
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        port: Option<u16>,
    },
    /// One server
    Show {
        /// Name or id
        server: ServerReference,
    },
}

/// The API clears with an empty text; a shell shows the word better.
fn label_or_none(text: &str) -> Result<String, String> {
    if text == "none" {
        return Ok(String::new());
    }
    text.parse::<Label>().map(String::from).map_err(|error| error.to_string())
}

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn run(context: &Context, command: ServerCommand) -> Result<(), Failure> {
    match command {
        ServerCommand::Delete { server } => {
            api(context)?.act("DELETE", &format!("/v1/servers/{server}"))?;
            done(format_args!("removed server `{server}`"))
        }
        ServerCommand::List => list(context, "/v1/servers", table),
        ServerCommand::Set { server, role, bastion_group, via, port } => {
            let update = UpdateServer { role, bastion_group, via, ssh_port: port };
            if update == UpdateServer::default() {
                return Err(Failure::usage("nothing to change"));
            }
            let server: Server = api(context)?.send("PATCH", &format!("/v1/servers/{server}"), &update)?;
            output::show(context.format, &server, show)
        }
        ServerCommand::Show { server } => {
            let server: Server = api(context)?.get(&format!("/v1/servers/{server}"))?;
            output::show(context.format, &server, show)
        }
    }
}

/// Servers as a table.
#[must_use]
pub fn table(servers: &[Server]) -> String {
    let mut table = Table::new(&["name", "project", "role", "via", "state", "address"]);
    for server in servers {
        table.row([
            server.name.to_string(),
            server.project.to_string(),
            text(&server.role),
            or_dash(server.via.as_ref()),
            text(&server.state),
            server.addresses.first().map_or_else(|| "-".to_owned(), |address| address.ip.to_string()),
        ]);
    }
    table.render()
}

fn show(server: &Server) -> String {
    let addresses: Vec<String> = server
        .addresses
        .iter()
        .map(|address| std::net::SocketAddr::new(address.ip, address.port).to_string())
        .collect();
    let mut text = fields([
        ("name", server.name.to_string()),
        ("id", server.id.to_string()),
        ("project", server.project.to_string()),
        ("role", text(&server.role)),
        ("bastion group", or_dash(server.bastion_group.as_ref())),
        ("via", or_dash(server.via.as_ref())),
        ("state", text(&server.state)),
        ("last seen", or_dash(server.last_seen_at)),
        ("applied generation", server.applied_generation.to_string()),
        ("addresses", if addresses.is_empty() { "-".to_owned() } else { addresses.join(" ") }),
        ("enrolled", server.enrolled_at.to_string()),
    ]);
    for key in &server.host_keys {
        text.push_str(&fields([("host key", key.clone())]));
    }
    for conflict in &server.conflicts {
        let line = format!("{} `{}`: {}", conflict.kind, conflict.name, conflict.reason);
        text.push_str(&fields([("conflict", line)]));
    }
    text
}
