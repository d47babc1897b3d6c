//! Programs that speak from inside a host: a browser, a device with a key of its own, many agents at once. They print
//! one JSON value. Tests only; nothing here is part of the product.

mod balance;
mod browser;
mod device;
mod enroll;
mod idp;
mod kms;
mod scim;
mod stream;

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;

use crate::out::say;

/// What to do from inside.
#[derive(Debug, Subcommand)]
pub(crate) enum Visit {
    /// Open a sign-in address, fill in the form, follow the redirect.
    SignIn {
        #[command(flatten)]
        browser: browser::Settings,
        #[command(flatten)]
        credentials: browser::Credentials,
        /// The address that `usher login --no-browser` printed.
        #[arg(long)]
        url: String,
    },
    /// Set the password and the second factor on the set-up page.
    SetUp {
        #[command(flatten)]
        browser: browser::Settings,
        /// The set-up page.
        #[arg(long)]
        url: String,
        /// The one-time code.
        #[arg(long)]
        code: String,
        /// The new password.
        #[arg(long)]
        password: String,
        /// Seconds to add to the clock when the second factor is computed.
        #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
        totp_offset: i64,
    },
    /// Sign in as a device of its own; key and session are written into a directory.
    Device {
        #[command(flatten)]
        browser: browser::Settings,
        #[command(flatten)]
        credentials: browser::Credentials,
        /// `https://broker:8443#<pin>`.
        #[arg(long)]
        broker: String,
        /// What to call the device.
        #[arg(long)]
        name: String,
        /// Where to keep it.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Ask for a connection with keys of its own; keys and certificates are written into the device's directory.
    Connect {
        /// The device's directory.
        #[arg(long)]
        dir: PathBuf,
        /// The server.
        #[arg(long)]
        server: String,
        /// The account.
        #[arg(long)]
        login: Option<String>,
        /// Public keys.
        #[arg(long = "key")]
        keys: Vec<String>,
    },
    /// Ask for connections at a steady pace until a file is there.
    Stream(stream::Settings),
    /// Call the API as a device and print status and answer.
    Call {
        /// The device's directory.
        #[arg(long)]
        dir: PathBuf,
        /// HTTP method.
        method: String,
        /// Path.
        path: String,
        /// Body, sent as it is.
        body: Option<String>,
    },
    /// Pass TCP connections on, each to the broker after the last one, until it is killed.
    Balance {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// A broker.
        #[arg(long = "to", required = true)]
        brokers: Vec<SocketAddr>,
    },
    /// Sign in by an identity provider with a real browser.
    Browse(idp::Person),
    /// Be an identity provider, until it is killed.
    Idp(idp::Settings),
    /// Be a KMS, until it is killed.
    Kms {
        /// Where to write how it is reached.
        told: PathBuf,
    },
    /// Say something over SCIM, as an identity provider does.
    Scim(scim::Request),
    /// Redeem one enrollment token with many keys at once, then again with the key that won.
    Redeem {
        /// The pasted token.
        #[arg(long)]
        token: String,
        /// How many at once.
        #[arg(long)]
        count: usize,
        /// The name to ask for.
        #[arg(long)]
        name: String,
    },
}

/// Does it and prints the outcome.
///
/// # Errors
/// When the broker cannot be reached or answers in an unexpected form; refusals are outcomes.
pub(crate) fn run(visit: Visit) -> Result<()> {
    if let Visit::Balance { listen, brokers } = visit {
        return balance::run(listen, &brokers);
    }
    if let Visit::Kms { told } = visit {
        return kms::run(&told);
    }
    if let Visit::Idp(settings) = visit {
        idp::run(&settings);
    }
    // Twice is harmless: only the first call counts.
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome: Value = runtime.block_on(async {
        match visit {
            Visit::SignIn { browser, credentials, url } => {
                browser::sign_in(&browser, &credentials, &url).await
            }
            Visit::SetUp { browser, url, code, password, totp_offset } => {
                browser::set_up(&browser, &url, &code, &password, totp_offset).await
            }
            Visit::Device { browser, credentials, broker, name, dir } => {
                device::sign_in(&browser, &credentials, &broker, &name, &dir).await
            }
            Visit::Connect { dir, server, login, keys } => device::connect(&dir, server, login, keys).await,
            Visit::Stream(settings) => stream::run(settings).await,
            Visit::Call { dir, method, path, body } => {
                device::call(&dir, &method, &path, body.as_deref()).await
            }
            Visit::Browse(person) => idp::browse(&person),
            Visit::Scim(request) => scim::send(request).await,
            Visit::Balance { .. } | Visit::Idp(_) | Visit::Kms { .. } => Ok(Value::Null),
            Visit::Redeem { token, count, name } => enroll::redeem(&token, count, &name).await,
        }
    })?;
    say!("{outcome}");
    Ok(())
}
