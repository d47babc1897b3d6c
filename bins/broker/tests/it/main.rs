//! The broker over its own HTTPS, in this process: a real database, real TLS, forms as a browser sends them.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests read the clock and start the built program")]

mod account;
mod admin;
mod admins;
mod audit;
mod bad_input;
mod broker;
mod caller;
mod command_line;
mod conditions;
mod connections;
mod custody;
mod enrollment;
mod export;
mod fleet;
mod fresh;
mod jumps;
mod kms;
mod ledger;
mod limits;
mod locks;
mod meanwhile;
mod memory;
mod oidc;
mod openapi;
mod operation;
mod passkeys;
mod policies;
mod proofs;
mod races;
mod re_seal;
mod reconcile;
mod repeats;
mod rotation;
mod scim;
mod scim_tester;
mod second_factor;
mod service_users;
mod sessions;
mod set_up;
mod sign_in;
mod step_up;
mod team;
mod team_roles;
mod unauthorized;
mod x509;

pub(crate) use broker::Broker;
pub(crate) use caller::{Answer, Caller};
