//! What an agent says and hears. Agents authenticate by their key alone (a proof without a token).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use usher_types::{HostName, ProjectSlug, ServerId, Sha256, TeamSlug, UnixTime};
use utoipa::ToSchema;

use super::Address;

/// What a host says about itself; never its role or its routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HostFacts {
    /// Where its sshd listens, most useful first.
    pub addresses: Vec<Address>,
    /// Its SSH host keys (`ssh-ed25519 AAAA...`).
    pub host_keys: Vec<String>,
    /// `PRETTY_NAME` of os-release.
    pub os: String,
    /// Version of its sshd, as `ssh -V` prints it.
    pub sshd_version: String,
}

/// `POST /v1/enroll`. The proof's key becomes the agent's key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrollRequest {
    /// `ue1_...`.
    pub token: String,
    /// The name it asks for; the broker allocates names and may append digits.
    pub name: HostName,
    /// What the host says about itself.
    pub facts: HostFacts,
}

impl std::fmt::Debug for EnrollRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrollRequest").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Answer to [`EnrollRequest`]; the same again for the same key within ten minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnrollResponse {
    /// The server.
    pub server_id: ServerId,
    /// The name it got.
    pub name: HostName,
    /// Its project.
    pub project: ProjectSlug,
    /// The team.
    pub team: TeamSlug,
    /// Public keys that sign desired state: SEC1 uncompressed P-256 points, base64url.
    pub state_keys: Vec<String>,
}

/// Query of `GET /v1/agent/state`. Answers at once when something is newer than both generations, else waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StateQuery {
    /// Highest document version the agent knows.
    pub v: u32,
    /// Generation of the project document it has; 0 for none.
    pub generation: u64,
    /// Generation of the server document it has; 0 for none.
    pub server_generation: u64,
    /// Seconds to wait, at most 55.
    pub wait: u32,
}

/// Answer to [`StateQuery`]; 204 without a body when nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateResponse {
    /// What holds for every server of the project.
    pub project: SignedDocument,
    /// What holds for this server alone.
    pub server: SignedDocument,
}

/// A document, its head and the signature over the head. Strings hold the exact bytes that were hashed and signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignedDocument {
    /// JSON of the head: `{v, document, generation, sha256, issued_at}`.
    pub head: String,
    /// P-256 signature (r and s, 64 bytes, base64url) over `usher-state-v1\0` and the head's bytes.
    pub signature: String,
    /// JSON of the document, whose SHA-256 the head states.
    pub document: String,
}

/// Something on the host that the agent did not create and will not touch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountConflict {
    /// `user`, `group`, `home`, `sudoers`, `sshd`; `step` for something that failed and will be tried again.
    pub kind: String,
    /// The name it is about.
    pub name: String,
    /// What is in the way, in one sentence.
    pub reason: String,
}

/// What a server trusts now: taken from the state that is in force there, not from what was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Trusts {
    /// SHA-256 of each SSH user CA key (SSH wire format) that its sshd trusts.
    pub ssh_user_ca: BTreeSet<Sha256>,
    /// SHA-256 of each X.509 CA certificate (DER) that it trusts.
    pub x509_ca: BTreeSet<Sha256>,
    /// RFC 7638 thumbprint of each key that it believes state from.
    pub state_keys: BTreeSet<Sha256>,
    /// Each pin that it accepts a broker by.
    pub pins: BTreeSet<Sha256>,
}

/// `POST /v1/agent/report`, after each pass and every 30 seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportRequest {
    /// What the host says about itself.
    pub facts: HostFacts,
    /// Generation of the project document that is applied.
    pub applied_generation: u64,
    /// Generation of the server document that is applied.
    pub applied_server_generation: u64,
    /// What stands in the way.
    pub conflicts: Vec<AccountConflict>,
    /// UIDs and GIDs of the managed ranges that are taken by something the agent did not create.
    pub taken_ids: Vec<u32>,
    /// The agent's clock when it sent this.
    pub clock: UnixTime,
    /// What the server trusts; absent as long as the agent does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusts: Option<Trusts>,
}

/// Answer to [`ReportRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportResponse {
    /// The broker's clock.
    pub clock: UnixTime,
    /// SHA-256 of the SPKI of each certificate that the broker's TLS may chain to.
    pub pins: Vec<Sha256>,
}

/// `POST /v1/agent/certificate`: a certificate for the listener that the agent runs. Only the key of the request counts;
/// the broker knows the server's names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentCertificateRequest {
    /// A certificate signing request in PEM (PKCS #10) for an Ed25519 or P-256 key, signed with that key.
    pub csr: String,
}

/// Answer to [`AgentCertificateRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentCertificate {
    /// The certificate in PEM.
    pub certificate: String,
    /// The certificate of the project's authority that signed it, in PEM.
    pub authority: String,
    /// When it ends; ask for the next at half of that.
    pub valid_before: UnixTime,
}
