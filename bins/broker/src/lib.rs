//! The Usher control plane: HTTPS API, sign-in pages, policy, signing, audit.
//!
//! A request passes one pipeline (`request`): body limit, proof of possession, session, guard from the table of
//! endpoints, rate limit, repetition. Only then a handler runs, with a typed caller it cannot make itself (`extract`).
//! What handlers decide lives in the pure crates; what they store in `usher-store`; this crate wires them to the
//! network.
#![forbid(unsafe_code)]

mod account;
mod admin;
mod answer;
pub mod cli;
mod clock;
mod config;
mod connections;
mod custody;
mod database;
mod enrollment;
mod error;
mod exchange;
mod explain;
mod export;
mod extract;
mod failures;
mod fleet;
mod hot;
mod housekeeping;
pub mod init;
mod keys;
mod limits;
mod pages;
mod providers;
mod random;
mod reconcile;
mod request;
mod router;
mod scim;
mod server;
mod signatures;
mod state;
mod suppose;
pub mod tls;
mod verifier;
mod x509;

pub use clock::Clock;
pub use config::{
    AuditConfig, CONFIG_FILE, CONFIG_NAME, Config, ConfigError, DATA_DIR, KmsConfig, LimitsConfig, LogConfig,
    LogFormat, SealConfig, ServerConfig, TlsConfig,
};
pub use custody::SealingError;
pub use database::{DatabaseConfig, DatabaseError, DatabaseTls};
pub use router::router;
pub use server::{ServeError, Server};
pub use state::{AppState, DATABASE_NAME, NEXT_SEAL_KEY_NAME, SEAL_KEY_NAME, SEAL_SALT_NAME, StartError};
