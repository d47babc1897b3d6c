//! The database adapter: tables, migrations, transactions, and every SQL text of the broker.
//!
//! One write transaction at a time ([`Store::begin`]), read snapshots beside it ([`Store::read`]). Functions come in
//! modules by table; those that read take a [`Conn`] (what both dereference to), those that write take the [`WriteTx`].
//!
//! - Whatever can turn an allow into a deny, change its capabilities or change accounts moves the epoch in its own
//!   transaction; the functions of this crate do that themselves.
//! - What is written down in the audit log commits with what it is about, or not at all ([`WriteTx::audit`]).
//! - What is issued is recorded by [`Store::issue`], which decides again whatever was decided at an older epoch.
//!
//! The SQL is what SQLite and PostgreSQL have in common; the tables differ in spelling (`migrations/`).
//!
//! ```
//! use usher_store::{Store, groups};
//! use usher_types::{GroupId, UnixTime};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let directory = tempfile::tempdir()?;
//! let store = Store::open(&directory.path().join("usher.db")).await?;
//! let now = UnixTime::from_secs(1_790_000_000);
//! let group = groups::Group::local(GroupId::new(now, [1; 10]), "sre".parse()?, now);
//!
//! let mut tx = store.begin().await?;
//! groups::create(&mut tx, &group).await?;
//! drop(tx); // not committed: nothing happened
//! assert_eq!(groups::find(&mut *store.read().await?, "sre").await?, None);
//!
//! let mut tx = store.begin().await?;
//! groups::create(&mut tx, &group).await?;
//! tx.commit().await?;
//! assert_eq!(groups::find(&mut *store.read().await?, "sre").await?, Some(group));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod addresses;
pub mod api_keys;
pub mod audit;
mod bulk;
mod chain;
mod conn;
pub mod connections;
pub mod connectors;
pub mod desired;
pub mod devices;
mod error;
mod fault;
pub mod groups;
pub mod housekeeping;
mod issue;
pub mod keys;
pub mod locks;
pub mod named_proofs;
pub mod page_sessions;
pub mod passkeys;
pub mod policies;
mod postgres;
pub mod project_groups;
pub mod project_users;
pub mod projects;
pub mod requests;
mod row;
pub mod scim;
pub mod sealed;
pub mod servers;
pub mod service_users;
pub mod sessions;
pub mod sign_in;
pub mod snapshot;
mod store;
pub mod team;
pub mod team_roles;
pub mod tokens;
pub mod trusts;
mod tx;
pub mod users;
mod values;

pub use conn::Conn;
pub use error::{ConnectError, OpenError, StoreError};
pub use fault::Fault;
pub use issue::{Issuance, IssueError, Outcome, Verdict};
pub use sqlx::postgres::{PgConnectOptions, PgSslMode};
pub use store::{Reader, Store};
pub use tx::{Epoch, Step, WriteTx};
pub use values::{
    AdminSudo, CertificateType, ConnectorState, ExternalIdClaim, JoinRule, KeyAlgorithm, KeyCustody,
    KeyPurpose, KeyState, LockKind, ParseWordError, PortForwarding, ServerRole,
};

/// The statements that only PostgreSQL knows, as [`statements`].
#[must_use]
pub fn postgres_statements() -> Vec<(&'static str, &'static str, &'static str)> {
    postgres::STATEMENTS.iter().map(|(name, sql)| ("postgres", *name, *sql)).collect()
}

/// Every SQL statement that both engines know, with its module and name: for the test that prepares them all.
#[must_use]
pub fn statements() -> Vec<(&'static str, &'static str, &'static str)> {
    let modules = [
        ("addresses", addresses::STATEMENTS),
        ("api_keys", api_keys::STATEMENTS),
        ("audit", audit::STATEMENTS),
        ("audit::checkpoints", audit::checkpoints::STATEMENTS),
        ("audit::export", audit::export::STATEMENTS),
        ("audit::follow", audit::FOLLOW_STATEMENTS),
        ("chain", chain::STATEMENTS),
        ("connections", connections::STATEMENTS),
        ("connections::batch", connections::BATCH_STATEMENTS),
        ("connectors", connectors::STATEMENTS),
        ("desired", desired::STATEMENTS),
        ("devices", devices::STATEMENTS),
        ("groups", groups::STATEMENTS),
        ("housekeeping", housekeeping::STATEMENTS),
        ("keys", keys::STATEMENTS),
        ("locks", locks::STATEMENTS),
        ("named_proofs", named_proofs::STATEMENTS),
        ("page_sessions", page_sessions::STATEMENTS),
        ("passkeys", passkeys::STATEMENTS),
        ("policies", policies::STATEMENTS),
        ("project_groups", project_groups::STATEMENTS),
        ("project_users", project_users::STATEMENTS),
        ("projects", projects::STATEMENTS),
        ("requests", requests::STATEMENTS),
        ("scim::groups", scim::groups::STATEMENTS),
        ("scim::tokens", scim::tokens::STATEMENTS),
        ("scim::users", scim::users::STATEMENTS),
        ("sealed", sealed::STATEMENTS),
        ("servers", servers::STATEMENTS),
        ("service_users", service_users::STATEMENTS),
        ("sessions", sessions::STATEMENTS),
        ("sign_in", sign_in::STATEMENTS),
        ("snapshot", snapshot::STATEMENTS),
        ("store", store::STATEMENTS),
        ("team", team::STATEMENTS),
        ("team_roles", team_roles::STATEMENTS),
        ("tokens", tokens::STATEMENTS),
        ("trusts", trusts::STATEMENTS),
        ("tx", tx::STATEMENTS),
        ("users", users::STATEMENTS),
    ];
    let named = |(module, list): (&'static str, &'static [(&'static str, &'static str)])| {
        list.iter().map(move |(name, sql)| (module, *name, *sql))
    };
    modules.into_iter().flat_map(named).collect()
}
