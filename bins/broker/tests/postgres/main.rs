//! Brokers on a PostgreSQL database: tests of `tests/it` once more, those that ask a whole team with two brokers and every
//! request to the other one than the one before, and what only several brokers can get wrong.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests read the clock and start the built program")]

#[path = "../it/account.rs"]
mod account;
#[path = "../it/admin.rs"]
mod admin;
#[path = "../it/bad_input.rs"]
mod bad_input;
#[path = "../it/broker.rs"]
mod broker;
#[path = "../it/caller.rs"]
mod caller;
#[path = "../it/conditions.rs"]
mod conditions;
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
#[path = "../it/limits.rs"]
mod limits;
#[path = "../it/locks.rs"]
mod locks;
#[path = "../it/meanwhile.rs"]
mod meanwhile;
#[path = "../it/memory.rs"]
mod memory;
#[path = "../it/oidc.rs"]
mod oidc;
#[path = "../it/passkeys.rs"]
mod passkeys;
#[path = "../it/policies.rs"]
mod policies;
#[path = "../it/races.rs"]
mod races;
#[path = "../it/re_seal.rs"]
mod re_seal;
#[path = "../it/rotation.rs"]
mod rotation;
#[path = "../it/scim.rs"]
mod scim;
#[path = "../it/second_factor.rs"]
mod second_factor;
#[path = "../it/service_users.rs"]
mod service_users;
#[path = "../it/sessions.rs"]
mod sessions;
#[path = "../it/sign_in.rs"]
mod sign_in;
mod starting;
#[path = "../it/step_up.rs"]
mod step_up;
#[path = "../it/team.rs"]
mod team;
mod together;

pub(crate) use broker::Broker;
pub(crate) use caller::{Answer, Caller};
