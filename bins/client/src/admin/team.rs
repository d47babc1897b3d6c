//! `usher team`: the keys that the whole team rests on, and what it asks of sessions.

use usher_api::v1::{KeyCustody, KeyKind, SessionBinding, TeamSettings, UpdateTeamSettings};

use super::{ServerReference, api, fields, keys, project::text};
use crate::{
    cli::{Context, duration_seconds, wire_value},
    exit::Failure,
    output,
};

const PATH: &str = "/v1/team/keys";
const SETTINGS: &str = "/v1/team/settings";

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
    /// Ask something else of sessions, those that are open among them
    Set {
        /// How long a session lasts: `1h` to `25h`
        #[arg(long, value_name = "TIME", value_parser = duration_seconds)]
        session_lifetime: Option<u32>,
        /// How long a session may rest, `5m` at least; `off` for as long as it lasts
        #[arg(long, value_name = "TIME", value_parser = idle)]
        session_idle: Option<u32>,
        /// `network`: a session is good only in the network it was opened from (IPv4: that address; IPv6: its /64). `none`:
        /// everywhere
        #[arg(long, value_name = "BINDING", value_parser = wire_value::<SessionBinding>)]
        session_binding: Option<SessionBinding>,
    },
    /// What the team asks of sessions
    Settings,
}

/// 0 is no limit.
fn idle(text: &str) -> Result<u32, String> {
    if text == "off" { Ok(0) } else { duration_seconds(text) }
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
        TeamCommand::Set { session_lifetime, session_idle, session_binding } => {
            let change = UpdateTeamSettings {
                session_lifetime_seconds: session_lifetime,
                session_idle_seconds: session_idle,
                session_binding,
            };
            let settings: TeamSettings = api(context)?.send("PATCH", SETTINGS, &change)?;
            output::show(context.format, &settings, show)
        }
        TeamCommand::Settings => {
            let settings: TeamSettings = api(context)?.get(SETTINGS)?;
            output::show(context.format, &settings, show)
        }
    }
}

fn show(settings: &TeamSettings) -> String {
    fields([
        ("session lifetime", format!("{} s", settings.session_lifetime_seconds)),
        (
            "session idle limit",
            settings.session_idle_seconds.map_or_else(|| "off".to_owned(), |s| format!("{s} s")),
        ),
        ("session binding", text(&settings.session_binding)),
    ])
}
