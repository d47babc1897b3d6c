//! The short commands of everyday use: who am I, where may I go, what is running.

use std::path::Path;

use usher_api::v1::Me;
use usher_types::TeamSlug;

use crate::{
    admin::server,
    api::Api,
    cli::{
        Context,
        environment::{CONTROL_SOCKET, Environment},
    },
    config::Config,
    exit::{Exit, Failure},
    index, known_hosts, login, output,
    ssh_agent::{
        control::{Answer, Request, Status, unexpected},
        process,
    },
    ssh_config,
};

/// The command line of `usher ssh-agent`.
#[derive(Clone, Debug, clap::Args)]
pub struct SshAgentCommand {
    /// Stay in the foreground
    #[arg(long, conflicts_with = "stop")]
    pub foreground: bool,
    /// Forget everything and end
    #[arg(long)]
    pub stop: bool,
    /// Leave the terminal, and say `ready` on stdout
    #[arg(long, hide = true, requires = "foreground")]
    pub detached: bool,
    /// Where the sockets are
    #[arg(long, hide = true, value_name = "PATH")]
    pub runtime_directory: Option<std::path::PathBuf>,
}

/// Starts, serves or stops the background process.
///
/// # Errors
/// When that is not possible.
pub fn ssh_agent(context: &Context, command: &SshAgentCommand) -> Result<(), Failure> {
    let environment = &context.environment;
    let runtime = command.runtime_directory.as_deref().unwrap_or(&environment.runtime);
    if command.foreground {
        return process::run(environment, runtime, command.detached);
    }
    if command.stop {
        return process::stop(runtime);
    }
    process::ensure(environment)?;
    output::print(&format!("{}\n", environment.ssh_socket().display()))
}

/// So few recovery codes, and their owner is told.
const FEW_RECOVERY_CODES: u32 = 3;

/// `usher whoami`.
///
/// # Errors
/// What the broker answered.
pub fn whoami(context: &Context) -> Result<(), Failure> {
    let me: Me = Api::open(context, &context.team()?)?.get("/v1/me")?;
    if let Some(left) = me.recovery_codes_left.filter(|left| *left <= FEW_RECOVERY_CODES) {
        output::note(&format!(
            "{left} recovery codes are left: make new ones on the page that `usher account` opens"
        ));
    }
    output::show(context.format, &me, |me| {
        format!(
            "{} ({}) in team `{}`, on device `{}` ({}), until {}\n",
            me.user.user_name,
            me.user.unix_user_name,
            me.team,
            me.device.name,
            crate::admin::project::text(&me.device.state),
            me.session.expires_at
        )
    })
}

/// `usher servers`.
///
/// # Errors
/// What the broker answered.
pub fn servers(context: &Context) -> Result<(), Failure> {
    let servers = login::refresh_names(context, &context.team()?)?;
    output::show(context.format, &servers, |servers| server::table(&servers.items))
}

/// `usher status`.
///
/// # Errors
/// When the background process cannot be asked.
pub fn status(context: &Context) -> Result<(), Failure> {
    let status = match process::running(&context.environment.runtime)? {
        Some(mut agent) => match agent.ask(&Request::Status)? {
            Answer::Status(status) => Some(status),
            _ => return Err(unexpected()),
        },
        None => None,
    };
    output::show(context.format, &status, |status| describe(context, status.as_ref()))
}

fn describe(context: &Context, status: Option<&Status>) -> String {
    let mut text = String::new();
    for (team, settings) in &context.config.teams {
        let current = if context.config.current_team.as_ref() == Some(team) { " (current)" } else { "" };
        let session = status.and_then(|status| status.teams.get(team)).map_or_else(
            || "not signed in".to_owned(),
            |found| format!("`{}` until {}", found.user.user_name, found.session.expires_at),
        );
        text.push_str(&format!("{team}{current}  {}  {session}\n", settings.url));
    }
    match status {
        Some(status) => text.push_str(&format!(
            "background process {}: {} key(s), {} handshake slot(s)\n",
            status.pid, status.keys, status.slots
        )),
        None => text.push_str("no background process\n"),
    }
    text
}

/// `usher use TEAM`.
///
/// # Errors
/// When this client does not belong to it.
pub fn use_team(context: &Context, team: TeamSlug) -> Result<(), Failure> {
    let mut config = Config::load(&context.environment.config)?;
    config.team(Some(team.as_str()))?;
    config.current_team = Some(team);
    config.save(&context.environment.config)?;
    ssh_config::refresh(&context.environment, &config)
}

/// `usher resolve NAME`: ours or not. Only for options that the short way of [`crate::run`] does not know.
///
/// # Errors
/// When the name is not ours.
pub fn resolve(context: &Context, quiet: bool, name: &str) -> Result<(), Failure> {
    if is_ours(&context.environment, name)? {
        return if quiet { Ok(()) } else { output::print(&format!("{name}\n")) };
    }
    Err(Failure::new(Exit::NotFound, format!("`{name}` is not a server of ours")))
}

/// Whether a name is in the index.
///
/// # Errors
/// When the index cannot be read.
pub fn is_ours(environment: &Environment, name: &str) -> Result<bool, Failure> {
    let found = index::look_up(&environment.names(), name);
    found.map(|entry| entry.is_some()).map_err(|error| Failure::io("cannot read the index of names", &error))
}

/// `usher known-hosts NAME`.
///
/// # Errors
/// When the background process cannot be asked.
pub fn known_hosts(context: &Context, socket: Option<&Path>, host: &str) -> Result<(), Failure> {
    let runtime = socket.and_then(Path::parent).unwrap_or(&context.environment.runtime);
    known_hosts::run(&runtime.join(CONTROL_SOCKET), host)
}
