//! Making a key of any purpose, with the certificate that goes with it. Nothing is stored here.

use std::time::Duration;

use usher_ca::{Period, x509};
use usher_keystore::{Algorithm, Custody, KeyLabel, Purpose, SigningKey};
use usher_store::{CertificateType, KeyAlgorithm, KeyPurpose, KeyState, keys::StoredKey, projects::Project};
use usher_types::UnixTime;

use super::stored_custody;
use crate::{AppState, error::ApiError, random, tls::TeamAuthority};

/// How long a project's X.509 authority lives; it is rotated, not renewed.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 60 * 60);
const SKEW: Duration = Duration::from_secs(3600);

/// Makes a project's key, sealed under `<project>/<purpose>/<number>`.
pub(crate) async fn of_project(
    app: &AppState,
    project: &Project,
    purpose: KeyPurpose,
    number: usize,
    custody: Custody,
    now: UnixTime,
) -> Result<StoredKey, ApiError> {
    let (sealed_for, algorithm) = match (purpose, project.ssh_certificate_type) {
        (KeyPurpose::SshUserCa, CertificateType::Ed25519) => (Purpose::SshUserCa, Algorithm::Ed25519),
        (KeyPurpose::SshUserCa, CertificateType::EcdsaP256) => (Purpose::SshUserCa, Algorithm::EcdsaP256),
        (KeyPurpose::X509Ca, _) => (Purpose::X509Ca, Algorithm::EcdsaP256),
        (KeyPurpose::Audit | KeyPurpose::State | KeyPurpose::TlsRoot, _) => {
            return Err(ApiError::internal("not a project's key"));
        }
    };
    let id = format!("{}/{purpose}/{number}", project.id);
    let made = app.keystore().generate(&KeyLabel::new(id.as_str(), sealed_for), algorithm, custody).await?;
    let certificate = match purpose {
        KeyPurpose::X509Ca => Some(authority(&made.key, project, number, now).await?),
        _ => None,
    };
    Ok(StoredKey {
        id,
        purpose,
        project_id: Some(project.id),
        algorithm: stored(algorithm),
        public: made.key.public_key_bytes().to_vec(),
        custody: stored_custody(made.custody),
        sealed: made.material,
        certificate,
        state: KeyState::Active,
        created_at: now,
        retired_at: None,
    })
}

/// The certificate of a project's X.509 authority, in DER.
async fn authority(
    key: &SigningKey,
    project: &Project,
    number: usize,
    now: UnixTime,
) -> Result<Vec<u8>, ApiError> {
    let name = format!("Usher CA {number} of {}", project.slug);
    let name: x509::CommonName = name.parse().map_err(ApiError::internal)?;
    let period = Period::around(now, SKEW, AUTHORITY_LIFETIME).map_err(ApiError::internal)?;
    let made = x509::self_sign(key, &name, period, now, &mut random::rng()).await;
    Ok(made.map_err(ApiError::internal)?.der().to_vec())
}

/// Makes a key of the team, sealed under `team/<purpose>/<number>`.
pub(crate) async fn of_team(
    app: &AppState,
    purpose: KeyPurpose,
    number: usize,
    custody: Custody,
    now: UnixTime,
) -> Result<StoredKey, ApiError> {
    let sealed_for = match purpose {
        KeyPurpose::Audit => Purpose::Audit,
        KeyPurpose::State => Purpose::State,
        KeyPurpose::TlsRoot => Purpose::TlsRoot,
        KeyPurpose::SshUserCa | KeyPurpose::X509Ca => return Err(ApiError::internal("not a team's key")),
    };
    let id = format!("team/{purpose}/{number}");
    let label = KeyLabel::new(id.as_str(), sealed_for);
    let made = app.keystore().generate(&label, Algorithm::EcdsaP256, custody).await?;
    let certificate = match purpose {
        KeyPurpose::TlsRoot => {
            let root = TeamAuthority::self_signed(&made.key, app.team(), random::bytes()?, now).await;
            Some(root.map_err(ApiError::internal)?)
        }
        _ => None,
    };
    Ok(StoredKey {
        id,
        purpose,
        project_id: None,
        algorithm: KeyAlgorithm::P256,
        public: made.key.public_key_bytes().to_vec(),
        custody: stored_custody(made.custody),
        sealed: made.material,
        certificate,
        state: KeyState::Active,
        created_at: now,
        retired_at: None,
    })
}

fn stored(algorithm: Algorithm) -> KeyAlgorithm {
    match algorithm {
        Algorithm::EcdsaP256 => KeyAlgorithm::P256,
        Algorithm::Ed25519 => KeyAlgorithm::Ed25519,
    }
}
