//! Whom a certificate is for, and how the subject alternative name says it.

use std::{fmt, str::FromStr};

use thiserror::Error;
use usher_types::{ConnectionId, DeviceId, HostName, ProjectId, ServerId, TeamSlug, UserId};

const SCHEME: &str = "usher://";

/// A person on a device, on the way to one server. As URI
/// `usher://<team>/<project>/<user>/<device>/<server>/<connection>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientIdentity {
    /// The team.
    pub team: TeamSlug,
    /// The server's project.
    pub project_id: ProjectId,
    /// Who.
    pub user_id: UserId,
    /// From which device.
    pub device_id: DeviceId,
    /// The one server that it is good for.
    pub server_id: ServerId,
    /// The connection that it was made for.
    pub connection_id: ConnectionId,
}

/// A server. As URI `usher://<team>/<project>/<server>`, as DNS name `<name>.<team>.usher`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerIdentity {
    /// The team.
    pub team: TeamSlug,
    /// Its project.
    pub project_id: ProjectId,
    /// The server.
    pub server_id: ServerId,
    /// What it is called.
    pub host_name: HostName,
}

/// The text is no identity of this kind.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not an identity that certificates carry")]
pub struct ParseIdentityError;

impl fmt::Display for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { team, project_id, user_id, device_id, server_id, connection_id } = self;
        write!(f, "{SCHEME}{team}/{project_id}/{user_id}/{device_id}/{server_id}/{connection_id}")
    }
}

impl FromStr for ClientIdentity {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.strip_prefix(SCHEME).ok_or(ParseIdentityError)?.split('/');
        let read = Self {
            team: part(&mut parts)?,
            project_id: part(&mut parts)?,
            user_id: part(&mut parts)?,
            device_id: part(&mut parts)?,
            server_id: part(&mut parts)?,
            connection_id: part(&mut parts)?,
        };
        if parts.next().is_none() { Ok(read) } else { Err(ParseIdentityError) }
    }
}

impl ServerIdentity {
    /// The URI.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("{SCHEME}{}/{}/{}", self.team, self.project_id, self.server_id)
    }

    /// What a TLS client asks for.
    #[must_use]
    pub fn dns_name(&self) -> String {
        format!("{}.{}.usher", self.host_name, self.team)
    }

    /// From both forms, which must name the same team.
    pub(super) fn parse(uri: &str, dns_name: &str) -> Result<Self, ParseIdentityError> {
        let mut parts = uri.strip_prefix(SCHEME).ok_or(ParseIdentityError)?.split('/');
        let team: TeamSlug = part(&mut parts)?;
        let project_id = part(&mut parts)?;
        let server_id = part(&mut parts)?;
        if parts.next().is_some() {
            return Err(ParseIdentityError);
        }
        let name = dns_name.strip_suffix(&format!(".{team}.usher")).ok_or(ParseIdentityError)?;
        let host_name = name.parse().map_err(|_error| ParseIdentityError)?;
        Ok(Self { team, project_id, server_id, host_name })
    }
}

fn part<'a, T: FromStr>(parts: &mut impl Iterator<Item = &'a str>) -> Result<T, ParseIdentityError> {
    parts.next().and_then(|text| text.parse().ok()).ok_or(ParseIdentityError)
}
