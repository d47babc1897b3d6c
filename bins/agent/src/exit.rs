//! How a command ends: exit codes and failures with advice.

use std::fmt;

use serde::{Deserialize, Serialize};
use usher_api_client::CallError;
use usher_host::HostError;
use usher_telemetry::Chain;

/// Exit codes, the same as those of the other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Exit {
    /// The broker says no.
    Denied,
    /// The broker or the way to it.
    Network,
    /// Not enrolled.
    NotFound,
    /// Anything else.
    Other,
    /// The command line or the configuration.
    Usage,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::Denied => 4,
            Self::NotFound => 5,
            Self::Network => 6,
        }
    }
}

/// Why a command did not do what it was asked, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// One sentence.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) next: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), next: None }
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(Exit::Other, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// An error with all its causes.
    pub(crate) fn because(what: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::other(format!("{what}: {}", Chain(error)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let failure = Self::other(Chain(&error).to_string());
        match error {
            HostError::Busy(_) => failure.next("stop the running agent first: systemctl stop usher-agent"),
            _ => failure,
        }
    }
}

impl From<&CallError> for Failure {
    fn from(error: &CallError) -> Self {
        let message = Chain(error).to_string();
        match error {
            CallError::Api { body, .. } => Self { exit: Exit::Denied, message, next: body.next.clone() },
            error if error.is_network() => Self::new(Exit::Network, message)
                .next("check that this host reaches the broker, then run the same command again"),
            _ => Self::other(message),
        }
    }
}
