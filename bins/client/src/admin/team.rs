//! `usher team`: the keys that the whole team rests on.

use usher_api::v1::{KeyCustody, KeyKind};

use super::{ServerReference, keys};
use crate::{
    cli::{Context, wire_value},
    exit::Failure,
};

const PATH: &str = "/v1/team/keys";

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum TeamCommand {
    /// The team's keys, and which servers know them
    Keys,
    /// Put a new key beside the old one; nothing is interrupted
    Rotate {
        /// Which key
        key: TeamKey,
        /// Where it is to live: `software`, `aws-kms` or `aws-kms-wrapped`; as the old one unless given
        #[arg(long, value_name = "CUSTODY", value_parser = wire_value::<KeyCustody>)]
        custody: Option<KeyCustody>,
    },
    /// Retire all but the newest key of a kind
    Retire {
        /// Which key
        key: TeamKey,
        /// A server that may be left behind although it does not know the new key: it must be enrolled again
        #[arg(long, value_name = "SERVER")]
        leave_behind: Vec<ServerReference>,
    },
}

/// A key of the team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TeamKey {
    /// Signs checkpoints of the audit log
    Audit,
    /// Signs what servers are told to look like
    State,
    /// The root of the broker's TLS certificate; its pin
    Tls,
}

impl From<TeamKey> for KeyKind {
    fn from(key: TeamKey) -> Self {
        match key {
            TeamKey::Audit => Self::Audit,
            TeamKey::State => Self::State,
            TeamKey::Tls => Self::TlsRoot,
        }
    }
}

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn run(context: &Context, command: TeamCommand) -> Result<(), Failure> {
    match command {
        TeamCommand::Keys => keys::show(context, PATH),
        TeamCommand::Rotate { key, custody } => keys::rotate(context, PATH, key.into(), custody),
        TeamCommand::Retire { key, leave_behind } => {
            keys::retire(context, PATH, key.into(), leave_behind.iter().map(ToString::to_string).collect())
        }
    }
}
