//! Keys that live in a KMS: where they are, and what happens while it does not answer.

use anyhow::{Result, bail};
use serde_json::Value;

use super::super::{
    brokers::DATA,
    stack::{PROJECT, Stack},
};
use crate::clock;

/// The project says so, and the broker's disk holds ARNs where private keys would be.
pub(super) fn keys_are_elsewhere(stack: &mut Stack) -> Result<String> {
    let project = stack.admin(&["project", "ca", PROJECT])?;
    let keys = project.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let elsewhere = |key: &Value| key.get("custody").and_then(Value::as_str) == Some("aws-kms");
    if keys.is_empty() || !keys.iter().all(elsewhere) {
        bail!("not every key is in the KMS: {project}");
    }
    let broker = stack.host("broker")?;
    let arns = broker.cmd(["grep", "-a", "-o", "-h", "arn:aws:kms:[a-z0-9:-]*key/[0-9a-f-]*"]);
    let found = arns.args([format!("{DATA}/usher.db"), format!("{DATA}/usher.db-wal")]).output()?;
    let arns: std::collections::BTreeSet<_> = found.stdout.lines().collect();
    // Two of the project; state, TLS root and audit key of the team.
    if arns.len() < 5 {
        bail!("only {} keys of the KMS are named in the database", arns.len());
    }
    Ok(format!("{} keys of the project, {} ARNs in the database", keys.len(), arns.len()))
}

/// No certificate without the KMS, a message that says so, and certificates again as soon as it is back.
pub(super) fn silent_kms(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    let broker = stack.host("broker")?;
    broker.cmd(["pkill", "-STOP", "-f", "moto_server"]).read()?;
    let refused = stack.usher("alice", &["ssh", "target-1", "--", "true"])?.output();
    broker.cmd(["pkill", "-CONT", "-f", "moto_server"]).read()?;
    let refused = refused?;
    if refused.status == 0 {
        bail!("a connection was made while the KMS was silent");
    }
    refused.says("next:")?;
    clock::wait_for_ok("connections again", clock::PATIENCE, || {
        stack.usher("alice", &["ssh", "target-1", "--", "true"])?.read()
    })?;
    let said = refused.stderr.lines().next().unwrap_or_default().to_owned();
    Ok(format!("while it was silent: {said}"))
}
