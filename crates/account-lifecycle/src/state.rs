//! Signed desired state: the documents that a broker signs and an agent obeys, byte for byte.
//!
//! A document is hashed as the exact JSON bytes that were stored (struct order, sorted maps); its head states that hash
//! and a generation; the signature covers the head. Signing itself happens elsewhere: [`sign_input`] says over what.

mod key;
mod verify;

pub use key::{ParseStateKeyError, StateKey};
pub use verify::{Known, RefusedEntry, Signed, StateFault, Verified, verify};

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use usher_types::{
    DisplayName, HostName, LoginName, ParseIdError, ProjectId, ProjectSlug, ServerId, Sha256, UnixGroupName,
    UnixTime, UserId,
};

use crate::account::{AdminSudo, PortForwarding, Shell};

/// The highest document version that this build writes and understands.
pub const VERSION: u32 = 1;

/// What holds for every server of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StateDocument {
    /// [`VERSION`].
    pub v: u32,
    /// The project.
    pub project: ProjectRef,
    /// Public keys of the project's SSH user CAs in OpenSSH form, for `TrustedUserCAKeys`.
    pub ssh_user_ca: Vec<String>,
    /// Certificates of the project's X.509 CAs: DER in base64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub x509_ca: Vec<String>,
    /// Whether the project is locked: nobody gets in anywhere.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub locked: bool,
    /// How administrators use sudo.
    pub admin_sudo: AdminSudo,
    /// What sshd forwards for managed accounts at most.
    #[serde(skip_serializing_if = "PortForwarding::is_local")]
    pub port_forwarding: PortForwarding,
    /// Who has an account.
    pub users: BTreeMap<LoginName, UserEntry>,
    /// Project groups that are Unix groups.
    pub groups: BTreeMap<UnixGroupName, GroupEntry>,
    /// Keys that sign state from now on.
    pub state_keys: Vec<StateKey>,
    /// Pins of the TLS roots that the broker may present from now on.
    pub pins: Vec<Sha256>,
}

/// Which project a document is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRef {
    /// Its id.
    pub id: ProjectId,
    /// Its short name.
    pub slug: ProjectSlug,
}

/// One account. Its login name is the key in [`StateDocument::users`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEntry {
    /// Whose it is.
    pub id: UserId,
    /// User id.
    pub uid: u32,
    /// Id of the private group, which has the login's name.
    pub gid: u32,
    /// What the person is called.
    pub gecos: DisplayName,
    /// Login shell.
    pub shell: Shell,
    /// Whether sudo is granted.
    pub admin: bool,
    /// Whether the user is locked: the account stays as it is, but nobody gets in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub locked: bool,
}

/// One Unix group. Its name is the key in [`StateDocument::groups`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupEntry {
    /// Group id.
    pub gid: u32,
    /// Login names.
    pub members: BTreeSet<LoginName>,
}

/// What holds for one server alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerDocument {
    /// [`VERSION`].
    pub v: u32,
    /// The server.
    pub server: ServerRef,
    /// Whether it forwards.
    pub role: Role,
    /// Where a bastion may forward to; empty on a target.
    pub hops: BTreeMap<ServerId, HopEntry>,
    /// Whether the server is locked: nobody gets in there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub locked: bool,
}

/// Which server a document is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRef {
    /// Its id.
    pub id: ServerId,
    /// Its name.
    pub name: HostName,
}

/// What a server does besides letting people in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Forwards to other servers.
    Bastion,
    /// Nothing.
    Target,
}

/// Where a bastion may forward to for one next server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopEntry {
    /// The next server's addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// The port of its sshd.
    pub port: u16,
}

/// What a document is about: one chain of generations each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DocumentId {
    /// A [`StateDocument`].
    Project(ProjectId),
    /// A [`ServerDocument`].
    Server(ServerId),
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(id) => write!(f, "{id}"),
            Self::Server(id) => write!(f, "{id}"),
        }
    }
}

impl FromStr for DocumentId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with(ServerId::PREFIX) {
            text.parse().map(Self::Server)
        } else {
            text.parse().map(Self::Project)
        }
    }
}

impl TryFrom<String> for DocumentId {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DocumentId> for String {
    fn from(id: DocumentId) -> Self {
        id.to_string()
    }
}

/// What is signed: names the document, its generation and its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of the document.
    pub v: u32,
    /// What the document is about.
    pub document: DocumentId,
    /// Grows with every change.
    pub generation: u64,
    /// SHA-256 of the document's bytes.
    pub sha256: Sha256,
    /// When it was signed.
    pub issued_at: UnixTime,
}

/// A value that has no JSON form. No value of these types is known to be one.
#[derive(Debug, Error)]
#[error("desired state cannot be written as JSON")]
pub struct EncodeError(#[source] serde_json::Error);

fn encode<T: Serialize>(value: &T) -> Result<String, EncodeError> {
    serde_json::to_string(value).map_err(EncodeError)
}

impl StateDocument {
    /// The JSON to store, hash and send.
    ///
    /// # Errors
    /// [`EncodeError`], which no value is known to cause.
    pub fn encode(&self) -> Result<String, EncodeError> {
        encode(self)
    }
}

impl ServerDocument {
    /// The JSON to store, hash and send.
    ///
    /// # Errors
    /// [`EncodeError`], which no value is known to cause.
    pub fn encode(&self) -> Result<String, EncodeError> {
        encode(self)
    }
}

impl Head {
    /// The head of `document`, which was encoded before.
    #[must_use]
    pub fn new(id: DocumentId, generation: u64, document: &str, issued_at: UnixTime) -> Self {
        Self { v: VERSION, document: id, generation, sha256: Sha256::of(document.as_bytes()), issued_at }
    }

    /// The JSON to sign and send.
    ///
    /// # Errors
    /// [`EncodeError`], which no value is known to cause.
    pub fn encode(&self) -> Result<String, EncodeError> {
        encode(self)
    }
}

/// The bytes that the team state key signs (P-256 with SHA-256; `r || s`).
#[must_use]
pub fn sign_input(head: &[u8]) -> Vec<u8> {
    [b"usher-state-v1\0".as_slice(), head].concat()
}
