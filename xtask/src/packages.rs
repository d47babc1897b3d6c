//! Packages of the distribution that tests need: what is missing, and getting it. Starts no service: while apt works,
//! `/usr/sbin/policy-rc.d` forbids it (unless the machine has a policy of its own, which then stays).

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::{
    out::{prompt, say},
    process::Cmd,
};

/// A program and the Debian package that brings it.
const WANTED: &[(&str, &str)] = &[
    ("ansible", "ansible-core"),
    ("certutil", "libnss3-tools"),
    ("chromium", "chromium"),
    ("ensurepip", "python3-venv"),
    ("ip", "iproute2"),
    ("kadmin.local", "krb5-admin-server"),
    ("kinit", "krb5-user"),
    ("krb5kdc", "krb5-kdc"),
    ("nc", "netcat-openbsd"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("pg_ctlcluster", "postgresql"),
    ("pgrep", "procps"),
    ("pkinit.so", "krb5-pkinit"),
    ("rsync", "rsync"),
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
    ("sshpass", "sshpass"),
    ("strip", "binutils"),
    ("sudo", "sudo"),
    ("tini", "tini"),
];

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Whether to ask before installing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// Ask.
    Ask,
    /// Given already, by `--yes` or `--ci`.
    Given,
}

/// Programs, plugins of Kerberos, and parts of Python.
const PLACES: &[&str] = &[
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/lib/python3.10",
    "/usr/lib/python3.11",
    "/usr/lib/python3.12",
    "/usr/lib/python3.13",
    "/usr/lib/python3.14",
    "/usr/lib/aarch64-linux-gnu/krb5/plugins/preauth",
    "/usr/lib/x86_64-linux-gnu/krb5/plugins/preauth",
];

fn is_installed(program: &str) -> bool {
    PLACES.iter().any(|dir| Path::new(dir).join(program).exists())
}

fn as_root<'a>(argv: impl IntoIterator<Item = &'a str>) -> Cmd {
    let sudo = (!rustix::process::geteuid().is_root()).then_some("sudo");
    Cmd::new(sudo.into_iter().chain(argv)).env("DEBIAN_FRONTEND", "noninteractive")
}

/// Installs what is missing.
///
/// # Errors
/// When the user declines, or apt-get is missing or fails.
pub(crate) fn ensure(consent: Consent) -> Result<()> {
    let missing: Vec<_> = WANTED.iter().filter(|(program, _)| !is_installed(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    say!("missing packages: {}", names.join(" "));
    if !is_installed("apt-get") {
        bail!("this machine has no apt-get; install these programs: {missing:?}");
    }
    if consent == Consent::Ask {
        prompt(format_args!("install them with apt-get (no service will be started)? [y/N] "));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            bail!("not installed; run again with `--yes` or install them yourself");
        }
    }
    let policy = Policy::forbid_services()?;
    let install = ["apt-get", "install", "--yes", "--no-install-recommends"];
    let mut status = as_root(install.into_iter().chain(names.iter().copied())).status()?;
    if status != 0 {
        // A fresh image has no package lists.
        as_root(["apt-get", "update"]).status()?;
        status = as_root(install.into_iter().chain(names.iter().copied())).status()?;
    }
    drop(policy);
    if status == 0 { Ok(()) } else { bail!("apt-get could not install {}", names.join(" ")) }
}

/// Forbids package scripts to start services for as long as it lives.
struct Policy;

impl Policy {
    fn forbid_services() -> Result<Option<Self>> {
        if Path::new(POLICY).exists() {
            return Ok(None);
        }
        let draft = std::env::temp_dir().join(format!("usher-policy-rc.d-{}", std::process::id()));
        std::fs::write(&draft, "#!/bin/sh\nexit 101\n")?;
        let text = draft.to_str().context("odd temporary directory")?;
        let installed = as_root(["install", "-m", "755", text, POLICY]).read();
        std::fs::remove_file(&draft)?;
        installed.map(|_| Some(Self))
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Err(error) = as_root(["rm", "-f", POLICY]).read() {
            say!("could not remove {POLICY}, which keeps services from starting: {error:#}");
        }
    }
}
