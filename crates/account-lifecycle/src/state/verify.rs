//! From signed bytes to a document that may be obeyed. Every refusal leaves the agent with the state it had.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;
use usher_types::Sha256;

use super::{
    AdminSudo, DocumentId, GroupEntry, Head, PortForwarding, ProjectRef, ServerDocument, StateDocument,
    StateKey, UserEntry, VERSION, sign_input,
};

/// A document as it was received.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// JSON of the head.
    pub head: &'a [u8],
    /// `r || s`, 64 bytes.
    pub signature: &'a [u8],
    /// JSON of the document.
    pub document: &'a [u8],
}

/// What the agent has of a document already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its generation; 0 for none.
    pub generation: u64,
    /// Its hash, when there is one.
    pub sha256: Option<Sha256>,
}

/// Why signed bytes are not obeyed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StateFault {
    /// The same generation was seen with other content.
    #[error("generation {0} was seen before with other content")]
    Fork(u64),
    /// The document's bytes are not those that the head names.
    #[error("the document is not the one that was signed")]
    Hash,
    /// Not the JSON that this version has.
    #[error("the signed document is malformed: {0}")]
    Malformed(String),
    /// Older than what the agent has.
    #[error("generation {offered} is older than {known}, which was seen already")]
    Older {
        /// What was offered.
        offered: u64,
        /// What the agent has.
        known: u64,
    },
    /// Signed by none of the keys.
    #[error("the signature is not by a state key of this team")]
    Signature,
    /// About something else.
    #[error("the document is about `{0}`")]
    Subject(DocumentId),
    /// Of a version that this build does not know.
    #[error("the document has version {0}; this agent knows up to {VERSION}: upgrade it")]
    Version(u32),
}

/// A document whose signature, subject, version and generation were checked. Only [`verify`] makes one.
#[derive(Clone, Debug)]
#[must_use]
pub struct Verified {
    head: Head,
    document: Vec<u8>,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

fn malformed(error: &serde_json::Error) -> StateFault {
    StateFault::Malformed(error.to_string())
}

/// Checks the signature first, then everything that the head says.
///
/// # Errors
/// [`StateFault`]; the agent then keeps what it has.
pub fn verify(
    signed: Signed<'_>,
    keys: &[StateKey],
    subject: DocumentId,
    known: Known,
) -> Result<Verified, StateFault> {
    let message = sign_input(signed.head);
    if !keys.iter().any(|key| key.verifies(&message, signed.signature)) {
        return Err(StateFault::Signature);
    }
    check_version(signed.head)?;
    let head: Head = serde_json::from_slice(signed.head).map_err(|error| malformed(&error))?;
    if head.document != subject {
        return Err(StateFault::Subject(head.document));
    }
    if Sha256::of(signed.document) != head.sha256 {
        return Err(StateFault::Hash);
    }
    if head.generation < known.generation {
        return Err(StateFault::Older { offered: head.generation, known: known.generation });
    }
    if head.generation == known.generation && known.sha256.is_some_and(|sha256| sha256 != head.sha256) {
        return Err(StateFault::Fork(head.generation));
    }
    check_version(signed.document)?;
    Ok(Verified { head, document: signed.document.to_vec() })
}

/// Reads `v` alone first: a later version may have any other shape.
fn check_version(json: &[u8]) -> Result<(), StateFault> {
    let VersionOnly { v } = serde_json::from_slice(json).map_err(|error| malformed(&error))?;
    if v == 0 || v > VERSION { Err(StateFault::Version(v)) } else { Ok(()) }
}

/// An entry of a document that this agent refuses; the rest of the document holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedEntry {
    /// The name as it came, shortened and escaped.
    pub name: String,
    /// Whether it is a group.
    pub group: bool,
    /// Why.
    pub reason: String,
}

#[derive(Deserialize)]
struct WireDocument {
    v: u32,
    project: ProjectRef,
    ssh_user_ca: Vec<String>,
    #[serde(default)]
    x509_ca: Vec<String>,
    #[serde(default)]
    locked: bool,
    admin_sudo: AdminSudo,
    #[serde(default)]
    port_forwarding: PortForwarding,
    users: BTreeMap<String, serde_json::Value>,
    groups: BTreeMap<String, serde_json::Value>,
    state_keys: Vec<StateKey>,
    pins: Vec<Sha256>,
}

/// One bad entry must not hold up the revocation of another, so entries are read one by one.
fn entries<K, V>(
    wire: BTreeMap<String, serde_json::Value>,
    group: bool,
    refused: &mut Vec<RefusedEntry>,
) -> BTreeMap<K, V>
where
    K: std::str::FromStr<Err: std::fmt::Display> + Ord,
    V: serde::de::DeserializeOwned,
{
    let mut good = BTreeMap::new();
    for (name, value) in wire {
        let parsed = name.parse::<K>().map_err(|error| error.to_string()).and_then(|key| {
            serde_json::from_value(value).map(|entry| (key, entry)).map_err(|error| error.to_string())
        });
        match parsed {
            Ok((key, entry)) => {
                good.insert(key, entry);
            }
            Err(reason) => {
                let name = name.chars().take(64).flat_map(char::escape_default).collect();
                refused.push(RefusedEntry { name, group, reason });
            }
        }
    }
    good
}

impl Verified {
    /// What was signed.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What to compare the next one with.
    #[must_use]
    pub fn known(&self) -> Known {
        Known { generation: self.head.generation, sha256: Some(self.head.sha256) }
    }

    /// The project document and the entries of it that are refused.
    ///
    /// # Errors
    /// [`StateFault`] when it is none, or about another project than its head says.
    pub fn project(&self) -> Result<(StateDocument, Vec<RefusedEntry>), StateFault> {
        let wire: WireDocument = serde_json::from_slice(&self.document).map_err(|error| malformed(&error))?;
        if self.head.document != DocumentId::Project(wire.project.id) {
            return Err(StateFault::Subject(DocumentId::Project(wire.project.id)));
        }
        let mut refused = Vec::new();
        let document = StateDocument {
            v: wire.v,
            project: wire.project,
            ssh_user_ca: wire.ssh_user_ca,
            x509_ca: wire.x509_ca,
            locked: wire.locked,
            admin_sudo: wire.admin_sudo,
            port_forwarding: wire.port_forwarding,
            users: entries::<_, UserEntry>(wire.users, false, &mut refused),
            groups: entries::<_, GroupEntry>(wire.groups, true, &mut refused),
            state_keys: wire.state_keys,
            pins: wire.pins,
        };
        Ok((document, refused))
    }

    /// The server document.
    ///
    /// # Errors
    /// [`StateFault`] when it is none, or about another server than its head says.
    pub fn server(&self) -> Result<ServerDocument, StateFault> {
        let document: ServerDocument =
            serde_json::from_slice(&self.document).map_err(|error| malformed(&error))?;
        if self.head.document != DocumentId::Server(document.server.id) {
            return Err(StateFault::Subject(DocumentId::Server(document.server.id)));
        }
        Ok(document)
    }
}
