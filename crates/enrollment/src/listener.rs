//! The proof that a server's own agent asks, and what it may have signed for the listener that it runs.

use std::time::Duration;

use thiserror::Error;
use usher_ca::x509::{ServerAuthorization, ServerIdentity};
use usher_types::{HostName, Period, PeriodError, ProjectId, ServerId, TeamSlug, Thumbprint, UnixTime};

/// A server as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRecord {
    /// Its id.
    pub id: ServerId,
    /// Its name.
    pub name: HostName,
    /// Its project.
    pub project_id: ProjectId,
    /// Thumbprint of the key that it enrolled with.
    pub agent_key: Thumbprint,
}

/// Proof that the agent of one enrolled server asks. Not cloneable: it is good for one answer.
///
/// ```compile_fail,E0451
/// use usher_enrollment::{EnrolledAgent, ServerRecord};
/// fn forge(server: ServerRecord) -> EnrolledAgent {
///     EnrolledAgent { server }
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct EnrolledAgent {
    server: ServerRecord,
}

/// The key that was proven is not the one that the server enrolled with.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the request is not proven with the key that the server enrolled with")]
pub struct NotItsKey;

impl EnrolledAgent {
    /// Compares the key whose possession the request has proven with the server's.
    ///
    /// # Errors
    /// [`NotItsKey`].
    pub fn recognise(server: ServerRecord, proven: Thumbprint) -> Result<Self, NotItsKey> {
        if server.agent_key == proven { Ok(Self { server }) } else { Err(NotItsKey) }
    }

    /// Its server.
    #[must_use]
    pub fn server_id(&self) -> ServerId {
        self.server.id
    }

    /// Its server's project.
    #[must_use]
    pub fn project_id(&self) -> ProjectId {
        self.server.project_id
    }

    /// What a certificate for the agent's listener may say, for [`ListenerGrant::LIFETIME`] from now.
    ///
    /// # Errors
    /// [`PeriodError`] when the clock is beyond what certificates can say.
    pub fn listener(self, team: TeamSlug, now: UnixTime) -> Result<ListenerGrant, PeriodError> {
        let period = Period::around(now, ListenerGrant::SKEW, ListenerGrant::LIFETIME)?;
        let ServerRecord { id, name, project_id, .. } = self.server;
        let identity = ServerIdentity { team, project_id, server_id: id, host_name: name };
        Ok(ListenerGrant { identity, period })
    }
}

/// Proof that one certificate for an agent's listener may be signed. Made from an [`EnrolledAgent`] alone, used up by
/// signing.
///
/// ```compile_fail,E0451
/// use usher_ca::x509::ServerIdentity;
/// use usher_enrollment::ListenerGrant;
/// fn forge(identity: ServerIdentity, grant: ListenerGrant) -> ListenerGrant {
///     ListenerGrant { identity, ..grant }
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct ListenerGrant {
    identity: ServerIdentity,
    period: Period,
}

impl ListenerGrant {
    /// How long the certificate of a listener lives; agents ask for the next at half of that.
    pub const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    /// How far it reaches into the past, for clients whose clock is behind.
    pub const SKEW: Duration = Duration::from_secs(60 * 60);
}

impl ServerAuthorization for ListenerGrant {
    fn identity(&self) -> ServerIdentity {
        self.identity.clone()
    }

    fn period(&self) -> Period {
        self.period
    }
}
