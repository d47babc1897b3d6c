//! Signing in again because a server asks for it (RFC 9470): `usher step-up` before, or in the middle of `usher ssh`, which
//! then goes on. One sign-in may be for many servers; the page lists them. What is asked is the broker's to say.

use std::{collections::BTreeSet, io::IsTerminal as _};

use usher_types::{HostName, TeamSlug};

use crate::{
    cli::Context,
    exit::Failure,
    login::{self, LoginOptions},
    output,
    ssh_agent::control::{Answer, ControlClient, Request, unexpected},
};

/// The command line of `usher step-up`.
#[derive(Clone, Debug, clap::Args)]
pub struct StepUpCommand {
    /// Servers to sign in for; in any session, those that are named when signing in want it
    #[arg(required = true, value_name = "SERVER")]
    pub servers: Vec<String>,
    /// Only print the address of the sign-in page
    #[arg(long)]
    pub no_browser: bool,
}

/// `usher step-up`: signs in again, for servers by name.
///
/// # Errors
/// When nobody signed in.
pub fn run(context: &Context, command: &StepUpCommand) -> Result<(), Failure> {
    let team = context.team_of_host(command.servers.first().map(String::as_str).unwrap_or_default())?;
    let mut servers = BTreeSet::new();
    for server in &command.servers {
        let (name, of_team) = context.config.split_host(server);
        if of_team.is_some_and(|of_team| of_team != team) {
            return Err(
                Failure::usage("these servers are of different teams").next("run it once for each team")
            );
        }
        let name: HostName =
            name.to_ascii_lowercase().parse().map_err(|error| Failure::usage(format!("{error}")))?;
        servers.insert(name);
    }
    let options = LoginOptions { no_browser: command.no_browser, ..LoginOptions::default() };
    let signed_in = login::sign_in(context, &team, &options, &servers)?;
    let names: Vec<String> = servers.iter().map(ToString::to_string).collect();
    output::show(
        context.format,
        &serde_json::json!({ "team": team, "servers": names, "session": signed_in.session }),
        |_| match names.as_slice() {
            [one] => format!("signed in for `{one}`\n"),
            many => format!("signed in for {} servers\n", many.len()),
        },
    )
}

/// Whether there is somebody who could sign in now.
#[must_use]
pub fn is_possible(context: &Context) -> bool {
    !context.no_input && std::io::stderr().is_terminal()
}

/// Signs in again for `server`, or waits for another command that does. Commands that wait at the same time are
/// served by one sign-in. Says whether it was this command that led.
///
/// # Errors
/// When nobody signed in.
pub fn interrupt(
    context: &Context,
    agent: &mut ControlClient,
    team: &TeamSlug,
    server: &HostName,
) -> Result<bool, Failure> {
    let request = Request::StepUp { team: team.clone(), server: server.clone() };
    match agent.ask(&request)? {
        Answer::Done => Ok(false),
        Answer::Lead { servers } => {
            output::note(&match servers.len() {
                0 | 1 => format!("`{server}` wants a fresh sign-in"),
                many => format!("{many} servers want a fresh sign-in"),
            });
            login::sign_in(context, team, &LoginOptions::default(), &servers).map(|_signed_in| true)
        }
        _ => Err(unexpected()),
    }
}
