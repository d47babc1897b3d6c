//! `usher-broker audit reconcile`: compares the signatures that AWS KMS made with what the log knows.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use thiserror::Error;
use usher_audit::{Actor, Day};

use super::{Place, commands::load, output::Output};
use crate::{
    Clock, database,
    reconcile::{self, Period, Reconciled},
};

#[derive(Debug, Args)]
pub(super) struct Reconcile {
    /// CloudTrail's log files (JSON, or compressed as they are in its bucket), or directories with them; the one that
    /// [audit] cloudtrail names when absent.
    #[arg(long, value_name = "PATH")]
    cloudtrail: Vec<PathBuf>,
    /// The first day, of UTC; yesterday when absent.
    #[arg(long, value_name = "DAY")]
    since: Option<Day>,
    /// The last day; the first when absent.
    #[arg(long, value_name = "DAY")]
    until: Option<Day>,
    #[command(flatten)]
    place: Place,
}

/// CloudTrail and the log do not agree.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("CloudTrail and the audit log do not agree about {0} days of keys")]
pub(super) struct Mismatch(usize);

pub(super) async fn run(options: Reconcile, output: Output) -> Result<()> {
    let config = load(&options.place)?;
    let mut paths = options.cloudtrail;
    if paths.is_empty() {
        let configured = config.audit.cloudtrail.clone();
        paths.push(configured.context("say with --cloudtrail where CloudTrail's log files are")?);
    }
    let now = Clock::system().now();
    let first = options.since.unwrap_or_else(|| reconcile::yesterday(now));
    let period = Period { first, last: options.until.unwrap_or(first) };
    let store = database::open(&config).await?;
    let principal = config.kms.as_ref().and_then(|kms| kms.principal.as_deref());
    let result = reconcile::reconcile(&store, paths, period, principal, Actor::Operator, now).await?;
    store.close().await;
    output.print(&result, &text(&result))?;
    if result.agrees { Ok(()) } else { Err(Mismatch(result.mismatches()).into()) }
}

fn text(result: &Reconciled) -> String {
    let mut text = String::new();
    for row in &result.compared {
        let verdict = if row.agrees() { "agrees" } else { "DOES NOT AGREE" };
        text.push_str(&format!(
            "{}  {}  {} signatures, {} of them unknown to the log, {} more missing in CloudTrail, {} certificates: \
             {verdict}\n",
            row.day, row.key, row.made, row.unknown, row.missing, row.certificates
        ));
    }
    for one in &result.unknown {
        text.push_str(&format!(
            "unknown: {}  {}  by {} from {}, request {}\n",
            one.at, one.key, one.caller, one.address, one.request
        ));
    }
    if result.compared.iter().any(|row| row.missing > 0) {
        text.push_str(
            "Missing in CloudTrail: was everything copied, and does the trail log read events and AWS KMS?\n",
        );
    }
    text
}
