//! Accounts on servers: the managed ones, and those that are none of ours.

use anyhow::{Result, bail};

use super::super::{
    ssh::{OPTIONS, keygen, refused_by_sshd},
    stack::Stack,
};
use crate::{clock, lab::Host};

const PASSWORD: &str = "an old password that nobody likes";

/// `server_admin` means sudo without a question.
pub(super) fn admin_has_sudo(stack: &mut Stack) -> Result<String> {
    let id = stack.usher("carol", &["ssh", "target-1", "--", "sudo", "-n", "id"])?.read()?;
    if id.starts_with("uid=0(root)") { Ok(id) } else { bail!("{id}") }
}

/// `server_access` alone does not.
pub(super) fn user_has_no_sudo(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    let output = stack.usher("alice", &["ssh", "target-1", "--", "sudo", "-n", "id"])?.output()?;
    output.fails()?;
    if output.stdout.contains("uid=0") {
        bail!("{output}");
    }
    Ok(output.stderr.lines().last().unwrap_or_default().trim().to_owned())
}

/// Whatever a managed user writes into the own home directory opens no door.
pub(super) fn static_key_is_dead(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    stack.usher("alice", &["ssh", "target-1", "--", "true"])?.read()?;
    let (from, target) = (stack.host("bastion-1")?, stack.host("target-1")?);
    let public = keygen(from, "/root/static-key")?;
    for account in ["alice", "olga"] {
        target.cmd(["install", "-d", "-o", account, "-m", "700", &format!("/home/{account}/.ssh")]).read()?;
        let file = format!("/home/{account}/.ssh/authorized_keys");
        let before = target.read(&file);
        target.write(&file, 0o600, &format!("{before}{public}\n"))?;
        target.cmd(["chown", account, &file]).read()?;
    }
    let login = |account: &str| {
        let to = format!("{account}@10.77.2.31");
        from.cmd(["ssh"]).args(OPTIONS).args(["-i", "/root/static-key", &to, "id", "-un"]).output()
    };
    // The same key in the same place works for an account that is not ours.
    if login("olga")?.success()? != "olga" {
        bail!("the key is no good at all, so this shows nothing");
    }
    refused_by_sshd(&login("alice")?)?;
    Ok("works for olga, refused for alice".to_owned())
}

/// Makes an account as a site had it before Usher: own key, own CA, own password.
fn make_unmanaged(stack: &Stack) -> Result<()> {
    let (from, target) = (stack.host("bastion-1")?, stack.host("target-1")?);
    let public = keygen(from, "/root/olga-key")?;
    let ca = keygen(from, "/root/site-ca")?;
    keygen(from, "/root/olga-ca-key")?;
    from.cmd(["ssh-keygen", "-q", "-s", "/root/site-ca", "-I", "olga", "-n", "olga", "-V", "-5m:+1h"])
        .args(["/root/olga-ca-key.pub"])
        .read()?;
    target.cmd(["useradd", "--create-home", "--shell", "/bin/bash", "olga"]).read()?;
    target.cmd(["chpasswd"]).stdin(format!("olga:{PASSWORD}\n")).read()?;
    target.cmd(["install", "-d", "-o", "olga", "-m", "700", "/home/olga/.ssh"]).read()?;
    target.write("/home/olga/.ssh/authorized_keys", 0o600, &format!("{public}\n"))?;
    target.cmd(["chown", "olga", "/home/olga/.ssh/authorized_keys"]).read()?;
    target.write("/etc/ssh/site_ca.pub", 0o644, &format!("{ca}\n"))?;
    let site = "# how this site did it before\nTrustedUserCAKeys /etc/ssh/site_ca.pub\n";
    target.write("/etc/ssh/sshd_config.d/60-site.conf", 0o644, site)?;
    let root = keygen(from, "/root/break-glass")?;
    for server in super::super::stack::SERVERS {
        let host = stack.host(server)?;
        host.cmd(["install", "-d", "-m", "700", "/root/.ssh"]).read()?;
        host.write("/root/.ssh/authorized_keys", 0o600, &format!("{root}\n"))?;
    }
    let pid = target.read("/run/sshd.pid");
    target.cmd(["kill", "-HUP", pid.trim()]).read()?;
    clock::wait_for("sshd to listen again", clock::PATIENCE, || {
        target.run(["nc", "-z", "127.0.0.1", "22"]).ok().filter(|output| output.status == 0)
    })
    .map(drop)
}

fn log_in_three_ways(from: &Host) -> Result<()> {
    let to = "olga@10.77.2.31";
    for key in ["/root/olga-key", "/root/olga-ca-key"] {
        let name = from.cmd(["ssh"]).args(OPTIONS).args(["-i", key, to, "id", "-un"]).read()?;
        if name != "olga" {
            bail!("{key}: {name}");
        }
    }
    let name = from
        .cmd(["sshpass", "-e", "ssh", "-F", "none", "-o", "PubkeyAuthentication=no"])
        .args([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
        ])
        .args([to, "id", "-un"])
        .env("SSHPASS", PASSWORD)
        .read()?;
    if name == "olga" { Ok(()) } else { bail!("by password: {name}") }
}

fn unmanaged_works(stack: &Stack) -> Result<String> {
    log_in_three_ways(stack.host("bastion-1")?)?;
    Ok("key, certificate of the site's CA, password".to_owned())
}

/// Before any agent has touched the host.
pub(super) fn unmanaged_works_before(stack: &mut Stack) -> Result<String> {
    make_unmanaged(stack)?;
    unmanaged_works(stack)
}

/// While the agent manages the host.
pub(super) fn unmanaged_works_during(stack: &mut Stack) -> Result<String> {
    if !stack.host("target-1")?.has("/etc/ssh/sshd_config.d/00-usher.conf") {
        bail!("the agent has done nothing yet, so this shows nothing");
    }
    unmanaged_works(stack)
}

/// After the agent was stopped and its files taken away, as an operator would who wants to be rid of it.
pub(super) fn unmanaged_works_after(stack: &mut Stack) -> Result<String> {
    let target = stack.host("target-1")?;
    target.kill_dead("usher-agent")?;
    unmanaged_works(stack)?;
    target.cmd(["rm", "-rf", "/etc/ssh/sshd_config.d/00-usher.conf", "/etc/ssh/usher"]).read()?;
    let pid = target.read("/run/sshd.pid");
    target.cmd(["kill", "-HUP", pid.trim()]).read()?;
    clock::wait_for_ok("olga to get in again", clock::PATIENCE, || unmanaged_works(stack))
}

/// A user whose name is taken on one host by an account that was there before.
pub(super) fn conflict_is_shown(stack: &mut Stack) -> Result<String> {
    let target = stack.host("target-2")?;
    target.cmd(["useradd", "--create-home", "--uid", "1500", "grace"]).read()?;
    let line = target.cmd(["getent", "passwd", "grace"]).read()?;
    stack.admin(&["user", "create", "grace"])?;
    stack.admin(&["group", "add", "developers", "grace"])?;
    let shown = clock::wait_for_ok("the conflict to be reported", clock::PATIENCE, || {
        let server = stack.server("target-2")?;
        let conflicts = server.get("conflicts").map(ToString::to_string).unwrap_or_default();
        if conflicts.contains("grace") { Ok(conflicts) } else { bail!("conflicts: {conflicts}") }
    })?;
    let elsewhere = stack.host("target-1")?;
    clock::wait_for("grace on target-1, where nothing is in the way", clock::PATIENCE, || {
        elsewhere.run(["id", "-u", "grace"]).ok().filter(|output| output.stdout.trim().starts_with("600"))
    })?;
    let after = target.cmd(["getent", "passwd", "grace"]).read()?;
    if after != line || target.has("/etc/ssh/usher/principals/grace") {
        bail!("the account that was there before was touched: {after}");
    }
    stack.admin(&["user", "disable", "grace"])?;
    clock::wait_for("grace to be gone from target-1", clock::PATIENCE, || {
        elsewhere.run(["id", "-u", "grace"]).ok().filter(|output| output.status != 0)
    })?;
    if target.cmd(["getent", "passwd", "grace"]).read()? != line {
        bail!("disabling a user took somebody else's account away");
    }
    Ok(shown)
}
