//! The command line: what there is, and what each command is given.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    config::{Config, DEFAULT},
    discover, enroll,
    exit::Failure,
    helper, network,
    output::{self, Format, clean},
    status,
};

/// Manages this server's accounts and sshd for an Usher team.
#[derive(Debug, Parser)]
#[command(name = "usher-agent", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How results are shown
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  usher-agent discover                        what accounts are here, what would be in the way
  usher-agent enroll --token-file token.txt   join a project
  usher-agent run                             work (the systemd unit does this)
  usher-agent status                          how it goes

Exit codes: 0 done, 1 other, 2 usage, 4 refused by the broker, 5 not enrolled, 6 network or broker.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Check or print the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show accounts, ids and what would be in the way; changes nothing
    Discover(discover::Arguments),
    /// Join a project with an enrollment token
    Enroll(enroll::Arguments),
    /// The unprivileged half of `run`
    #[command(hide = true)]
    Network,
    /// Keep this host as the broker's signed state says
    Run,
    /// Show how the agent is doing
    Status,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum ConfigCommand {
    /// Check the configuration file
    Check,
    /// Print the default configuration, with explanations
    Default,
}

pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout, mistakes to stderr; nothing can be said when both are gone.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match execute(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::note(&format!("error: {}", clean(&failure.message)));
            if let Some(next) = &failure.next {
                output::note(&format!("next: {}", clean(next)));
            }
            ExitCode::from(failure.exit.code())
        }
    }
}

fn execute(cli: &Cli) -> Result<(), Failure> {
    let load = || Config::load(cli.config.as_deref());
    match &cli.command {
        Command::Config(ConfigCommand::Check) => {
            load()?;
            output::print("the configuration is good\n")
        }
        Command::Config(ConfigCommand::Default) => output::print(DEFAULT),
        Command::Discover(arguments) => discover::run(*arguments, cli.output),
        Command::Enroll(arguments) => enroll::run(arguments, &load()?, cli.output),
        Command::Network => network::run(),
        Command::Run => {
            let config = load()?;
            config.logging().start()?;
            helper::run(config)
        }
        Command::Status => status::show(cli.output),
    }
}
