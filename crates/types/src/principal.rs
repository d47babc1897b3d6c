//! What a certificate names: the principal and the key id. Neither can hold a separator, a wildcard or a control byte
//! (CVE-2026-35414: sshd before 10.3 splits principals at commas).

use std::{fmt, str::FromStr};

use crate::{ConnectionId, DeviceId, LoginName, NameError, ParseIdError, ProjectSlug, ServerId};

/// The account on every bastion that forwards and does nothing else.
pub const HOP_LOGIN: &str = "usher-hop";

/// The one principal of a certificate: valid on one server, for one login.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// `usher-hop@<bastion id>.<target id>`: may forward through the bastion to that target.
    Hop {
        /// The bastion that forwards.
        bastion: ServerId,
        /// The server it forwards to, which may itself be a bastion.
        target: ServerId,
    },
    /// `<login>@<server id>`: may log in there.
    Login {
        /// The account.
        login: LoginName,
        /// The server.
        server: ServerId,
    },
}

impl Principal {
    /// The principal that logs `login` in on `server`.
    #[must_use]
    pub fn login(login: &LoginName, server: ServerId) -> Self {
        Self::Login { login: login.clone(), server }
    }

    /// The principal that forwards through `bastion` to `target`.
    #[must_use]
    pub fn hop(bastion: ServerId, target: ServerId) -> Self {
        Self::Hop { bastion, target }
    }

    /// The server whose sshd accepts this principal.
    #[must_use]
    pub fn server(&self) -> ServerId {
        match self {
            Self::Hop { bastion, .. } => *bastion,
            Self::Login { server, .. } => *server,
        }
    }

    /// The account name to give to `ssh -l`.
    #[must_use]
    pub fn account(&self) -> &str {
        match self {
            Self::Hop { .. } => HOP_LOGIN,
            Self::Login { login, .. } => login.as_str(),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hop { bastion, target } => write!(f, "{HOP_LOGIN}@{bastion}.{target}"),
            Self::Login { login, server } => write!(f, "{login}@{server}"),
        }
    }
}

/// Text that is not a principal of ours.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParsePrincipalError {
    /// The part behind `@` is not a server id.
    #[error("principal names no server")]
    Server(#[source] ParseIdError),
    /// The part before `@` is not a login name.
    #[error("principal names no login")]
    Login(#[source] NameError),
    /// No `@`.
    #[error("principal has no `@`")]
    Separator,
}

impl FromStr for Principal {
    type Err = ParsePrincipalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (account, place) = text.split_once('@').ok_or(ParsePrincipalError::Separator)?;
        if account == HOP_LOGIN {
            let (bastion, target) = place.split_once('.').unwrap_or((place, ""));
            return Ok(Self::Hop {
                bastion: bastion.parse().map_err(ParsePrincipalError::Server)?,
                target: target.parse().map_err(ParsePrincipalError::Server)?,
            });
        }
        Ok(Self::Login {
            login: account.parse().map_err(ParsePrincipalError::Login)?,
            server: place.parse().map_err(ParsePrincipalError::Server)?,
        })
    }
}

/// A certificate's key id, what sshd writes to its log: `project:login@device:connection`.
///
/// Built from checked parts only, so a newline or a quote (both reach sshd's log) cannot be expressed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// The key id of one connection.
    #[must_use]
    pub fn new(project: &ProjectSlug, login: &LoginName, device: DeviceId, connection: ConnectionId) -> Self {
        Self(format!("{project}:{login}@{device}:{connection}"))
    }

    /// The text that goes into the certificate.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
