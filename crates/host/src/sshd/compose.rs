//! A copy of sshd's whole configuration in a root-only directory, to try a change before it is made.

use std::path::{Path, PathBuf};

use crate::{HostError, SecureDirectory, sshd::config};

const MODE: u32 = 0o600;

/// The copy.
#[derive(Debug)]
pub(super) struct Composed {
    main: SecureDirectory,
    drop_ins: SecureDirectory,
    name: &'static str,
}

impl Composed {
    /// Copies `sshd_config` and every drop-in but ours. Symbolic links are followed: sshd follows them.
    pub(super) fn new(scratch: &Path, live: &Path, ours: &'static str) -> Result<Self, HostError> {
        let main = SecureDirectory::make(scratch, "sshd-check", 0o700)?;
        let drop_ins = SecureDirectory::make(main.path(), "sshd_config.d", 0o700)?;
        drop_ins.empty()?;
        let read =
            |path: &Path| std::fs::read(path).map_err(HostError::io(format!("read `{}`", path.display())));
        let text = String::from_utf8_lossy(&read(Path::new(config::MAIN))?).into_owned();
        let text = config::with_drop_ins_in(&text, &drop_ins.path().display().to_string());
        main.write("sshd_config", text.as_bytes(), MODE, (0, 0))?;
        for name in SecureDirectory::open(live)?.names()? {
            let path = live.join(&name);
            if name != ours && !name.starts_with('.') && !path.is_dir() {
                drop_ins.write(&name, &read(&path)?, MODE, (0, 0))?;
            }
        }
        Ok(Self { main, drop_ins, name: ours })
    }

    /// The configuration as it would be without us.
    pub(super) fn without_drop_in(&self) -> Result<PathBuf, HostError> {
        self.drop_ins.remove(self.name)?;
        Ok(self.main.path().join("sshd_config"))
    }

    /// The configuration as it would be with our drop-in.
    pub(super) fn with_drop_in(&self, content: &str) -> Result<PathBuf, HostError> {
        self.drop_ins.write(self.name, content.as_bytes(), MODE, (0, 0))?;
        Ok(self.main.path().join("sshd_config"))
    }

    /// Removes the copies.
    pub(super) fn clear(&self) -> Result<(), HostError> {
        self.drop_ins.empty()?;
        self.main.remove("sshd_config")
    }
}
