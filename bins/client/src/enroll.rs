//! `usher enroll`: from a URL with a pin to a client that belongs to a team. Makes the device key; signs nobody in.

use usher_api_client::{BrokerAddress, Client};
use usher_types::TeamSlug;

use crate::{
    cli::Context,
    config::{self, Config, Team},
    exit::Failure,
    output,
    ssh_agent::teams,
    ssh_config,
};

/// The command line of `usher enroll`.
#[derive(Clone, Debug, clap::Args)]
pub struct EnrollCommand {
    /// What your administrator gave you: `https://broker.example:8443#PIN`
    #[arg(value_name = "URL#PIN")]
    pub address: String,
    /// Refuse unless the team has this name
    #[arg(long, value_name = "TEAM")]
    pub team_name: Option<TeamSlug>,
    /// Take the place of an earlier address of the same team
    #[arg(long)]
    pub replace: bool,
}

/// Asks the broker for its name, under the pin, and writes the configuration.
///
/// # Errors
/// When the broker cannot be reached or is not the one that was pinned.
pub fn run(context: &Context, command: &EnrollCommand) -> Result<(), Failure> {
    let address: BrokerAddress =
        command.address.parse().map_err(|error| Failure::usage(format!("{error}")))?;
    if address.pin.is_none() {
        output::note("no pin: the broker is believed when its certificate is of a root this machine trusts");
    }
    let directory = &context.environment.config;
    config::ensure_device_key(directory)?;
    let settings = Team {
        url: address.url,
        pin: address.pin,
        pins: Vec::new(),
        device_key: config::DEVICE_KEY.to_owned(),
        device_name: None,
        login: None,
    };
    let team = ask(&teams::client(directory, &settings)?)?;
    if command.team_name.as_ref().is_some_and(|wanted| *wanted != team) {
        return Err(Failure::other(format!("that is the broker of team `{team}`")));
    }
    let mut config = Config::load(directory)?;
    if let Some(known) = config.teams.get(&team) {
        let same = known.url == settings.url && settings.pins() == known.pins();
        if !same && !command.replace {
            return Err(Failure::other(format!(
                "team `{team}` is known at `{}` with another pin or url",
                known.url
            ))
            .next("if your administrator confirms the new address, add `--replace`"));
        }
    }
    config
        .teams
        .entry(team.clone())
        .and_modify(|known| {
            known.url = settings.url.clone();
            known.pin = settings.pin;
            known.pins.clear();
        })
        .or_insert(settings);
    config.current_team = Some(team.clone());
    config.save(directory)?;
    ssh_config::refresh(&context.environment, &config)?;
    output::note(&format!("this client belongs to team `{team}`\nnext: run `usher login`"));
    Ok(())
}

fn ask(client: &Client) -> Result<TeamSlug, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start", &error))?;
    runtime.block_on(client.team()).map(|team| team.team).map_err(|error| teams::failure(&error))
}
