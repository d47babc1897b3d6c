//! The broker of each team, as the background process sees it: a port, and its adapter over `usher-api-client` that
//! keeps the session token in memory.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use usher_api::v1::{
    Connection, ConnectionRequest, Page, Server, TokenExchange, TokenRequest, TokenResponse,
};
use usher_api_client::{CallError, Client, ClientConfig, Method};
use usher_identity::PrivateKey;
use usher_telemetry::Chain;
use usher_types::{SecretToken, Sha256, TeamSlug, TokenKind};

use super::control::Call;
use crate::{
    clock,
    config::{self, Config},
    exit::{Exit, Failure},
    index,
};

/// One team's broker. Holds the session's token once there is one.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Exchanges an authorization code; keeps the token, and leaves it out of the answer.
    async fn sign_in(&self, request: TokenRequest) -> Result<TokenResponse, Failure>;
    /// Exchanges what a program has; keeps the token, and leaves it out of the answer.
    async fn exchange(&self, request: &TokenExchange) -> Result<TokenResponse, Failure>;
    /// Calls an endpoint in the session.
    async fn call(&self, call: &Call) -> Result<serde_json::Value, Failure>;
    /// Asks for routes and certificates.
    async fn connect(&self, request: &ConnectionRequest) -> Result<Connection, Failure>;
    /// Which roots the broker's certificate may come from, now or soon. From then on they are believed here.
    async fn learn_pins(&self) -> Result<Vec<Sha256>, Failure>;
    /// Ends the session at the broker.
    async fn end_session(&self) -> Result<(), Failure>;
}

/// Finds a team's broker.
pub trait Teams: Send + Sync {
    /// A client without a session.
    ///
    /// # Errors
    /// When the team is unknown or its key unusable.
    fn open(&self, team: &TeamSlug) -> Result<Arc<dyn Broker>, Failure>;

    /// A client without a session, and with a key that is nowhere else.
    ///
    /// # Errors
    /// When the team is unknown.
    fn open_with_new_key(&self, team: &TeamSlug) -> Result<Arc<dyn Broker>, Failure>;

    /// Writes down which servers a team has, for `usher resolve`. Blocks on the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    fn keep_names(&self, team: &TeamSlug, servers: &Page<Server>) -> Result<(), Failure>;

    /// Writes down which roots a team's broker may show, when this client is pinned at all. Blocks on the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    fn keep_pins(&self, team: &TeamSlug, pins: &[Sha256]) -> Result<(), Failure>;
}

/// Teams of the client's configuration.
#[derive(Debug)]
pub struct ConfiguredTeams {
    directory: PathBuf,
    names: PathBuf,
}

impl ConfiguredTeams {
    /// Reads `config.toml` and the device key in `directory` whenever a team is opened; writes the index `names`.
    #[must_use]
    pub fn new(directory: PathBuf, names: PathBuf) -> Self {
        Self { directory, names }
    }
}

impl Teams for ConfiguredTeams {
    fn open(&self, team: &TeamSlug) -> Result<Arc<dyn Broker>, Failure> {
        let config = Config::load(&self.directory)?;
        let (_, settings) = config.team(Some(team.as_str()))?;
        Ok(Arc::new(RemoteBroker { client: client(&self.directory, settings)? }))
    }

    fn open_with_new_key(&self, team: &TeamSlug) -> Result<Arc<dyn Broker>, Failure> {
        let config = Config::load(&self.directory)?;
        let (_, settings) = config.team(Some(team.as_str()))?;
        let key = PrivateKey::generate(&mut rand_core::UnwrapErr(getrandom::SysRng));
        Ok(Arc::new(RemoteBroker { client: client_with(key, settings)? }))
    }

    fn keep_names(&self, team: &TeamSlug, servers: &Page<Server>) -> Result<(), Failure> {
        index::keep(&self.names, team, servers)
    }

    fn keep_pins(&self, team: &TeamSlug, pins: &[Sha256]) -> Result<(), Failure> {
        let mut config = Config::load(&self.directory)?;
        let Some(settings) = config.teams.get_mut(team) else { return Ok(()) };
        if settings.pin.is_none() || pins.is_empty() || settings.pins() == pins {
            return Ok(());
        }
        settings.pins = pins.to_vec();
        config.save(&self.directory)
    }
}

/// A client of a team's broker, without a session.
///
/// # Errors
/// When the key or the URL is unusable.
pub fn client(directory: &std::path::Path, team: &config::Team) -> Result<Client, Failure> {
    client_with(config::device_key(directory, team)?, team)
}

fn client_with(key: PrivateKey, team: &config::Team) -> Result<Client, Failure> {
    let settings = ClientConfig::new(team.url.clone(), key, clock::now).with_pins(team.pins());
    Client::new(settings).map_err(|error| Failure::other(Chain(&error).to_string()))
}

struct RemoteBroker {
    client: Client,
}

impl RemoteBroker {
    fn keep(&self, mut answer: TokenResponse) -> Result<TokenResponse, Failure> {
        let text = zeroize::Zeroizing::new(std::mem::take(&mut answer.session_token));
        let token = SecretToken::parse(TokenKind::Session, &text)
            .map_err(|error| Failure::new(Exit::Network, format!("the broker's session token: {error}")))?;
        self.client.set_token(Some(token));
        Ok(answer)
    }
}

#[async_trait]
impl Broker for RemoteBroker {
    async fn sign_in(&self, request: TokenRequest) -> Result<TokenResponse, Failure> {
        let answer = self.client.exchange_code(&request).await.map_err(|error| failure(&error))?;
        self.keep(answer)
    }

    async fn exchange(&self, request: &TokenExchange) -> Result<TokenResponse, Failure> {
        let answer = self.client.exchange_token(request).await.map_err(|error| failure(&error))?;
        self.keep(answer)
    }

    async fn call(&self, call: &Call) -> Result<serde_json::Value, Failure> {
        let method: Method =
            call.method.parse().map_err(|_error| Failure::usage(format!("no method `{}`", call.method)))?;
        // The session must not be carried anywhere but to the API.
        if !call.path.starts_with("/v1/") || call.path == "/v1/token" {
            return Err(Failure::usage(format!("no path `{}`", call.path)));
        }
        let called = self.client.call(method, &call.path, &call.query, call.body.as_ref()).await;
        called.map_err(|error| failure(&error))
    }

    async fn connect(&self, request: &ConnectionRequest) -> Result<Connection, Failure> {
        self.client.connect(request).await.map_err(|error| failure(&error))
    }

    async fn learn_pins(&self) -> Result<Vec<Sha256>, Failure> {
        let team = self.client.team().await.map_err(|error| failure(&error))?;
        self.client.set_pins(team.pins.iter().copied());
        Ok(team.pins)
    }

    async fn end_session(&self) -> Result<(), Failure> {
        let ended = self.client.end_session().await.map_err(|error| failure(&error));
        self.client.set_token(None);
        ended
    }
}

/// What a failed call means for the person at the keyboard.
#[must_use]
pub fn failure(error: &CallError) -> Failure {
    match error {
        CallError::Api { body, .. } => body.clone().into(),
        CallError::Argument { .. } => Failure::usage(error.to_string()),
        CallError::Pin => Failure::new(Exit::Network, error.to_string())
            .next("ask your administrator for the current url and pin, then enroll again"),
        _ if error.is_network() => Failure::new(Exit::Network, Chain(error).to_string())
            .next("check the network and the broker's address; `usher doctor` tells more"),
        _ => Failure::other(Chain(error).to_string()),
    }
}
