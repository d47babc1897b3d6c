//! Two brokers on one PostgreSQL database: the tests of `tests/it` that ask a whole team, every request to the other
//! broker than the one before, and what only several brokers can get wrong.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests read the clock and start the built program")]

#[path = "../it/admin.rs"]
mod admin;
#[path = "../it/connections.rs"]
mod connections;
#[path = "../it/enrollment.rs"]
mod enrollment;
#[path = "../it/fleet.rs"]
mod fleet;
#[path = "../it/jumps.rs"]
mod jumps;
#[path = "../it/ledger.rs"]
mod ledger;
#[path = "../it/locks.rs"]
mod locks;
mod starting;
#[path = "../it/team.rs"]
mod team;
mod together;
