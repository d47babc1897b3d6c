//! The client against real TLS servers on the loopback interface.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::needless_pass_by_value,
    reason = "helpers of tests fail like tests"
)]

mod calls;
mod config;
mod endpoints;
mod server;
mod trust;
