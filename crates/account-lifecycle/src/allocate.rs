//! Gives UIDs and GIDs from a project's counters. Knows which numbers systems keep for themselves; keeps no counter.
//!
//! A counter only moves forward, so an id is never given twice, not even after its user is gone: files that were left
//! behind must not become the next user's.

use std::{collections::BTreeSet, ops::RangeInclusive};

use thiserror::Error;

/// Blocks that may be given: below lie the system's accounts, between the two blocks systemd's container ranges
/// (524288-1879048191), above 2147483647 ids that some programs read as negative.
const BLOCKS: [RangeInclusive<u32>; 2] = [1000..=524_287, 1_879_048_192..=2_147_483_647];

/// systemd's dynamic users, `nobody`, and 65535, which is -1 to 16-bit programs.
const RESERVED_UIDS: RangeInclusive<u32> = 61_184..=65_535;

/// `nogroup` and 65535. (The dynamic users' block is not skipped: the default first GID, 63001, lies inside it.)
const RESERVED_GIDS: RangeInclusive<u32> = 65_534..=65_535;

/// An id and where the counter stands afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Allocation {
    /// The id.
    pub id: u32,
    /// The counter's new value.
    pub next: u32,
}

/// Why no id can be given.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AllocateError {
    /// The counter has reached the end.
    #[error("no id is left at or above {0}")]
    Exhausted(u32),
}

/// The first UID at or above `next` that may be given. `taken` holds what any agent of the project reported and what was
/// given by hand.
///
/// # Errors
/// [`AllocateError::Exhausted`] when no number is left.
pub fn uid(next: u32, taken: &BTreeSet<u32>) -> Result<Allocation, AllocateError> {
    allocate(next, taken, &RESERVED_UIDS)
}

/// The first GID at or above `next` that may be given: for users' private groups and project groups alike.
///
/// # Errors
/// [`AllocateError::Exhausted`] when no number is left.
pub fn gid(next: u32, taken: &BTreeSet<u32>) -> Result<Allocation, AllocateError> {
    allocate(next, taken, &RESERVED_GIDS)
}

/// Whether a managed user may have this UID. The agent asks too, so a broker gone bad cannot make a second root.
#[must_use]
pub fn is_assignable_uid(uid: u32) -> bool {
    assignable(uid, &RESERVED_UIDS)
}

/// Whether a managed group may have this GID.
#[must_use]
pub fn is_assignable_gid(gid: u32) -> bool {
    assignable(gid, &RESERVED_GIDS)
}

fn assignable(id: u32, reserved: &RangeInclusive<u32>) -> bool {
    BLOCKS.iter().any(|block| block.contains(&id)) && !reserved.contains(&id)
}

fn allocate(
    next: u32,
    taken: &BTreeSet<u32>,
    reserved: &RangeInclusive<u32>,
) -> Result<Allocation, AllocateError> {
    let id = BLOCKS
        .iter()
        .find_map(|block| {
            (next.max(*block.start())..=*block.end()).find(|id| !reserved.contains(id) && !taken.contains(id))
        })
        .ok_or(AllocateError::Exhausted(next))?;
    Ok(Allocation { id, next: id.saturating_add(1) })
}
