//! Signing keys and their rotation: a new key stands beside the old one until everybody who must know it does.

use serde::{Deserialize, Serialize};
use usher_types::{HostName, Sha256, UnixTime};
use utoipa::ToSchema;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// Signs checkpoints of the audit log; the team's.
    Audit,
    /// Signs SSH user certificates; a project's.
    SshUserCa,
    /// Signs desired state for agents; the team's.
    State,
    /// Issues the broker's TLS certificate; the team's.
    TlsRoot,
    /// Signs X.509 certificates; a project's.
    X509Ca,
}

/// Where a key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyCustody {
    /// In AWS KMS; it never leaves.
    AwsKms,
    /// In the database, wrapped by AWS KMS.
    AwsKmsWrapped,
    /// In the database, sealed by the broker.
    Software,
}

/// Whether a key is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Trusted, and signs for whoever knows it.
    Active,
    /// Not trusted any more.
    Retired,
}

/// A signing key, and who knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub kind: KeyKind,
    /// Where it lives.
    pub custody: KeyCustody,
    /// `ed25519` or `p256`.
    pub algorithm: String,
    /// Whether it is in use.
    pub state: KeyState,
    /// SSH CA: SHA-256 of the public key as `ssh-keygen -l` shows it; X.509 CA: of the certificate; TLS root: of the
    /// SPKI, which is the pin; state and audit key: RFC 7638 thumbprint.
    pub fingerprint: Sha256,
    /// The public key of an SSH CA in OpenSSH form; the certificate of a TLS root or X.509 CA in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<String>,
    /// When it was made.
    pub created_at: UnixTime,
    /// When it was retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<UnixTime>,
    /// For how many servers it signs now; absent where one key signs for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signs_for: Option<u32>,
    /// How many servers said that they trust it; absent where servers do not need to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<u32>,
    /// The servers that did not say so yet, by name; empty for a retired key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<HostName>,
}

/// `POST /v1/projects/{project}/keys` and `POST /v1/team/keys`: puts a new key beside the ones there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// Which: `ssh-user-ca` or `x509-ca` of a project; `state`, `tls-root` or `audit` of the team.
    pub kind: KeyKind,
    /// Where the new key is to live; as the newest one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custody: Option<KeyCustody>,
}

/// `POST /v1/projects/{project}/keys/retire` and `POST /v1/team/keys/retire`: retires all but the newest key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetireKeys {
    /// Which.
    pub kind: KeyKind,
    /// Servers, by name or id, that may be left behind: they do not trust the newest key yet, and nobody can log in
    /// there until they do.
    #[serde(default)]
    pub leave_behind: Vec<String>,
}
