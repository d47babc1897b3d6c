//! Behaviour of the store through its public API, on real files.
#![cfg(test)]
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "tests start processes of their own and read how they were started"
)]

mod accounts;
mod audit;
mod audit_follow;
mod batches;
mod connections;
mod connectors;
mod credentials;
mod desired;
mod directory;
mod durability;
mod epoch;
mod faults;
mod locked;
mod locks;
mod open;
mod passkeys;
mod policies;
mod redemption;
mod replay;
mod scim;
mod servers;
mod snapshot;
mod statements;
mod support;
mod team;
mod world;
