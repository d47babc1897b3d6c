//! Stored keys, opened: who signs certificates of which project, who signs desired state.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use data_encoding::BASE64;
use usher_account_lifecycle::state::StateKey;
use usher_ca::CaPublicKey;
use usher_keystore::{Custody, KeyLabel, Purpose, SigningKey};
use usher_store::{
    Conn, KeyAlgorithm, KeyCustody, KeyPurpose, KeyState,
    keys::{self, StoredKey},
};
use usher_types::ProjectId;

use crate::{AppState, error::ApiError};

/// Opens a stored key; from memory after the first time.
pub(crate) async fn open(app: &AppState, key: &StoredKey) -> Result<Arc<SigningKey>, ApiError> {
    let purpose = match key.purpose {
        KeyPurpose::Audit => Purpose::Audit,
        KeyPurpose::SshUserCa => Purpose::SshUserCa,
        KeyPurpose::State => Purpose::State,
        KeyPurpose::TlsRoot => Purpose::TlsRoot,
        KeyPurpose::X509Ca => return Err(ApiError::internal("no use for X.509 CA keys yet")),
    };
    let label = KeyLabel::new(&key.id, purpose);
    app.keystore().load(&label, custody(key.custody), &key.sealed).await.map_err(ApiError::internal)
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

/// The certificate authorities that a connection needs: of the target's project, and of its bastions'.
pub(crate) struct Authorities(BTreeMap<ProjectId, Arc<SigningKey>>);

impl Authorities {
    /// Loads the signing key of each project.
    pub(crate) async fn load(
        app: &AppState,
        conn: &mut Conn,
        projects: &BTreeSet<ProjectId>,
    ) -> Result<Self, ApiError> {
        let mut loaded = BTreeMap::new();
        for project in projects {
            let keys = active(keys::of_project(conn, KeyPurpose::SshUserCa, *project).await?);
            // The oldest that is active: by the time an older one is retired, every server knows the next.
            let signing = keys.last().ok_or_else(|| ApiError::internal("a project without a CA key"))?;
            loaded.insert(*project, open(app, signing).await?);
        }
        Ok(Self(loaded))
    }

    /// The CA of a project that was loaded.
    pub(crate) fn of(&self, project: ProjectId) -> Result<&SigningKey, ApiError> {
        let key = self.0.get(&project).ok_or_else(|| ApiError::internal("a leg's project was not loaded"))?;
        Ok(key.as_ref())
    }
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

fn active(mut keys: Vec<StoredKey>) -> Vec<StoredKey> {
    keys.retain(|key| key.state == KeyState::Active);
    keys
}
