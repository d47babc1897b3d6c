//! Desired and observed local accounts to a plan: what a host's accounts should be, what they are, and the steps between.
//!
//! Pure: no files, no processes, no clock, no network. The broker uses [`state`] to write the documents that an agent
//! obeys and [`allocate`] to give ids; the agent verifies them, observes its host through the [`Host`] port, asks
//! [`plan()`] for the steps and applies them one by one. Applying is idempotent, so a host that lost power between two
//! steps is simply planned again.
//!
//! Invariants: nothing that the ownership record does not name is ever changed (it becomes a [`Conflict`] instead); revocation comes
//! before everything else and is never held back; generations never go back; ids are never given twice.
//!
//! ```
//! use std::collections::BTreeSet;
//! use usher_account_lifecycle::allocate;
//!
//! // 60001 is taken on some host, so the next user gets 60002 and the counter moves on.
//! let given = allocate::uid(60001, &BTreeSet::from([60001]))?;
//! assert_eq!((given.id, given.next), (60002, 60003));
//! # Ok::<(), allocate::AllocateError>(())
//! ```
#![forbid(unsafe_code)]

pub mod account;
pub mod allocate;
pub mod desired;
pub mod observed;
pub mod ownership;
pub mod plan;
pub mod reconcile;
pub mod render;
pub mod state;
pub mod step;

pub use desired::Desired;
pub use observed::{Interest, Observed};
pub use ownership::Ownership;
pub use plan::{Conflict, ConflictKind, Limits, Plan, plan};
pub use reconcile::{Host, Outcome, reconcile};
pub use step::Step;

/// Where homes are made.
pub const HOME_BASE: &str = "/home";

/// The hop account's home, which does not exist.
pub const HOP_HOME: &str = "/nonexistent";
