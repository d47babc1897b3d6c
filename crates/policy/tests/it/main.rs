//! Behaviour of the crate through its public API. Rows are those of the threat model.
#![cfg(test)]

mod cedar;
mod compare;
mod conditions;
mod decide;
mod fixture;
mod isolation;
mod props;
mod snapshot;
