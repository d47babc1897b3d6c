//! Stock ssh with keys and certificates in files: what an attacker with a copy would do.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::stack::{Stack, text};
use crate::{
    lab::{Host, HostCmd},
    process::Output,
};

/// Options of every stock ssh: nothing of the user's, no questions, nothing but the named key.
pub(super) const OPTIONS: &[&str] = &[
    "-F",
    "none",
    "-o",
    "BatchMode=yes",
    "-o",
    "IdentitiesOnly=yes",
    "-o",
    "IdentityAgent=none",
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
    "-o",
    "ConnectTimeout=30",
    "-o",
    "LogLevel=ERROR",
];

/// Makes a key pair on a host; returns the public line.
pub(super) fn keygen(host: &Host, file: &str) -> Result<String> {
    if !host.has(file) {
        host.cmd(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file]).read()?;
    }
    Ok(host.read(&format!("{file}.pub")).trim().to_owned())
}

/// A certificate in a file next to its key, and where it is good for.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    /// Server name.
    pub(super) name: String,
    /// Server id.
    pub(super) id: String,
    /// Account.
    pub(super) account: String,
    /// Key file on the client and on every host that the leg was copied to.
    pub(super) key: String,
    /// OpenSSH certificate.
    pub(super) certificate: String,
}

/// A connection whose keys are files.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// Bastions, then the target, of the preferred route.
    pub(super) legs: Vec<Leg>,
    /// When the certificates end, RFC 3339.
    pub(super) valid_before: String,
}

impl Files {
    /// The bastion next to the target.
    pub(super) fn bastion(&self) -> Result<&Leg> {
        self.legs.iter().rev().nth(1).context("the route has no bastion")
    }

    /// The target.
    pub(super) fn target(&self) -> Result<&Leg> {
        self.legs.last().context("the route is empty")
    }
}

impl Stack {
    /// Asks for a connection as a device of the harness's own; the broker's answer, allowed or refused.
    pub(super) fn ask(&self, person: &str, server: &str, keys: &[String]) -> Result<Value> {
        let dir = self.own_device(person)?;
        let mut args = vec!["connect", "--dir", &dir, "--server", server];
        keys.iter().for_each(|key| args.extend(["--key", key]));
        self.visit("client", &args)
    }

    /// A connection with its keys and certificates in files on the client and on the last bastion.
    pub(super) fn connect_with_files(&self, person: &str, server: &str) -> Result<Files> {
        let client = self.client()?;
        let names = ["target", "hop-1", "hop-2"].map(|name| format!("/root/{person}-{server}-{name}"));
        let keys: Vec<_> = names.iter().map(|name| keygen(client, name)).collect::<Result<_>>()?;
        let outcome = self.ask(person, server, &keys)?;
        let connection = outcome.get("connection").with_context(|| format!("refused: {outcome}"))?;
        let legs = connection.pointer("/routes/0/legs").and_then(Value::as_array).context("no route")?;
        let legs = legs
            .iter()
            .map(|leg| {
                let key = leg.get("key").and_then(Value::as_u64).context("no key index")?;
                Ok(Leg {
                    name: text(leg, "name")?,
                    id: text(leg, "server_id")?,
                    account: text(leg, "account")?,
                    key: names.get(usize::try_from(key)?).context("key index out of range")?.clone(),
                    certificate: text(leg, "certificate")?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let files = Files { legs, valid_before: text(connection, "valid_before")? };
        let bastion = files.bastion().map(|leg| leg.name.clone()).ok();
        for leg in &files.legs {
            let private = client.read(&leg.key);
            for host in [Some("client".to_owned()), bastion.clone()].into_iter().flatten() {
                let host = self.host(&host)?;
                host.write(&leg.key, 0o600, &private)?;
                host.write(&format!("{}-cert.pub", leg.key), 0o600, &format!("{}\n", leg.certificate))?;
            }
        }
        Ok(files)
    }

    /// Stock ssh from the target's bastion with that leg's key and certificate.
    pub(super) fn ssh_from_bastion<'a>(
        &'a self,
        files: &Files,
        destination: &str,
        command: &[&str],
    ) -> Result<HostCmd<'a>> {
        let bastion = self.host(&files.bastion()?.name)?;
        let key = &files.target()?.key;
        Ok(bastion.cmd(["ssh"]).args(OPTIONS).args(["-i", key, destination]).args(command))
    }
}

/// Wants sshd to have refused the login: not the network, not the command.
pub(super) fn refused_by_sshd(output: &Output) -> Result<()> {
    if output.status == 255 && output.stderr.contains("Permission denied") {
        return Ok(());
    }
    bail!("expected sshd to refuse the login: {output}")
}
