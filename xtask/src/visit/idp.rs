//! An identity provider in the network of a host, and a browser there: both see this machine's files.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::Value;
use usher_testkit::{browser, idp::Idp};

use crate::out::say;

/// How to serve.
#[derive(Clone, Debug, Args)]
pub(crate) struct Settings {
    /// Has `idp.pem`, `idp.key` and the broker's `root.pem`.
    directory: PathBuf,
    /// `https://name:port`.
    #[arg(long)]
    issuer: String,
    /// The broker's public URL.
    #[arg(long)]
    broker: String,
}

/// Serves until it is killed.
pub(super) fn run(settings: &Settings) -> ! {
    let broker = &settings.broker;
    let (back, out) = (format!("{broker}/oidc/callback"), format!("{broker}/oidc/backchannel-logout"));
    let idp = Idp::with_tls(&back, &out, &settings.issuer, &settings.directory);
    say!("{}", idp.issuer());
    loop {
        std::thread::park();
    }
}

/// What the browser does.
#[derive(Clone, Debug, Args)]
pub(crate) struct Person {
    /// The address that `usher login --no-browser` printed.
    #[arg(long)]
    url: String,
    /// The connector to choose.
    #[arg(long)]
    connector: String,
    /// Who to be at the provider.
    #[arg(long)]
    name: String,
    /// Where names are, in Chromium's words.
    #[arg(long)]
    names: String,
}

/// Signs in and says what the browser shows then.
///
/// # Errors
/// When it did not get there.
pub(super) fn browse(person: &Person) -> Result<Value> {
    let said = browser::sign_in(&person.url, &person.connector, &person.name, &person.names);
    Ok(serde_json::from_str(&said.map_err(|said| anyhow!(said))?)?)
}
