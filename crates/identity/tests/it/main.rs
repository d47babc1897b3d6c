//! Behaviour of the crate through its public API.
#![cfg(test)]
#![expect(clippy::string_slice, reason = "proofs and their parts are ASCII")]

mod fixture;
mod key;
mod mutants;
mod naming;
mod nonce;
mod pkce;
mod proof;
mod props;
mod session;
mod workload;
