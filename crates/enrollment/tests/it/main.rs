//! Behaviour of the crate through its public API. Rows are those of the threat model.
#![cfg(test)]

mod constraint;
mod fixture;
mod listener;
mod name;
mod pasted;
mod placement;
mod props;
mod redeem;
