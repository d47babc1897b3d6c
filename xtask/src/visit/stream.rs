//! Asks for connections at a steady pace through whatever happens, by the client library that people's programs use. A
//! turn that is late is made up for, so that a busy machine stretches the pace and excuses nothing.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet, time::interval};
use usher_api::v1::{Connection, ConnectionRequest, Purpose};

use super::device;
use crate::clock::Stopwatch;

/// At most so many wait for their answer at one time: each is several signatures, and keys may be in a slow KMS.
const AT_ONCE: usize = 6;

/// What to ask for.
#[derive(Clone, Debug, Args)]
pub(crate) struct Settings {
    /// The device's directory.
    #[arg(long)]
    dir: PathBuf,
    /// Servers, which take turns.
    #[arg(long = "server", required = true)]
    servers: Vec<String>,
    /// Public keys.
    #[arg(long = "key", required = true)]
    keys: Vec<String>,
    /// A certificate signing request, for an X.509 certificate with each connection.
    #[arg(long)]
    csr: PathBuf,
    /// Milliseconds between the beginnings of two requests.
    #[arg(long)]
    every: u64,
    /// Holds how many were answered, anew after each.
    #[arg(long)]
    progress: PathBuf,
    /// Where a file will be when it is enough.
    #[arg(long)]
    until: PathBuf,
}

/// Answers so far.
#[derive(Default)]
struct Sum {
    answered: u64,
    refused: Vec<String>,
    slowest: u64,
    first: Option<Connection>,
    last: Option<Connection>,
}

impl Sum {
    fn add(&mut self, answer: Result<Connection, String>, ms: u64) {
        self.answered += 1;
        self.slowest = self.slowest.max(ms);
        match answer {
            Ok(connection) => {
                self.last = Some(connection.clone());
                self.first.get_or_insert(connection);
            }
            Err(error) => self.refused.push(error),
        }
    }
}

/// Asks until it is told to stop; prints what came back.
pub(super) async fn run(settings: Settings) -> Result<Value> {
    let client = Arc::new(device::open(&settings.dir)?);
    let csr = std::fs::read_to_string(&settings.csr)?;
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let (mut sum, mut waiting) = (Sum::default(), JoinSet::new());
    let watch = Stopwatch::start();
    // Ticks that were missed come at once.
    let mut ticks = interval(Duration::from_millis(settings.every));
    let mut servers = settings.servers.iter().cycle();
    while !settings.until.exists() {
        ticks.tick().await;
        let turn = Arc::clone(&gate).acquire_owned().await?;
        let request = ConnectionRequest {
            server: servers.next().cloned().unwrap_or_default(),
            login: None,
            purpose: Purpose::Command,
            via: None,
            keys: settings.keys.clone(),
            csr: Some(csr.clone()),
        };
        let client = Arc::clone(&client);
        waiting.spawn(async move {
            let watch = Stopwatch::start();
            let answer = client.connect(&request).await;
            drop(turn);
            (answer.map_err(|error| format!("{:#}", anyhow::Error::new(error))), watch.ms())
        });
        while let Some(done) = waiting.try_join_next() {
            let (answer, ms) = done?;
            sum.add(answer, ms);
        }
        std::fs::write(&settings.progress, sum.answered.to_string())?;
    }
    while let Some(done) = waiting.join_next().await {
        let (answer, ms) = done?;
        sum.add(answer, ms);
    }
    Ok(json!({
        "answered": sum.answered,
        "refused": sum.refused,
        "slowest_ms": sum.slowest,
        "ms": watch.ms(),
        "first": serde_json::to_value(sum.first)?,
        "last": serde_json::to_value(sum.last)?,
    }))
}
