//! Password, second factor, device.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::super::stack::{Stack, text};

fn refused(outcome: &Value) -> Result<String> {
    if text(outcome, "outcome")? != "refused" {
        bail!("expected a refusal: {outcome}");
    }
    let page = text(outcome, "page")?;
    // The sentence that matters.
    let said = page.split_once("That did not work.").map_or(page.as_str(), |(_, rest)| rest);
    Ok(said.trim().split(". ").next().unwrap_or_default().to_owned())
}

/// The whole way: address, page, redirect, session.
pub(super) fn works(stack: &mut Stack) -> Result<String> {
    stack.sign_in("alice")?;
    let me = stack.usher("alice", &["whoami"])?.output()?;
    me.says("alice")?;
    Ok(me.stdout.lines().next().unwrap_or_default().to_owned())
}

fn attempt(stack: &Stack, password: &str, code: &str) -> Result<Value> {
    stack.visit(
        "client",
        &[
            "device",
            "--user",
            "erin",
            "--password",
            password,
            "--code",
            code,
            "--broker",
            &stack.client_url,
            "--name",
            "erins-laptop",
            "--dir",
            "/root/device-erin-attempt",
        ],
    )
}

/// The right password with another code.
pub(super) fn wrong_code(stack: &mut Stack) -> Result<String> {
    let erin = stack.person("erin")?;
    // Wrong by one digit, so that only the digits are wrong.
    let right =
        crate::totp::code(&erin.totp_secret, crate::totp::step_at(crate::clock::now().as_secs()) + 40)?;
    refused(&attempt(stack, &erin.password, &right)?)
}

/// A code that was good once.
pub(super) fn reused_code(stack: &mut Stack) -> Result<String> {
    let erin = stack.person("erin")?;
    let code = erin.code()?;
    let first = attempt(stack, &erin.password, &code)?;
    if text(&first, "outcome")? != "signed-in" {
        bail!("the first use was refused: {first}");
    }
    refused(&attempt(stack, &erin.password, &code)?)
}

/// Another password with a good code; the code stays good for the right password.
pub(super) fn wrong_password(stack: &mut Stack) -> Result<String> {
    let erin = stack.person("erin")?;
    let code = erin.code()?;
    let page = refused(&attempt(stack, "incorrect horse battery", &code)?)?;
    let lower = page.to_lowercase();
    // Whoever guesses must not learn which of the two was wrong.
    if !lower.contains("password") || !lower.contains("code") {
        bail!("the page should name both: {page}");
    }
    Ok(page)
}

/// A second device of somebody who may connect: signed in, and yet no certificate until an administrator says so.
pub(super) fn unapproved_device(stack: &mut Stack) -> Result<String> {
    if !stack.person("alice")?.signed_in {
        stack.sign_in("alice")?;
    }
    let pending = stack.devices_of("alice", "pending")?;
    let device = pending.first().context("alice's device was approved without anybody's doing")?;
    let denied = stack.usher("alice", &["ssh", "target-1", "--", "true"])?.output()?;
    denied.exits_with(255)?.says("approv")?;
    let resolve = stack.usher("alice", &["resolve", "target-1"])?.output()?;
    stack.approve_device(device)?;
    stack.usher("alice", &["ssh", "target-1", "--", "true"])?.read()?;
    stack.usher("alice", &["servers"])?.read()?;
    let said = denied.stderr.lines().next().unwrap_or_default();
    Ok(format!("{said}; usher resolve ended with {}", resolve.status))
}
