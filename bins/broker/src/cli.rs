//! The command line: what operators type on the broker's host.

mod audit;
mod commands;
mod output;
mod reconcile;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use url::Url;
use usher_keystore::Custody;
use usher_types::{DeviceId, LoginName, TeamSlug, UserName};

use self::output::Output;
use crate::{DatabaseConfig, DatabaseTls, KmsConfig};

/// The Usher control plane: HTTPS API, sign-in pages, policy, certificate authorities, audit log.
#[derive(Debug, Parser)]
#[command(name = "usher-broker", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    /// How results look on standard output.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check and export the audit log.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Print what clients enroll with: the public URL and the pin.
    ClientUrl(Place),
    /// Look at configuration files.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Devices, when no administrator can sign in.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Make a team: database, keys, first administrator.
    Init(Box<Init>),
    /// Seal every stored secret with a new key; brokers may serve meanwhile.
    ReSeal(Place),
    /// Print the team's TLS root certificate (PEM), to be imported where browsers look.
    RootCertificate(Place),
    /// Serve until SIGTERM or SIGINT.
    Serve(Place),
    /// Users, when no administrator can sign in.
    #[command(subcommand)]
    User(UserCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check a configuration file.
    Check(Place),
    /// Print a configuration file with every setting and its default.
    Default,
}

#[derive(Debug, Subcommand)]
enum DeviceCommand {
    /// Approve a device that waits.
    Approve {
        /// The device's id, as `usher login` showed it.
        device: DeviceId,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// New set-up code for a user; its password, second factor and sessions end now.
    SetUpCode {
        /// The user's name.
        user: UserName,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Init {
    /// The team's name; cannot be changed. Host names end in `.<team>.usher`.
    #[arg(long)]
    team: TeamSlug,
    /// Where database and seal key go.
    #[arg(long, default_value = crate::DATA_DIR)]
    data_dir: PathBuf,
    /// How clients and browsers address this broker: https://HOST:PORT.
    #[arg(long)]
    public_url: Url,
    /// Where to listen.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// The first administrator's user name.
    #[arg(long, default_value = "admin")]
    admin: UserName,
    /// Its Unix account's name on servers.
    #[arg(long)]
    admin_unix_name: Option<LoginName>,
    #[command(flatten)]
    database: Database,
    /// Where the team's own keys live: software, aws-kms or aws-kms-wrapped.
    #[arg(long, default_value_t)]
    custody: Custody,
    #[command(flatten)]
    kms: KmsArgs,
    /// File of a passphrase that the seal key is derived from, instead of a key file in the data directory; mode 0600.
    #[arg(long, value_name = "FILE", conflicts_with = "seal_credential")]
    seal_passphrase_file: Option<PathBuf>,
    /// Name of a systemd credential that holds the seal key (32 bytes).
    #[arg(long, value_name = "NAME")]
    seal_credential: Option<String>,
}

/// A PostgreSQL server instead of a file in the data directory.
#[derive(Debug, Args)]
struct Database {
    /// A PostgreSQL server, for several brokers: postgres://USER@HOST:PORT/DATABASE, without a password.
    #[arg(long, value_name = "URL")]
    database: Option<Url>,
    /// File that holds the password of the database's user; mode 0600.
    #[arg(long, value_name = "FILE", requires = "database")]
    database_password_file: Option<PathBuf>,
    /// Certificate authorities for the database server's certificate, instead of the public ones.
    #[arg(long, value_name = "FILE", requires = "database")]
    database_root_certificate: Option<PathBuf>,
    /// Connect to the database server without TLS, when it is on this machine.
    #[arg(long, requires = "database")]
    database_without_tls: bool,
}

impl Database {
    /// As it will stand in the configuration file: with paths that hold from anywhere.
    fn config(self) -> std::io::Result<Option<DatabaseConfig>> {
        let absolute = |path: Option<PathBuf>| path.map(std::path::absolute).transpose();
        let Some(url) = self.database else { return Ok(None) };
        Ok(Some(DatabaseConfig {
            url,
            password_file: absolute(self.database_password_file)?,
            tls: if self.database_without_tls { DatabaseTls::Off } else { DatabaseTls::VerifyFull },
            root_certificate_file: absolute(self.database_root_certificate)?,
        }))
    }
}

/// Section [kms] of the configuration.
#[derive(Debug, Args)]
#[command(next_help_heading = "AWS KMS")]
struct KmsArgs {
    /// Region of the keys; without it the broker does not use KMS.
    #[arg(long)]
    kms_region: Option<String>,
    /// ARN of the IAM role or user that the broker runs as; needed to make keys in KMS.
    #[arg(long, requires = "kms_region", value_name = "ARN")]
    kms_principal: Option<String>,
    /// ARN of the symmetric key for custody aws-kms-wrapped.
    #[arg(long, requires = "kms_region", value_name = "ARN")]
    kms_wrapping_key: Option<String>,
    /// File in the form of ~/.aws/credentials; the machine's own credentials when absent.
    #[arg(long, requires = "kms_region", value_name = "FILE")]
    kms_credentials_file: Option<PathBuf>,
    /// Another address than the region's own.
    #[arg(long, requires = "kms_region", value_name = "URL")]
    kms_endpoint_url: Option<Url>,
}

impl KmsArgs {
    /// As it will stand in the configuration file: with a path that holds from anywhere.
    fn config(self) -> std::io::Result<Option<KmsConfig>> {
        let Some(region) = self.kms_region else { return Ok(None) };
        Ok(Some(KmsConfig {
            principal: self.kms_principal,
            wrapping_key: self.kms_wrapping_key,
            credentials_file: self.kms_credentials_file.map(std::path::absolute).transpose()?,
            endpoint_url: self.kms_endpoint_url,
            ..KmsConfig::new(region)
        }))
    }
}

/// Which broker.
#[derive(Clone, Debug, Args)]
struct Place {
    /// Configuration file; when absent, /etc/usher/broker.toml or the data directory's broker.toml (that one first when
    /// the directory is named).
    #[arg(long)]
    config: Option<PathBuf>,
    /// Data directory; the configuration's when absent.
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

impl ValueEnum for Output {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Text, Self::Json]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            Self::Json => "json",
            Self::Text => "text",
        }))
    }
}

/// Runs the program. Results go to standard output, everything else to standard error.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is no reason to fail differently.
            let _printed = error.print().is_ok();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match commands::run(cli.command, cli.output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::failed(&error);
            if error.is::<commands::NotFound>() {
                ExitCode::from(5)
            } else if error.is::<audit::NotGood>() || error.is::<reconcile::Mismatch>() {
                ExitCode::from(9)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
