//! Stored keys, opened: who signs certificates of which project, who signs desired state.
//!
//! A new key stands beside the old one and nothing waits for anything: each server gets certificates by the newest key
//! that it says it trusts, and whatever cannot tell (agents' state, TLS) is signed by the oldest until that is retired.

pub(crate) mod make;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use data_encoding::BASE64;
use usher_account_lifecycle::state::StateKey;
use usher_ca::CaPublicKey;
use usher_identity::PublicKey;
use usher_keystore::{Custody, KeyLabel, Purpose, SigningKey};
use usher_store::{
    Conn, KeyAlgorithm, KeyCustody, KeyPurpose, KeyState, StoreError,
    keys::{self, StoredKey},
    servers::Server,
};
use usher_types::{ProjectId, Sha256};

use crate::{AppState, error::ApiError, tls};

/// Opens a stored key; from memory after the first time.
pub(crate) async fn open(app: &AppState, key: &StoredKey) -> Result<Arc<SigningKey>, ApiError> {
    let label = KeyLabel::new(&key.id, purpose_of(key.purpose));
    Ok(app.keystore().load(&label, custody(key.custody), &key.sealed).await?)
}

/// What the keystore calls the purpose that the database names.
pub(crate) fn purpose_of(purpose: KeyPurpose) -> Purpose {
    match purpose {
        KeyPurpose::Audit => Purpose::Audit,
        KeyPurpose::SshUserCa => Purpose::SshUserCa,
        KeyPurpose::State => Purpose::State,
        KeyPurpose::TlsRoot => Purpose::TlsRoot,
        KeyPurpose::X509Ca => Purpose::X509Ca,
    }
}

/// The custody that the database names.
pub(crate) fn custody(stored: KeyCustody) -> Custody {
    match stored {
        KeyCustody::AwsKms => Custody::AwsKms,
        KeyCustody::AwsKmsWrapped => Custody::AwsKmsWrapped,
        KeyCustody::Software => Custody::Software,
    }
}

/// A custody as the database names it.
pub(crate) fn stored_custody(custody: Custody) -> KeyCustody {
    match custody {
        Custody::AwsKms => KeyCustody::AwsKms,
        Custody::AwsKmsWrapped => KeyCustody::AwsKmsWrapped,
        Custody::Software => KeyCustody::Software,
    }
}

/// SHA-256 that names a key to servers and people: see `usher_api::v1::Key`.
pub(crate) fn fingerprint(key: &StoredKey) -> Result<Sha256, ApiError> {
    match key.purpose {
        KeyPurpose::Audit | KeyPurpose::State => {
            Ok(PublicKey::from_sec1(&key.public).map_err(ApiError::internal)?.thumbprint())
        }
        KeyPurpose::SshUserCa => {
            let line = ssh_public_key(key)?.to_openssh();
            let wire = line.split(' ').nth(1).and_then(|base64| BASE64.decode(base64.as_bytes()).ok());
            let wire = wire.ok_or_else(|| ApiError::internal("a public key without its bytes"))?;
            Ok(Sha256::of(&wire))
        }
        KeyPurpose::TlsRoot => {
            let certificate = key.certificate.as_deref();
            let certificate =
                certificate.ok_or_else(|| ApiError::internal("a root without a certificate"))?;
            tls::pin_of(certificate).map_err(ApiError::internal)
        }
        // One from before there were certificates is known to nobody.
        KeyPurpose::X509Ca => Ok(Sha256::of(key.certificate.as_deref().unwrap_or(&key.public))),
    }
}

/// The key that signs for somebody who trusts `trusted`: the newest of those; as long as it trusts none, or has not
/// said, the oldest of all. `keys` are the active ones, newest first.
pub(crate) fn signing_for<'a, K>(
    keys: &'a [K],
    trusted: Option<&BTreeSet<Sha256>>,
    fingerprint: impl Fn(&K) -> Sha256,
) -> Option<&'a K> {
    let known = |key: &&K| trusted.is_some_and(|trusted| trusted.contains(&fingerprint(key)));
    keys.iter().find(known).or_else(|| keys.last())
}

/// An SSH user CA, ready to sign.
#[derive(Debug)]
struct Authority {
    fingerprint: Sha256,
    key: Arc<SigningKey>,
}

/// The certificate authorities that a connection needs: of the target's project, and of its bastions'.
#[derive(Debug)]
pub(crate) struct Authorities(BTreeMap<ProjectId, Vec<Authority>>);

impl Authorities {
    /// Loads the signing keys of each project.
    pub(crate) async fn load(
        app: &AppState,
        conn: &mut Conn,
        projects: &BTreeSet<ProjectId>,
    ) -> Result<Self, ApiError> {
        let mut loaded = BTreeMap::new();
        for project in projects {
            let mut authorities = Vec::new();
            for key in active(keys::of_project(conn, KeyPurpose::SshUserCa, *project).await?) {
                authorities.push(Authority { fingerprint: fingerprint(&key)?, key: open(app, &key).await? });
            }
            loaded.insert(*project, authorities);
        }
        Ok(Self(loaded))
    }

    /// The CA that signs for a server, and its fingerprint.
    pub(crate) fn of(&self, server: &Server) -> Result<(&SigningKey, Sha256), ApiError> {
        let project = self.0.get(&server.project_id);
        let authorities = project.ok_or_else(|| ApiError::internal("a leg's project was not loaded"))?;
        let signing = signing_for(authorities, trusted(server), |authority| authority.fingerprint);
        let signing = signing.ok_or_else(|| ApiError::internal("a project without a CA key"))?;
        Ok((signing.key.as_ref(), signing.fingerprint))
    }
}

fn trusted(server: &Server) -> Option<&BTreeSet<Sha256>> {
    server.trusts.as_ref().map(|trusts| &trusts.ssh_user_ca)
}

/// Whether what a CA signed for a server before is still good there: the CA is not retired, and the server trusts it,
/// or none at all.
pub(crate) async fn still_signs(
    conn: &mut Conn,
    server: &Server,
    authority: Sha256,
) -> Result<bool, StoreError> {
    let active = active(keys::of_project(conn, KeyPurpose::SshUserCa, server.project_id).await?);
    // A key that cannot be named any more signs nothing.
    let active: BTreeSet<Sha256> = active.iter().filter_map(|key| fingerprint(key).ok()).collect();
    let known = |trusted: &BTreeSet<Sha256>| trusted.contains(&authority) || trusted.is_disjoint(&active);
    Ok(active.contains(&authority) && trusted(server).is_none_or(known))
}

/// The lines for `TrustedUserCAKeys` of a project's servers.
pub(crate) async fn ssh_user_ca_lines(conn: &mut Conn, project: ProjectId) -> Result<Vec<String>, ApiError> {
    let keys = active(keys::of_project(conn, KeyPurpose::SshUserCa, project).await?);
    keys.iter().map(|key| Ok(ssh_public_key(key)?.to_openssh())).collect()
}

/// The certificates of a project's X.509 CAs: DER in base64, newest first.
pub(crate) async fn x509_ca_certificates(
    conn: &mut Conn,
    project: ProjectId,
) -> Result<Vec<String>, ApiError> {
    let keys = active(keys::of_project(conn, KeyPurpose::X509Ca, project).await?);
    Ok(keys.iter().filter_map(|key| key.certificate.as_ref()).map(|der| BASE64.encode(der)).collect())
}

/// A stored SSH user CA's public half.
pub(crate) fn ssh_public_key(key: &StoredKey) -> Result<CaPublicKey, ApiError> {
    let public = match key.algorithm {
        KeyAlgorithm::Ed25519 => {
            let bytes = key.public.as_slice().try_into();
            CaPublicKey::ed25519(bytes.map_err(ApiError::internal)?)
        }
        KeyAlgorithm::P256 => CaPublicKey::ecdsa_p256(&key.public),
    };
    public.map_err(ApiError::internal)
}

/// The keys that sign desired state.
pub(crate) struct StateKeys {
    /// Their public halves, newest first.
    pub(crate) public: Vec<StateKey>,
    /// Their ids.
    pub(crate) ids: Vec<String>,
    /// The one that signs.
    pub(crate) signing: StoredKey,
}

/// The team's state keys.
pub(crate) async fn state_keys(conn: &mut Conn) -> Result<StateKeys, ApiError> {
    let mut keys = active(keys::of_team(conn, KeyPurpose::State).await?);
    let public = keys
        .iter()
        .map(|key| StateKey::from_sec1(&key.public).map_err(ApiError::internal))
        .collect::<Result<_, _>>()?;
    let ids = keys.iter().map(|key| key.id.clone()).collect();
    // The oldest: agents learn of a new one in state that the old one signed.
    let signing = keys.pop().ok_or_else(|| ApiError::internal("a team without a state key"))?;
    Ok(StateKeys { public, ids, signing })
}

/// Pins of the TLS roots that the broker's certificate may come from, newest first; none when an operator's own
/// certificate is served.
pub(crate) async fn pins(app: &AppState, conn: &mut Conn) -> Result<Vec<Sha256>, ApiError> {
    if !app.config().is_pinned() {
        return Ok(Vec::new());
    }
    active(keys::of_team(conn, KeyPurpose::TlsRoot).await?).iter().map(fingerprint).collect()
}

/// Those that are not retired.
pub(crate) fn active(mut keys: Vec<StoredKey>) -> Vec<StoredKey> {
    keys.retain(|key| key.state == KeyState::Active);
    keys
}

#[cfg(test)]
mod tests;
