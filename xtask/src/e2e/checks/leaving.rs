//! A person leaves: nothing new from that moment on, then everything that is still there goes.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::super::{
    ssh::{Files, refused_by_sshd},
    stack::Stack,
};
use crate::{
    clock::{self, Stopwatch},
    lab::Background,
};

/// How long the agents may take.
pub(in crate::e2e) const SOON: Duration = Duration::from_secs(60);

/// Somebody at work: a session that is open, a certificate that is valid.
pub(super) struct AtWork {
    name: &'static str,
    pub(super) session: Background,
    pub(super) files: Files,
}

pub(super) fn at_work(stack: &mut Stack, name: &'static str) -> Result<AtWork> {
    stack.ready(name)?;
    let session = stack.usher(name, &["ssh", "target-1", "--", "echo", "here;", "sleep", "600"])?.start()?;
    clock::wait_for_ok(&format!("{name}'s session"), clock::PATIENCE, || {
        if session.text().contains("here") { Ok(()) } else { bail!("{}", session.text()) }
    })?;
    let files = stack.connect_with_files(name, "target-1")?;
    stack.ssh_from_bastion(&files, &format!("{name}@target-1"), &["true"])?.read()?;
    Ok(AtWork { name, session, files })
}

fn disable(stack: &Stack, name: &str) -> Result<Stopwatch> {
    stack.admin(&["user", "disable", name])?;
    Ok(Stopwatch::start())
}

/// The very next request, by the client and by a device whose session was open.
pub(super) fn refused_at_broker(stack: &mut Stack) -> Result<String> {
    let work = at_work(stack, "bob")?;
    let keys = [super::super::ssh::keygen(stack.client()?, "/root/bob-again")?];
    let watch = disable(stack, work.name)?;
    let outcome = stack.ask(work.name, "target-1", &keys)?;
    let ms = watch.ms();
    if outcome.get("connection").is_some() {
        bail!("a certificate after the disable: {outcome}");
    }
    let output = stack.usher(work.name, &["ssh", "target-1", "--", "echo", "reached"])?.output()?;
    output.exits_with(255)?;
    let code = outcome.pointer("/error/code").and_then(|code| code.as_str()).unwrap_or_default();
    Ok(format!("{code}, {ms} ms after the command returned"))
}

/// The certificate has minutes to live, and is worth nothing as soon as the agent has heard.
pub(super) fn refused_on_target(stack: &mut Stack) -> Result<String> {
    let work = at_work(stack, "dave")?;
    let watch = disable(stack, work.name)?;
    let to = format!("{}@target-1", work.name);
    let output = clock::wait_for_ok("the certificate to be refused", SOON, || {
        let output = stack.ssh_from_bastion(&work.files, &to, &["true"])?.output()?;
        refused_by_sshd(&output).map(|()| output)
    })?;
    let left = work.files.valid_before.parse::<usher_types::UnixTime>()?.since(clock::now());
    if left.is_zero() {
        bail!("the certificate had ended anyway: {output}");
    }
    Ok(format!("{} ms; {} s were left", watch.ms(), left.as_secs()))
}

/// Sessions and whatever runs in them.
pub(super) fn session_ended(stack: &mut Stack) -> Result<String> {
    let mut work = at_work(stack, "frank")?;
    let target = stack.host("target-1")?;
    // Something that was left behind on purpose.
    let left_behind =
        ["ssh", "target-1", "--", "setsid", "--fork", "sleep", "601", "</dev/null", ">/dev/null", "2>&1"];
    stack.usher(work.name, &left_behind)?.read()?;
    if target.run(["pgrep", "-u", work.name])?.stdout.lines().count() < 2 {
        bail!("{} runs nothing on target-1, so this shows nothing", work.name);
    }
    let watch = disable(stack, work.name)?;
    let status = work.session.wait(SOON)?;
    let session = watch.ms();
    clock::wait_for_ok("every process to end", SOON, || {
        let left = target.run(["pgrep", "-l", "-u", work.name])?;
        // pgrep ends with 2 once nobody of that name exists.
        if left.stdout.trim().is_empty() { Ok(()) } else { bail!("{}", left.stdout) }
    })?;
    Ok(format!("session {session} ms (status {status}), every process {} ms", watch.ms()))
}

/// On every server: name, principals, sudo.
pub(super) fn account_gone(stack: &mut Stack) -> Result<String> {
    // Whoever of the others has left already will do.
    let name = ["bob", "dave", "frank"]
        .into_iter()
        .find(|name| {
            let shown = stack.admin(&["user", "show", name]).ok();
            shown
                .is_some_and(|user| user.get("status").and_then(|status| status.as_str()) == Some("disabled"))
        })
        .unwrap_or("bob");
    let watch = disable(stack, name)?;
    for server in super::super::stack::SERVERS {
        let host = stack.host(server)?;
        clock::wait_for_ok(&format!("{name} to be gone from {server}"), SOON, || {
            let line = host.run(["getent", "passwd", name])?;
            let principals = host.has(&format!("/etc/ssh/usher/principals/{name}"));
            let group = host.run(["getent", "group", name])?;
            if line.status == 2 && group.status == 2 && !principals {
                Ok(())
            } else {
                bail!("{}{} principals: {principals}", line.stdout, group.stdout)
            }
        })?;
    }
    // Nobody else lost anything.
    stack.host("target-1")?.cmd(["getent", "passwd", "alice"]).read().context("alice's account")?;
    Ok(format!("{name} on 4 servers, {} ms", watch.ms()))
}
