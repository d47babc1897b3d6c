//! The keystore as the configuration wants it, the seal key that is in force, and changing it. Which custody a key is in
//! stands in the database, key by key.

use std::{fs::File, io, path::Path};

use thiserror::Error;
use usher_audit::Event;
use usher_keystore::{
    KeyLabel, Keystore, OpenError, Purpose, SealError, SealKey, SealKeyError, SealSource, kms::Kms,
};
use usher_store::{
    Conn, Store, StoreError,
    sealed::{self, Sealed, SealedPlace},
};
use usher_types::{SealKeyId, TeamSlug, UnixTime};

use crate::{Config, NEXT_SEAL_KEY_NAME, SEAL_KEY_NAME, SEAL_SALT_NAME, init, keys::purpose_of};

/// A keystore with the custodies that are configured; nothing is asked of AWS yet.
pub(crate) async fn keystore(config: &Config, seal: SealKey, team: &TeamSlug) -> Keystore {
    let places = config.clone();
    let keystore = Keystore::new(seal).with_candidates(move || every_key(&places));
    match &config.kms {
        Some(kms) => keystore.with_kms(Kms::new(kms.settings(team)).await),
        None => keystore,
    }
}

fn every_key(config: &Config) -> Vec<SealKey> {
    let all = config.seal.all(&config.data_dir);
    all.iter().filter_map(|source| source.load().ok()).collect()
}

/// Why the seal key is not the one that it should be, or could not be changed.
#[derive(Debug, Error)]
pub enum SealingError {
    /// The configured next key is in force.
    #[error("the next key in [seal] is in force already; make it the current one in the configuration")]
    Already,
    /// The file system refused.
    #[error("the new seal key could not be put in its place")]
    File(#[source] io::Error),
    /// A key cannot be had.
    #[error("the seal key cannot be used")]
    Key(#[source] SealKeyError),
    /// A stored secret does not open.
    #[error("a stored secret does not open; nothing was changed")]
    Open(#[source] OpenError),
    /// None of the keys is the one that the database names.
    #[error(
        "the database was sealed by the key `{0}`, which is none of those in [seal] and the data directory"
    )]
    Other(SealKeyId),
    /// The new key does not seal.
    #[error("a secret could not be sealed; nothing was changed")]
    Seal(#[source] SealError),
    /// The database failed.
    #[error("the database failed")]
    Store(#[source] StoreError),
}

impl From<StoreError> for SealingError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Reads the configured key: first of all, so that a file that others can read is noticed whatever else is wrong.
pub(crate) fn configured(config: &Config) -> Result<SealKey, SealKeyError> {
    config.seal.current(&config.data_dir).load()
}

/// The key that the database names. It is the configured one, unless a re-seal was committed and its key did not come into
/// its place: then that is made up for.
pub(crate) async fn in_force(
    config: &Config,
    configured: SealKey,
    conn: &mut Conn,
) -> Result<SealKey, SealingError> {
    let Some(id) = sealed::seal_key(conn).await?.filter(|id| *id != configured.id()) else {
        return Ok(configured);
    };
    for source in config.seal.all(&config.data_dir) {
        let Some(key) = source.load().ok().filter(|key| key.id() == id) else { continue };
        if source == SealSource::File(config.data_dir.join(NEXT_SEAL_KEY_NAME)) {
            put_in_place(&config.data_dir).map_err(SealingError::File)?;
        }
        return Ok(key);
    }
    Err(SealingError::Other(id))
}

/// Several processes may do it at once: the last one finds it done.
fn put_in_place(directory: &Path) -> io::Result<()> {
    match std::fs::rename(directory.join(NEXT_SEAL_KEY_NAME), directory.join(SEAL_KEY_NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => File::open(directory)?.sync_all(),
    }
}

/// What a re-seal did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReSealed {
    pub(crate) secrets: usize,
    pub(crate) key: SealKeyId,
}

/// Seals every stored secret with another key. The database switches from one to the other in one commit and names the key
/// that is in force; the files follow. Interrupted anywhere, the next start uses the right key, and another `re-seal` works.
pub(crate) async fn re_seal(config: &Config, store: &Store, now: UnixTime) -> Result<ReSealed, SealingError> {
    let configured = configured(config).map_err(SealingError::Key)?;
    let mut reader = store.read().await?;
    let old = in_force(config, configured, &mut reader).await?;
    drop(reader);
    let directory = &config.data_dir;
    let next_file = directory.join(NEXT_SEAL_KEY_NAME);
    let source = match config.seal.next(directory) {
        Some(source) => source,
        None => {
            // One that was left by an interrupted re-seal, or copied here from another broker's host, is as good.
            match SealKey::create(&next_file) {
                Err(SealKeyError::Exists { .. }) | Ok(()) => SealSource::File(next_file),
                Err(error) => return Err(SealingError::Key(error)),
            }
        }
    };
    if let SealSource::Passphrase { .. } = source {
        SealKey::create_salt(&directory.join(SEAL_SALT_NAME)).map_err(SealingError::Key)?;
    }
    let new = source.load().map_err(SealingError::Key)?;
    if new.id() == old.id() {
        return Err(SealingError::Already);
    }
    let secrets = change(store, &old, &new, now).await?;
    if let SealSource::File(_) = source {
        put_in_place(directory).map_err(SealingError::File)?;
    }
    Ok(ReSealed { secrets, key: new.id() })
}

async fn change(store: &Store, old: &SealKey, new: &SealKey, now: UnixTime) -> Result<usize, SealingError> {
    let mut tx = store.begin().await?;
    // Another re-seal may have been faster.
    if let Some(id) = sealed::seal_key(&mut tx).await?.filter(|id| *id != old.id()) {
        return Err(SealingError::Other(id));
    }
    let mut all = sealed::all(&mut tx).await?;
    for Sealed { place, bytes } in &mut all {
        let label = match place {
            SealedPlace::ClientSecret(id) => KeyLabel::new(id.to_string(), Purpose::ClientSecret),
            SealedPlace::Key { id, purpose } => KeyLabel::new(id.as_str(), purpose_of(*purpose)),
            SealedPlace::TotpSecret(user) => KeyLabel::new(user.to_string(), Purpose::TotpSeed),
        };
        let secret = old.open(&label, bytes).map_err(SealingError::Open)?;
        *bytes = new.seal(&label, &secret).map_err(SealingError::Seal)?;
    }
    sealed::replace_all(&mut tx, &all, new.id()).await?;
    let secrets = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let event = Event::SealKeyChange { before: old.id(), after: new.id(), secrets };
    tx.audit(&init::record(event, now)).await?;
    tx.commit().await?;
    Ok(all.len())
}
