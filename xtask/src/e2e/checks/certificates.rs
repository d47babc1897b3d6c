//! The certificate: what is in it, and where it is good for nothing.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use usher_types::UnixTime;

use super::super::{
    ssh::refused_by_sshd,
    stack::{PROJECT, Stack},
};
use crate::clock;

/// Read by OpenSSH itself, and by `usher inspect`.
pub(super) fn inspected(stack: &mut Stack) -> Result<String> {
    let files = stack.connect_with_files("alice", "target-1")?;
    let (client, target) = (stack.client()?, files.target()?);
    let file = format!("{}-cert.pub", target.key);
    let text = client.cmd(["ssh-keygen", "-L", "-f", &file]).env("TZ", "UTC").read()?;
    let section = |name: &str| -> Vec<String> {
        let rest = text.lines().skip_while(|line| !line.contains(name)).skip(1);
        rest.take_while(|line| line.starts_with("                "))
            .map(|line| line.trim().to_owned())
            .collect()
    };
    let principals = section("Principals:");
    if principals != [format!("alice@{}", target.id)] {
        bail!("principals: {principals:?}");
    }
    let extensions: Vec<_> = section("Extensions:")
        .iter()
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    // No terminal was asked for; the project allows forwarding from client to server.
    let expected = [
        "client-address@usher.internal",
        "device@usher.internal",
        "permit-port-forwarding",
        "user@usher.internal",
    ];
    let mut sorted = extensions.clone();
    sorted.sort();
    if sorted != expected {
        bail!("extensions: {extensions:?}");
    }
    let options = section("Critical Options:");
    let address = if files.bastion()?.name == "bastion-1" { "10.77.2.21" } else { "10.77.2.22" };
    let bastion_only =
        options.iter().all(|line| line.starts_with("source-address") && line.contains(address));
    if options.len() != 1 || !bastion_only {
        bail!("critical options: {options:?}");
    }
    let valid = text.lines().find(|line| line.contains("Valid:")).context("no validity")?;
    let times: Vec<UnixTime> = valid
        .split_whitespace()
        .filter(|word| word.starts_with("20"))
        .map(|word| format!("{word}Z").parse())
        .collect::<Result<_, _>>()?;
    let (Some(after), Some(before)) = (times.first(), times.last()) else { bail!("{valid}") };
    let (past, left) = (clock::now().since(*after), before.since(clock::now()));
    // Three minutes from now, a minute into the past, less what the test took.
    let exact = before.since(*after) == Duration::from_secs(240);
    if !exact
        || past < Duration::from_secs(60)
        || left > Duration::from_secs(180)
        || left < Duration::from_secs(60)
    {
        bail!("{valid}");
    }
    for part in ["Type: ssh-ed25519-cert-v01@openssh.com user certificate", "Key ID: \"prod:alice@dev_"] {
        if !text.contains(part) {
            bail!("no `{part}` in {text}");
        }
    }
    let inspect = client.cmd(["usher", "inspect", &file]).output()?;
    inspect.success()?;
    inspect.says(&target.id)?;
    Ok(format!("{}, {} s left, {}", principals.concat(), left.as_secs(), extensions.join(" ")))
}

/// From the right bastion, with a way to the other target that is open.
pub(super) fn refused_elsewhere(stack: &mut Stack) -> Result<String> {
    let files = stack.connect_with_files("alice", "target-1")?;
    let name = stack.ssh_from_bastion(&files, "alice@target-1", &["hostname"])?.read()?;
    if name != "target-1" {
        bail!("the certificate should work where it is for: {name}");
    }
    // A certificate says `alice@<server id>`; target-2 has an alice, too.
    stack.host("target-2")?.cmd(["id", "alice"]).read()?;
    refused_by_sshd(&stack.ssh_from_bastion(&files, "alice@target-2", &["true"])?.output()?)?;
    // Nor does it work from anywhere but the bastion.
    let broker = stack.host("broker")?;
    let key = &files.target()?.key;
    for end in ["", "-cert.pub"] {
        broker.write(&format!("{key}{end}"), 0o600, &stack.client()?.read(&format!("{key}{end}")))?;
    }
    let from_elsewhere = broker
        .cmd(["ssh"])
        .args(super::super::ssh::OPTIONS)
        .args(["-i", key, "alice@10.77.2.31", "true"])
        .output()?;
    refused_by_sshd(&from_elsewhere)?;
    Ok("good on target-1 from its bastion; refused on target-2, and from elsewhere".to_owned())
}

/// Accounts that exist on the same host, root among them.
pub(super) fn refused_for_other_login(stack: &mut Stack) -> Result<String> {
    let files = stack.connect_with_files("alice", "target-1")?;
    stack.ssh_from_bastion(&files, "alice@target-1", &["true"])?.read()?;
    for login in ["carol", "bob", "olga", "root", "usher-hop"] {
        let output = stack.ssh_from_bastion(&files, &format!("{login}@target-1"), &["true"])?.output()?;
        refused_by_sshd(&output).with_context(|| format!("as {login}"))?;
    }
    Ok("carol, bob, olga, root, usher-hop".to_owned())
}

/// With a short lifetime, so that nobody waits three minutes.
pub(super) fn refused_after_end(stack: &mut Stack) -> Result<String> {
    let set = |lifetime: &str, skew: &str| {
        stack.admin(&["project", "set", PROJECT, "--lifetime", lifetime, "--skew", skew])
    };
    set("20", "30")?;
    let used = stack.connect_with_files("alice", "target-1").and_then(|files| {
        stack.ssh_from_bastion(&files, "alice@target-1", &["true"])?.read().context("while it was valid")?;
        Ok(files)
    });
    set("180", "60")?;
    let files = used?;
    let end: UnixTime = files.valid_before.parse()?;
    let late = clock::wait_for("the certificate's end", clock::PATIENCE, || {
        let late = clock::now().since(end);
        (!late.is_zero()).then_some(late)
    })?;
    refused_by_sshd(&stack.ssh_from_bastion(&files, "alice@target-1", &["true"])?.output()?)?;
    let bastion = files.bastion()?;
    let log = stack.host("target-1")?.read("/var/log/sshd.log");
    if !log.contains("Certificate invalid: expired") {
        bail!("sshd on target-1 (from {}) gives another reason: {log}", bastion.name);
    }
    Ok(format!("refused {} ms after its end: expired", late.as_millis()))
}
