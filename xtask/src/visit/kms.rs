//! A KMS in the network of a host: runs until it is killed.

use std::path::Path;

use anyhow::Result;
use serde_json::json;
use usher_testkit::kms::Moto;

/// Starts it, writes how to reach it into `told`, and stays.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn run(told: &Path) -> Result<()> {
    let moto = Moto::shared();
    let broker = moto.broker();
    let facts = json!({ "url": moto.url(), "principal": broker.arn, "credentials": broker.credentials() });
    let unfinished = told.with_extension("part");
    std::fs::write(&unfinished, serde_json::to_vec(&facts)?)?;
    std::fs::rename(unfinished, told)?;
    loop {
        std::thread::park();
    }
}
