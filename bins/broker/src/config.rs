//! The configuration file: read, checked once, never looked at again. Secrets are named by file only.

mod kms;
mod seal;

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use thiserror::Error;
use url::Url;
use usher_telemetry::Format;

pub use self::{kms::KmsConfig, seal::SealConfig};
use crate::{DatabaseConfig, DatabaseError};

/// Where the file is when nobody says otherwise.
pub const CONFIG_FILE: &str = "/etc/usher/broker.toml";
/// Where database and seal key are when nobody says otherwise.
pub const DATA_DIR: &str = "/var/lib/usher-broker";
/// The file's name in a data directory.
pub const CONFIG_NAME: &str = "broker.toml";

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The database's settings.
    #[error("the configuration is not good")]
    Database(#[source] DatabaseError),
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, an unknown field, or a value of another type.
    #[error("`{}` is not a good configuration", path.display())]
    Form {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: toml::de::Error,
    },
    /// Not `http://` or `https://`.
    #[error("[audit] push_url `{url}` must begin with https:// (http:// only inside of one machine)")]
    PushUrl {
        /// What is there.
        url: Url,
    },
    /// Only one of certificate and key is there.
    #[error("[tls] certificate_file and private_key_file belong together")]
    HalfCertificate,
    /// Two sources of one seal key, or a credential's name that is a path.
    #[error("[seal] wants one of credential and passphrase_file, and a credential's plain name")]
    Seal,
    /// Not `https://host[:port]`.
    #[error("public_url `{url}` must be https://HOST or https://HOST:PORT, nothing behind it")]
    PublicUrl {
        /// What is there.
        url: Url,
    },
}

/// Where the audit log is sent as it grows. Who has a sink of the same name in the same database takes turns with it.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// A file that lines are appended to.
    pub export_file: Option<PathBuf>,
    /// What this file is called in the database.
    pub export_file_name: String,
    /// Where lines are posted to.
    pub push_url: Option<Url>,
    /// What this is called in the database.
    pub push_name: String,
    /// A file with the bearer token for it.
    pub push_token_file: Option<PathBuf>,
    /// Certificates (PEM) to believe instead of the machine's.
    pub push_ca_file: Option<PathBuf>,
    /// Seconds until a delivery is given up and tried again.
    pub deadline_seconds: NonZeroU32,
    /// A directory with CloudTrail's log files: each day the signatures in them are compared with the log.
    pub cloudtrail: Option<PathBuf>,
}

/// Content of `broker.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How clients and browsers address this broker.
    pub public_url: Url,
    /// Where to listen.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Database and seal key.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// A database server; without, the database is a file in the data directory.
    #[serde(default)]
    pub database: Option<DatabaseConfig>,
    /// Logging.
    #[serde(default)]
    pub log: LogConfig,
    /// TLS.
    #[serde(default)]
    pub tls: TlsConfig,
    /// Connections.
    #[serde(default)]
    pub server: ServerConfig,
    /// Where the audit log is sent.
    #[serde(default)]
    pub audit: AuditConfig,
    /// Rate limits.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// AWS KMS; needed by keys in its custody.
    #[serde(default)]
    pub kms: Option<KmsConfig>,
    /// Where the seal key comes from.
    #[serde(default)]
    pub seal: SealConfig,
}

/// Logging.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// A level, or a list of `target=level`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Text,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Text => Self::Text,
        }
    }
}

/// TLS.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// A certificate chain of the operator's own.
    pub certificate_file: Option<PathBuf>,
    /// Its key.
    pub private_key_file: Option<PathBuf>,
    /// Seconds that a handshake may take.
    pub handshake_timeout_seconds: NonZeroU32,
}

/// Connections.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Connections at one time.
    pub max_connections: NonZeroUsize,
    /// Seconds that a request may take to arrive.
    pub read_timeout_seconds: NonZeroU32,
    /// Seconds that requests get to finish at the end.
    pub shutdown_timeout_seconds: u32,
}

/// Rate limits.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Connections of one user at once.
    pub connections_burst: NonZeroU32,
    /// Connections of one user in the long run.
    pub connections_per_minute: NonZeroU32,
    /// Sign-ins from one address, or for one user name, at once.
    pub sign_ins_burst: NonZeroU32,
    /// Sign-ins from one address, or for one user name, in the long run.
    pub sign_ins_per_minute: NonZeroU32,
    /// Enrollments and token exchanges from one address at once.
    pub enrollments_burst: NonZeroU32,
    /// Enrollments and token exchanges from one address in the long run.
    pub enrollments_per_minute: NonZeroU32,
    /// Reports of one server's agent at once.
    pub reports_burst: NonZeroU32,
    /// Reports of one server's agent in the long run; one is due every half minute, and after every change.
    pub reports_per_minute: NonZeroU32,
    /// Requests with one SCIM token at once.
    pub scim_burst: NonZeroU32,
    /// Requests with one SCIM token in the long run: enough to import 100,000 users in two minutes.
    pub scim_per_minute: NonZeroU32,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 8443))
}

fn default_data_dir() -> PathBuf {
    PathBuf::from(DATA_DIR)
}

/// Whoever listens in between reads who does what: without TLS only inside of one machine.
fn is_pushable(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

const fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(number.saturating_sub(1))
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            export_file: None,
            export_file_name: "file".to_owned(),
            push_url: None,
            push_name: "push".to_owned(),
            push_token_file: None,
            push_ca_file: None,
            deadline_seconds: count(10),
            cloudtrail: None,
        }
    }
}

impl AuditConfig {
    /// The time for one delivery.
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_seconds.get().into())
    }
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { certificate_file: None, private_key_file: None, handshake_timeout_seconds: count(10) }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            max_connections: NonZeroUsize::MIN.saturating_add(19_999),
            read_timeout_seconds: count(15),
            shutdown_timeout_seconds: 10,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections_burst: count(300),
            connections_per_minute: count(30),
            sign_ins_burst: count(30),
            sign_ins_per_minute: count(20),
            enrollments_burst: count(300),
            enrollments_per_minute: count(120),
            reports_burst: count(60),
            reports_per_minute: count(30),
            scim_burst: count(5_000),
            scim_per_minute: count(60_000),
        }
    }
}

impl TlsConfig {
    /// The handshake's time.
    pub(crate) fn handshake_timeout(&self) -> Duration {
        Duration::from_secs(self.handshake_timeout_seconds.get().into())
    }
}

impl ServerConfig {
    /// The time for headers, and again for the body.
    pub(crate) fn read_timeout(&self) -> Duration {
        Duration::from_secs(self.read_timeout_seconds.get().into())
    }

    /// The time to finish.
    pub(crate) fn shutdown_timeout(&self) -> Duration {
        Duration::from_secs(self.shutdown_timeout_seconds.into())
    }
}

impl Config {
    /// Every field with its default, commented: a file to begin with.
    pub const DEFAULT: &'static str = include_str!("../packaging/broker.toml");

    /// Defaults for everything but the URL.
    #[must_use]
    pub fn new(public_url: Url, data_dir: PathBuf) -> Self {
        Self {
            public_url,
            listen: default_listen(),
            data_dir,
            database: None,
            log: LogConfig::default(),
            tls: TlsConfig::default(),
            server: ServerConfig::default(),
            limits: LimitsConfig::default(),
            audit: AuditConfig::default(),
            kms: None,
            seal: SealConfig::default(),
        }
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        let config: Self =
            toml::from_str(&text).map_err(|source| ConfigError::Form { path: path.to_owned(), source })?;
        config.check()?;
        Ok(config)
    }

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let url = &self.public_url;
        let plain = url.scheme() == "https"
            && url.host().is_some()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !plain {
            return Err(ConfigError::PublicUrl { url: url.clone() });
        }
        if let Some(url) = self.audit.push_url.as_ref().filter(|url| !is_pushable(url)) {
            return Err(ConfigError::PushUrl { url: url.clone() });
        }
        if self.tls.certificate_file.is_some() != self.tls.private_key_file.is_some() {
            return Err(ConfigError::HalfCertificate);
        }
        if !self.seal.is_good() {
            return Err(ConfigError::Seal);
        }
        if let Some(database) = &self.database {
            database.check().map_err(ConfigError::Database)?;
        }
        Ok(())
    }

    /// The public URL without a slash at the end: `https://host:port`.
    #[must_use]
    pub fn origin(&self) -> String {
        self.public_url.origin().ascii_serialization()
    }

    /// Whether the team's own TLS root vouches for this broker, so that clients pin it.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.tls.certificate_file.is_none()
    }
}
