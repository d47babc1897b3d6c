//! The sudoers drop-in: checked before it counts, and taken back when sudo does anything but what it says.

use std::{collections::BTreeMap, time::Duration};

use usher_account_lifecycle::{account::UnixName, observed::SudoSupport};

use crate::{
    Checkpoint, HostError, SecureDirectory, Stage, StoredFile,
    exec::{Tool, run},
};

pub(crate) const DIRECTORY: &str = "/etc/sudoers.d";
/// No dot in the name: sudo skips such files without a word.
pub(crate) const NAME: &str = "90-usher";
pub(crate) const MODE: u32 = 0o440;
const TIMEOUT: Duration = Duration::from_secs(20);

/// What `sudo -l` says of an administrator.
const GRANTED: &str = "(ALL : ALL) NOPASSWD: ALL";

pub(crate) fn support() -> SudoSupport {
    if Tool::Sudo.path().is_none() || Tool::Visudo.path().is_none() {
        SudoSupport::Unsupported("sudo is not installed".to_owned())
    } else if SecureDirectory::open(DIRECTORY).is_err() {
        SudoSupport::Unsupported(format!("`{DIRECTORY}` is missing or not safe"))
    } else {
        SudoSupport::Ready
    }
}

pub(crate) fn read() -> Result<StoredFile, HostError> {
    match SecureDirectory::open(DIRECTORY) {
        Ok(directory) => directory.read(NAME, MODE),
        Err(HostError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(StoredFile::Absent)
        }
        Err(error) => Err(error),
    }
}

pub(crate) fn remove() -> Result<(), HostError> {
    SecureDirectory::open(DIRECTORY)?.remove(NAME)
}

/// Writes the rule. `others` are accounts whose rights must not change by it.
pub(crate) fn write(
    content: &str,
    admin: Option<&UnixName>,
    others: &[String],
    checkpoint: &mut Checkpoint,
) -> Result<(), HostError> {
    let directory = SecureDirectory::open(DIRECTORY)?;
    let previous = directory.read(NAME, MODE)?;
    if matches!(previous, StoredFile::Dirty(_)) {
        // Ours, but changed: whatever it grants now is not ours to keep, and visudo would complain about it below.
        directory.remove(NAME)?;
    }
    run(Tool::Visudo, &["-c"], TIMEOUT)?.checked(Tool::Visudo)?;
    let before = rights(others)?;
    let staged = directory.stage(content.as_bytes(), MODE, (0, 0))?;
    run(Tool::Visudo, &["-c".as_ref(), "-f".as_ref(), staged.as_os_str()], TIMEOUT)?.checked(Tool::Visudo)?;
    checkpoint.pass(Stage::SudoersChecked)?;
    directory.commit(NAME)?;
    match prove(admin, others, &before, checkpoint) {
        Ok(()) => Ok(()),
        Err(error) => {
            match previous {
                StoredFile::Clean(bytes) => directory.write(NAME, &bytes, MODE, (0, 0))?,
                StoredFile::Absent | StoredFile::Dirty(_) => directory.remove(NAME)?,
            }
            Err(HostError::TakenBack(error.to_string()))
        }
    }
}

fn prove(
    admin: Option<&UnixName>,
    others: &[String],
    before: &BTreeMap<String, String>,
    checkpoint: &mut Checkpoint,
) -> Result<(), HostError> {
    checkpoint.pass(Stage::SudoersPlaced)?;
    run(Tool::Visudo, &["-c"], TIMEOUT)?.checked(Tool::Visudo)?;
    if let Some(admin) = admin {
        let listed = rights_of(admin.as_str())?;
        if !listed.lines().any(|line| line.trim() == GRANTED) {
            return Err(HostError::Changed(format!("sudo does not grant `{admin}` what the rule says")));
        }
    }
    if rights(others)? != *before {
        return Err(HostError::Changed(
            "the rule would change the rights of an unmanaged account".to_owned(),
        ));
    }
    checkpoint.pass(Stage::SudoersProved)
}

fn rights(accounts: &[String]) -> Result<BTreeMap<String, String>, HostError> {
    accounts.iter().map(|account| Ok((account.clone(), rights_of(account)?))).collect()
}

fn rights_of(account: &str) -> Result<String, HostError> {
    Ok(run(Tool::Sudo, &["-l", "-U", account], TIMEOUT)?.stdout)
}
