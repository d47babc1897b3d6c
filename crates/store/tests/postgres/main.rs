//! The tests of `tests/it` once more, on PostgreSQL, and what only PostgreSQL has.
#![cfg(test)]
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "tests start processes of their own and read how they were started"
)]

#[path = "../it/accounts.rs"]
mod accounts;
#[path = "../it/audit.rs"]
mod audit;
#[path = "../it/audit_follow.rs"]
mod audit_follow;
#[path = "../it/batches.rs"]
mod batches;
mod brokers;
#[path = "../it/connections.rs"]
mod connections;
#[path = "../it/connectors.rs"]
mod connectors;
mod crashes;
#[path = "../it/credentials.rs"]
mod credentials;
#[path = "../it/desired.rs"]
mod desired;
#[path = "../it/directory.rs"]
mod directory;
#[path = "../it/durability.rs"]
mod durability;
#[path = "../it/epoch.rs"]
mod epoch;
#[path = "../it/faults.rs"]
mod faults;
mod issuing;
#[path = "../it/locks.rs"]
mod locks;
#[path = "../it/passkeys.rs"]
mod passkeys;
#[path = "../it/policies.rs"]
mod policies;
#[path = "../it/redemption.rs"]
mod redemption;
#[path = "../it/replay.rs"]
mod replay;
mod same;
#[path = "../it/scim.rs"]
mod scim;
#[path = "../it/servers.rs"]
mod servers;
#[path = "../it/snapshot.rs"]
mod snapshot;
#[path = "../it/statements.rs"]
mod statements;
#[path = "../it/support.rs"]
mod support;
#[path = "../it/team.rs"]
mod team;
#[path = "../it/world.rs"]
mod world;
