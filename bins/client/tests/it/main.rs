//! Behaviour of the client through its public modules, its binary, and stock OpenSSH.
#![cfg(test)]
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "tests start ssh, sshd and the built binary")]

mod cli;
mod config;
mod index;
mod loopback;
mod openssh;
mod process;
mod props;
mod protocol;
mod routes;
mod session_bind;
mod slots;
mod ssh_config;
mod step_up;
mod store;
mod support;
mod workload;
