//! `usher proxy`: what `ssh` runs as its `ProxyCommand`. Gets routes from the background process, opens the first that
//! answers, and copies bytes. The server's identity is checked by the `ssh` that started it, end to end.

use std::{path::Path, sync::mpsc, time::Duration};

use usher_api::v1::Purpose;
use usher_types::LoginName;

use crate::{
    cli::{Context, environment::Environment},
    clock,
    exit::{Exit, Failure},
    index, random,
    ssh_agent::{
        control::{Answer, Connect, Connected, ControlClient, Request, unexpected},
        process,
    },
    step_up, workload,
};

pub mod banner;
pub mod dial;
mod farewell;
mod pump;
mod route;

use route::{Event, Hops, Wire};

/// When the second route is tried as well.
const SECOND_ROUTE_AFTER: Duration = Duration::from_secs(2);
/// How long a server that drops connections before the key exchange is asked again.
const RETRY_FOR: Duration = Duration::from_secs(10);
/// A server behind a bastion that drops packets would let us wait for minutes.
const GIVE_UP_AFTER: Duration = Duration::from_secs(45);
/// A server that asks again after a sign-in asks for something that signing in does not give.
const STEP_UPS: u32 = 2;
/// How often slots for a further route are asked for while an earlier one is being tried.
const SLOT_POLL: Duration = Duration::from_millis(100);

/// The command line of `usher proxy`.
#[derive(Clone, Debug, clap::Args)]
pub struct ProxyCommand {
    /// Socket of the background process
    #[arg(long, value_name = "PATH", hide = true)]
    pub socket: Option<std::path::PathBuf>,
    /// What the connection is for
    #[arg(long, value_parser = parse_purpose, default_value = "interactive")]
    pub purpose: Purpose,
    /// Bastions to go through instead of the configured ones; `none` for a direct connection
    #[arg(long, value_delimiter = ',', value_name = "BASTION")]
    pub via: Option<Vec<String>>,
    /// Account on the server (`%r`)
    #[arg(long)]
    pub login: Option<String>,
    /// Server (`%h`)
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Port (`%p`); servers tell their own
    #[arg(value_name = "PORT")]
    pub port: Option<String>,
}

fn parse_purpose(text: &str) -> Result<Purpose, String> {
    match text {
        "command" => Ok(Purpose::Command),
        "interactive" => Ok(Purpose::Interactive),
        _ => Err("use `command` or `interactive`".to_owned()),
    }
}

/// Connects stdin and stdout to the server.
///
/// # Errors
/// Why there is no connection.
pub fn run(context: &Context, command: &ProxyCommand) -> Result<(), Failure> {
    let (agent, wire, banner) = connect(context, command).inspect_err(farewell::say)?;
    let ended = pump::run(wire, &banner);
    // The control connection stays open until the end: keys and slots live as long as it does.
    drop(agent);
    ended
}

fn connect(context: &Context, command: &ProxyCommand) -> Result<(ControlClient, Wire, Vec<u8>), Failure> {
    let runtime = command.socket.as_deref().and_then(Path::parent).unwrap_or(&context.environment.runtime);
    let request = connect_request(context, command)?;
    workload::session(context, &request.team)?;
    let mut deadline = None;
    let (mut attempt, mut step_ups) = (0, 0);
    loop {
        let mut agent =
            process::running(runtime)?.ok_or_else(|| Failure::not_signed_in(request.team.as_str()))?;
        let connected = match agent.ask(&Request::Connect(request.clone())) {
            Ok(Answer::Connected(connected)) => connected,
            Ok(_) => return Err(unexpected()),
            Err(Failure { step_up: Some(wanted), .. })
                if step_ups < STEP_UPS && step_up::is_possible(context) =>
            {
                let led = step_up::interrupt(context, &mut agent, &request.team, &wanted.server)?;
                step_ups += u32::from(led);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        // From here on: a person who signs in takes longer.
        let deadline = *deadline.get_or_insert_with(|| clock::monotonic() + RETRY_FOR);
        match race(&mut agent, &context.environment, runtime, &connected, attempt) {
            Ok((wire, banner)) => {
                // A name that is not remembered costs one broker round trip next time, no more.
                let _ =
                    index::remember(&context.environment.names(), request.team.as_str(), &connected.server);
                return Ok((agent, wire, banner));
            }
            Err(lost) if lost.again && clock::monotonic() < deadline => {
                clock::pause(random::jitter(1000));
                attempt += 1;
            }
            Err(lost) => return Err(lost.failure),
        }
    }
}

fn connect_request(context: &Context, command: &ProxyCommand) -> Result<Connect, Failure> {
    let team = context.team_of_host(&command.host)?;
    let (server, _) = context.config.split_host(&command.host);
    let login = command.login.as_deref().map(str::parse::<LoginName>).transpose();
    Ok(Connect {
        server: server.to_ascii_lowercase(),
        login: login.map_err(|error| {
            Failure::new(Exit::Usage, error.to_string())
                .next("name the account: `usher ssh -l NAME HOST` or `ssh NAME@HOST`")
        })?,
        purpose: command.purpose,
        via: command.via.as_ref().map(|via| via.iter().filter(|name| *name != "none").cloned().collect()),
        host: command.host.clone(),
        team,
    })
}

/// Why no route led to the server.
struct Lost {
    failure: Failure,
    /// Whether it was a server that was too busy, and the same may work in a moment.
    again: bool,
}

impl From<Failure> for Lost {
    fn from(failure: Failure) -> Self {
        Self { failure, again: false }
    }
}

/// Tries the first route, and the next when it fails or has not answered after two seconds. First answer wins.
fn race(
    agent: &mut ControlClient,
    environment: &Environment,
    runtime: &Path,
    connected: &Connected,
    attempt: usize,
) -> Result<(Wire, Vec<u8>), Lost> {
    let starter = route::Starter::new(environment, runtime, attempt)?;
    let end = clock::monotonic() + GIVE_UP_AFTER;
    let (sender, events) = mpsc::channel();
    let mut waiting = 0..connected.routes.len();
    let mut racing: Vec<(usize, Option<Hops>)> = Vec::new();
    let mut lost: Option<Lost> = None;
    let mut patience = Duration::ZERO;
    let outcome = loop {
        match events.recv_timeout(patience) {
            Ok(Event::Connected { route, stream, banner }) => break Ok((route, stream, banner)),
            Ok(Event::Failed { route, failure, again }) => {
                racing.retain(|(other, _)| *other != route);
                let again = again || lost.as_ref().is_some_and(|lost| lost.again);
                // What the preferred route said is the more useful story.
                let failure = lost.map_or(failure, |lost| lost.failure);
                lost = Some(Lost { failure, again });
                if !racing.is_empty() {
                    continue;
                }
            }
            Err(_) => {}
        }
        let Some(route) = waiting.clone().next() else {
            if racing.is_empty() || clock::monotonic() >= end {
                break Err(lost.unwrap_or_else(|| {
                    Failure::new(Exit::Network, "the server did not answer in time").into()
                }));
            }
            patience = SECOND_ROUTE_AFTER;
            continue;
        };
        let wait = racing.is_empty();
        let Answer::Slots { granted } = agent.ask(&Request::Slots { route, wait })? else {
            break Err(unexpected().into());
        };
        if !granted {
            patience = SLOT_POLL;
            continue;
        }
        waiting.next();
        patience = SECOND_ROUTE_AFTER;
        if let Some(plan) = connected.routes.get(route) {
            let hops = starter.start(route, plan, &sender)?;
            if let Some(pid) = hops.as_ref().and_then(Hops::pid) {
                agent.ask(&Request::Started { route, pid })?;
            }
            racing.push((route, hops));
        }
    };
    let winner = outcome.as_ref().ok().map(|(route, ..)| *route);
    let mut hops_of_winner = None;
    for (route, hops) in racing {
        if Some(route) == winner {
            hops_of_winner = hops;
        } else if let Some(mut hops) = hops {
            hops.end();
        }
    }
    let (route, stream, banner) = outcome?;
    agent.ask(&Request::Chosen { route })?;
    Ok((Wire { stream, hops: hops_of_winner }, banner))
}
