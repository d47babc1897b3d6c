//! The graph of a team's bastion groups: at most two hops, no cycle.
//!
//! A group is reached through what its bastions are reached through, which must be the same for all of them. A group
//! that has no bastion yet counts as directly reachable, so that tokens can be made in any order; whoever changes a
//! placement checks all placements again in the same transaction.

use std::collections::BTreeMap;

use thiserror::Error;
use usher_types::Label;

use crate::Placement;

/// The most bastions on the way to a server.
pub const MAX_HOPS: usize = 2;

/// Why placements do not make routes.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TopologyError {
    /// Following `via` comes back to where it began.
    #[error("bastion group `{group}` would be reached through itself")]
    Cycle {
        /// A group on the circle.
        group: Label,
    },
    /// Bastions of one group are reached in different ways.
    #[error("all bastions of group `{group}` must be reached through the same group")]
    DifferentVia {
        /// The group.
        group: Label,
    },
    /// More than [`MAX_HOPS`].
    #[error("servers behind bastion group `{group}` would be more than {MAX_HOPS} hops away")]
    TooManyHops {
        /// The group that servers are reached through.
        group: Label,
    },
}

/// Bastion groups that were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// What each group with at least one bastion is reached through.
    via: BTreeMap<Label, Option<Label>>,
}

impl Topology {
    /// Checks all placements that depend on each other: servers, and tokens that can still make some.
    ///
    /// # Errors
    /// [`TopologyError`] for the first placement that has no route.
    pub fn of<'a>(
        placements: impl IntoIterator<Item = &'a Placement> + Clone,
    ) -> Result<Self, TopologyError> {
        let mut via: BTreeMap<Label, Option<Label>> = BTreeMap::new();
        for placement in placements.clone() {
            let Some(group) = placement.bastion_group() else { continue };
            let known = via.entry(group.clone()).or_insert_with(|| placement.via().cloned());
            if known.as_ref() != placement.via() {
                return Err(TopologyError::DifferentVia { group: group.clone() });
            }
        }
        let topology = Self { via };
        for placement in placements {
            topology.route(placement)?;
        }
        Ok(topology)
    }

    /// The bastion groups on the way to a server that is placed so, from the client's side on; empty when it is
    /// reached directly.
    ///
    /// # Errors
    /// [`TopologyError`] when there is no route: never for a placement that [`Topology::of`] saw.
    pub fn route<'a>(&'a self, placement: &'a Placement) -> Result<Vec<&'a Label>, TopologyError> {
        let mut chain: Vec<&Label> = Vec::new();
        let mut next = placement.via();
        while let Some(group) = next {
            if chain.contains(&group) || placement.bastion_group() == Some(group) {
                return Err(TopologyError::Cycle { group: group.clone() });
            }
            chain.push(group);
            next = self.via.get(group).and_then(Option::as_ref);
        }
        match chain.first() {
            Some(nearest) if chain.len() > MAX_HOPS => {
                Err(TopologyError::TooManyHops { group: (*nearest).clone() })
            }
            Some(_) | None => {
                chain.reverse();
                Ok(chain)
            }
        }
    }
}
