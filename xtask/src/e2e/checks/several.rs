//! Several brokers on one database server: what only they can get wrong.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::super::{ssh::keygen, stack::Stack};
use crate::clock;

/// Certificates that were handed out, and requests that ended without.
struct Load {
    connections: BTreeSet<String>,
    failed: usize,
}

fn load_keys(stack: &Stack) -> Result<Vec<String>> {
    let client = stack.client()?;
    let names = ["target", "hop-1", "hop-2"];
    names.iter().map(|name| keygen(client, &format!("/root/several-{name}"))).collect()
}

/// Asks for connections from four sides while `disturb` does its worst; it is told how many were made so far.
fn under_load(stack: &Stack, disturb: impl FnOnce(&AtomicU32) -> Result<()>) -> Result<Load> {
    let keys = load_keys(stack)?;
    let (done, made) = (AtomicBool::new(false), AtomicU32::new(0));
    let worker = || {
        let (mut connections, mut failed) = (BTreeSet::new(), 0);
        while !done.load(Ordering::SeqCst) {
            let answer = stack.ask("alice", "target-1", &keys).ok();
            let id =
                answer.as_ref().and_then(|answer| answer.pointer("/connection/id")).and_then(Value::as_str);
            match id {
                Some(id) => {
                    connections.insert(id.to_owned());
                    made.fetch_add(1, Ordering::SeqCst);
                }
                None => failed += 1,
            }
        }
        (connections, failed)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
        let disturbed = disturb(&made);
        done.store(true, Ordering::SeqCst);
        let mut load = Load { connections: BTreeSet::new(), failed: 0 };
        for worker in workers {
            let (connections, failed) =
                worker.join().map_err(|_panic| anyhow::anyhow!("a thread panicked"))?;
            load.connections.extend(connections);
            load.failed += failed;
        }
        disturbed.map(|()| load)
    })
}

fn wait_for_more(made: &AtomicU32, count: u32) -> Result<()> {
    let before = made.load(Ordering::SeqCst);
    clock::wait_for("more connections", clock::PATIENCE, || {
        (made.load(Ordering::SeqCst) >= before + count).then_some(())
    })
}

/// Every certificate has its row and its audit row, every row but one of a lost answer its certificate, no row twice.
fn account_for(stack: &Stack, load: &Load) -> Result<String> {
    let text: String = stack.audit()?.iter().map(ToString::to_string).collect();
    let rows = stack.in_database("SELECT id FROM connections")?;
    let rows: BTreeSet<_> = rows.lines().collect();
    for id in &load.connections {
        if !rows.contains(id.as_str()) || !text.contains(id.as_str()) {
            bail!("connection {id} was handed out and is not written down");
        }
    }
    let unrecorded = "SELECT COUNT(*) FROM connections c WHERE NOT EXISTS \
        (SELECT 1 FROM audit a WHERE position(convert_to(c.id, 'UTF8') IN a.body) > 0)";
    let unrecorded = stack.in_database(unrecorded)?;
    if unrecorded != "0" {
        bail!("{unrecorded} connections have no audit row");
    }
    stack.operator(&["audit", "verify"]).context("the audit log does not verify")
}

/// Both brokers work: each of them wrote audit rows.
pub(super) fn both_work(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    stack.own_device("alice")?;
    under_load(stack, |made| wait_for_more(made, 8))?;
    let recent =
        "SELECT COUNT(DISTINCT writer) FROM (SELECT writer FROM audit ORDER BY position DESC LIMIT 8) AS a";
    let writers: usize = stack.in_database(recent)?.parse()?;
    if writers != stack.brokers().len() {
        bail!("of {} brokers {writers} made the last 8 connections", stack.brokers().len());
    }
    Ok(format!("{writers} brokers made the last 8 connections"))
}

/// With one broker killed, connections go on by the other.
pub(super) fn one_dies(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    stack.own_device("alice")?;
    let load = under_load(stack, |made| {
        for name in stack.brokers() {
            wait_for_more(made, 5)?;
            stack.host(name)?.kill_dead("usher-broker")?;
            // The other one alone.
            wait_for_more(made, 10)?;
            stack
                .usher("alice", &["ssh", "target-1", "--", "true"])?
                .read()
                .context("with one broker dead")?;
            stack.serve()?;
        }
        Ok(())
    })?;
    let verified = account_for(stack, &load)?;
    Ok(format!("{} connections, {} requests failed; {verified}", load.connections.len(), load.failed))
}

/// The database server crashes and comes back.
pub(super) fn database_dies(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    stack.own_device("alice")?;
    let load = under_load(stack, |made| {
        for _ in 0..2 {
            wait_for_more(made, 5)?;
            stack.crash_database()?;
            stack.start_database()?;
        }
        wait_for_more(made, 5)
    })?;
    let verified = account_for(stack, &load)?;
    Ok(format!("{} connections, {} requests failed; {verified}", load.connections.len(), load.failed))
}

/// Taken away at one broker, refused at the other from that commit on.
pub(super) fn disabled_everywhere(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    stack.own_device("alice")?;
    let keys = load_keys(stack)?;
    // A fresh connection for each, so that it is the next broker's.
    let asked =
        || stack.ask("alice", "target-1", &keys).map(|answer| answer.pointer("/connection/id").is_some());
    let rounds = 6;
    for round in 0..rounds {
        stack.admin(&["group", "remove", "developers", "alice"])?;
        for _ in stack.brokers() {
            if asked()? {
                bail!("round {round}: a connection after access was taken away");
            }
        }
        stack.admin(&["group", "add", "developers", "alice"])?;
        // Given back is not taken away: a broker may hear of it a moment later.
        for _ in stack.brokers() {
            clock::wait_for("access to be back", clock::PATIENCE, || asked().ok().filter(|asked| *asked))?;
        }
    }
    Ok(format!("{rounds} times"))
}
