//! Where a server stands: its role, the bastion group it belongs to and the one it is reached through. Set by a token
//! or an administrator, never by the agent.

use thiserror::Error;
use usher_types::Label;

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerRole {
    /// Forwards to others as well.
    Bastion,
    /// Is logged in to.
    Target,
}

/// A server's place among the routes, with fields that go together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placement {
    role: ServerRole,
    bastion_group: Option<Label>,
    via: Option<Label>,
}

/// Why the fields do not go together.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlacementError {
    /// A bastion in no group is on nobody's way.
    #[error("a bastion needs a bastion group")]
    BastionWithoutGroup,
    /// Only bastions are in bastion groups.
    #[error("bastion group `{group}` needs role bastion")]
    GroupWithoutBastion {
        /// The group.
        group: Label,
    },
    /// Reached through the group that it is in.
    #[error("bastion group `{group}` cannot be reached through itself")]
    ViaItself {
        /// The group.
        group: Label,
    },
}

impl Placement {
    /// Checks that the three go together.
    ///
    /// # Errors
    /// [`PlacementError`] when they do not.
    pub fn new(
        role: ServerRole,
        bastion_group: Option<Label>,
        via: Option<Label>,
    ) -> Result<Self, PlacementError> {
        match (role, &bastion_group) {
            (ServerRole::Bastion, None) => return Err(PlacementError::BastionWithoutGroup),
            (ServerRole::Target, Some(group)) => {
                return Err(PlacementError::GroupWithoutBastion { group: group.clone() });
            }
            (ServerRole::Bastion, Some(_)) | (ServerRole::Target, None) => {}
        }
        match &bastion_group {
            Some(group) if bastion_group == via => Err(PlacementError::ViaItself { group: group.clone() }),
            Some(_) | None => Ok(Self { role, bastion_group, via }),
        }
    }

    /// What the server is for.
    #[must_use]
    pub fn role(&self) -> ServerRole {
        self.role
    }

    /// The bastion group it belongs to; some exactly for bastions.
    #[must_use]
    pub fn bastion_group(&self) -> Option<&Label> {
        self.bastion_group.as_ref()
    }

    /// The bastion group it is reached through; none when clients reach it directly.
    #[must_use]
    pub fn via(&self) -> Option<&Label> {
        self.via.as_ref()
    }
}
