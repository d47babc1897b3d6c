//! Section `[seal]`: where the key that seals stored secrets comes from, and where the next one will.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use usher_keystore::SealSource;

use crate::{NEXT_SEAL_KEY_NAME, SEAL_KEY_NAME, SEAL_SALT_NAME};

/// Nothing set: a file in the data directory.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SealConfig {
    /// A passphrase; the key is derived from it.
    pub passphrase_file: Option<PathBuf>,
    /// A credential of systemd: 32 bytes.
    pub credential: Option<String>,
    /// The passphrase that `re-seal` is to change to.
    pub next_passphrase_file: Option<PathBuf>,
    /// The credential that `re-seal` is to change to.
    pub next_credential: Option<String>,
    /// Where systemd puts credentials.
    #[serde(skip)]
    pub credentials_directory: Option<PathBuf>,
}

impl SealConfig {
    /// Both at once mean nothing, and a credential is a plain name.
    pub(super) fn is_good(&self) -> bool {
        let names = [&self.credential, &self.next_credential];
        let plain = |name: &String| !name.is_empty() && !name.contains('/') && name != "." && name != "..";
        names.into_iter().flatten().all(plain)
            && !(self.credential.is_some() && self.passphrase_file.is_some())
            && !(self.next_credential.is_some() && self.next_passphrase_file.is_some())
    }

    /// The key that is in force, but for a re-seal in between.
    pub(crate) fn current(&self, directory: &Path) -> SealSource {
        let chosen = self.source(self.credential.as_deref(), self.passphrase_file.as_deref(), directory);
        chosen.unwrap_or_else(|| SealSource::File(directory.join(SEAL_KEY_NAME)))
    }

    /// The key that comes next, where it is not a file of our own.
    pub(crate) fn next(&self, directory: &Path) -> Option<SealSource> {
        self.source(self.next_credential.as_deref(), self.next_passphrase_file.as_deref(), directory)
    }

    fn source(
        &self,
        credential: Option<&str>,
        passphrase: Option<&Path>,
        directory: &Path,
    ) -> Option<SealSource> {
        if let Some(name) = credential {
            let place =
                self.credentials_directory.as_deref().unwrap_or_else(|| Path::new("/run/credentials"));
            return Some(SealSource::Credential(place.join(name)));
        }
        let salt = directory.join(SEAL_SALT_NAME);
        passphrase.map(|file| SealSource::Passphrase { file: file.to_owned(), salt })
    }

    /// Every place where a key may be.
    pub(crate) fn all(&self, directory: &Path) -> Vec<SealSource> {
        let files = [SEAL_KEY_NAME, NEXT_SEAL_KEY_NAME].map(|name| directory.join(name));
        let files = files.into_iter().filter(|path| path.exists()).map(SealSource::File);
        let mut all: Vec<_> = [self.current(directory)].into_iter().chain(self.next(directory)).collect();
        all.extend(files);
        all.dedup();
        all
    }

    /// The section as `init` writes it.
    pub(crate) fn to_toml(&self) -> String {
        let quoted = |text: String| toml::Value::String(text).to_string();
        if let Some(name) = &self.credential {
            return format!("\n[seal]\ncredential = {}\n", quoted(name.clone()));
        }
        let file = self.passphrase_file.as_ref().map(|path| quoted(path.display().to_string()));
        file.map_or_else(String::new, |file| format!("\n[seal]\npassphrase_file = {file}\n"))
    }
}
