//! Why the database did not answer. Faults of a caller (a taken name, the last administrator) have their own enums next
//! to the functions that find them.

use std::path::PathBuf;

use thiserror::Error;

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
        source: sqlx::migrate::MigrateError,
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
    /// A table could not be made or changed.
    #[error("cannot migrate the database")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The server cannot be reached, refuses the connection, or failed.
    #[error("cannot use the database server")]
    Store(#[source] StoreError),
}
