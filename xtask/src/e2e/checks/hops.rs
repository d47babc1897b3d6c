//! The hop account on bastions: it forwards to the granted target's ssh port and does nothing else. Every refusal is
//! seen against something that is really there.

use anyhow::{Context as _, Result, bail};

use super::super::{
    ssh::{Files, OPTIONS},
    stack::Stack,
};
use crate::{
    clock,
    lab::{Host, HostCmd},
    process::Output,
};

fn hop(stack: &Stack) -> Result<Files> {
    let files = stack.connect_with_files("alice", "target-1")?;
    // The way that is granted is open, or the refusals below would prove nothing.
    let banner = through(stack, &files, "10.77.2.31:22")?;
    if banner.stdout.starts_with("SSH-2.0-") {
        Ok(files)
    } else {
        bail!("the granted way is closed: {banner}")
    }
}

fn ssh<'a>(stack: &'a Stack, files: &Files, args: &[&str]) -> Result<HostCmd<'a>> {
    let bastion = files.bastion()?;
    let address = if bastion.name == "bastion-1" { "10.77.1.21" } else { "10.77.1.22" };
    let to = format!("{}@{address}", bastion.account);
    // The first value of an option counts; refusals of channels are told at level INFO.
    let command = stack.client()?.cmd(["timeout", "60", "ssh", "-o", "LogLevel=INFO"]).args(OPTIONS);
    Ok(command.args(["-i", &bastion.key]).args(args).args(["--", &to]).limit(clock::PATIENCE))
}

/// `ssh -W` to a destination; what came back first.
fn through(stack: &Stack, files: &Files, destination: &str) -> Result<Output> {
    ssh(stack, files, &["-W", destination])?.stdin("hello-by-port\n").output()
}

fn last_line(text: &str) -> String {
    text.trim().lines().last().unwrap_or_default().trim().to_owned()
}

fn prohibited(output: &Output) -> Result<()> {
    if output.stdout.is_empty() && output.stderr.contains("administratively prohibited") {
        return Ok(());
    }
    bail!("expected sshd to prohibit it: {output}")
}

fn listen(host: &Host, argv: &[&str], ready: &str) -> Result<()> {
    host.daemon("/var/log/listener.log", &[], argv)?;
    clock::wait_for(&format!("a listener on {}", host.name()), clock::PATIENCE, || {
        host.run(["ss", "-Hlnx", "-lnt"]).ok().filter(|output| output.stdout.contains(ready))
    })
    .map(drop)
}

/// Neither a command nor a login nor a subsystem.
pub(super) fn no_shell(stack: &mut Stack) -> Result<String> {
    let files = hop(stack)?;
    let mut last = String::new();
    for command in [&["id"][..], &[], &["-s", "sftp"]] {
        let output = ssh(stack, &files, &["-T"])?.args(command).output()?;
        output.fails()?;
        if output.stdout.contains("uid=") || output.status == 124 {
            bail!("the hop account ran something: {output}");
        }
        last = last_line(&output.stderr);
    }
    Ok(last)
}

/// A port of the bastion cannot be led back to the client.
pub(super) fn no_remote_forwarding(stack: &mut Stack) -> Result<String> {
    let files = hop(stack)?;
    let options = ["-N", "-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:9900:127.0.0.1:22"];
    let output = ssh(stack, &files, &options)?.output()?;
    output.exits_with(255)?.says("remote port forwarding failed")?;
    Ok(last_line(&output.stderr))
}

/// Sockets of the bastion's own services.
pub(super) fn no_unix_socket(stack: &mut Stack) -> Result<String> {
    let files = hop(stack)?;
    let bastion = stack.host(&files.bastion()?.name)?;
    let socket = "/run/service.sock";
    let _old = bastion.run(["rm", "-f", socket])?;
    listen(bastion, &["nc", "-lkU", socket], socket)?;
    bastion.cmd(["chmod", "666", socket]).read()?;
    let forward = format!("127.0.0.1:9901:{socket}");
    // It is there, and an account without rights can use it from inside.
    bastion.cmd(["nc", "-N", "-U", socket]).stdin("hello-from-inside\n").user("nobody").read()?;
    let tunnel = ssh(stack, &files, &["-N", "-L", &forward])?.start()?;
    let client = stack.client()?;
    clock::wait_for("the tunnel's near end", clock::PATIENCE, || {
        client.run(["ss", "-Hlnt"]).ok().filter(|output| output.stdout.contains(":9901"))
    })?;
    client.cmd(["nc", "-N", "-w2", "127.0.0.1", "9901"]).stdin("hello-by-socket\n").output()?;
    let said = clock::wait_for_ok("sshd to refuse", clock::PATIENCE, || {
        let log = bastion.read("/var/log/sshd.log");
        let refused = log.lines().rev().find(|line| line.contains("refused streamlocal port forward"));
        refused.map(str::to_owned).with_context(|| format!("the client says {}", tunnel.text()))
    });
    bastion.kill_dead("nc")?;
    let arrived = bastion.read("/var/log/listener.log");
    if arrived.contains("hello-by-socket") || !arrived.contains("hello-from-inside") {
        bail!("what arrived at the socket: {arrived}");
    }
    said
}

/// The bastion itself, the cloud's metadata, other ports of the target, other targets.
pub(super) fn other_destinations(stack: &mut Stack) -> Result<String> {
    let files = hop(stack)?;
    let bastion = stack.host(&files.bastion()?.name)?;
    let _there = bastion.run(["ip", "addr", "add", "169.254.169.254/32", "dev", "lo"])?;
    listen(bastion, &["nc", "-lk", "169.254.169.254", "80"], "169.254.169.254:80")?;
    let target = stack.host("target-1")?;
    listen(target, &["nc", "-lk", "10.77.2.31", "8080"], "10.77.2.31:8080")?;
    let destinations = [
        "127.0.0.1:22",
        "localhost:22",
        "[::1]:22",
        "169.254.169.254:80",
        "10.77.2.31:8080",
        "10.77.2.32:22",
        "10.77.2.5:8443",
        "10.77.2.22:22",
    ];
    let outputs: Vec<_> =
        destinations.iter().map(|to| Ok((to, through(stack, &files, to)?))).collect::<Result<_>>()?;
    bastion.kill_dead("nc")?;
    target.kill_dead("nc")?;
    bastion.run(["ip", "addr", "del", "169.254.169.254/32", "dev", "lo"])?;
    for (to, output) in &outputs {
        prohibited(output).map_err(|error| error.context(format!("to {to}")))?;
    }
    for host in [bastion, target] {
        if host.read("/var/log/listener.log").contains("hello-by-port") {
            bail!("something arrived on {}", host.name());
        }
    }
    Ok(destinations.join(", "))
}
