//! What each command does.

use std::{future::Future, path::PathBuf};

use anyhow::Result;
use serde::Serialize;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use usher_api::v1::SetUpCode;
use usher_audit::Event;
use usher_identity::DeviceState;
use usher_keystore::forbid_core_dumps;
use usher_store::{devices, users};
use usher_types::{DeviceId, UserName};

use super::{Command, ConfigCommand, DeviceCommand, Init, Place, UserCommand, output::Output};
use crate::{
    AppState, CONFIG_FILE, CONFIG_NAME, Clock, Config, DATA_DIR, SealConfig, Server, custody, database,
    init::{self, InitOptions},
};

/// What was named does not exist.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("there is no {kind} `{name}`")]
pub(super) struct NotFound {
    kind: &'static str,
    name: String,
}

impl NotFound {
    /// Where its name can be looked up.
    pub(super) fn next(&self) -> &'static str {
        match self.kind {
            "device" => "compare the id with what `usher login` printed on that device",
            _ => "compare the name with `usher user list`",
        }
    }
}

pub(super) fn run(command: Command, output: Output) -> Result<()> {
    // Before any key is in memory.
    forbid_core_dumps()?;
    match command {
        Command::Audit(command) => block_on(super::audit::run(command, output)),
        Command::ClientUrl(place) => block_on(client_url(place, output)),
        Command::Config(ConfigCommand::Check(place)) => check_config(&place, output),
        Command::Config(ConfigCommand::Default) => default_config(output),
        Command::Device(DeviceCommand::Approve { device, place }) => {
            block_on(approve_device(device, place, output))
        }
        Command::Init(options) => block_on(initialise(*options, output)),
        Command::RootCertificate(place) => block_on(root_certificate(place, output)),
        Command::ReSeal(place) => block_on(re_seal(place, output)),
        Command::Serve(place) => block_on(serve(place)),
        Command::User(UserCommand::SetUpCode { user, place }) => block_on(set_up_code(user, place, output)),
    }
}

fn block_on(future: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(future)
}

/// The configuration: named, or of the data directory, or the system's.
pub(super) fn load(place: &Place) -> Result<Config> {
    let mut config = Config::load(&config_file(place))?;
    if let Some(directory) = &place.data_dir {
        config.data_dir.clone_from(directory);
    }
    config.seal.credentials_directory = credentials_directory();
    Ok(config)
}

/// Where systemd puts this service's credentials; the only thing that is read from the environment.
fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

/// Without a file of the system's it is the one that `init` wrote.
fn config_file(place: &Place) -> PathBuf {
    if let Some(path) = &place.config {
        return path.clone();
    }
    let directory = place.data_dir.clone().unwrap_or_else(|| PathBuf::from(DATA_DIR));
    let (system, own) = (PathBuf::from(CONFIG_FILE), directory.join(CONFIG_NAME));
    let (first, second) = if place.data_dir.is_some() { (own, system) } else { (system, own) };
    // When there is neither, the error names the one that was expected.
    if !first.exists() && second.exists() { second } else { first }
}

async fn open(place: &Place) -> Result<AppState> {
    Ok(AppState::open(load(place)?, Clock::system()).await?)
}

#[derive(Serialize)]
struct MadeTeam<'a> {
    client_url: &'a str,
    pin: String,
    admin: &'a str,
    set_up: SetUpCode,
    config_file: String,
}

async fn initialise(options: Init, output: Output) -> Result<()> {
    let Init { team, data_dir, public_url, listen, admin, admin_unix_name, database, custody, kms, .. } =
        options;
    let seal = SealConfig {
        passphrase_file: options.seal_passphrase_file.map(std::path::absolute).transpose()?,
        credential: options.seal_credential,
        credentials_directory: credentials_directory(),
        ..SealConfig::default()
    };
    let data_dir = std::path::absolute(data_dir)?;
    let (database, kms) = (database.config()?, kms.config()?);
    let options = InitOptions {
        team,
        data_dir,
        public_url,
        listen,
        admin,
        admin_unix_name,
        database,
        custody,
        kms,
        seal,
    };
    let made = init::init(&options, Clock::system().now()).await?;
    let directory = options.data_dir.display();
    let set_up = SetUpCode::new(&made.origin, &made.set_up_code, made.expires_at);
    let text = format!(
        "Team `{}` is made in {directory}\n\n\
         Client URL:   {}\n\
         Set-up page:  {}\n\
         User name:    {}\n\
         Set-up code:  {}   (once, until {})\n\n\
         Next: usher-broker serve --data-dir {directory}\n",
        options.team, made.client_url, set_up.url, made.admin, *made.set_up_code, made.expires_at,
    );
    let value = MadeTeam {
        client_url: &made.client_url,
        pin: made.pin.to_string(),
        admin: made.admin.as_str(),
        set_up,
        config_file: made.config_file.display().to_string(),
    };
    Ok(output.print(&value, &text)?)
}

async fn serve(place: Place) -> Result<()> {
    let config = load(&place)?;
    usher_telemetry::init(&config.log.level, config.log.format.into())?;
    // Before anything slow, so that an early signal is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let app = AppState::open(config, Clock::system()).await?;
    let client_url = app.client_url();
    let team = app.team().to_string();
    let server = Server::bind(app).await?;
    tracing::info!(team, address = %server.address(), client_url, "the broker serves");
    notify(&[sd_notify::NotifyState::Ready]);
    server
        .run(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("the broker stops");
            notify(&[sd_notify::NotifyState::Stopping]);
        })
        .await?;
    Ok(())
}

/// Without systemd there is nobody to tell.
fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(cause = %error, "systemd was not told");
    }
}

#[derive(Serialize)]
struct ClientUrl {
    client_url: String,
}

async fn client_url(place: Place, output: Output) -> Result<()> {
    let value = ClientUrl { client_url: open(&place).await?.client_url() };
    Ok(output.print(&value, &value.client_url)?)
}

#[derive(Serialize)]
struct RootCertificate {
    root_certificate: String,
}

async fn root_certificate(place: Place, output: Output) -> Result<()> {
    // The one that serves first; then, while it is being replaced, the next.
    let roots = open(&place).await?.roots();
    let pem: Vec<String> = roots.iter().rev().map(|root| root.to_pem()).collect::<Result<_, _>>()?;
    let value = RootCertificate { root_certificate: pem.concat() };
    Ok(output.print(&value, &value.root_certificate)?)
}

#[derive(Serialize)]
struct ReSealed {
    secrets: usize,
    seal_key: String,
}

async fn re_seal(place: Place, output: Output) -> Result<()> {
    let config = load(&place)?;
    let store = database::open(&config).await?;
    let done = custody::re_seal(&config, &store, Clock::system().now()).await?;
    store.close().await;
    let value = ReSealed { secrets: done.secrets, seal_key: done.key.to_string() };
    let next =
        "Brokers on other hosts need the new key too. Keep the old one as long as backups from before.";
    let text = format!("{} secrets are sealed by the new key {}.\n{next}", value.secrets, value.seal_key);
    Ok(output.print(&value, &text)?)
}

#[derive(Serialize)]
struct ConfigText<'a> {
    config: &'a str,
}

fn default_config(output: Output) -> Result<()> {
    Ok(output.print(&ConfigText { config: Config::DEFAULT }, Config::DEFAULT)?)
}

#[derive(Serialize)]
struct CheckedConfig {
    public_url: String,
    listen: String,
    data_dir: String,
}

fn check_config(place: &Place, output: Output) -> Result<()> {
    let config = load(place)?;
    let value = CheckedConfig {
        public_url: config.origin(),
        listen: config.listen.to_string(),
        data_dir: config.data_dir.display().to_string(),
    };
    let text = format!(
        "The configuration is good.\npublic_url = {}\nlisten = {}\ndata_dir = {}",
        value.public_url, value.listen, value.data_dir
    );
    Ok(output.print(&value, &text)?)
}

#[derive(Serialize)]
struct NewCode<'a> {
    user_name: &'a str,
    set_up: SetUpCode,
}

async fn set_up_code(user_name: UserName, place: Place, output: Output) -> Result<()> {
    let config = load(&place)?;
    let now = Clock::system().now();
    let store = database::open(&config).await?;
    let mut tx = store.begin().await?;
    let user = users::by_name(&mut tx, &user_name).await?;
    let user = user.ok_or_else(|| NotFound { kind: "user", name: user_name.to_string() })?;
    let (code, expires_at) = init::new_set_up_code(&mut tx, user.id, now).await?;
    tx.commit().await?;
    let code = code.reveal();
    let set_up = SetUpCode::new(&config.origin(), &code, expires_at);
    let text = format!(
        "Set-up page:  {}\nUser name:    {user_name}\nSet-up code:  {}   (once, until {expires_at})",
        set_up.url, *code
    );
    let value = NewCode { user_name: user_name.as_str(), set_up };
    Ok(output.print(&value, &text)?)
}

#[derive(Serialize)]
struct Approved {
    device: String,
    user_name: String,
}

async fn approve_device(id: DeviceId, place: Place, output: Output) -> Result<()> {
    let config = load(&place)?;
    let now = Clock::system().now();
    let store = database::open(&config).await?;
    let mut tx = store.begin().await?;
    let device = devices::by_id(&mut tx, id).await?;
    let device = device.ok_or_else(|| NotFound { kind: "device", name: id.to_string() })?;
    if device.record.state != DeviceState::Approved {
        devices::approve(&mut tx, &device.record, None, now).await?;
        let event = Event::DeviceApprove { device_id: id, user_id: device.record.user_id, automatic: false };
        tx.audit(&init::record(event, now)).await?;
        tx.commit().await?;
    }
    let value = Approved { device: id.to_string(), user_name: device.user_name.to_string() };
    Ok(output.print(&value, &format!("Device {id} of {} is approved.", device.user_name))?)
}
