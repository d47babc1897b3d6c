//! The command line: what there is, and what each command is given. What commands do is in their own modules.

use clap::{CommandFactory as _, Parser, Subcommand};
use serde::de::DeserializeOwned;
use usher_types::TeamSlug;

use crate::{
    admin,
    config::Config,
    doctor, enroll,
    exit::Failure,
    explain, index, inspect, login,
    output::{self, Format},
    people, proxy, ssh,
    ssh_config::{self, SshConfigCommand},
    step_up,
};

pub mod environment;

use environment::Environment;

/// Access to your team's servers with certificates that live three minutes.
#[derive(Debug, Parser)]
#[command(name = "usher", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

const GLOBAL: &str = "Global options";

const EXAMPLES: &str = "Examples:
  usher enroll https://broker.example:8443#PIN   belong to a team
  usher login                                    sign in, once a day
  usher ssh web-1                                a shell on a server
  usher ssh-config install                       ... and plain `ssh web-1`, scp, rsync, git, Ansible

Exit codes: 0 done, 1 other, 2 usage, 3 sign in first, 4 denied, 5 not found, 6 network or broker,
7 waits for approval. `usher ssh` returns the remote status, and 255 for its own errors.";

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// Team, when you belong to several
    #[arg(long, global = true, value_name = "TEAM", help_heading = GLOBAL)]
    pub team: Option<String>,
    /// How results are shown: `text` or `json`
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        hide_default_value = true
    )]
    #[arg(value_name = "FORMAT", help_heading = GLOBAL)]
    pub output: Format,
    /// Never ask, never open a browser
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub no_input: bool,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look after your passkeys, recovery codes and password, in the browser
    Account,
    /// API keys of service users
    #[command(subcommand)]
    ApiKey(admin::service_user::ApiKeyCommand),
    /// The audit log
    #[command(subcommand)]
    Audit(admin::audit::AuditCommand),
    /// Print a completion script for your shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// The team's identity providers
    #[command(subcommand)]
    Connector(admin::connector::ConnectorCommand),
    /// Devices and their approval
    #[command(subcommand)]
    Device(admin::device::DeviceCommand),
    /// Open a TCP connection to an sshd; used by `usher proxy`
    #[command(hide = true)]
    Dial(proxy::dial::DialCommand),
    /// Find out why something does not work
    Doctor,
    /// Belong to a team
    Enroll(enroll::EnrollCommand),
    /// Why you, or somebody else, may or may not connect to a server
    Explain(explain::ExplainCommand),
    /// Groups and their roles in projects
    #[command(subcommand)]
    Group(admin::group::GroupCommand),
    /// Show what a certificate says
    Inspect(inspect::InspectCommand),
    /// Print the host keys of a server; used by ssh
    #[command(hide = true)]
    KnownHosts {
        /// Socket of the background process
        #[arg(long, value_name = "PATH")]
        socket: Option<std::path::PathBuf>,
        /// Name as ssh has it (`%H`)
        host: String,
    },
    /// Deny a user, device, server or project, now and everywhere
    #[command(subcommand)]
    Lock(admin::lock::LockCommand),
    /// What is locked, by whom and why
    Locks,
    /// Sign in
    Login(login::LoginOptions),
    /// Sign out, and forget the session
    Logout,
    /// Passkeys, with which people sign in at a browser
    #[command(subcommand)]
    Passkey(admin::passkey::PasskeyCommand),
    /// What is forbidden whatever the roles say
    #[command(subcommand)]
    Policy(admin::policy::PolicyCommand),
    /// Projects
    #[command(subcommand)]
    Project(admin::project::ProjectCommand),
    /// Projects that you may see
    Projects,
    /// Connect stdin and stdout to a server; used by ssh
    #[command(hide = true)]
    Proxy(proxy::ProxyCommand),
    /// Say by exit status whether a name is one of ours; used by ssh
    #[command(hide = true)]
    Resolve {
        /// Say nothing
        #[arg(short, long)]
        quiet: bool,
        /// Name to look up
        name: String,
    },
    /// Copy files with scp
    Scp(ssh::ScpCommand),
    /// Enrolled servers
    #[command(subcommand)]
    Server(admin::server::ServerCommand),
    /// Servers that you may reach
    Servers,
    /// Sessions that are open
    #[command(subcommand)]
    Session(admin::session::SessionCommand),
    /// Users that are programs
    #[command(subcommand)]
    ServiceUser(admin::service_user::ServiceUserCommand),
    /// Log in on a server, or run a command there
    Ssh(Box<ssh::SshCommand>),
    /// Start, or stop, the background process that holds your session
    SshAgent(people::SshAgentCommand),
    /// Make plain `ssh` know your servers
    #[command(subcommand)]
    SshConfig(SshConfigCommand),
    /// Teams, sessions and the background process
    Status,
    /// Sign in again, for servers that ask for it by name
    StepUp(step_up::StepUpCommand),
    /// The keys that the team rests on, and what it asks of sessions
    #[command(subcommand)]
    Team(admin::team::TeamCommand),
    /// Tokens with which identity providers say who their users are
    #[command(subcommand)]
    ScimToken(admin::scim_token::ScimTokenCommand),
    /// Enrollment tokens for servers
    #[command(subcommand)]
    Token(admin::token::TokenCommand),
    /// Whose identity tokens sign in as a service user: GitHub Actions, GitLab CI, Kubernetes
    #[command(subcommand)]
    Trust(admin::service_user::TrustCommand),
    /// Lift a lock
    #[command(subcommand)]
    Unlock(admin::lock::UnlockCommand),
    /// Choose the team that commands are about
    Use {
        /// A team that this client belongs to
        team: TeamSlug,
    },
    /// People of the team
    #[command(subcommand)]
    User(admin::user::UserCommand),
    /// Who you are to the broker
    Whoami,
}

/// What every command gets.
#[derive(Clone, Debug)]
pub struct Context {
    /// Places and surroundings.
    pub environment: Environment,
    /// Teams.
    pub config: Config,
    /// How results are shown.
    pub format: Format,
    /// Never ask.
    pub no_input: bool,
    named_team: Option<String>,
}

impl Context {
    /// Reads environment and configuration.
    ///
    /// # Errors
    /// When either is unusable.
    pub fn new(global: &Global) -> Result<Self, Failure> {
        let environment = Environment::read()?;
        let config = Config::load(&environment.config)?;
        let named_team = global.team.clone().or_else(|| environment.team.clone());
        Ok(Self { environment, config, format: global.output, no_input: global.no_input, named_team })
    }

    /// The team that the command is about.
    ///
    /// # Errors
    /// When there is none.
    pub fn team(&self) -> Result<TeamSlug, Failure> {
        Ok(self.config.team(self.named_team.as_deref())?.0)
    }

    /// The team of a server: named in `web-1.acme.usher`, else on the command line, else the only one that is known to
    /// have such a server, else the current one.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn team_of_host(&self, host: &str) -> Result<TeamSlug, Failure> {
        let (name, named) = self.config.split_host(host);
        if let Some(team) = named {
            return Ok(team);
        }
        let current = self.config.team(self.named_team.as_deref()).map(|(team, _)| team);
        if self.named_team.is_some() {
            return current;
        }
        let known = index::look_up(&self.environment.names(), name).ok().flatten();
        let known: Vec<TeamSlug> = known
            .map(|entry| entry.teams.iter().filter_map(|team| team.parse().ok()).collect())
            .unwrap_or_default();
        match (current, known.as_slice()) {
            (Ok(team), []) => Ok(team),
            (Ok(team), teams) if teams.contains(&team) => Ok(team),
            (_, [team]) if self.config.teams.contains_key(team) => Ok(team.clone()),
            (current, [] | [_]) => current,
            (_, teams) => {
                let names: Vec<String> = teams.iter().map(|team| format!("`{name}.{team}.usher`")).collect();
                Err(Failure::usage(format!("`{name}` is a server of several teams"))
                    .next(format!("use {}", names.join(" or "))))
            }
        }
    }
}

/// Runs a command that was parsed.
///
/// # Errors
/// Whatever the command says.
pub fn run(cli: Cli) -> Result<(), Failure> {
    if let Command::Completions { shell } = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "usher", &mut script);
        return output::print(&String::from_utf8_lossy(&script));
    }
    let context = Context::new(&cli.global)?;
    match cli.command {
        Command::Account => login::account(&context),
        Command::ApiKey(command) => admin::service_user::api_key(&context, command),
        Command::Audit(command) => admin::audit::run(&context, &command),
        Command::Completions { .. } => Ok(()),
        Command::Device(command) => admin::device::run(&context, &command),
        Command::Connector(command) => admin::connector::run(&context, command),
        Command::Dial(command) => proxy::dial::run(&command),
        Command::Doctor => doctor::run(&context),
        Command::Enroll(command) => enroll::run(&context, &command),
        Command::Explain(command) => explain::run(&context, &command),
        Command::Group(command) => admin::group::run(&context, command),
        Command::Inspect(command) => inspect::run(&context, &command),
        Command::KnownHosts { socket, host } => people::known_hosts(&context, socket.as_deref(), &host),
        Command::Lock(command) => admin::lock::lock(&context, command),
        Command::Locks => admin::lock::locks(&context),
        Command::Login(options) => login::run(&context, &options),
        Command::Logout => login::sign_out(&context),
        Command::Passkey(command) => admin::passkey::run(&context, &command),
        Command::Policy(command) => admin::policy::run(&context, command),
        Command::Project(command) => admin::project::run(&context, command),
        Command::Projects => admin::project::run(&context, admin::project::ProjectCommand::List),
        Command::Proxy(command) => proxy::run(&context, &command),
        Command::Resolve { quiet, name } => people::resolve(&context, quiet, &name),
        Command::Scp(command) => ssh::copy(&context, &command),
        Command::Server(command) => admin::server::run(&context, command),
        Command::Session(command) => admin::session::run(&context, &command),
        Command::ServiceUser(command) => admin::service_user::run(&context, command),
        Command::Servers => people::servers(&context),
        Command::Ssh(command) => ssh::run(&context, &command),
        Command::SshAgent(command) => people::ssh_agent(&context, &command),
        Command::SshConfig(command) => ssh_config::run(&context, command),
        Command::Status => people::status(&context),
        Command::StepUp(command) => step_up::run(&context, &command),
        Command::Team(command) => admin::team::run(&context, command),
        Command::ScimToken(command) => admin::scim_token::run(&context, command),
        Command::Token(command) => admin::token::run(&context, command),
        Command::Trust(command) => admin::service_user::trust(&context, command),
        Command::Unlock(command) => admin::lock::unlock(&context, command),
        Command::Use { team } => people::use_team(&context, team),
        Command::User(command) => admin::user::run(&context, command),
        Command::Whoami => people::whoami(&context),
    }
}

/// Reads an enum of the API as JSON spells it.
///
/// # Errors
/// What values there are.
pub fn wire_value<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|error| error.to_string())
}

/// `90`, `90s`, `15m`, `1h`, `7d` in seconds.
///
/// # Errors
/// What forms there are.
pub fn duration_seconds(text: &str) -> Result<u32, String> {
    let wrong = || "use a number with s, m, h or d, for example 1h".to_owned();
    let (number, unit) = match text.trim_end_matches(|c: char| c.is_ascii_lowercase()) {
        number if number == text => (text, "s"),
        number => (number, text.get(number.len()..).unwrap_or_default()),
    };
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(wrong()),
    };
    number
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|n| *n > 0)
        .ok_or_else(wrong)
}
