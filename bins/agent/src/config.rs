//! `agent.toml`: what the owner of the host decides, whatever a broker says.

use std::{collections::BTreeSet, net::IpAddr, os::unix::fs::MetadataExt as _, path::Path};

use serde::{Deserialize, Serialize};
use usher_account_lifecycle::{
    Limits,
    desired::Sudo,
    plan::{MassDeletion, Mode},
};

use crate::{
    exit::{Exit, Failure},
    places,
};

/// The default file, with every setting explained.
pub(crate) const DEFAULT: &str = include_str!("../packaging/agent.toml");

/// The most sudo that may be granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SudoCeiling {
    None,
    #[default]
    Passwordless,
}

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) mode: Mode,
    pub(crate) break_glass_users: Vec<String>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) mass_deletion: MassDeletion,
    pub(crate) sudo: SudoCeiling,
    pub(crate) log_level: String,
    pub(crate) log_format: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            break_glass_users: vec!["root".to_owned()],
            addresses: Vec::new(),
            mass_deletion: MassDeletion::default(),
            sudo: SudoCeiling::default(),
            log_level: "info".to_owned(),
            log_format: "text".to_owned(),
        }
    }
}

impl Config {
    /// Reads the file; the default file may be missing, a named one may not.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, Failure> {
        let path = named.unwrap_or_else(|| Path::new(places::CONFIG));
        let fail = |reason: String| {
            Failure::new(Exit::Usage, format!("`{}`: {reason}", path.display()))
                .next("see `usher-agent config default`")
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
                return Ok(Self::default());
            }
            Err(error) => return Err(fail(error.to_string())),
        };
        let metadata = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
        // It says who can never be locked out: whoever writes it decides that.
        if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
            return Err(fail("it must belong to root and be writable for root only".to_owned()));
        }
        Self::parse(&text).map_err(fail)
    }

    /// Reads the file's text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, ':' | ',' | '=' | '/' | '*' | '?' | '!');
        for user in &config.break_glass_users {
            if user.is_empty() || user.len() > 32 || user.starts_with('-') || !user.chars().all(plain) {
                return Err(format!(
                    "`{}` in break_glass_users is not an account's name",
                    user.escape_default()
                ));
            }
        }
        let unusable = |ip: &&IpAddr| ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
        if let Some(ip) = config.addresses.iter().find(unusable) {
            return Err(format!("`{ip}` in addresses cannot be reached from other hosts"));
        }
        Ok(config)
    }

    /// As the planner takes it.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            mode: self.mode,
            break_glass: self.break_glass_users.iter().cloned().collect::<BTreeSet<_>>(),
            mass_deletion: self.mass_deletion,
            sudo: match self.sudo {
                SudoCeiling::None => Sudo::None,
                SudoCeiling::Passwordless => Sudo::Passwordless,
            },
        }
    }

    /// How to log.
    pub(crate) fn logging(&self) -> Logging {
        Logging { level: self.log_level.clone(), format: self.log_format.clone() }
    }
}

/// How to log; the network process is told, because it need not be able to read the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Logging {
    level: String,
    format: String,
}

impl Logging {
    /// Sets it up for this process.
    pub(crate) fn start(&self) -> Result<(), Failure> {
        let format = self.format.parse().map_err(|error| Failure::because("log_format", &error))?;
        usher_telemetry::init(&self.level, format).map_err(|error| Failure::because("log_level", &error))
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, DEFAULT};

    #[test]
    fn the_default_file_says_the_defaults() {
        assert_eq!(Config::parse(DEFAULT), Ok(Config::default()));
        assert_eq!(Config::parse(""), Ok(Config::default()));
    }

    #[test]
    fn refuses_what_it_does_not_know_and_what_cannot_be() {
        for bad in [
            "unknown = 1",
            "mode = \"adopt-all\"",
            "break_glass_users = [\"a:b\"]",
            "break_glass_users = [\"-x\"]",
            "break_glass_users = [\"a\\nb\"]",
            "addresses = [\"127.0.0.1\"]",
            "addresses = [\"host\"]",
            "sudo = \"all\"",
        ] {
            assert!(Config::parse(bad).is_err(), "{bad}");
        }
    }
}
