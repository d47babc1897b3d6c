//! The proof that a server has joined.

use std::collections::BTreeMap;

use usher_types::{HostName, Label, ProjectId, ServerId, Thumbprint, TokenId, UnixTime};

use crate::Placement;

/// A server that has just joined: what the store writes down. Made by [`crate::Admission::enroll`] alone.
///
/// Its role and its route come from the token, so an agent cannot choose them.
///
/// ```compile_fail,E0451
/// use usher_enrollment::{EnrolledServer, Placement};
/// fn promote(placement: Placement, server: EnrolledServer) -> EnrolledServer {
///     EnrolledServer { placement, ..server }
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct EnrolledServer {
    pub(crate) id: ServerId,
    pub(crate) name: HostName,
    pub(crate) project_id: ProjectId,
    pub(crate) placement: Placement,
    pub(crate) labels: BTreeMap<Label, Label>,
    pub(crate) agent_key: Thumbprint,
    pub(crate) token_id: TokenId,
    pub(crate) enrolled_at: UnixTime,
}

impl EnrolledServer {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> ServerId {
        self.id
    }

    /// The name it got.
    #[must_use]
    pub fn name(&self) -> &HostName {
        &self.name
    }

    /// The project it joined.
    #[must_use]
    pub fn project_id(&self) -> ProjectId {
        self.project_id
    }

    /// Where it stands.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Its labels.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<Label, Label> {
        &self.labels
    }

    /// Thumbprint of its agent's key.
    #[must_use]
    pub fn agent_key(&self) -> Thumbprint {
        self.agent_key
    }

    /// The token it used.
    #[must_use]
    pub fn token_id(&self) -> TokenId {
        self.token_id
    }

    /// When.
    #[must_use]
    pub fn enrolled_at(&self) -> UnixTime {
        self.enrolled_at
    }
}
