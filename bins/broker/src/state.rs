//! What every handler can reach, and how it is brought up from the disk.

use std::sync::{Arc, atomic::Ordering};

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::sync::watch;
use url::Url;
use usher_identity::dpop::{NonceKey, NonceKeys};
use usher_keystore::{KeyLabel, Keystore, LoadError, Purpose, SealKeyError, SigningKey};
use usher_sign_in::passkey::RelyingParty;
use usher_store::{Conn, KeyPurpose, Store, StoreError, keys as stored, team};
use usher_types::{Sha256, TeamSlug, UnixTime};

use crate::{
    Clock, Config, DatabaseError, SealingError, custody, database,
    failures::Failures,
    hot::Hot,
    keys,
    limits::Limits,
    providers::{Issuers, Providers},
    signatures::{Extent, Signatures},
    tls::{AuthorityError, TeamAuthority},
    verifier::AwsLcVerifier,
    x509::ReadCertificates,
};

/// The database's name in the data directory.
pub const DATABASE_NAME: &str = "usher.db";
/// The seal key's name in the data directory.
pub const SEAL_KEY_NAME: &str = "seal.key";
/// The name of the seal key that a re-seal changes to, until it is committed.
pub const NEXT_SEAL_KEY_NAME: &str = "seal.key.next";
/// The name of the salt that goes with a passphrase.
pub const SEAL_SALT_NAME: &str = "seal.salt";

/// Why the broker does not come up.
#[derive(Debug, Error)]
pub enum StartError {
    /// The team's TLS root is not usable.
    #[error("the team's TLS root cannot be used")]
    Authority(#[source] AuthorityError),
    /// A key does not open.
    #[error("a stored key cannot be used")]
    Key(#[source] LoadError),
    /// There is no such key.
    #[error("the database has no active {0} key; it was not made by `usher-broker init`, or is damaged")]
    NoKey(&'static str),
    /// The database is empty.
    #[error("the database names no team; run `usher-broker init` first")]
    NoTeam,
    /// The database cannot be opened.
    #[error("the broker has no database")]
    Database(#[source] DatabaseError),
    /// The seal key cannot be read.
    #[error("the seal key cannot be used")]
    SealKey(#[source] SealKeyError),
    /// It is not the key that sealed the database.
    #[error("the seal key cannot be used")]
    Sealing(#[source] SealingError),
    /// The database failed.
    #[error("the database failed")]
    Store(#[source] StoreError),
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Handles to everything that lives as long as the process; cheap to clone.
#[derive(Clone, Debug)]
pub struct AppState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    authorities: ReadCertificates,
    clock: Clock,
    config: Config,
    failures: Failures,
    hot: Hot,
    keystore: Keystore,
    limits: Limits,
    nonces: ArcSwap<NonceKeys>,
    issuers: Issuers,
    providers: Providers,
    relying_party: Option<RelyingParty>,
    origin: String,
    signatures: Signatures,
    stopping: watch::Sender<bool>,
    store: Store,
    team: TeamSlug,
    team_keys: ArcSwap<TeamKeys>,
    verifier: AwsLcVerifier,
}

/// The team's keys that are held ready; others are opened where they are needed.
#[derive(Debug)]
struct TeamKeys {
    audit: (String, Arc<SigningKey>),
    /// TLS roots that are not retired, newest first; never empty.
    roots: Vec<Arc<TeamAuthority>>,
    /// The oldest of them: whoever knows any root knows it.
    serving: Arc<TeamAuthority>,
}

impl TeamKeys {
    async fn load(conn: &mut Conn, keystore: &Keystore) -> Result<Self, StartError> {
        let mut roots = Vec::new();
        for root in keys::active(stored::of_team(conn, KeyPurpose::TlsRoot).await?) {
            let label = KeyLabel::new(&root.id, Purpose::TlsRoot);
            let key = keystore.load(&label, keys::custody(root.custody), &root.sealed).await;
            let certificate = root.certificate.ok_or(StartError::NoKey("tls-root"))?;
            let root = TeamAuthority::new(key.map_err(StartError::Key)?, certificate);
            roots.push(Arc::new(root.map_err(StartError::Authority)?));
        }
        let serving = Arc::clone(roots.last().ok_or(StartError::NoKey("tls-root"))?);
        let audit = keys::active(stored::of_team(conn, KeyPurpose::Audit).await?).into_iter().next();
        let audit = audit.ok_or(StartError::NoKey("audit"))?;
        let label = KeyLabel::new(&audit.id, Purpose::Audit);
        let key = keystore.load(&label, keys::custody(audit.custody), &audit.sealed).await;
        Ok(Self { audit: (audit.id, key.map_err(StartError::Key)?), roots, serving })
    }
}

impl AppState {
    /// Opens the data directory. A seal key that others can read stops it here.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(config: Config, clock: Clock) -> Result<Self, StartError> {
        let started = clock.now();
        // Before the database: a loose seal key must be noticed whatever else is wrong.
        let seal = custody::configured(&config).map_err(StartError::SealKey)?;
        let store = database::open(&config).await.map_err(StartError::Database)?;
        let mut reader = store.read().await?;
        let team = team::slug(&mut reader).await?.ok_or(StartError::NoTeam)?;
        let seal = custody::in_force(&config, seal, &mut reader).await.map_err(StartError::Sealing)?;
        let keystore = custody::keystore(&config, seal, &team).await;
        let team_keys = TeamKeys::load(&mut reader, &keystore).await?;
        let nonces = nonce_keys(team::nonce_keys(&mut reader).await?)?;
        drop(reader);
        Ok(Self(Arc::new(Inner {
            authorities: ReadCertificates::default(),
            clock,
            failures: Failures::default(),
            hot: Hot::default(),
            keystore,
            limits: Limits::new(&config.limits),
            nonces: ArcSwap::from_pointee(nonces),
            issuers: Issuers::default(),
            providers: Providers::default(),
            relying_party: RelyingParty::new(&config.public_url, &team).ok(),
            origin: config.origin(),
            signatures: Signatures::new(started),
            stopping: watch::Sender::new(false),
            store,
            team,
            team_keys: ArcSwap::from_pointee(team_keys),
            verifier: AwsLcVerifier::default(),
            config,
        })))
    }

    /// The database.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The certificates of X.509 authorities, as far as they were needed yet.
    pub(crate) fn authorities(&self) -> &ReadCertificates {
        &self.0.authorities
    }

    /// What connections are decided from.
    pub(crate) fn hot(&self) -> &Hot {
        &self.0.hot
    }

    /// How many connections were planned from memory alone since the process began.
    #[must_use]
    pub fn planned_from_memory(&self) -> u64 {
        self.0.hot.planned.load(Ordering::Relaxed)
    }

    /// Who checks proofs.
    pub(crate) fn verifier(&self) -> &AwsLcVerifier {
        &self.0.verifier
    }

    /// Key custody.
    pub(crate) fn keystore(&self) -> &Keystore {
        &self.0.keystore
    }

    /// The configuration file's content.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Now; a handler uses its request's `info.now` instead.
    pub(crate) fn now(&self) -> UnixTime {
        self.0.clock.now()
    }

    /// The team's slug.
    #[must_use]
    pub fn team(&self) -> &TeamSlug {
        &self.0.team
    }

    /// How clients address this broker.
    pub(crate) fn public_url(&self) -> &Url {
        &self.0.config.public_url
    }

    /// The same without a slash at the end: `https://broker.example:8443`.
    pub(crate) fn origin(&self) -> &str {
        &self.0.origin
    }

    /// The pin that goes with it: SHA-256 of the SPKI of the TLS root that serves. None when the operator's own
    /// certificate is served.
    pub(crate) fn pin(&self) -> Option<Sha256> {
        self.0.config.is_pinned().then(|| self.authority().pin())
    }

    /// Pins of every root that the broker's certificate may come from, now or soon, newest first.
    pub(crate) fn pins(&self) -> Vec<Sha256> {
        if !self.0.config.is_pinned() {
            return Vec::new();
        }
        self.0.team_keys.load().roots.iter().map(|root| root.pin()).collect()
    }

    /// The team's TLS root that serves.
    #[must_use]
    pub fn authority(&self) -> Arc<TeamAuthority> {
        Arc::clone(&self.0.team_keys.load().serving)
    }

    /// Every TLS root that is not retired, newest first.
    #[must_use]
    pub fn roots(&self) -> Vec<Arc<TeamAuthority>> {
        self.0.team_keys.load().roots.clone()
    }

    /// The key that signs audit checkpoints, and its id: the newest.
    pub(crate) fn audit_key(&self) -> (String, Arc<SigningKey>) {
        self.0.team_keys.load().audit.clone()
    }

    /// Reads the team's keys again: this broker or another one rotated or retired some.
    pub(crate) async fn reload_keys(&self) -> Result<(), StartError> {
        let mut reader = self.0.store.read().await?;
        let loaded = TeamKeys::load(&mut reader, &self.0.keystore).await?;
        self.0.team_keys.store(Arc::new(loaded));
        Ok(())
    }

    /// Keys of the nonces that proofs carry.
    pub(crate) fn nonces(&self) -> Arc<NonceKeys> {
        self.0.nonces.load_full()
    }

    /// Reads the nonce keys again: this broker or another one changed them.
    pub(crate) async fn reload_nonces(&self) -> Result<(), StartError> {
        let mut reader = self.0.store.read().await?;
        let nonces = nonce_keys(team::nonce_keys(&mut reader).await?)?;
        self.0.nonces.store(Arc::new(nonces));
        Ok(())
    }

    /// Rate limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Issuers of workloads' tokens.
    pub(crate) fn issuers(&self) -> &Issuers {
        &self.0.issuers
    }

    /// Clients of identity providers.
    pub(crate) fn providers(&self) -> &Providers {
        &self.0.providers
    }

    /// This broker as authenticators know it; none at an address without a name.
    pub(crate) fn relying_party(&self) -> Option<&RelyingParty> {
        self.0.relying_party.as_ref()
    }

    /// Counters of unauthenticated failures.
    pub(crate) fn failures(&self) -> &Failures {
        &self.0.failures
    }

    /// Writes down what outside custody was asked for.
    pub(crate) async fn write_down_signatures(&self, extent: Extent) -> Result<(), StoreError> {
        let asked = || self.keystore().kms_signatures();
        self.signatures().write_down(self.store(), &self.0.clock, asked, extent).await
    }

    /// What was written down about signatures of outside custody.
    pub(crate) fn signatures(&self) -> &Signatures {
        &self.0.signatures
    }

    /// Turns true when the process is told to stop: whoever waits for long answers now.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stopping.subscribe()
    }

    /// Tells everybody to come to an end.
    pub(crate) fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// What clients enroll with: the public URL, and the pin behind `#` when there is one.
    #[must_use]
    pub fn client_url(&self) -> String {
        match self.pin() {
            Some(pin) => format!("{}#{pin}", self.origin()),
            None => self.origin().to_owned(),
        }
    }
}

fn nonce_keys(stored: Vec<Vec<u8>>) -> Result<NonceKeys, StartError> {
    let mut keys = stored.into_iter().map(|bytes| {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_bytes| StartError::NoKey("nonce"))?;
        Ok::<_, StartError>(NonceKey::new(bytes))
    });
    let current = keys.next().ok_or(StartError::NoKey("nonce"))??;
    Ok(NonceKeys::new(current, keys.next().transpose()?))
}
