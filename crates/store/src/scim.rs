//! What identity providers say about their users and groups over SCIM, and the tokens they show for it.
//!
//! Every function takes the connector that asks: users and groups of another, and the broker's own, do not exist for it.
//! What decides about access (status, members, roles) is in the tables of everybody; it is changed by the functions of
//! [`users`](crate::users) and [`groups`](crate::groups), which end sessions and move the epoch.

mod filter;
pub mod groups;
pub mod tokens;
pub mod users;

use thiserror::Error;
use usher_identity::scim::{Attribute, Filter};

use crate::StoreError;

/// What to list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Which ones; all when absent.
    pub filter: Option<Filter>,
    /// By which attribute, from the resource inwards; by age when absent.
    pub sort_by: Option<Vec<&'static Attribute>>,
    /// The last first.
    pub descending: bool,
    /// How many to leave out.
    pub skip: u32,
    /// How many at most.
    pub count: u32,
}

/// Some of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// How many there are.
    pub total: u64,
    /// These of them.
    pub items: Vec<T>,
}

/// Why a list cannot be had.
#[derive(Debug, Error)]
pub enum ListError {
    /// The attribute is not kept in a form that can be searched or sorted by.
    #[error("`{0}` cannot be searched or sorted by")]
    Attribute(&'static str),
    /// The database failed.
    #[error("the list was not read")]
    Store(#[source] StoreError),
}

impl From<StoreError> for ListError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A name as it is compared: without case.
fn key(name: &str) -> String {
    name.to_lowercase()
}
