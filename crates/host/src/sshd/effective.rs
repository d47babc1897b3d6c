//! Asks sshd itself what its configuration means: whether it is valid, and what holds for one account.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    HostError,
    directory::make_trusted,
    exec::{Tool, run},
};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Where a login comes from when sshd is asked: the loopback, and an address of the documentation range.
const ADDRESSES: [&str; 2] = ["127.0.0.1", "203.0.113.7"];

/// What `sshd -T` prints, one setting per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effective(BTreeSet<String>);

/// sshd refuses even to check its configuration without its directory for privilege separation; its unit makes it on start.
pub(super) fn ensure_runtime_directory() -> Result<(), HostError> {
    if Path::new("/run/sshd").exists() {
        return Ok(());
    }
    make_trusted(Path::new("/run"), "sshd", 0o755).map(drop)
}

/// `sshd -t`.
pub(super) fn check(configuration: &Path) -> Result<(), HostError> {
    let arguments = [Path::new("-t"), Path::new("-f"), configuration];
    run(Tool::Sshd, &arguments, TIMEOUT)?.checked(Tool::Sshd).map(drop)
}

impl Effective {
    /// What holds for a login as `account`, from anywhere.
    pub(super) fn of(configuration: &Path, account: &str) -> Result<Self, HostError> {
        let mut lines = BTreeSet::new();
        for address in ADDRESSES {
            let connection = PathBuf::from(format!("user={account},host={address},addr={address}"));
            let arguments = [Path::new("-T"), Path::new("-f"), configuration, Path::new("-C"), &connection];
            let output = run(Tool::Sshd, &arguments, TIMEOUT)?.checked(Tool::Sshd)?;
            lines.extend(output.stdout.lines().map(|line| format!("{address} {}", line.trim())));
        }
        Ok(Self(lines))
    }

    /// The settings outside any `Match`.
    pub(crate) fn global() -> Result<Vec<(String, String)>, HostError> {
        ensure_runtime_directory()?;
        let output = run(Tool::Sshd, &["-T"], TIMEOUT)?.checked(Tool::Sshd)?;
        let pair =
            |line: &str| line.trim().split_once(' ').map(|(key, value)| (key.to_owned(), value.to_owned()));
        Ok(output.stdout.lines().filter_map(pair).collect())
    }

    /// That every setting of `effect` holds.
    pub(super) fn expect(&self, account: &str, effect: &[(&str, &str)]) -> Result<(), HostError> {
        for (keyword, value) in effect {
            for address in ADDRESSES {
                if !self.0.contains(&format!("{address} {keyword} {value}")) {
                    let reason = format!("sshd would not apply `{keyword} {value}` to `{account}`");
                    return Err(HostError::Changed(reason));
                }
            }
        }
        Ok(())
    }
}

/// What `ssh -V` says, without the TLS library's version.
pub(crate) fn version() -> String {
    let said =
        |tool| run(tool, &["-V"], TIMEOUT).map(|output| format!("{}\n{}", output.stderr, output.stdout));
    let words = [Tool::Ssh, Tool::Sshd].into_iter().filter_map(|tool| said(tool).ok());
    let first = |text: String| {
        let line = text.lines().find(|line| line.starts_with("OpenSSH_"))?;
        line.split(',').next().map(str::to_owned)
    };
    words.filter_map(first).next().unwrap_or_else(|| "unknown".to_owned())
}
