//! `config.toml` and the device key: which teams there are, where, and with which key. Holds no secret itself.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use usher_identity::{PrivateKey, PublicKey};
use usher_types::{DeviceName, LoginName, Sha256, TeamSlug};
use zeroize::Zeroizing;

use crate::{exit::Failure, files};

const FILE: &str = "config.toml";
/// File name of the device key, next to the configuration.
pub const DEVICE_KEY: &str = "device.key";

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The team that commands are about when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_team: Option<TeamSlug>,
    /// Enrolled teams.
    #[serde(default)]
    pub teams: BTreeMap<TeamSlug, Team>,
}

/// One team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// The broker's public URL.
    pub url: url::Url,
    /// SHA-256 of the SPKI of the broker's TLS root; the system's roots decide when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Sha256>,
    /// The roots that the broker named since, over a connection that was pinned: they take the pin's place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Sha256>,
    /// The device key, relative to the configuration's directory.
    pub device_key: String,
    /// What this device was called at the last sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_name: Option<DeviceName>,
    /// Unix account of whoever signed in last; the ssh configuration names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginName>,
}

impl Team {
    /// Every root that the broker may show; empty when the system's roots decide.
    #[must_use]
    pub fn pins(&self) -> Vec<Sha256> {
        match self.pin {
            Some(pin) if self.pins.is_empty() => vec![pin],
            Some(_) => self.pins.clone(),
            None => Vec::new(),
        }
    }
}

impl Config {
    /// Reads the configuration; empty when there is none.
    ///
    /// # Errors
    /// When it cannot be read or holds something unknown.
    pub fn load(directory: &Path) -> Result<Self, Failure> {
        let path = directory.join(FILE);
        let Some(bytes) = files::read(&path)? else { return Ok(Self::default()) };
        let text = String::from_utf8(bytes)
            .map_err(|_error| Failure::other(format!("`{}` is not text", path.display())))?;
        toml::from_str(&text).map_err(|error| {
            Failure::other(format!("`{}` is not a configuration: {}", path.display(), error.message()))
                .next("correct the file, or remove it and enroll again")
        })
    }

    /// Writes the configuration in one step.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), Failure> {
        let text = toml::to_string(self)
            .map_err(|error| Failure::other(format!("cannot write the configuration: {error}")))?;
        files::make_directory(directory, 0o700)?;
        files::write_atomically(&directory.join(FILE), text.as_bytes(), files::PUBLIC)
    }

    /// The team that a command is about: the one named, or the current one.
    ///
    /// # Errors
    /// When there is none, or none of that name.
    pub fn team(&self, named: Option<&str>) -> Result<(TeamSlug, &Team), Failure> {
        let enroll = "enroll with `usher enroll https://broker#pin`";
        let slug = match named {
            Some(text) => text.parse().map_err(|error| Failure::usage(format!("{error}")))?,
            None => self
                .current_team
                .clone()
                .ok_or_else(|| Failure::other("this client belongs to no team yet").next(enroll))?,
        };
        match self.teams.get(&slug) {
            Some(team) => Ok((slug, team)),
            None => {
                Err(Failure::new(crate::exit::Exit::NotFound, format!("no team `{slug}` on this client"))
                    .next(enroll))
            }
        }
    }

    /// Takes a server's name apart: `web-1.acme.usher` names the team, `web-1` does not.
    #[must_use]
    pub fn split_host<'h>(&self, host: &'h str) -> (&'h str, Option<TeamSlug>) {
        let named = host.strip_suffix(".usher").and_then(|rest| {
            let (name, team) = rest.rsplit_once('.')?;
            let team: TeamSlug = team.parse().ok()?;
            self.teams.contains_key(&team).then_some((name, team))
        });
        match named {
            Some((name, team)) => (name, Some(team)),
            None => (host, None),
        }
    }
}

/// Reads a device key that only its owner can read.
///
/// # Errors
/// When it is missing, open to others or no key.
pub fn device_key(directory: &Path, team: &Team) -> Result<PrivateKey, Failure> {
    let path = directory.join(&team.device_key);
    files::check_private(&path)?;
    let bytes = files::read(&path)?.map(Zeroizing::new);
    let pem = bytes.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
    pem.and_then(|pem| PrivateKey::from_pkcs8_pem(pem).ok()).ok_or_else(|| {
        Failure::other(format!("`{}` holds no device key", path.display())).next("enroll again")
    })
}

/// The public half of the team's device key.
///
/// # Errors
/// As [`device_key`].
pub fn device_public_key(directory: &Path, team: &Team) -> Result<PublicKey, Failure> {
    Ok(device_key(directory, team)?.public())
}

/// Makes the device key unless there is one.
///
/// # Errors
/// When the one that exists is unusable, or none can be written.
pub fn ensure_device_key(directory: &Path) -> Result<(), Failure> {
    files::make_directory(directory, 0o700)?;
    let path = directory.join(DEVICE_KEY);
    if path.exists() {
        return files::check_private(&path);
    }
    let key = PrivateKey::generate(&mut rand_core::UnwrapErr(getrandom::SysRng));
    let pem =
        key.to_pkcs8_pem().map_err(|error| Failure::other(format!("cannot make a device key: {error}")))?;
    match files::create_new(&path, pem.as_bytes(), files::PRIVATE) {
        Ok(()) => Ok(()),
        // Another `usher enroll` was faster: its key is as good as ours.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => files::check_private(&path),
        Err(error) => Err(Failure::io(format_args!("cannot write `{}`", path.display()), &error)),
    }
}
