//! Behaviour of the crate through its public API. Row 25 of the threat model: edit, delete, reorder, truncate, fork.
#![cfg(test)]

mod chain;
mod checkpoint;
mod export;
mod fixture;
mod props;
mod record;
