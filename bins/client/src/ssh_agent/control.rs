//! What our own commands ask the background process, and what it answers: length-prefixed JSON over `control.sock`. The
//! session token has no message: it never leaves the process.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use usher_api::v1::{Address, Device, Purpose, SessionInfo, TokenExchange, User};
use usher_types::{ConnectionId, DeviceName, HostName, LoginName, ServerId, TeamSlug};

use crate::exit::{Exit, Failure};

/// Changes with these messages; a process left over from another version is told from the right one.
pub const VERSION: u32 = 3;
/// Longest request.
pub const MAX_REQUEST: usize = 1 << 20;
/// Longest answer: a page of the audit log or of a large fleet.
pub const MAX_ANSWER: usize = 64 << 20;

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Calls the broker in the session of `team`.
    Call {
        /// The team.
        team: TeamSlug,
        /// What to call.
        call: Call,
    },
    /// This connection's route was chosen; the target's identity may be used.
    Chosen {
        /// Position in [`Connected::routes`].
        route: usize,
    },
    /// Makes keys, gets certificates and routes. Everything of it ends with the control connection.
    Connect(Connect),
    /// Exchanges what a program has for a session, with a key made for it; forgets what was exchanged.
    Exchange {
        /// The team.
        team: TeamSlug,
        /// What is exchanged.
        exchange: TokenExchange,
    },
    /// Version check.
    Hello,
    /// Host keys to accept for a name.
    KnownHosts {
        /// As `ssh` calls it.
        host: String,
    },
    /// Exchanges an authorization code for a session and keeps its token.
    SignIn {
        /// The team.
        team: TeamSlug,
        /// What the sign-in page gave.
        sign_in: SignIn,
    },
    /// Ends the session at the broker and forgets it.
    SignOut {
        /// The team.
        team: TeamSlug,
    },
    /// Handshake slots for all legs of a route; answered when they are granted.
    Slots {
        /// Position in [`Connected::routes`].
        route: usize,
        /// Whether to wait for them.
        wait: bool,
    },
    /// A server wants a fresh sign-in: who is to see to it?
    StepUp {
        /// The team.
        team: TeamSlug,
        /// The server.
        server: HostName,
    },
    /// The process that makes a route's hops.
    Started {
        /// Position in [`Connected::routes`].
        route: usize,
        /// Its process id.
        pid: i32,
    },
    /// What the process holds.
    Status,
    /// Forgets everything and ends.
    Stop,
}

/// An HTTP call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// HTTP method.
    pub method: String,
    /// Path below the broker's URL.
    pub path: String,
    /// Raw query string.
    #[serde(default)]
    pub query: String,
    /// JSON body.
    #[serde(default)]
    pub body: Option<serde_json::Value>,
}

/// What `usher proxy` wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// The team.
    pub team: TeamSlug,
    /// The server's name or id.
    pub server: String,
    /// The account; the user's own when absent.
    #[serde(default)]
    pub login: Option<LoginName>,
    /// What it is for.
    pub purpose: Purpose,
    /// Bastions instead of the configured ones.
    #[serde(default)]
    pub via: Option<Vec<String>>,
    /// The name as `ssh` has it, for host key checks.
    pub host: String,
}

/// What the sign-in page gave, and what proves that it is ours.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The authorization code.
    pub code: String,
    /// The PKCE verifier.
    pub code_verifier: String,
    /// The redirect URI of the authorization request.
    pub redirect_uri: String,
    /// What the owner calls this device.
    pub device_name: DeviceName,
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignIn").field("device_name", &self.device_name).finish_non_exhaustive()
    }
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// The broker's answer.
    Called {
        /// Its JSON, `null` when it had no body.
        body: serde_json::Value,
    },
    /// Routes to the server.
    Connected(Connected),
    /// Done.
    Done,
    /// No.
    Failed(Failure),
    /// Host keys.
    HostKeys {
        /// As in `known_hosts`, without the name.
        keys: Vec<String>,
    },
    /// Whoever asked is to sign in, for these servers; others wait for it.
    Lead {
        /// The servers that somebody waits for.
        servers: BTreeSet<HostName>,
    },
    /// Whether slots were granted.
    Slots {
        /// False only when the request did not want to wait.
        granted: bool,
    },
    /// What the process holds.
    Status(Status),
    /// A session began.
    SignedIn(Box<SignedIn>),
    /// Version check.
    Welcome {
        /// [`VERSION`] of the process.
        version: u32,
        /// Its process id.
        pid: u32,
    },
}

/// Routes to a server, without anything secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// Names the connection in the audit log.
    pub id: ConnectionId,
    /// The server's name.
    pub server: String,
    /// The account there.
    pub login: LoginName,
    /// Alternatives, the preferred first.
    pub routes: Vec<RoutePlan>,
}

/// One way to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutePlan {
    /// Bastions, then the target.
    pub legs: Vec<LegPlan>,
}

/// One sshd on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegPlan {
    /// The server.
    pub server_id: ServerId,
    /// Its name.
    pub name: String,
    /// Account for `ssh -l`.
    pub account: String,
    /// Where its sshd listens.
    pub addresses: Vec<Address>,
}

/// Who signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    /// The user.
    pub user: User,
    /// The device.
    pub device: Device,
    /// The session.
    pub session: SessionInfo,
}

/// What the process holds; nothing secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its process id.
    pub pid: u32,
    /// Sessions by team.
    pub teams: std::collections::BTreeMap<TeamSlug, SignedIn>,
    /// Connection keys held.
    pub keys: usize,
    /// Handshake slots held.
    pub slots: usize,
    /// The most slots that one sshd ever had.
    pub most_slots: usize,
    /// Servers for which commands wait until somebody has signed in.
    #[serde(default)]
    pub waiting: BTreeSet<HostName>,
}

/// One message with its length in front.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Failure> {
    let body =
        serde_json::to_vec(message).map_err(|error| Failure::other(format!("cannot encode: {error}")))?;
    let length = u32::try_from(body.len()).map_err(|_error| Failure::other("message too long"))?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// A blocking connection to the control socket.
#[derive(Debug)]
pub struct ControlClient {
    stream: UnixStream,
}

impl ControlClient {
    /// Connects; `None` when no process listens.
    ///
    /// # Errors
    /// When one listens and cannot be talked to.
    pub fn connect(socket: &Path) -> Result<Option<Self>, Failure> {
        match UnixStream::connect(socket) {
            Ok(stream) => Ok(Some(Self { stream })),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(Failure::io(format_args!("cannot reach `{}`", socket.display()), &error)),
        }
    }

    /// Limits how long an answer may take.
    ///
    /// # Errors
    /// Never in practice.
    pub fn set_timeout(&self, timeout: Duration) -> Result<(), Failure> {
        self.stream
            .set_read_timeout(Some(timeout))
            .map_err(|error| Failure::io("cannot set a time-out", &error))
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// What the process answered, or why it did not.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
        self.stream.write_all(&encode(request)?).map_err(|error| gone(&error))?;
        match read_frame(&mut self.stream, MAX_ANSWER)? {
            Answer::Failed(failure) => Err(failure),
            answer => Ok(answer),
        }
    }
}

fn gone(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Other, format!("the usher background process does not answer: {error}"))
        .next("run the command again; `usher doctor` tells more")
}

fn read_frame<T: DeserializeOwned>(stream: &mut impl Read, max: usize) -> Result<T, Failure> {
    let mut length = [0_u8; 4];
    stream.read_exact(&mut length).map_err(|error| gone(&error))?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > max {
        return Err(Failure::other("the usher background process sent too much"));
    }
    let mut body = vec![0_u8; length];
    stream.read_exact(&mut body).map_err(|error| gone(&error))?;
    serde_json::from_slice(&body).map_err(|_error| {
        Failure::other("the usher background process speaks another version")
            .next("run `usher ssh-agent --stop`, then sign in again")
    })
}

/// An answer of another kind than the request wants.
#[must_use]
pub fn unexpected() -> Failure {
    Failure::other("the usher background process gave an answer that was not asked for")
        .next("run `usher ssh-agent --stop`, then sign in again")
}
