//! Signing in again because a server asks: in the middle of `usher ssh`, and once for many.

use anyhow::{Context as _, Result, bail};

use super::super::{
    people::authorize_address,
    stack::{PROJECT, Stack},
};
use crate::clock;

const GROUP: &str = "developers";
pub(super) const PERSON: &str = "alice";

/// What the group's role asks; nothing when there is none.
fn ask(stack: &Stack, options: &[&str]) -> Result<()> {
    stack.admin(&[&["group", "assign", GROUP, "--project", PROJECT], options].concat()).map(drop)
}

/// While the role asks, and back to nothing afterwards, whatever came of it.
pub(super) fn while_asked<T>(
    stack: &mut Stack,
    options: &[&str],
    work: impl FnOnce(&Stack) -> Result<T>,
) -> Result<T> {
    stack.ready(PERSON)?;
    ask(stack, options)?;
    let done = work(stack);
    ask(stack, &[])?;
    done
}

/// The command waits, the page names the server, the command goes on.
pub(super) fn interrupts_and_resumes(stack: &mut Stack) -> Result<String> {
    while_asked(stack, &["--named-server", "--max-age", "10m"], |stack| {
        // Without a terminal nobody could answer: refused, with what to do.
        let blind = stack.usher(PERSON, &["ssh", "target-1", "--", "id", "-un"])?.output()?;
        if blind.status == 0 {
            bail!("let in without a sign-in for this server: {blind}");
        }
        blind.says("usher step-up target-1")?;

        let typed = "usher ssh target-1 -- 'id -un; hostname'";
        let mut ssh = stack.as_person(PERSON, &["script", "-qec", typed, "/dev/null"])?.start()?;
        let url = authorize_address(&ssh)?;
        if !url.contains("servers=target-1") {
            bail!("the page does not know what it is for: {url}");
        }
        stack.use_page(PERSON, &url)?;
        let status = ssh.wait(clock::PATIENCE)?;
        let printed = ssh.text();
        if status != 0 || !printed.contains(PERSON) || !printed.contains("target-1") {
            bail!("usher ssh ended with {status}: {printed}");
        }
        // The next one asks nobody, another server does.
        stack.usher(PERSON, &["ssh", "target-1", "--", "true"])?.read()?;
        let other = stack.usher(PERSON, &["ssh", "target-2", "--", "true"])?.output()?;
        if other.status == 0 {
            bail!("let in on a server that was not named: {other}");
        }
        Ok("waited at the page, then ran on target-1; target-2 still asks".to_owned())
    })
}

/// `usher step-up` before, for a list; the log has one record of it.
pub(super) fn one_for_many(stack: &mut Stack) -> Result<String> {
    while_asked(stack, &["--named-server", "--max-age", "10m"], |stack| {
        let before = stack.audit()?.len();
        let mut step_up =
            stack.usher(PERSON, &["step-up", "--no-browser", "target-1", "target-2"])?.start()?;
        let url = authorize_address(&step_up)?;
        stack.use_page(PERSON, &url)?;
        let status = step_up.wait(clock::PATIENCE)?;
        if status != 0 {
            bail!("usher step-up ended with {status}: {}", step_up.text());
        }
        for round in 0..3 {
            for target in ["target-1", "target-2"] {
                let ran = stack.usher(PERSON, &["ssh", target, "--", "hostname"])?.read()?;
                if ran != target {
                    bail!("round {round}: {ran}");
                }
            }
        }
        one_record(stack, before, 2)?;
        Ok("six connections to two servers, one record".to_owned())
    })
}

/// Behind so many rows, the log has one of a sign-in for so many servers.
pub(super) fn one_record(stack: &Stack, behind: usize, servers: usize) -> Result<()> {
    let opened = stack.audit()?.into_iter().skip(behind).filter(|row| {
        let named = row.pointer("/event/event/servers").and_then(serde_json::Value::as_array);
        named.is_some_and(|named| named.len() == servers)
    });
    match opened.count() {
        1 => Ok(()),
        other => bail!("{other} records of the sign-in"),
    }
}

/// A role that asks for a fresh sign-in from one network only leaves out everybody else.
pub(super) fn from_another_network(stack: &mut Stack) -> Result<String> {
    while_asked(stack, &["--from", "192.0.2.0/24"], |stack| {
        let refused = stack.usher(PERSON, &["ssh", "target-1", "--", "true"])?.output()?;
        if refused.status == 0 {
            bail!("let in from a network that the role does not count from: {refused}");
        }
        refused.says("192.0.2.0/24 only")?;
        let line = refused.stderr.lines().find(|line| line.contains("192.0.2.0/24"));
        line.map(str::to_owned).context("no reason")
    })
}
