//! How a command ends: exit codes and failures that people and programs can read. Decides nothing.

use std::fmt;

use serde::{Deserialize, Serialize};
use usher_api::{ErrorBody, ErrorCode, StepUp};

/// Exit codes of every command but `usher ssh`, which passes on the remote status and uses 255 for its own errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// A device waits for approval.
    ApprovalPending,
    /// Policy or role says no.
    Denied,
    /// Sign in, or a second factor, first.
    LoginNeeded,
    /// The broker or the way to it.
    Network,
    /// No such thing.
    NotFound,
    /// Done.
    Ok,
    /// Anything else.
    Other,
    /// The command line or a name on it.
    Usage,
}

impl Exit {
    /// The number for the shell.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Other => 1,
            Self::Usage => 2,
            Self::LoginNeeded => 3,
            Self::Denied => 4,
            Self::NotFound => 5,
            Self::Network => 6,
            Self::ApprovalPending => 7,
        }
    }
}

/// Why a command did not do what it was asked, and what to do next. Carries no secret: it is printed and crosses the
/// control socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// The broker's code, when it came from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// One sentence.
    pub message: String,
    /// Why access was denied, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What to sign in again for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<Box<StepUp>>,
}

impl Failure {
    /// A failure without advice.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, code: None, message: message.into(), reasons: Vec::new(), next: None, step_up: None }
    }

    /// Anything that has no better exit code.
    #[must_use]
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(Exit::Other, message)
    }

    /// A bad command line.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Nobody is signed in to `team`.
    #[must_use]
    pub fn not_signed_in(team: &str) -> Self {
        Self::new(Exit::LoginNeeded, format!("not signed in to team `{team}`")).next("run `usher login`")
    }

    /// Adds advice.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// The same failure with `context` in front of its message.
    #[must_use]
    pub fn context(mut self, context: &str) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// An operating system error while doing `what`.
    #[must_use]
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        Self::other(format!("{what}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for reason in &self.reasons {
            write!(f, "; {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<ErrorBody> for Failure {
    fn from(body: ErrorBody) -> Self {
        let exit = exit_of(body.code);
        let next = body.next.or_else(|| default_next(body.code).map(str::to_owned));
        Self {
            exit,
            code: Some(body.code),
            message: body.message,
            reasons: body.reasons,
            next,
            step_up: body.step_up,
        }
    }
}

fn exit_of(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::AccessDenied
        | ErrorCode::Forbidden
        | ErrorCode::Locked
        | ErrorCode::UserDisabled
        | ErrorCode::DeviceRevoked => Exit::Denied,
        ErrorCode::DevicePending => Exit::ApprovalPending,
        ErrorCode::InsufficientUserAuthentication
        | ErrorCode::LoginRequired
        | ErrorCode::InvalidGrant
        | ErrorCode::InvalidProof
        | ErrorCode::UseDpopNonce => Exit::LoginNeeded,
        ErrorCode::NotFound => Exit::NotFound,
        ErrorCode::Internal
        | ErrorCode::KeyDenied
        | ErrorCode::KeyDisabled
        | ErrorCode::KeyMissing
        | ErrorCode::KeyWrong
        | ErrorCode::NoRoute
        | ErrorCode::TooManyRequests
        | ErrorCode::Unavailable
        | ErrorCode::Unknown => Exit::Network,
        ErrorCode::InvalidRequest | ErrorCode::BodyTooLarge | ErrorCode::KeyNotOffered => Exit::Usage,
        ErrorCode::AlreadyDone
        | ErrorCode::AlreadyExists
        | ErrorCode::InUse
        | ErrorCode::MethodNotAllowed
        | ErrorCode::RequestReused
        | ErrorCode::TokenRefused
        | ErrorCode::UnsupportedMediaType => Exit::Other,
    }
}

fn default_next(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::LoginRequired | ErrorCode::InsufficientUserAuthentication => Some("run `usher login`"),
        ErrorCode::DevicePending => Some("ask an administrator to run `usher device approve`"),
        _ => None,
    }
}
