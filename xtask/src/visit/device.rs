//! A device that keeps its connection keys in files, as the real client never does: tests try the same certificate in
//! the wrong places.

use std::{
    fs,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use url::Url;
use usher_api::v1::{ConnectionRequest, Purpose, TokenRequest};
use usher_api_client::{BrokerAddress, CallError, Client, ClientConfig, Method};
use usher_identity::{PrivateKey, pkce::CodeVerifier};
use usher_types::{SecretToken, TokenKind};

use super::browser::{self, Browser, Credentials, Settings};
use crate::clock;

const REDIRECT: &str = "http://127.0.0.1:9/callback";

fn key() -> PrivateKey {
    PrivateKey::generate(&mut rand_core::UnwrapErr(getrandom::SysRng))
}

pub(super) fn client(broker: &BrokerAddress, key: PrivateKey) -> Result<Client> {
    Ok(Client::new(ClientConfig::new(broker.url.clone(), key, clock::now).with_pins(broker.pin))?)
}

/// A key that nobody knows yet.
pub(super) fn fresh_client(broker: &BrokerAddress) -> Result<Client> {
    client(broker, key())
}

/// A refusal as an outcome; anything else is a failure.
pub(super) fn refusal(error: CallError) -> Result<Value> {
    match error {
        CallError::Api { body, status, .. } => {
            Ok(json!({ "outcome": "refused", "status": status, "error": serde_json::to_value(body)? }))
        }
        other => Err(anyhow::Error::new(other)),
    }
}

fn keep(file: &Path, text: &str) -> Result<()> {
    let _old = fs::remove_file(file);
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(file)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    Ok(())
}

/// Signs in by code and PKCE and keeps key and session in `dir`.
pub(super) async fn sign_in(
    settings: &Settings,
    credentials: &Credentials,
    broker: &str,
    name: &str,
    dir: &Path,
) -> Result<Value> {
    let address: BrokerAddress = broker.parse()?;
    let key = key();
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    let verifier = CodeVerifier::new(random);
    let mut url: Url = address.url.join("/authorize")?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", "usher-cli")
        .append_pair("redirect_uri", REDIRECT)
        .append_pair("code_challenge", &verifier.challenge().to_string())
        .append_pair("code_challenge_method", "S256")
        .append_pair("state", "0123456789abcdef0123456789abcdef")
        .append_pair("dpop_jkt", &key.public().thumbprint().to_string())
        .append_pair("device_name", name);
    let mut browser = Browser::new(settings)?;
    let page = browser::enter(&mut browser, credentials, url.as_str()).await?;
    let Some(back) = &page.leaves_to else { return Ok(page.outcome("refused")) };
    let code = back.query_pairs().find(|(name, _)| name == "code").context("no code in the redirect")?;
    let pem = key.to_pkcs8_pem()?.to_string();
    let request = TokenRequest {
        code: code.1.into_owned(),
        code_verifier: verifier.reveal().to_owned(),
        redirect_uri: REDIRECT.to_owned(),
        device_name: name.parse()?,
    };
    let answer = match client(&address, key)?.exchange_code(&request).await {
        Ok(answer) => answer,
        Err(error) => return refusal(error),
    };
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    keep(&dir.join("device.key"), &pem)?;
    keep(&dir.join("session"), &answer.session_token)?;
    keep(&dir.join("broker"), broker)?;
    Ok(json!({ "outcome": "signed-in", "device": serde_json::to_value(answer.device)? }))
}

/// The device that [`sign_in`] kept in `dir`.
pub(super) fn open(dir: &Path) -> Result<Client> {
    let read = |name: &str| {
        fs::read_to_string(dir.join(name)).with_context(|| format!("no device in {}", dir.display()))
    };
    let client = client(&read("broker")?.parse()?, PrivateKey::from_pkcs8_pem(&read("device.key")?)?)?;
    client.set_token(Some(SecretToken::parse(TokenKind::Session, &read("session")?)?));
    Ok(client)
}

/// Asks for a connection; prints the answer.
pub(super) async fn connect(
    dir: &Path,
    server: String,
    login: Option<String>,
    keys: Vec<String>,
) -> Result<Value> {
    let login = login.map(|login| login.parse()).transpose()?;
    let request = ConnectionRequest { server, login, purpose: Purpose::Command, via: None, keys, csr: None };
    match open(dir)?.connect(&request).await {
        Ok(connection) => {
            Ok(json!({ "outcome": "allowed", "connection": serde_json::to_value(connection)? }))
        }
        Err(error) => refusal(error),
    }
}

/// Any call.
pub(super) async fn call(dir: &Path, method: &str, path: &str, body: Option<&str>) -> Result<Value> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let body: Option<Value> = body.map(serde_json::from_str).transpose()?;
    let method = Method::from_bytes(method.as_bytes())?;
    match open(dir)?.call::<Value, Value>(method, path, query, body.as_ref()).await {
        Ok(answer) => Ok(json!({ "outcome": "done", "answer": answer })),
        Err(error) => refusal(error),
    }
}
