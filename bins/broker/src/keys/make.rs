//! Making a key of any purpose, with the certificate that goes with it. Nothing is stored here.

use std::time::Duration;

use usher_audit::{Actor, Event, Record};
use usher_ca::x509;
use usher_keystore::{Algorithm, Custody, GenerateError, GeneratedKey, KeyLabel, Purpose, SigningKey};
use usher_store::{
    CertificateType, KeyAlgorithm, KeyPurpose, KeyState, StoreError,
    keys::{self, StoredKey},
    projects::Project,
};
use usher_telemetry::Chain;
use usher_types::{Period, UnixTime};

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
    let made = generate(app, &KeyLabel::new(id.as_str(), sealed_for), purpose, algorithm, custody).await?;
    let certificate = match purpose {
        KeyPurpose::X509Ca => {
            let signed = authority(&made.key, project, number, now).await;
            Some(kept(app, &[unstored(&id, purpose, &made)], signed).await?)
        }
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
    Ok(x509::self_sign(key, &name, period, now, &mut random::rng()).await?.der().to_vec())
}

/// A new key; one that was made somewhere else and cannot be used is written down.
async fn generate(
    app: &AppState,
    label: &KeyLabel,
    purpose: KeyPurpose,
    algorithm: Algorithm,
    custody: Custody,
) -> Result<GeneratedKey, ApiError> {
    let made = app.keystore().generate(label, algorithm, custody).await;
    if let Err(GenerateError::Useless { arn, .. }) = &made {
        abandon(app, &Made { id: label.id(), purpose, custody, material: arn.as_bytes() }).await;
    }
    Ok(made?)
}

/// A key that was made for something that may yet fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made<'a> {
    id: &'a str,
    purpose: KeyPurpose,
    custody: Custody,
    material: &'a [u8],
}

impl<'a> Made<'a> {
    /// To be handed to [`kept`] once it was tried to store the key.
    pub(crate) fn of(key: &'a StoredKey) -> Self {
        Self {
            id: &key.id,
            purpose: key.purpose,
            custody: super::custody(key.custody),
            material: &key.sealed,
        }
    }
}

fn unstored<'a>(id: &'a str, purpose: KeyPurpose, made: &'a GeneratedKey) -> Made<'a> {
    Made { id, purpose, custody: made.custody, material: &made.material }
}

/// Hands `result` on. When it is an error, the keys that were made for it are not used, and those that live somewhere else
/// are written down: nobody else knows of them, and only the account's administrators can delete them.
pub(crate) async fn kept<T>(
    app: &AppState,
    made: &[Made<'_>],
    result: Result<T, ApiError>,
) -> Result<T, ApiError> {
    if result.is_err() {
        for key in made.iter().filter(|key| key.custody == Custody::AwsKms) {
            abandon(app, key).await;
        }
    }
    result
}

/// In a transaction of its own; the log has it when even that fails.
async fn abandon(app: &AppState, made: &Made<'_>) {
    let arn = String::from_utf8_lossy(made.material);
    let written = async {
        let mut tx = app.store().begin().await?;
        // A commit may have happened although its answer was lost.
        let stored = keys::all(&mut tx, made.purpose).await?;
        if stored.iter().any(|key| key.sealed == made.material) {
            return Ok(false);
        }
        if let (Ok(key), Ok(place)) = (made.id.parse(), arn.parse()) {
            let event = Event::KeyAbandon { key, place };
            let record = Record { at: app.now(), actor: Actor::System, client_address: None, event };
            tx.audit(&record).await?;
            tx.commit().await?;
        }
        Ok::<bool, StoreError>(true)
    };
    let (key, arn) = (made.id, arn.as_ref());
    match written.await {
        Ok(true) => tracing::error!(key, arn, "a key was made in KMS that is not used; it can be deleted"),
        Ok(false) => {}
        Err(error) => tracing::error!(
            key,
            arn,
            cause = %Chain(&error),
            "a key was made in KMS and is probably not used; that could not be written down"
        ),
    }
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
    let made = generate(app, &label, purpose, Algorithm::EcdsaP256, custody).await?;
    let certificate = match purpose {
        KeyPurpose::TlsRoot => {
            let root = TeamAuthority::self_signed(&made.key, app.team(), random::bytes()?, now).await;
            let root = root.map_err(ApiError::from);
            Some(kept(app, &[unstored(&id, purpose, &made)], root).await?)
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
