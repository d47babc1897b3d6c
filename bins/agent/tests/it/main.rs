//! The program as people and systemd run it, in a private copy of this machine. Needs root.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests start the program")]

mod broker;
mod cli;
mod connected;
mod run;
mod state;
