//! Standard output and standard error of the command line. Write errors (a closed pipe) are not worth a panic.

use std::io::Write as _;

use serde::Serialize;
use usher_keystore::SealKeyError;
use usher_store::StoreError;

use super::commands::NotFound;
use crate::{ConfigError, DatabaseError, SealingError, ServeError, init::InitError};

/// How results look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// One JSON object with `schema`.
    Json,
    /// For people.
    Text,
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    schema: u32,
    #[serde(flatten)]
    value: &'a T,
}

impl Output {
    /// Prints a result: as text, or as JSON with the version of its schema.
    pub(super) fn print<T: Serialize>(self, value: &T, text: &str) -> Result<(), serde_json::Error> {
        let line = match self {
            Self::Json => serde_json::to_string(&Versioned { schema: 1, value })?,
            Self::Text => text.trim_end().to_owned(),
        };
        let mut out = std::io::stdout().lock();
        let _written = writeln!(out, "{line}").and_then(|()| out.flush()).is_ok();
        Ok(())
    }
}

/// What to do about an error that an operator can do something about.
fn next(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<InitError>() {
            return match error {
                InitError::Busy { .. } => Some("wait until it is done"),
                InitError::Exists { .. } => {
                    Some("serve it with `usher-broker serve`; for another team name another directory with --data-dir")
                }
                InitError::TeamExists => Some(
                    "to add a broker to it, give it the broker.toml and seal.key of another one and `usher-broker serve`",
                ),
                _ => None,
            };
        }
        if let Some(error) = cause.downcast_ref::<ConfigError>() {
            return Some(match error {
                ConfigError::File { .. } => "name the file with --config, or make a team with `usher-broker init`",
                ConfigError::PushUrl { .. } => "use https://, or an address of this machine",
                ConfigError::PublicUrl { .. } => "write it like https://usher.example.com:8443",
                ConfigError::Database(error) => return error.next_step(),
                ConfigError::Form { .. } | ConfigError::HalfCertificate | ConfigError::Seal => {
                    "compare it with what `usher-broker config default` prints"
                }
            });
        }
        if let Some(error) = cause.downcast_ref::<SealKeyError>() {
            return match error {
                SealKeyError::File { .. } | SealKeyError::Owner { .. } => {
                    Some("run it as the user that the data directory belongs to")
                }
                SealKeyError::Length { .. } => Some("restore the seal key from a backup; without it nothing opens"),
                SealKeyError::LooseMode { .. } => Some("chmod 0600 it, and find out who has read it meanwhile"),
                SealKeyError::Passphrase { .. } => Some("`openssl rand -base64 32` makes a good one"),
                SealKeyError::Salt { .. } => Some("restore it from a backup, or from another broker of the team"),
                SealKeyError::Derive | SealKeyError::Exists { .. } | SealKeyError::Random => None,
            };
        }
        if let Some(SealingError::Other(_)) = cause.downcast_ref() {
            return Some("get the new seal key from the broker that sealed the database anew, or from a backup");
        }
        if let Some(error) = cause.downcast_ref::<DatabaseError>() {
            return error.next_step();
        }
        if let Some(error) = cause.downcast_ref::<StoreError>() {
            return error.fault().next_step();
        }
        if let Some(ServeError::Listen { .. }) = cause.downcast_ref() {
            return Some("free the address, or set `listen` in broker.toml to another one");
        }
        cause.downcast_ref::<NotFound>().map(NotFound::next)
    })
}

/// `error: what: why`, then what to do about it.
pub(super) fn failed(error: &anyhow::Error) {
    let mut out = std::io::stderr().lock();
    let _written = writeln!(out, "error: {error:#}").is_ok();
    if let Some(next) = next(error) {
        let _written = writeln!(out, "next: {next}").is_ok();
    }
}
