//! sshd: our drop-in, the trusted CA keys, the principals files; and the sequence that never leaves a host without a way in.
//!
//! Everything else about sshd stays its owner's. The drop-in is first tried in a copy of the whole configuration, then put in
//! place, proved again, read by sshd and seen to answer; at the first doubt it is taken back.

mod compose;
mod config;
mod effective;
mod listener;

use std::{collections::BTreeMap, path::Path};

use usher_account_lifecycle::{
    account::{PortForwarding, UnixName},
    observed::{FileState, SshdSupport},
    ownership::ManagedFile,
    render::{HOP_EFFECT, MANAGED_EFFECT, forwarding_effect},
};
use usher_types::Sha256;

use crate::{
    Checkpoint, HostError, SecureDirectory, Stage, StoredFile,
    directory::{kind, look, open_directory},
    exec::Tool,
};

pub(crate) use effective::{Effective, version};
pub(crate) use listener::listen_addresses;

const ETC_SSH: &str = "/etc/ssh";
const DROP_INS: &str = "/etc/ssh/sshd_config.d";
const DROP_IN: &str = "00-usher.conf";
const USER_CA: &str = "user_ca.pub";
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Whether our drop-in would be read, and about everybody: before any `Match`, by the sshd that runs.
pub(crate) fn support() -> SshdSupport {
    let unsupported = |reason: &str| SshdSupport::Unsupported(reason.to_owned());
    if Tool::Sshd.path().is_none() {
        return unsupported("sshd is not installed");
    }
    let Ok(text) = std::fs::read_to_string(config::MAIN) else {
        return unsupported("`/etc/ssh/sshd_config` cannot be read");
    };
    if let Err(reason) = config::includes_drop_ins(&text) {
        return unsupported(reason);
    }
    if listener::runs_with_other_configuration() {
        return unsupported("sshd was started with another configuration file than `/etc/ssh/sshd_config`");
    }
    match SecureDirectory::open(DROP_INS) {
        Ok(_) => SshdSupport::Ready,
        Err(error) => SshdSupport::Unsupported(error.to_string()),
    }
}

fn ours() -> Result<SecureDirectory, HostError> {
    SecureDirectory::make(Path::new(ETC_SSH), "usher", DIRECTORY_MODE)
}

/// The directory of principals files.
pub(crate) fn principals() -> Result<SecureDirectory, HostError> {
    let above = ours()?;
    SecureDirectory::make(above.path(), "principals", DIRECTORY_MODE)
}

pub(crate) fn write_ca(content: &str) -> Result<(), HostError> {
    ours()?.write(USER_CA, content.as_bytes(), FILE_MODE, (0, 0))
}

/// sshd reads the file as the user who logs in, so it must be readable; it would also accept the user's own, so it must be
/// root's.
pub(crate) fn write_principals(account: &str, content: &str) -> Result<(), HostError> {
    principals()?.write(account, content.as_bytes(), FILE_MODE, (0, 0))
}

/// Reads a file below a directory that may be missing.
fn read_in(directory: &str, name: &str) -> Result<StoredFile, HostError> {
    match SecureDirectory::open(directory) {
        Ok(directory) => directory.read(name, FILE_MODE),
        Err(HostError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(StoredFile::Absent)
        }
        Err(HostError::Unsafe { reason, .. }) => Ok(StoredFile::Dirty(reason)),
        Err(HostError::Io { .. }) => Ok(StoredFile::Dirty(format!("`{directory}` is not a plain directory"))),
        Err(error) => Err(error),
    }
}

pub(crate) fn read_ca() -> Result<StoredFile, HostError> {
    match read_in("/etc/ssh/usher", USER_CA)? {
        // A directory that is not ours with no such file in it must not look like a free place.
        StoredFile::Absent if Path::new("/etc/ssh/usher").is_symlink() => {
            Ok(StoredFile::Dirty("`/etc/ssh/usher` is a symbolic link".to_owned()))
        }
        file => Ok(file),
    }
}

pub(crate) fn read_drop_in() -> Result<StoredFile, HostError> {
    read_in(DROP_INS, DROP_IN)
}

/// The principals directory itself.
pub(crate) fn observe_principals_directory() -> Result<FileState, HostError> {
    let path = ManagedFile::Principals.path();
    match SecureDirectory::open(path) {
        Ok(directory) => {
            let above = open_directory(Path::new("/etc/ssh/usher"))?;
            let exact =
                look(&above, "principals")?.is_some_and(|stat| stat.st_mode & 0o7777 == DIRECTORY_MODE);
            drop(directory);
            if exact {
                Ok(FileState::Clean(Sha256::of(b"")))
            } else {
                Ok(FileState::Dirty("its mode was changed".to_owned()))
            }
        }
        Err(HostError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(FileState::Absent)
        }
        Err(error) => Ok(FileState::Dirty(error.to_string())),
    }
}

/// Every principals file. In a directory that somebody else could write to, none of them is what we wrote.
pub(crate) fn observe_principals() -> Result<BTreeMap<String, FileState>, HostError> {
    let mut files = BTreeMap::new();
    match observe_principals_directory()? {
        FileState::Absent => {}
        FileState::Clean(_) => {
            let directory = principals()?;
            for name in directory.names()? {
                let state = directory.read(&name, FILE_MODE)?.state();
                files.insert(name, state);
            }
        }
        FileState::Dirty(reason) => {
            if let Ok(directory) = open_directory(Path::new(ManagedFile::Principals.path())) {
                for name in crate::directory::names(&directory)? {
                    let is_directory = look(&directory, &name)?.is_some_and(|stat| kind(&stat).is_dir());
                    if !is_directory {
                        files.insert(name, FileState::Dirty(reason.clone()));
                    }
                }
            }
        }
    }
    Ok(files)
}

/// What to write, and for whom it must hold.
#[derive(Debug)]
pub(crate) struct DropIn<'a> {
    pub(crate) content: &'a str,
    /// What it says about forwarding.
    pub(crate) forwarding: PortForwarding,
    /// A managed account.
    pub(crate) managed: &'a UnixName,
    /// Whether the hop account is there.
    pub(crate) hop: bool,
    /// Accounts for which sshd must behave exactly as before.
    pub(crate) unmanaged: &'a [String],
}

/// What sshd did for unmanaged accounts before.
type Before = BTreeMap<String, Effective>;

/// Puts the drop-in into effect, or takes it back. `running` is the hash of what sshd was last seen to run with.
pub(crate) fn write(
    drop_in: &DropIn<'_>,
    running: Option<Sha256>,
    scratch: &Path,
    checkpoint: &mut Checkpoint,
) -> Result<Sha256, HostError> {
    effective::ensure_runtime_directory()?;
    let main = Path::new(config::MAIN);
    effective::check(main)?;
    let directory = SecureDirectory::open(DROP_INS)?;
    let previous = directory.read(DROP_IN, FILE_MODE)?;
    let composed = compose::Composed::new(scratch, Path::new(DROP_INS), DROP_IN)?;
    let without = composed.without_drop_in()?;
    let before = effective_for_unmanaged(&without, drop_in)?;
    let with = composed.with_drop_in(drop_in.content)?;
    prove(&with, drop_in, &before)?;
    composed.clear()?;
    checkpoint.pass(Stage::SshdChecked)?;
    directory.write(DROP_IN, drop_in.content.as_bytes(), FILE_MODE, (0, 0))?;
    match put_into_effect(main, drop_in, &before, checkpoint) {
        Ok(()) => Ok(Sha256::of(drop_in.content.as_bytes())),
        Err(error) => {
            take_back(&directory, previous, running)?;
            Err(HostError::TakenBack(chain(&error)))
        }
    }
}

fn put_into_effect(
    main: &Path,
    drop_in: &DropIn<'_>,
    before: &Before,
    checkpoint: &mut Checkpoint,
) -> Result<(), HostError> {
    checkpoint.pass(Stage::SshdPlaced)?;
    prove(main, drop_in, before)?;
    checkpoint.pass(Stage::SshdProved)?;
    let sshd = listener::Running::find(main)?;
    sshd.reload()?;
    checkpoint.pass(Stage::SshdReloaded)?;
    sshd.answers()?;
    checkpoint.pass(Stage::SshdAnswered)
}

/// Restores what sshd was known to run with, or nothing of ours at all, and makes sshd read that.
fn take_back(
    directory: &SecureDirectory,
    previous: StoredFile,
    running: Option<Sha256>,
) -> Result<(), HostError> {
    match previous {
        StoredFile::Clean(bytes) if running == Some(Sha256::of(&bytes)) => {
            directory.write(DROP_IN, &bytes, FILE_MODE, (0, 0))?;
        }
        _ => directory.remove(DROP_IN)?,
    }
    let sshd = listener::Running::find(Path::new(config::MAIN))?;
    sshd.reload()?;
    sshd.answers()
}

fn chain(error: &HostError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn effective_for_unmanaged(configuration: &Path, drop_in: &DropIn<'_>) -> Result<Before, HostError> {
    let accounts = drop_in.unmanaged.iter();
    accounts.map(|account| Ok((account.clone(), Effective::of(configuration, account)?))).collect()
}

/// The configuration is valid, does what it should for managed accounts, and nothing new for the others.
fn prove(configuration: &Path, drop_in: &DropIn<'_>, before: &Before) -> Result<(), HostError> {
    effective::check(configuration)?;
    let managed = Effective::of(configuration, drop_in.managed.as_str())?;
    managed.expect(drop_in.managed.as_str(), MANAGED_EFFECT)?;
    managed.expect(drop_in.managed.as_str(), &[forwarding_effect(drop_in.forwarding)])?;
    if drop_in.hop {
        let hop = UnixName::hop();
        let effective = Effective::of(configuration, hop.as_str())?;
        effective.expect(hop.as_str(), MANAGED_EFFECT)?;
        effective.expect(hop.as_str(), HOP_EFFECT)?;
    }
    let after = effective_for_unmanaged(configuration, drop_in)?;
    for (account, effective) in &after {
        if before.get(account) != Some(effective) {
            let reason = format!("sshd would treat `{account}` differently, which is not a managed account");
            return Err(HostError::Changed(reason));
        }
    }
    Ok(())
}
