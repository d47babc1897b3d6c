//! `usher-broker init`: a data directory with everything that a team begins with, or nothing at all.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use thiserror::Error;
use url::Url;
use usher_audit::{Actor, Event, Record};
use usher_identity::{PublicKey, UserRecord, UserStatus};
use usher_keystore::{
    Algorithm, Custody, GenerateError, GeneratedKey, KeyLabel, Keystore, Purpose, SealKey, SealKeyError,
    SealSource,
};
use usher_sign_in::{SET_UP_LIFETIME, SetUpCode};
use usher_store::{
    KeyAlgorithm, KeyPurpose, KeyState, Store, StoreError, WriteTx,
    keys::{self, StoredKey},
    sign_in, team,
    users::{self, CreateUserError},
};
use usher_types::{LoginName, Sha256, TeamRole, TeamSlug, UnixTime, UserId, UserName};
use zeroize::Zeroizing;

use crate::{
    CONFIG_NAME, Config, ConfigError, DATABASE_NAME, DatabaseConfig, DatabaseError, KmsConfig, SEAL_KEY_NAME,
    SEAL_SALT_NAME, SealConfig, database, random, signatures,
    tls::{AuthorityError, TeamAuthority},
};

/// What an administrator's Unix account is called when the user name cannot be one: `admin` is the system's.
const ADMIN_LOGIN: &str = "team_admin";

/// What a data directory has, in the order in which it comes to be.
const FILES: [&str; 4] = [SEAL_KEY_NAME, SEAL_SALT_NAME, CONFIG_NAME, DATABASE_NAME];
/// What it has when the database is on a server.
const FILES_BESIDE_A_SERVER: [&str; 3] = [SEAL_KEY_NAME, SEAL_SALT_NAME, CONFIG_NAME];
const SEAL_FILES: [&str; 2] = [SEAL_KEY_NAME, SEAL_SALT_NAME];
/// Where it is made; what lies here is no team yet.
const STAGE: &str = ".init";

/// What to make.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The team's name, for good.
    pub team: TeamSlug,
    /// Where; made when it is not there.
    pub data_dir: PathBuf,
    /// How clients address the broker.
    pub public_url: Url,
    /// Where to listen; the default when absent.
    pub listen: Option<SocketAddr>,
    /// The first administrator.
    pub admin: UserName,
    /// Its Unix account; the user name when absent, or `team_admin` when that cannot be one.
    pub admin_unix_name: Option<LoginName>,
    /// A database server, with an empty database; a file in the data directory when absent.
    pub database: Option<DatabaseConfig>,
    /// Where the team's own keys are to live.
    pub custody: Custody,
    /// How AWS KMS is reached.
    pub kms: Option<KmsConfig>,
    /// Where the seal key comes from; a new file in the data directory when nothing is set.
    pub seal: SealConfig,
}

/// What was made. The code is shown once.
#[derive(Debug)]
pub struct Made {
    /// What clients enroll with.
    pub client_url: String,
    /// SHA-256 of the TLS root's SPKI.
    pub pin: Sha256,
    /// The first administrator.
    pub admin: UserName,
    /// How people address the broker.
    pub origin: String,
    /// With this code.
    pub set_up_code: Zeroizing<String>,
    /// When the code ends.
    pub expires_at: UnixTime,
    /// The configuration that was written.
    pub config_file: PathBuf,
}

/// Why nothing was made.
#[derive(Debug, Error)]
pub enum InitError {
    /// The TLS root could not be made.
    #[error("the team's TLS root could not be made")]
    Authority(#[source] AuthorityError),
    /// Another `init` makes this team right now.
    #[error("another init is at work in `{}`", path.display())]
    Busy {
        /// Where.
        path: PathBuf,
    },
    /// The options make no good configuration.
    #[error("the options make no good configuration")]
    Config(#[source] ConfigError),
    /// There is something already.
    #[error("`{}` exists; init never overwrites a team", path.display())]
    Exists {
        /// What.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot make `{}`", path.display())]
    File {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A key could not be made.
    #[error("a key could not be made")]
    Key(#[source] GenerateError),
    /// The database could not be made.
    #[error("the database could not be made")]
    Database(#[source] DatabaseError),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// The seal key could not be made.
    #[error("the seal key could not be made")]
    SealKey(#[source] SealKeyError),
    /// The database failed.
    #[error("the database failed")]
    Store(#[source] StoreError),
    /// The database server's database has a team.
    #[error("the database holds a team already; init never overwrites a team")]
    TeamExists,
    /// The administrator could not be made.
    #[error("the first administrator could not be made")]
    User(#[source] CreateUserError),
}

impl From<StoreError> for InitError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Makes a team.
///
/// # Errors
/// [`InitError`]; then what it had made so far is gone again.
pub async fn init(options: &InitOptions, now: UnixTime) -> Result<Made, InitError> {
    let mut config = Config::new(options.public_url.clone(), options.data_dir.clone());
    config.database.clone_from(&options.database);
    config.check().map_err(InitError::Config)?;
    config.listen = options.listen.unwrap_or(config.listen);
    config.kms.clone_from(&options.kms);
    config.seal = options.seal.clone();
    config.check().map_err(InitError::Config)?;
    let directory = &options.data_dir;
    let config_file = directory.join(CONFIG_NAME);
    make_directory(directory)?;
    let lock = lock(directory)?;
    for name in FILES {
        let path = directory.join(name);
        if path.symlink_metadata().is_ok() {
            return Err(InitError::Exists { path });
        }
    }
    // Made aside and moved in when it is whole: an init that was killed can be repeated.
    let stage = directory.join(STAGE);
    remove_stage(&stage)?;
    make_directory(&stage)?;
    let made = match fill(&config, options, &stage, now).await {
        Ok((made, store, tx)) => finish(&config, store, tx, &stage).await.map(|()| made),
        Err(error) => Err(error),
    };
    // The next init does it when this one cannot; the code must be shown.
    let _removed = remove_stage(&stage).is_ok();
    drop(lock);
    made.map(|made| Made { config_file, ..made })
}

fn make_directory(path: &Path) -> Result<(), InitError> {
    let failed = |source| InitError::File { path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)
}

/// Held until it is dropped; the kernel drops it with the process.
fn lock(directory: &Path) -> Result<File, InitError> {
    let failed = |source| InitError::File { path: directory.to_owned(), source };
    let opened = File::open(directory).map_err(failed)?;
    match opened.try_lock() {
        Ok(()) => Ok(opened),
        Err(TryLockError::WouldBlock) => Err(InitError::Busy { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn remove_stage(stage: &Path) -> Result<(), InitError> {
    match fs::remove_dir_all(stage) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(InitError::File { path: stage.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The database comes last: where it is, everything is.
async fn finish(config: &Config, store: Store, tx: WriteTx, stage: &Path) -> Result<(), InitError> {
    if config.database.is_none() {
        tx.commit().await?;
        store.close().await;
        return move_in(&FILES, stage, &config.data_dir);
    }
    // When the commit fails the keys stay: should it have happened all the same, they are what opens the database.
    move_in(&FILES_BESIDE_A_SERVER, stage, &config.data_dir)?;
    tx.commit().await?;
    store.close().await;
    Ok(())
}

/// The seal key, made or read; what of it belongs into the data directory.
fn seal_key(config: &Config, stage: &Path) -> Result<SealKey, SealKeyError> {
    let source = config.seal.current(stage);
    match &source {
        SealSource::Credential(_) => {}
        SealSource::File(path) => SealKey::create(path)?,
        SealSource::Passphrase { salt, .. } => SealKey::create_salt(salt)?,
    }
    source.load()
}

fn move_in(names: &[&str], stage: &Path, directory: &Path) -> Result<(), InitError> {
    // Of the seal key's files there is at most one.
    for name in names.iter().filter(|name| !SEAL_FILES.contains(name) || stage.join(name).exists()) {
        let path = directory.join(name);
        fs::rename(stage.join(name), &path).map_err(|source| InitError::File { path, source })?;
    }
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|source| InitError::File { path: directory.to_owned(), source })
}

async fn fill(
    config: &Config,
    options: &InitOptions,
    stage: &Path,
    now: UnixTime,
) -> Result<(Made, Store, WriteTx), InitError> {
    let seal = seal_key(config, stage).map_err(InitError::SealKey)?;
    let keystore = crate::custody::keystore(config, seal, &options.team).await;
    let store = database::open_in(config, stage).await.map_err(InitError::Database)?;
    let mut tx = store.begin().await?;
    if !team::create(&mut tx, &options.team, now).await? {
        return Err(InitError::TeamExists);
    }
    let pin = team_keys(&mut tx, &keystore, options, now).await?;
    let nonce: [u8; 32] = random::try_bytes().ok_or(InitError::Random)?;
    team::rotate_nonce_key(&mut tx, &nonce, now).await?;
    let (code, expires_at) = admin(&mut tx, options, now).await?;
    let config_file = stage.join(CONFIG_NAME);
    write_config(config, &config_file)?;
    let origin = config.origin();
    let made = Made {
        client_url: format!("{origin}#{pin}"),
        pin,
        admin: options.admin.clone(),
        origin,
        set_up_code: code.reveal(),
        expires_at,
        config_file,
    };
    Ok((made, store, tx))
}

/// The TLS root, the state key and the checkpoint key; gives the pin.
async fn team_keys(
    tx: &mut WriteTx,
    keystore: &Keystore,
    options: &InitOptions,
    now: UnixTime,
) -> Result<Sha256, InitError> {
    let InitOptions { team, custody, .. } = options;
    let serial = random::try_bytes().ok_or(InitError::Random)?;
    let root = p256(keystore, "team/tls-root/1", Purpose::TlsRoot, *custody).await?;
    let certificate =
        TeamAuthority::self_signed(&root.key, team, serial, now).await.map_err(InitError::Authority)?;
    let authority = TeamAuthority::new(std::sync::Arc::clone(&root.key), certificate.clone());
    let pin = authority.map_err(InitError::Authority)?.pin();
    let state = p256(keystore, "team/state/1", Purpose::State, *custody).await?;
    let audit = p256(keystore, "team/audit/1", Purpose::Audit, *custody).await?;
    let events = [
        Event::TeamCreate { team: team.clone(), pin },
        Event::StateKeyCreate { key: thumbprint(&state)? },
        Event::CheckpointKeyAnnounce { key: thumbprint(&audit)? },
    ];
    let rows = [
        ("team/tls-root/1", KeyPurpose::TlsRoot, root, Some(certificate)),
        ("team/state/1", KeyPurpose::State, state, None),
        ("team/audit/1", KeyPurpose::Audit, audit, None),
    ];
    for (id, purpose, made, certificate) in rows {
        let row = StoredKey {
            id: id.to_owned(),
            purpose,
            project_id: None,
            algorithm: KeyAlgorithm::P256,
            public: made.key.public_key_bytes().to_vec(),
            custody: crate::keys::stored_custody(made.custody),
            sealed: made.material,
            certificate,
            state: KeyState::Active,
            created_at: now,
            retired_at: None,
        };
        keys::insert(tx, &row).await?;
    }
    for event in events {
        tx.audit(&record(event, now)).await?;
    }
    if let Some(event) = signatures::of_a_command(keystore, now) {
        tx.audit(&record(event, now)).await?;
    }
    Ok(pin)
}

async fn p256(
    keystore: &Keystore,
    id: &str,
    purpose: Purpose,
    custody: Custody,
) -> Result<GeneratedKey, InitError> {
    let label = KeyLabel::new(id, purpose);
    keystore.generate(&label, Algorithm::EcdsaP256, custody).await.map_err(InitError::Key)
}

fn thumbprint(made: &GeneratedKey) -> Result<Sha256, InitError> {
    let key = PublicKey::from_sec1(made.key.public_key_bytes());
    key.map(|key| key.thumbprint()).map_err(|_error| InitError::Authority(AuthorityError::Key))
}

async fn admin(
    tx: &mut WriteTx,
    options: &InitOptions,
    now: UnixTime,
) -> Result<(SetUpCode, UnixTime), InitError> {
    let name = options.admin.as_str();
    let unix_user_name = match &options.admin_unix_name {
        Some(name) => name.clone(),
        None => match name.parse().or_else(|_error| ADMIN_LOGIN.parse()) {
            Ok(name) => name,
            Err(_error) => return Err(InitError::Random),
        },
    };
    let user = UserRecord {
        id: UserId::new(now, random::try_bytes().ok_or(InitError::Random)?),
        user_name: options.admin.clone(),
        // Every user name is a good display name; the fallback is for the type.
        display_name: name
            .parse()
            .or_else(|_error| "Administrator".parse())
            .map_err(|_error| InitError::Random)?,
        unix_user_name,
        status: UserStatus::Active,
        team_role: TeamRole::Owner,
        connector_id: None,
        created_at: now,
    };
    users::create(tx, &user).await.map_err(InitError::User)?;
    let created = Event::UserCreate {
        user_id: user.id,
        user_name: user.user_name.clone(),
        unix_user_name: user.unix_user_name.clone(),
        team_role: TeamRole::Owner,
        connector_id: None,
    };
    tx.audit(&record(created, now)).await?;
    new_set_up_code(tx, user.id, now).await.map_err(InitError::Store)
}

/// A set-up code for a user, with its audit row in the operator's name. The old password ends now.
pub(crate) async fn new_set_up_code(
    tx: &mut WriteTx,
    user_id: UserId,
    now: UnixTime,
) -> Result<(SetUpCode, UnixTime), StoreError> {
    let code = SetUpCode::generate(&mut random::rng());
    let expires_at = now.saturating_add(SET_UP_LIFETIME);
    sign_in::new_set_up_code(tx, user_id, sign_in::Reset::Everything, code.hash(), now, expires_at).await?;
    tx.audit(&record(Event::UserSetUpCode { user_id, expires_at }, now)).await?;
    Ok((code, expires_at))
}

/// Something that an operator did on the broker's host.
pub(crate) fn record(event: Event, now: UnixTime) -> Record {
    Record { at: now, actor: Actor::Operator, client_address: None, event }
}

/// What differs from the defaults; the rest is in `config default`.
fn write_config(config: &Config, path: &Path) -> Result<(), InitError> {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = format!(
        "# Written by `usher-broker init`. All settings: `usher-broker config default`.\n\
         public_url = {}\nlisten = {}\ndata_dir = {}\n",
        quoted(&config.origin()),
        quoted(&config.listen.to_string()),
        quoted(&config.data_dir.display().to_string()),
    );
    if let Some(database) = &config.database {
        let file = |path: &Path| quoted(&path.display().to_string());
        let password = database.password_file.as_deref().map(|path| ("password_file", file(path)));
        let root =
            database.root_certificate_file.as_deref().map(|path| ("root_certificate_file", file(path)));
        let always = [("url", quoted(database.url.as_str())), ("tls", quoted(database.tls.as_str()))];
        text.push_str("\n[database]\n");
        for (name, value) in always.into_iter().chain(password).chain(root) {
            text.push_str(&format!("{name} = {value}\n"));
        }
    }
    text.push_str(&config.seal.to_toml());
    text.push_str(&config.kms.as_ref().map_or_else(String::new, KmsConfig::to_toml));
    let written = File::create_new(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|source| InitError::File { path: path.to_owned(), source })
}
