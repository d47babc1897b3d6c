//! Values that describe accounts: names, login shells, how sudo is granted. No account is looked up or changed here.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use usher_types::{HOP_LOGIN, LoginName, NameError, UnixGroupName};

/// The group of every managed account; the one `Match` block of our sshd drop-in is about it.
pub const MANAGED_GROUP: &str = "usher-managed";

/// The group that our sudoers drop-in is about.
pub const ADMIN_GROUP: &str = "usher-admin";

/// The name of an account or group that Usher may own: a checked login or group name, or one of its own three.
///
/// One type for both, because a user's private group has the user's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnixName(String);

impl UnixName {
    /// The account that only forwards, and its private group.
    #[must_use]
    pub fn hop() -> Self {
        Self(HOP_LOGIN.to_owned())
    }

    /// [`MANAGED_GROUP`].
    #[must_use]
    pub fn managed() -> Self {
        Self(MANAGED_GROUP.to_owned())
    }

    /// [`ADMIN_GROUP`].
    #[must_use]
    pub fn admin() -> Self {
        Self(ADMIN_GROUP.to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&LoginName> for UnixName {
    fn from(login: &LoginName) -> Self {
        Self(login.as_str().to_owned())
    }
}

impl From<&UnixGroupName> for UnixName {
    fn from(group: &UnixGroupName) -> Self {
        Self(group.as_str().to_owned())
    }
}

impl FromStr for UnixName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if matches!(text, HOP_LOGIN | MANAGED_GROUP | ADMIN_GROUP) {
            return Ok(Self(text.to_owned()));
        }
        text.parse::<LoginName>().map(|login| Self::from(&login))
    }
}

impl TryFrom<String> for UnixName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<UnixName> for String {
    fn from(name: UnixName) -> Self {
        name.0
    }
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An absolute path of a login shell, safe in `/etc/passwd` and on a command line: `/` and `[A-Za-z0-9._/-]`, no `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shell(String);

/// Text that cannot be a login shell.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("expected the absolute path of a login shell, at most 64 characters of a-z, A-Z, 0-9, ., _, / and -")]
pub struct ParseShellError;

impl Shell {
    /// `/bin/bash`, what users get unless told otherwise.
    #[must_use]
    pub fn bash() -> Self {
        Self("/bin/bash".to_owned())
    }

    /// `/usr/sbin/nologin`, for accounts that never get a shell.
    #[must_use]
    pub fn nologin() -> Self {
        Self("/usr/sbin/nologin".to_owned())
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Shell {
    type Err = ParseShellError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'/' | b'-');
        let clean = text.starts_with('/') && text.len() <= 64 && text.bytes().all(plain);
        let parts = text.split('/').skip(1).all(|part| !part.is_empty() && part != "." && part != "..");
        if clean && parts { Ok(Self(text.to_owned())) } else { Err(ParseShellError) }
    }
}

impl TryFrom<String> for Shell {
    type Error = ParseShellError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Shell> for String {
    fn from(shell: Shell) -> Self {
        shell.0
    }
}

impl fmt::Display for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What sshd forwards for managed accounts at most; whether it forwards for one connection, the certificate says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortForwarding {
    /// Both ways: people may open ports on the server too.
    All,
    /// Towards the server and what it reaches. What a later version may say means this to an earlier agent.
    #[default]
    #[serde(other)]
    Local,
}

impl PortForwarding {
    /// Whether this is [`Self::Local`], which documents leave out: they are the same bytes as before there was a choice.
    #[must_use]
    pub fn is_local(&self) -> bool {
        *self == Self::Local
    }
}

/// How members of the administrators' group use sudo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminSudo {
    /// Any command, no password: managed accounts have none.
    Passwordless,
    /// Any command after an approval. This build grants no sudo instead, because it has no approval yet.
    StepUp,
}
