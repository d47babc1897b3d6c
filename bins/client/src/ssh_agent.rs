//! The per-user background process: holds session tokens, connection keys and certificates in memory only, talks the
//! OpenSSH agent protocol to `ssh` and typed requests to our own commands. Not the server's `usher-agent`.
//!
//! The parts are pure where they can be: [`protocol`], [`session_bind`], [`userauth`], [`store`] and [`slots`] take
//! bytes, values and the time, and touch nothing; [`server`] owns the sockets, [`teams`] the broker.

pub mod control;
pub mod peer;
pub mod process;
pub mod protocol;
pub mod server;
pub mod session_bind;
pub mod slots;
pub mod store;
pub mod teams;
pub mod userauth;
