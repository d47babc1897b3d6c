//! What lies on the client's disk, and what a thief can do with a copy of it.

use anyhow::{Result, bail};

use super::super::stack::Stack;

/// Places where a program of alice's could have put something.
const PLACES: &[&str] = &["/home/alice", "/run/user/alice", "/tmp", "/var/tmp"];

/// Texts that only secrets contain.
const SECRETS: &[&str] =
    &["us1_", "ue1_", "ut1_", "PRIVATE KEY", "-cert-v01@openssh.com", "correct horse battery"];

/// After real work: one private key, mode 0600, and nothing else that opens anything.
pub(super) fn only_secret(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    stack.usher("alice", &["ssh", "target-1", "--", "true"])?.read()?;
    let client = stack.client()?;
    let mut holders = Vec::new();
    for secret in SECRETS {
        let found = client.cmd(["grep", "-rlF", "--devices=skip", "--", secret]).args(PLACES).output()?;
        holders.extend(found.stdout.lines().map(|file| format!("{file} ({secret})")));
    }
    let key = holders.first().cloned().unwrap_or_default();
    if holders.len() != 1 || !key.ends_with("usher/device.key (PRIVATE KEY)") {
        bail!("secrets in {holders:?}");
    }
    let file = key.split(' ').next().unwrap_or_default().to_owned();
    let mode = client.cmd(["stat", "-c", "%a %U", &file]).read()?;
    if mode != "600 alice" {
        bail!("{file} is {mode}");
    }
    Ok(format!("{file}, {mode}"))
}

/// Everything that lies in alice's home directory, on a host that can reach broker and bastions just as well.
pub(super) fn copy_cannot_connect(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    stack.usher("alice", &["ssh", "target-1", "--", "true"])?.read()?;
    let (client, thief) = (stack.client()?, stack.host("thief")?);
    let archive = client.path("/root/loot.tar")?;
    client.cmd(["tar", "-C", "/", "-cpf", "/root/loot.tar", "home/alice"]).read()?;
    std::fs::copy(&archive, thief.path("/root/loot.tar")?)?;
    thief.cmd(["tar", "-C", "/", "-xpf", "/root/loot.tar"]).read()?;
    let as_alice = |argv: &[&str]| {
        thief
            .cmd(argv)
            .user("alice")
            .env("XDG_RUNTIME_DIR", "/run/user/alice")
            .limit(crate::clock::PATIENCE)
            .output()
    };
    let whoami = as_alice(&["usher", "whoami", "--no-input"])?;
    whoami.exits_with(3)?;
    let mut said = String::new();
    for argv in [
        &["usher", "ssh", "target-1", "--", "echo", "reached"][..],
        &["usher", "--no-input", "ssh", "target-1", "--", "echo", "reached"],
        &["ssh", "-o", "BatchMode=yes", "target-1", "echo", "reached"],
    ] {
        let output = as_alice(argv)?;
        output.exits_with(255)?;
        if output.stdout.contains("reached") {
            bail!("a copy of the files was enough: {output}");
        }
        said = output.stderr.lines().next().unwrap_or_default().to_owned();
    }
    // And the owner still works.
    stack.usher("alice", &["ssh", "target-1", "--", "true"])?.read()?;
    Ok(said)
}
