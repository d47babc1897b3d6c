//! The whole path of `POST /v1/connections`, measured: a real broker on one core, a load generator on another, HTTPS with
//! kept connections, a proof of possession, policy, signature and a synced audit row for every answer.
//!
//! Run by `cargo xtask bench broker`, which builds the broker first. Everything lives in a directory of its own that is
//! gone afterwards. Proofs are signed before the clock starts: what a client spends is not what is measured.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench that cannot run should fail loudly, and its figures are what it prints"
)]

mod bulk;
mod kms;
mod load;
mod process;
mod scim;
mod team;
mod wire;

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use serde_json::{Map, Value, json};
use usher_store::Store;

use crate::{
    kms::{KmsOptions, Service},
    load::{Figures, Load},
    process::Broker,
    team::Team,
};

/// Where the broker runs, and where everything else.
const BROKER_CORE: usize = 0;
const LOAD_CORE: usize = 1;

#[derive(Debug, Parser)]
#[command(about = "Requests per second of one broker on one core")]
pub(crate) struct Options {
    /// The broker's binary, a release build.
    #[arg(long)]
    broker: PathBuf,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Connections at one time; one measurement each.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,128")]
    concurrency: Vec<usize>,
    /// Seconds of each measurement. Nonces, with which all requests are signed before, are not good for much longer.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=30))]
    seconds: u64,
    /// Measurements of each concurrency; the median one counts.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Projects in the database, besides those that are asked for.
    #[arg(long, default_value_t = 10)]
    projects: u32,
    /// Servers in the database.
    #[arg(long, default_value_t = 100)]
    servers: u32,
    /// Users in the database, each in twenty groups.
    #[arg(long, default_value_t = 100)]
    users: u32,
    /// Imports so many users over SCIM instead, while four connections ask for certificates for `--seconds`.
    #[arg(long, value_name = "USERS")]
    scim: Option<u32>,
    #[command(flatten)]
    kms: KmsOptions,
}

fn main() {
    let options = Options::parse();
    // The broker is started from here and inherits its core.
    process::pin(LOAD_CORE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&options));
}

async fn measure(options: &Options) {
    let directory = tempfile::tempdir().unwrap();
    let service = options.kms.kms.map(|_| Service::start(directory.path()));
    let settings = service.as_ref().map(Service::section);
    let broker = Broker::init(&options.broker, directory.path(), settings.as_deref().unwrap_or_default());
    let running = broker.serve(LOAD_CORE).await;
    let mut team = Team::make(&running, if service.is_some() { "aws-kms" } else { "software" }).await;
    running.stop().await;
    bulk::fill(&running.database(), options).await;
    let token = match options.scim {
        Some(_) => Some(scim::connect(&Store::open(&running.database()).await.unwrap()).await),
        None => None,
    };

    let running = broker.serve(BROKER_CORE).await;
    team.targets = bulk::targets(&running.database()).await;
    team.connect(&running).await;
    if let Some((service, time)) = service.zip(options.kms.kms) {
        let figures = service.measure(&running, &mut team, options, Duration::from_millis(time)).await;
        running.stop().await;
        if options.json {
            println!("{figures}");
        }
        return;
    }
    if let Some(token) = token {
        let figures = scim::measure(&running, &mut team, options, &token).await;
        running.stop().await;
        println!("{figures:#}");
        return;
    }
    let idle = running.rss_mib();
    let verification = process::verification_us();
    let mut measured = Vec::new();
    for concurrency in &options.concurrency {
        let mut rounds = Vec::new();
        for _ in 0..options.rounds {
            let load = Load::prepare(&mut team, *concurrency, Duration::from_secs(options.seconds)).await;
            rounds.push(load.run(&running).await);
        }
        rounds.sort_by(|a, b| a.requests_per_second.total_cmp(&b.requests_per_second));
        let figures = rounds.swap_remove(rounds.len() / 2);
        if !options.json {
            show(*concurrency, &figures);
        }
        measured.push((*concurrency, figures));
    }
    running.stop().await;
    if options.json {
        println!("{}", as_json(options, idle, verification, &measured));
    } else {
        println!("idle {idle:.0} MiB; one ES256 verification takes {verification:.1} us here");
    }
}

fn show(concurrency: usize, figures: &Figures) {
    println!(
        "{concurrency:>4} connections  {:>7.0} requests/s  p50 {:>6.2} ms  p99 {:>6.2} ms  {:>6.1} us CPU  {:>5.0} MiB",
        figures.requests_per_second, figures.p50_ms, figures.p99_ms, figures.cpu_us, figures.rss_mib
    );
}

fn as_json(options: &Options, idle: f64, verification: f64, measured: &[(usize, Figures)]) -> Value {
    let concurrency: Map<String, Value> = measured
        .iter()
        .map(|(concurrency, figures)| {
            let value = json!({
                "requests_per_second": figures.requests_per_second.round(),
                "p50_ms": rounded(figures.p50_ms),
                "p99_ms": rounded(figures.p99_ms),
                "cpu_us": rounded(figures.cpu_us),
                "rss_mib": rounded(figures.rss_mib),
            });
            (concurrency.to_string(), value)
        })
        .collect();
    json!({
        "machine": process::machine(),
        "projects": options.projects,
        "servers": options.servers,
        "users": options.users,
        "idle_rss_mib": rounded(idle),
        "es256_verification_us": rounded(verification),
        "concurrency": concurrency,
    })
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
