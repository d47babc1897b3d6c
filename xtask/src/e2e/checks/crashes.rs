//! Power cuts and outages of our own parts.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::super::{
    ssh::{OPTIONS, keygen},
    stack::Stack,
};
use crate::clock::{self, Stopwatch};

/// Killed again and again while accounts come and go.
pub(super) fn agent_killed(stack: &mut Stack) -> Result<String> {
    let (target, rounds) = (stack.host("target-1")?, 3);
    for round in 0..rounds {
        let user = format!("temp-{round}");
        stack.admin(&["user", "create", &user])?;
        stack.admin(&["group", "add", "developers", &user])?;
        // In the middle of making the account, as far as one can hit that from outside.
        clock::wait_for("the agent to begin", clock::PATIENCE, || {
            target.run(["getent", "group", &user]).ok().filter(|output| output.status == 0)
        })?;
        target.kill_dead("usher-agent")?;
        stack.start_agent("target-1")?;
        clock::wait_for_ok("the account to be whole", clock::PATIENCE, || {
            target.cmd(["getent", "passwd", &user]).read()?;
            let principals = target.read(&format!("/etc/ssh/usher/principals/{user}"));
            let groups = target.cmd(["id", "-nG", &user]).read()?;
            if principals.contains('@') && groups.contains("usher-managed") && groups.contains("developers") {
                Ok(())
            } else {
                bail!("groups {groups}, principals {principals}")
            }
        })?;
        stack.admin(&["user", "disable", &user])?;
    }
    for round in 0..rounds {
        let user = format!("temp-{round}");
        clock::wait_for("the account to be gone", clock::PATIENCE, || {
            target.run(["getent", "passwd", &user]).ok().filter(|output| output.status == 2)
        })?;
    }
    target.cmd(["pwck", "-qr"]).output()?;
    target.cmd(["visudo", "-c", "-q"]).read()?;
    stack.ready("alice")?;
    stack.usher("alice", &["ssh", "target-1", "--", "true"])?.read()?;
    Ok(format!("{rounds} times, while accounts were made"))
}

/// Killed under load: whoever got a certificate is in the audit log.
pub(super) fn broker_killed(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    let client = stack.client()?;
    let keys = ["target", "hop-1", "hop-2"].map(|name| keygen(client, &format!("/root/load-{name}")));
    let keys = keys.into_iter().collect::<Result<Vec<_>>>()?;
    stack.own_device("alice")?;
    let (done, made, shared) = (AtomicBool::new(false), AtomicU32::new(0), &*stack);
    let last = Mutex::new(String::new());
    let worker = || {
        let mut got = BTreeSet::new();
        while !done.load(Ordering::SeqCst) {
            // Refusals and lost connections are to be expected here; only certificates count.
            let outcome = match shared.ask("alice", "target-1", &keys) {
                Ok(outcome) => outcome,
                Err(error) => {
                    *last.lock().unwrap_or_else(PoisonError::into_inner) = format!("{error:#}");
                    continue;
                }
            };
            *last.lock().unwrap_or_else(PoisonError::into_inner) = outcome.to_string();
            if let Some(id) = outcome.pointer("/connection/id").and_then(Value::as_str) {
                got.insert(id.to_owned());
                made.fetch_add(1, Ordering::SeqCst);
            }
        }
        got
    };
    let (got, restart_ms) = std::thread::scope(|scope| -> Result<_> {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
        let killed = kill_broker_repeatedly(shared, &made);
        done.store(true, Ordering::SeqCst);
        let mut got = BTreeSet::new();
        for worker in workers {
            got.extend(worker.join().map_err(|_panic| anyhow::anyhow!("a thread panicked"))?);
        }
        let last = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok((got, killed.with_context(|| format!("the last answer was {last}"))?))
    })?;
    if got.len() < 10 {
        bail!("only {} certificates were made meanwhile, so this shows little", got.len());
    }
    let rows = stack.audit()?;
    let text: String = rows.iter().map(ToString::to_string).collect();
    let lost: Vec<_> = got.iter().filter(|id| !text.contains(id.as_str())).collect();
    if let Some(first) = lost.first() {
        bail!("{} of {} certificates are not in the audit log, the first is {first}", lost.len(), got.len());
    }
    let verified = stack.operator(&["audit", "verify"]).context("the chain does not verify")?;
    Ok(format!(
        "{} certificates, all in {} rows; up again in {restart_ms} ms; {verified}",
        got.len(),
        rows.len()
    ))
}

fn kill_broker_repeatedly(stack: &Stack, made: &AtomicU32) -> Result<u64> {
    let mut slowest = 0;
    for _ in 0..3 {
        // Some work in between.
        let before = made.load(Ordering::SeqCst);
        clock::wait_for("some connections", clock::PATIENCE, || {
            (made.load(Ordering::SeqCst) >= before + 5).then_some(())
        })?;
        stack.kill_brokers()?;
        let watch = Stopwatch::start();
        stack.serve()?;
        slowest = slowest.max(watch.ms());
    }
    Ok(slowest)
}

/// The broker is needed for new certificates only.
pub(super) fn broker_down_certificate(stack: &mut Stack) -> Result<String> {
    let files = stack.connect_with_files("alice", "target-1")?;
    stack.kill_brokers()?;
    let result = stack.ssh_from_bastion(&files, "alice@target-1", &["id", "-un"])?.read();
    let client = stack.usher("alice", &["ssh", "target-1", "--", "true"])?.output();
    stack.serve()?;
    let name = result?;
    if name != "alice" {
        bail!("{name}");
    }
    let client = client?;
    client.exits_with(255)?;
    Ok(format!("logged in; a new one: {}", client.stderr.lines().next().unwrap_or_default()))
}

/// An account that the agent may never touch.
pub(super) fn broker_down_break_glass(stack: &mut Stack) -> Result<String> {
    stack.kill_brokers()?;
    let from = stack.host("bastion-1")?;
    let log_in = |server: &&str| -> Result<()> {
        let to = format!("root@{server}");
        let command = from.cmd(["ssh"]).args(OPTIONS).args(["-i", "/root/break-glass", &to, "id", "-un"]);
        let name = command.read()?;
        if name == "root" { Ok(()) } else { bail!("{name}") }
    };
    let result = ["10.77.2.31", "10.77.2.32", "10.77.2.22"].iter().try_for_each(log_in);
    stack.serve()?;
    result?;
    Ok("root's own key on target-1, target-2 and bastion-2".to_owned())
}
