//! Which database a broker uses, and opening it: a file in the data directory, or a PostgreSQL server that several
//! brokers share.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;
use url::Url;
use usher_store::{ConnectError, OpenError, PgConnectOptions, PgSslMode, Store};
use zeroize::Zeroizing;

use crate::{Config, DATABASE_NAME};

/// A PostgreSQL server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://USER@HOST:PORT/DATABASE`; a socket's directory as host, percent-encoded.
    pub url: Url,
    /// Holds the password and nothing else; only its owner may read it.
    pub password_file: Option<PathBuf>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: DatabaseTls,
    /// Certificate authorities (PEM) for the server's certificate, instead of the public ones.
    pub root_certificate_file: Option<PathBuf>,
}

/// How the connection to the server is protected. On a socket it needs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatabaseTls {
    /// Not at all: for a server on the same machine.
    Off,
    /// TLS, with the server's name in a certificate that holds.
    #[default]
    VerifyFull,
}

impl DatabaseTls {
    /// As the file spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// Why there is no database.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// Not the address of a database.
    #[error(
        "[database] url must be postgres://USER@HOST:PORT/DATABASE, with nothing behind it and no password"
    )]
    Address,
    /// The server cannot be used.
    #[error("no database at `{address}`")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: ConnectError,
    },
    /// The file cannot be used.
    #[error("the database cannot be opened")]
    Open(#[source] OpenError),
    /// A file that the configuration names cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than the owner may read the password.
    #[error("others may read `{}`: its mode must be 0600", path.display())]
    PasswordMode {
        /// Which file.
        path: PathBuf,
    },
}

impl DatabaseError {
    /// What an operator can do about it.
    pub(crate) fn next_step(&self) -> Option<&'static str> {
        match self {
            Self::Address => Some(
                "write it like postgres://usher@db.example.com:5432/usher; the password goes in password_file",
            ),
            Self::Connect { source, .. } => Some(source.next_step()),
            Self::Open(_) => None,
            Self::File { .. } => Some("name files that the broker's user can read"),
            Self::PasswordMode { .. } => Some("chmod 0600 it"),
        }
    }
}

impl DatabaseConfig {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// [`DatabaseError::Address`].
    pub fn check(&self) -> Result<(), DatabaseError> {
        let url = &self.url;
        let good = matches!(url.scheme(), "postgres" | "postgresql")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.path().len() > 1
            && !url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if good { Ok(()) } else { Err(DatabaseError::Address) }
    }

    fn options(&self) -> Result<PgConnectOptions, DatabaseError> {
        self.check()?;
        // With a password nobody's `.pgpass` is looked at.
        let mut url = self.url.clone();
        url.set_password(Some("none")).map_err(|()| DatabaseError::Address)?;
        let options: PgConnectOptions = url.as_str().parse().map_err(|_error| DatabaseError::Address)?;
        // A directory of sockets is no network.
        let local = options.get_socket().is_some() || options.get_host().starts_with('/');
        let mut options = options.ssl_mode(match self.tls {
            DatabaseTls::VerifyFull if !local => PgSslMode::VerifyFull,
            DatabaseTls::VerifyFull | DatabaseTls::Off => PgSslMode::Disable,
        });
        if let Some(path) = &self.root_certificate_file {
            let failed = |source| DatabaseError::File { path: path.clone(), source };
            options = options.ssl_root_cert_from_pem(fs::read(path).map_err(failed)?);
        }
        if let Some(path) = &self.password_file {
            options = options.password(&password(path)?);
        }
        Ok(options)
    }
}

fn password(path: &Path) -> Result<Zeroizing<String>, DatabaseError> {
    let failed = |source| DatabaseError::File { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(DatabaseError::PasswordMode { path: path.to_owned() });
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Opens the configured database, and brings its tables up to date.
///
/// # Errors
/// [`DatabaseError`].
pub(crate) async fn open(config: &Config) -> Result<Store, DatabaseError> {
    open_in(config, &config.data_dir).await
}

/// The same; the file, when it is one, lies in `directory`.
pub(crate) async fn open_in(config: &Config, directory: &Path) -> Result<Store, DatabaseError> {
    let Some(database) = &config.database else {
        return Store::open(&directory.join(DATABASE_NAME)).await.map_err(DatabaseError::Open);
    };
    let options = database.options()?;
    Store::connect(options)
        .await
        .map_err(|source| DatabaseError::Connect { address: database.url.to_string(), source })
}
