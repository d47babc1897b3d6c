//! Locks: out at once, everywhere, and everything back when the lock is lifted.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    super::{
        ssh::{keygen, refused_by_sshd},
        stack::{PROJECT, Stack},
    },
    accounts,
    leaving::{AtWork, SOON, at_work},
};
use crate::clock::{self, Stopwatch};

/// Nobody of the others' business: whoever is locked out here comes back.
const PERSON: &str = "erin";
const REASON: &str = "laptop left in a train";

/// A user.
pub(super) fn user(stack: &mut Stack) -> Result<String> {
    let seen = locked_out(stack, "user", PERSON)?;
    // Nobody else noticed.
    stack.usher("alice", &["ssh", "target-1", "--", "true"])?.read()?;
    Ok(seen)
}

/// A server: the other one goes on.
pub(super) fn server(stack: &mut Stack) -> Result<String> {
    locked_out(stack, "server", "target-1")
}

/// A project: its bastions too.
pub(super) fn project(stack: &mut Stack) -> Result<String> {
    let seen = locked_out(stack, "project", PROJECT)?;
    accounts::admin_has_sudo(stack).context("sudo after the lock")?;
    Ok(seen)
}

fn account(stack: &Stack) -> Result<String> {
    let look = "getent passwd erin; id -nG erin; stat -c '%i %U %a' /home/erin; getent shadow erin";
    stack.host("target-1")?.cmd(["sh", "-c", look]).read()
}

/// Somebody at work on target-1 is locked out, by whatever is locked, and back afterwards.
fn locked_out(stack: &mut Stack, kind: &str, name: &str) -> Result<String> {
    stack.ready("alice")?;
    let work = at_work(stack, PERSON)?;
    let before = account(stack)?;
    stack.admin(&["lock", kind, name, "--reason", REASON])?;
    let seen = out(stack, work);
    // Whatever was seen: the checks behind this one need it open.
    stack.admin(&["unlock", kind, name])?;
    let seen = seen?;
    clock::wait_for_ok("everything to be back", clock::PATIENCE, || {
        let output = stack.usher(PERSON, &["ssh", "target-1", "--", "echo", "back"])?.output()?;
        if output.stdout.trim() == "back" { Ok(()) } else { bail!("{output}") }
    })?;
    let after = account(stack)?;
    if after != before {
        bail!("not as it was: {before}\n{after}");
    }
    Ok(format!("{seen}; back unharmed"))
}

/// Denied by the broker, refused by sshd, sessions ended, the account still there.
fn out(stack: &Stack, mut work: AtWork) -> Result<String> {
    let watch = Stopwatch::start();
    // As many as the way needs: too few would be refused for that.
    let client = stack.client()?;
    let names = ["target", "hop-1", "hop-2"];
    let keys = names.iter().map(|name| keygen(client, &format!("/root/erin-locked-{name}")));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let outcome = stack.ask(PERSON, "target-1", &keys)?;
    let denied = watch.ms();
    let reasons = outcome.pointer("/error/reasons").map(Value::to_string).unwrap_or_default();
    if outcome.get("connection").is_some() || !reasons.contains(REASON) {
        bail!("not denied for the lock: {outcome}");
    }
    let to = format!("{PERSON}@target-1");
    clock::wait_for_ok("the certificate to be refused", SOON, || {
        refused_by_sshd(&stack.ssh_from_bastion(&work.files, &to, &["true"])?.output()?)
    })?;
    let refused = watch.ms();
    work.session.wait(SOON)?;
    let ended = watch.ms();
    let target = stack.host("target-1")?;
    clock::wait_for_ok("every process to end", SOON, || {
        let left = target.run(["pgrep", "-l", "-u", PERSON])?;
        if left.stdout.trim().is_empty() { Ok(()) } else { bail!("{}", left.stdout) }
    })?;
    target.cmd(["getent", "passwd", PERSON]).read().context("the account must stay")?;
    let listed = stack.admin(&["locks"])?.to_string();
    if !listed.contains(REASON) {
        bail!("the lock is not listed: {listed}");
    }
    Ok(format!("denied after {denied} ms, refused by sshd {refused} ms, session ended {ended} ms"))
}
