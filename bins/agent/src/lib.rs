//! The agent on every server: enrolls it, owns the life of managed accounts, sudo's and sshd's drop-ins.
//!
//! Two processes. The *root helper* verifies signed state, plans and applies it; it has no network and interprets nothing but
//! a closed set of typed messages. The *network process* runs as the user `usher-agent`, holds the agent's key, talks to
//! the broker and hands bytes over. Each keeps working when the other is gone: without a broker the host keeps the last
//! state, and it is repaired from that.
//!
//! The one public function is the program itself:
//!
//! ```
//! // `--version` needs no root, no configuration and no broker.
//! let status = usher_agent::run(&["usher-agent".into(), "--version".into()]);
//! assert_eq!(format!("{status:?}"), format!("{:?}", std::process::ExitCode::SUCCESS));
//! ```
#![forbid(unsafe_code)]

mod cli;
mod clock;
mod config;
mod discover;
mod engine;
mod enroll;
mod enrollment;
mod exit;
mod helper;
mod message;
mod network;
mod output;
mod places;
mod status;

use std::{ffi::OsString, process::ExitCode};

/// Runs the program with its arguments (the first is its name) and says how it ended.
#[must_use]
pub fn run(arguments: &[OsString]) -> ExitCode {
    cli::run(arguments)
}
