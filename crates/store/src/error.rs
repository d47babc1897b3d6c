//! Why the database did not answer. Faults of a caller (a taken name, the last administrator) have their own enums next
//! to the functions that find them.

use std::path::PathBuf;

use sqlx::migrate::MigrateError;
use thiserror::Error;

use crate::fault::{self, Fault};

/// The database failed, or holds something this build cannot read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// An audit record could not be written down; so nothing that it would have recorded happened.
    #[error("an audit record could not be encoded")]
    Audit(#[source] usher_audit::EncodeError),
    /// A stored value does not parse: the database was edited by hand or is damaged.
    #[error("column {column} of the database holds a value that cannot be read")]
    Corrupt {
        /// Which column.
        column: &'static str,
    },
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    /// The process is going down.
    #[error("the commit was interrupted")]
    Interrupted,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random(#[source] getrandom::Error),
    /// The seal key was changed, and this process has not taken the new one yet.
    #[error("the secret was sealed by a seal key that is no longer in force")]
    SealKey,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Why a database cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file cannot be made or read.
    #[error("cannot open the database `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A table could not be made or changed.
    #[error("cannot migrate the database `{}`", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: MigrateError,
    },
    /// Others than the owner may read the file.
    #[error("others may read the database `{}`: its mode must be 0600", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
    },
    /// The database failed.
    #[error("the database `{}` failed", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
}

/// Why there is no connection to a database server.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The server does not know the database, the user or the password.
    #[error("the database server refuses the login")]
    Login(#[source] sqlx::Error),
    /// A table could not be made or changed.
    #[error("cannot migrate the database")]
    Migrate(#[source] MigrateError),
    /// A standby, or a database that may only be read.
    #[error("the database cannot be written to")]
    ReadOnly,
    /// The server failed.
    #[error("the database failed")]
    Store(#[source] StoreError),
    /// TLS cannot be had, or the server's certificate does not hold.
    #[error("no protected connection to the database server")]
    Tls(#[source] sqlx::Error),
    /// A version that nothing was ever tried on.
    #[error("the database server is PostgreSQL {version}; 14 is the oldest that works")]
    TooOld {
        /// Its major version.
        version: i64,
    },
    /// Nothing answers there.
    #[error("the database server cannot be reached")]
    Unreachable(#[source] sqlx::Error),
}

impl ConnectError {
    /// Sorts what the very first connection ran into.
    pub(crate) fn from_first(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Tls(_) => Self::Tls(error),
            // What the TLS library finds wrong comes as one of these.
            sqlx::Error::Io(cause) if cause.kind() == std::io::ErrorKind::InvalidData => Self::Tls(error),
            sqlx::Error::Io(_) => Self::Unreachable(error),
            // invalid_authorization_specification, invalid_password, invalid_catalog_name
            sqlx::Error::Database(refusal)
                if refusal.code().is_some_and(|code| code.starts_with("28") || code == "3D000") =>
            {
                Self::Login(error)
            }
            _ => Self::Store(error.into()),
        }
    }

    pub(crate) fn from_migration(error: MigrateError) -> Self {
        match &error {
            MigrateError::Execute(cause) if fault::of(cause) == Fault::ReadOnly => Self::ReadOnly,
            _ => Self::Migrate(error),
        }
    }

    /// What an operator can do about it.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Login(_) => {
                "create the database and its user, and compare [database] url and password_file with them"
            }
            Self::Migrate(_) => {
                "let the user own the database, and never run an older broker on a newer one's database"
            }
            Self::ReadOnly => "name the primary server in [database] url, not a standby",
            Self::Store(error) => error.fault().next_step().unwrap_or("see what the database server logged"),
            Self::Tls(_) => {
                "turn on TLS on the server, and compare [database] tls and root_certificate_file with its certificate"
            }
            Self::TooOld { .. } => "upgrade the database server",
            Self::Unreachable(_) => {
                "compare the host and port of [database] url with where the server listens"
            }
        }
    }
}
