//! `usher`, what people type: enrolls a client, signs in, and gets its owner into servers through the stock `ssh`.
//!
//! - [`ssh_agent`]: the background process. Holds session, keys and certificates, in memory only.
//! - [`proxy`], [`known_hosts`], [`index`]: what `ssh` runs. They start in milliseconds and never prompt.
//! - [`ssh`], [`ssh_config`]: the options that make stock `ssh` use them.
//! - [`workload`]: signing in without a person, for programs.
//! - [`login`], [`enroll`], [`admin`], [`people`], [`doctor`], [`inspect`]: commands.
//!
//! The only secret on disk is the device key. Links no SSH library and has no code that could issue a certificate.
//!
//! ```
//! use usher::ssh_agent::protocol::{Request, Response};
//!
//! // A list request, as `ssh` sends it, and the answer of an agent that has nothing for this host.
//! assert_eq!(Request::parse(&[11])?, Request::Identities);
//! assert_eq!(Response::Identities(None).encode(), [0, 0, 0, 5, 12, 0, 0, 0, 0]);
//! # Ok::<(), usher::ssh_agent::protocol::FrameError>(())
//! ```
#![forbid(unsafe_code)]

pub mod admin;
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod enroll;
pub mod exit;
pub mod explain;
pub mod files;
pub mod index;
pub mod inspect;
pub mod known_hosts;
pub mod login;
pub mod output;
pub mod people;
pub mod proxy;
pub mod random;
pub mod spawn;
pub mod ssh;
pub mod ssh_agent;
pub mod ssh_config;
pub mod step_up;
pub mod workload;

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::Parser as _;
use cli::environment::{CONTROL_SOCKET, Environment};
use exit::{Exit, Failure};
use output::Format;

/// `ssh`'s own exit status for its own errors; `usher ssh` and `usher scp` follow it.
const SSH_ERROR: u8 = 255;

/// Runs the program with its arguments, the program's name first.
#[must_use]
pub fn run(arguments: &[OsString]) -> ExitCode {
    if let Some(code) = short_way(arguments) {
        return code;
    }
    let cli = match cli::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, arguments),
    };
    let format = cli.global.output;
    let ssh = matches!(cli.command, cli::Command::Ssh(_) | cli::Command::Scp(_));
    match cli::run(cli) {
        Ok(()) => output::code(Exit::Ok),
        Err(failure) => report(format, ssh, &failure),
    }
}

fn report(format: Format, ssh: bool, failure: &Failure) -> ExitCode {
    let color = Environment::read().is_ok_and(|environment| !environment.no_color);
    output::failure(format, color, failure);
    if ssh { ExitCode::from(SSH_ERROR) } else { output::code(failure.exit) }
}

fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    // Help and version are results, everything else is a failure; clap knows which stream is meant.
    let _ = error.print();
    match (error.use_stderr(), arguments.get(1).and_then(|word| word.to_str())) {
        (false, _) => output::code(Exit::Ok),
        (true, Some("ssh" | "scp")) => ExitCode::from(SSH_ERROR),
        (true, _) => output::code(Exit::Usage),
    }
}

/// What `ssh` runs for every connection, without a parser, a configuration or a runtime in the way.
fn short_way(arguments: &[OsString]) -> Option<ExitCode> {
    let words: Vec<&str> = arguments.iter().skip(1).map(|word| word.to_str()).collect::<Option<_>>()?;
    match words.as_slice() {
        ["resolve", "-q", name] if !name.starts_with('-') => {
            let ours = Environment::read().and_then(|environment| people::is_ours(&environment, name));
            Some(match ours {
                Ok(true) => output::code(Exit::Ok),
                Ok(false) => output::code(Exit::NotFound),
                Err(failure) => report(Format::Text, false, &failure),
            })
        }
        ["known-hosts", "--socket", socket, "--", name] => {
            let directory = Path::new(socket).parent()?;
            Some(match known_hosts::run(&directory.join(CONTROL_SOCKET), name) {
                Ok(()) => output::code(Exit::Ok),
                Err(failure) => report(Format::Text, false, &failure),
            })
        }
        _ => None,
    }
}
