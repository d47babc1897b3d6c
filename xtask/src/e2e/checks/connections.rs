//! Being on a server, by Usher's own command and by everything that speaks ssh.

use anyhow::{Result, bail};

use super::super::stack::{SERVERS, Stack};
use crate::{clock::Stopwatch, process::Output};

fn ssh(stack: &Stack, argv: &[&str]) -> Result<Output> {
    stack.as_person("alice", argv)?.output()
}

/// The account that the seed wants, under the name that the directory gives.
pub(super) fn id(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    let id = stack.usher("alice", &["ssh", "target-1", "--", "id"])?.read()?;
    if !id.starts_with("uid=60001(alice) gid=") || !id.contains("(developers)") {
        bail!("{id}");
    }
    Ok(id)
}

/// The remote command's own status, and 255 for ssh's.
pub(super) fn exit_status(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    for status in [0, 1, 37, 254] {
        stack
            .usher("alice", &["ssh", "target-1", "--", "exit", &status.to_string()])?
            .output()?
            .exits_with(status)?;
    }
    stack.usher("alice", &["ssh", "no-such-server", "--", "true"])?.output()?.exits_with(255)?;
    Ok("0, 1, 37, 254; 255 for an unknown server".to_owned())
}

/// `ssh -tt` as if somebody typed.
pub(super) fn terminal(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    install_config(stack)?;
    let tty = ssh(stack, &["ssh", "-tt", "target-1", "tty"])?;
    let name = tty.success()?;
    if name.starts_with("/dev/pts/") { Ok(name) } else { bail!("{tty}") }
}

fn install_config(stack: &mut Stack) -> Result<()> {
    stack.ready("alice")?;
    stack.usher("alice", &["ssh-config", "install"])?.read().map(drop)
}

/// No word of Usher on the command line, by short and by full name; another host is none of ours.
pub(super) fn plain_ssh(stack: &mut Stack) -> Result<String> {
    install_config(stack)?;
    for name in ["target-1", "target-1.lab.usher"] {
        let output = ssh(stack, &["ssh", name, "hostname; id -un"])?;
        if output.success()? != "target-1\nalice" {
            bail!("{output}");
        }
    }
    let config = ssh(stack, &["ssh", "-G", "some.other.host.example"])?.success()?;
    if config.contains("usher") {
        bail!("another host is touched: {config}");
    }
    Ok("target-1 and target-1.lab.usher".to_owned())
}

fn sample(stack: &Stack) -> Result<(String, String)> {
    let client = stack.client()?;
    let make = ["dd", "if=/dev/urandom", "of=/home/alice/sample", "bs=1M", "count=3", "status=none"];
    client.cmd(make).user("alice").read()?;
    let sum = client.cmd(["sha256sum", "/home/alice/sample"]).read()?;
    Ok(("/home/alice/sample".to_owned(), sum.split(' ').next().unwrap_or_default().to_owned()))
}

fn same(stack: &Stack, host: &str, file: &str, sum: &str) -> Result<()> {
    let found = stack.host(host)?.cmd(["sha256sum", file]).read()?;
    if found.starts_with(sum) { Ok(()) } else { bail!("{file} on {host}: {found}, expected {sum}") }
}

/// There and back, by the SFTP protocol and by the old one.
pub(super) fn scp(stack: &mut Stack) -> Result<String> {
    install_config(stack)?;
    let (file, sum) = sample(stack)?;
    for (flag, name) in [("-s", "by-sftp"), ("-O", "by-scp")] {
        ssh(stack, &["scp", "-q", flag, &file, &format!("target-1:{name}")])?.success()?;
        same(stack, "target-1", &format!("/home/alice/{name}"), &sum)?;
        ssh(stack, &["scp", "-q", flag, &format!("target-1:{name}"), name])?.success()?;
        same(stack, "client", &format!("/home/alice/{name}"), &sum)?;
    }
    Ok("3 MiB there and back, twice".to_owned())
}

/// A batch.
pub(super) fn sftp(stack: &mut Stack) -> Result<String> {
    install_config(stack)?;
    let (file, sum) = sample(stack)?;
    let batch = format!("put {file} by-batch\nget by-batch back\n");
    stack.as_person("alice", &["sftp", "-q", "-b", "-", "target-1"])?.stdin(batch).read()?;
    same(stack, "target-1", "/home/alice/by-batch", &sum)?;
    same(stack, "client", "/home/alice/back", &sum)?;
    Ok("3 MiB there and back".to_owned())
}

/// A tree.
pub(super) fn rsync(stack: &mut Stack) -> Result<String> {
    install_config(stack)?;
    let (file, sum) = sample(stack)?;
    ssh(stack, &["rsync", "-a", &file, "target-2:tree/"])?.success()?;
    same(stack, "target-2", "/home/alice/tree/sample", &sum)?;
    Ok("3 MiB".to_owned())
}

/// All at the same moment; sshd's own limit on half-open connections stays as it is.
pub(super) fn fifty_at_once(stack: &mut Stack) -> Result<String> {
    install_config(stack)?;
    let hosts: Vec<&str> = (0..50).map(|n| if n < 20 { "target-1" } else { others(n) }).collect();
    let watch = Stopwatch::start();
    let people = &*stack;
    let outputs: Vec<Result<Output>> = std::thread::scope(|scope| {
        let commands = hosts.iter().enumerate().map(|(number, host)| {
            let command = people.as_person("alice", &["ssh", host, "echo", &number.to_string()]);
            scope.spawn(move || command?.limit(3 * crate::clock::PATIENCE).output())
        });
        let running: Vec<_> = commands.collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked"))))
            .collect()
    });
    let mut failures = Vec::new();
    for (number, output) in outputs.into_iter().enumerate() {
        match output {
            Ok(output) if output.status == 0 && output.stdout.trim() == number.to_string() => {}
            Ok(output) => failures.push(output.to_string()),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    match failures.first() {
        None => Ok(format!("50 of 50 in {} ms", watch.ms())),
        Some(first) => bail!("{} of 50 failed, the first: {first}", failures.len()),
    }
}

fn others(number: usize) -> &'static str {
    let rest = SERVERS.iter().filter(|name| **name != "target-1");
    rest.clone().nth(number % rest.count()).copied().unwrap_or("target-2")
}

/// Somebody else answers under the target's address: other host keys, the agent silent.
pub(super) fn other_host_key(stack: &mut Stack) -> Result<String> {
    install_config(stack)?;
    stack.usher("alice", &["ssh", "target-2", "--", "true"])?.read()?;
    let target = stack.host("target-2")?;
    target.kill_dead("usher-agent")?;
    let swap = |from: &str, to: &str| -> Result<()> {
        for kind in ["ed25519", "ecdsa"] {
            for end in ["", ".pub"] {
                let file = |place: &str| format!("{place}/ssh_host_{kind}_key{end}");
                target.cmd(["mv", &file(from), &file(to)]).read()?;
            }
        }
        Ok(())
    };
    let reload = || -> Result<()> {
        let pid = target.read("/run/sshd.pid");
        target.cmd(["kill", "-HUP", pid.trim()]).read()?;
        crate::clock::wait_for("sshd to listen again", crate::clock::PATIENCE, || {
            target.run(["nc", "-z", "127.0.0.1", "22"]).ok().filter(|output| output.status == 0)
        })
        .map(drop)
    };
    target.cmd(["mkdir", "-p", "/root/real-keys"]).read()?;
    swap("/etc/ssh", "/root/real-keys")?;
    for kind in ["ed25519", "ecdsa"] {
        let file = format!("/etc/ssh/ssh_host_{kind}_key");
        target.cmd(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", &file]).read()?;
    }
    reload()?;
    let usher = stack.usher("alice", &["ssh", "target-2", "--", "echo", "reached"])?.output();
    let plain = ssh(stack, &["ssh", "target-2", "echo", "reached"]);
    swap("/root/real-keys", "/etc/ssh")?;
    reload()?;
    stack.start_agent("target-2")?;
    let (usher, plain) = (usher?, plain?);
    for output in [&usher, &plain] {
        if output.status != 255 || output.stdout.contains("reached") {
            bail!("an impostor was believed: {output}");
        }
    }
    plain.says("ost key verification failed")?;
    usher.says("ost key verification failed")?;
    stack.usher("alice", &["ssh", "target-2", "--", "true"])?.read()?;
    Ok("by usher ssh and by plain ssh: host key verification failed".to_owned())
}
