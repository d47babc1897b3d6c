//! Runs the user's own `ssh` with everything it needs on its command line; no configuration file takes part. Links no
//! SSH library.

use std::{collections::BTreeSet, io::IsTerminal as _, os::unix::process::CommandExt as _, path::Path};

use usher_api::v1::Purpose;
use usher_types::TeamSlug;

use crate::{
    cli::{Context, environment::SSH_SOCKET},
    exit::Failure,
    login, output, spawn,
    ssh_agent::{
        control::{Answer, Request, SignedIn},
        process,
    },
    workload,
};

/// What the options of one `ssh` depend on.
#[derive(Clone, Debug)]
pub struct Setting {
    binary: String,
    socket: String,
    proxy: Vec<String>,
}

impl Setting {
    /// Options for this program and the sockets in `runtime`.
    ///
    /// # Errors
    /// When a path cannot be written into an ssh configuration.
    pub fn new(binary: &Path, runtime: &Path) -> Result<Self, Failure> {
        Ok(Self { binary: plain(binary)?, socket: plain(&runtime.join(SSH_SOCKET))?, proxy: Vec::new() })
    }

    /// Adds an argument for `usher proxy`.
    #[must_use]
    pub fn proxy_argument(mut self, argument: impl Into<String>) -> Self {
        self.proxy.push(argument.into());
        self
    }

    /// This program's path, as it may stand inside single quotes in an ssh configuration.
    #[must_use]
    pub fn binary(&self) -> String {
        percent(&self.binary)
    }

    /// `ProxyCommand` for a server of ours. `%r` and `%h` are quoted: before 9.6 ssh passed whatever was typed to the
    /// shell (CVE-2023-51385).
    #[must_use]
    pub fn proxy_command(&self) -> String {
        let arguments: String = self.proxy.iter().map(|text| format!(" {}", percent(&quote(text)))).collect();
        format!(
            "{} proxy --socket {}{arguments} --login='%r' -- '%h' '%p'",
            percent(&quote(&self.binary)),
            percent(&quote(&self.socket)),
        )
    }

    /// Options that trust the server's own host keys and nothing else, and offer the connection's own key and nothing
    /// else.
    #[must_use]
    pub fn options(&self) -> Vec<(&'static str, String)> {
        let fixed = |name, value: &str| (name, value.to_owned());
        let known_hosts =
            format!("\"{}\" known-hosts --socket \"{}\" -- %H", percent(&self.binary), percent(&self.socket));
        vec![
            ("IdentityAgent", format!("\"{}\"", percent(&self.socket))),
            fixed("IdentityFile", "none"),
            fixed("IdentitiesOnly", "no"),
            fixed("PreferredAuthentications", "publickey"),
            fixed("PubkeyAuthentication", "yes"),
            fixed("StrictHostKeyChecking", "yes"),
            ("KnownHostsCommand", known_hosts),
            fixed("UserKnownHostsFile", "none"),
            fixed("GlobalKnownHostsFile", "none"),
            fixed("UpdateHostKeys", "no"),
            fixed("VerifyHostKeyDNS", "no"),
            fixed("CheckHostIP", "no"),
            fixed("CanonicalizeHostname", "no"),
            fixed("AddKeysToAgent", "no"),
            fixed("ForwardAgent", "no"),
            fixed("ForwardX11", "no"),
            fixed("ProxyUseFdpass", "no"),
        ]
    }
}

/// A path that needs no escaping in an ssh configuration, in a shell's single quotes, or in a glob.
fn plain(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().filter(|text| {
        path.is_absolute()
            && !text.contains(|c: char| {
                c.is_control() || matches!(c, '\'' | '"' | '\\' | '$' | '*' | '?' | '[' | ']')
            })
    });
    text.map(str::to_owned).ok_or_else(|| {
        Failure::other(format!("the path `{}` cannot be written into an ssh configuration", path.display()))
            .next("use a path without quotes, backslashes, `$` and wildcards")
    })
}

/// ssh expands `%` in commands and in some paths.
fn percent(text: &str) -> String {
    text.replace('%', "%%")
}

/// One word for a POSIX shell.
#[must_use]
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Several words for a shell, inside a `ProxyCommand`.
#[must_use]
pub fn command_line(words: &[String]) -> String {
    percent(&words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "))
}

/// What `usher ssh` was asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct SshCommand {
    /// Account on the server; your own when absent
    #[arg(short = 'l', long)]
    pub login: Option<String>,
    /// Bastions to go through instead of the configured ones, nearest first; `none` for a direct connection
    #[arg(long, value_delimiter = ',', value_name = "BASTION")]
    pub via: Option<Vec<String>>,
    /// Ask for a terminal even with a command
    #[arg(short = 't', long = "tty", conflicts_with = "no_tty")]
    pub tty: bool,
    /// Never ask for a terminal
    #[arg(short = 'T', long = "no-tty")]
    pub no_tty: bool,
    /// Run no command: only forward ports
    #[arg(short = 'N')]
    pub no_command: bool,
    /// Forward a local port: `[address:]port:host:port`
    #[arg(short = 'L', value_name = "FORWARD")]
    pub local_forward: Vec<String>,
    /// Forward a remote port: `[address:]port:host:port`
    #[arg(short = 'R', value_name = "FORWARD")]
    pub remote_forward: Vec<String>,
    /// Serve SOCKS on a local port: `[address:]port`
    #[arg(short = 'D', value_name = "FORWARD")]
    pub dynamic_forward: Vec<String>,
    /// Say more about what ssh does; up to three times
    #[arg(short = 'v', action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Further ssh options, as in `ssh -o`
    #[arg(short = 'o', value_name = "OPTION")]
    pub options: Vec<String>,
    /// Server, or login@server
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Command to run there
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Replaces this process by `ssh`; its exit status is the remote one.
///
/// # Errors
/// Everything that comes before.
pub fn run(context: &Context, command: &SshCommand) -> Result<(), Failure> {
    let (login, host) = match command.host.rsplit_once('@') {
        Some((login, host)) => (Some(login.to_owned()), host.to_owned()),
        None => (None, command.host.clone()),
    };
    let login = command.login.clone().or(login);
    let (team, signed_in) = signed_in(context, &host)?;
    let mut ssh = prepare(context, spawn::ssh(&context.environment)?, &team, command, purpose(command))?;
    let terminal = [(command.tty, "-t"), (command.no_tty, "-T"), (command.no_command, "-N")];
    ssh.args(terminal.iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| flag));
    ssh.args(std::iter::repeat_n("-v", usize::from(command.verbose)));
    for (flag, values) in
        [("-L", &command.local_forward), ("-R", &command.remote_forward), ("-D", &command.dynamic_forward)]
    {
        ssh.args(values.iter().flat_map(|value| [flag, value.as_str()]));
    }
    ssh.arg("-l").arg(login.unwrap_or_else(|| signed_in.user.unix_user_name.to_string()));
    ssh.arg("--").arg(&host).args(&command.command);
    Err(Failure::io("cannot start ssh", &ssh.exec()))
}

/// What `usher scp` was asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct ScpCommand {
    /// Copy directories
    #[arg(short = 'r')]
    pub recursive: bool,
    /// Keep times and modes
    #[arg(short = 'p')]
    pub preserve: bool,
    /// Files, as `path` or `[login@]server:path`; the last is the destination
    #[arg(required = true, num_args = 2.., value_name = "FILE")]
    pub files: Vec<String>,
}

/// Replaces this process by `scp`.
///
/// # Errors
/// Everything that comes before.
pub fn copy(context: &Context, command: &ScpCommand) -> Result<(), Failure> {
    let remote = command.files.iter().find_map(|file| file.split_once(':').map(|(host, _)| host));
    let remote = remote
        .filter(|host| !host.contains('/'))
        .ok_or_else(|| Failure::usage("none of these files is on a server"))?;
    let host = remote.rsplit_once('@').map_or(remote, |(_, host)| host);
    let (team, signed_in) = signed_in(context, host)?;
    let mut scp = spawn::scp(&context.environment)?;
    // scp gives options to the ssh that it starts.
    scp.args(["-F", "none"]);
    let setting = Setting::new(&spawn::own_path()?, &context.environment.runtime)?
        .proxy_argument(format!("--team={team}"))
        .proxy_argument("--purpose=command");
    add_options(&mut scp, &setting);
    scp.arg("-o").arg(format!("User={}", signed_in.user.unix_user_name));
    scp.args(
        [(command.recursive, "-r"), (command.preserve, "-p")].iter().filter(|(on, _)| *on).map(|(_, f)| f),
    );
    scp.arg("--").args(&command.files);
    Err(Failure::io("cannot start scp", &scp.exec()))
}

fn add_options(ssh: &mut std::process::Command, setting: &Setting) {
    for (name, value) in setting.options() {
        ssh.arg("-o").arg(format!("{name}={value}"));
    }
    ssh.arg("-o").arg(format!("ProxyCommand={}", setting.proxy_command()));
    // A multiplexed master would outlive the three minutes; plain ssh users may choose it for themselves.
    ssh.args(["-o", "ControlMaster=no", "-o", "ControlPath=none"]);
}

fn prepare(
    context: &Context,
    mut ssh: std::process::Command,
    team: &TeamSlug,
    command: &SshCommand,
    purpose: Purpose,
) -> Result<std::process::Command, Failure> {
    let mut setting = Setting::new(&spawn::own_path()?, &context.environment.runtime)?
        .proxy_argument(format!("--team={team}"))
        .proxy_argument(match purpose {
            Purpose::Command => "--purpose=command",
            Purpose::Interactive => "--purpose=interactive",
        });
    if context.no_input {
        setting = setting.proxy_argument("--no-input");
    }
    if let Some(via) = &command.via {
        setting = setting.proxy_argument(format!("--via={}", via.join(",")));
    }
    ssh.args(["-F", "none"]);
    // ssh takes the first value of an option: ours come before whatever is added.
    add_options(&mut ssh, &setting);
    ssh.args(command.options.iter().flat_map(|option| ["-o", option.as_str()]));
    Ok(ssh)
}

fn purpose(command: &SshCommand) -> Purpose {
    let shell = command.command.is_empty() && !command.no_command && std::io::stdin().is_terminal();
    if command.tty || (shell && !command.no_tty) { Purpose::Interactive } else { Purpose::Command }
}

/// The team of `host` and who is signed in to it; signs in first when there is a terminal to do it at.
fn signed_in(context: &Context, host: &str) -> Result<(TeamSlug, SignedIn), Failure> {
    let team = context.team_of_host(host)?;
    if let Some(found) = workload::session(context, &team)? {
        return Ok((team, found));
    }
    if let Some(found) = session(&context.environment.runtime, &team)? {
        return Ok((team, found));
    }
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if context.no_input || !terminal {
        return Err(Failure::not_signed_in(team.as_str()));
    }
    output::note("not signed in yet");
    login::sign_in(context, &team, &login::LoginOptions::default(), &BTreeSet::new())?;
    let found = session(&context.environment.runtime, &team)?;
    found.map(|found| (team.clone(), found)).ok_or_else(|| Failure::not_signed_in(team.as_str()))
}

/// Who is signed in to `team`, when anybody is.
///
/// # Errors
/// When the background process cannot be asked.
pub fn session(runtime: &Path, team: &TeamSlug) -> Result<Option<SignedIn>, Failure> {
    let Some(mut agent) = process::running(runtime)? else { return Ok(None) };
    match agent.ask(&Request::Status)? {
        Answer::Status(status) => Ok(status.teams.get(team).cloned()),
        _ => Err(crate::ssh_agent::control::unexpected()),
    }
}
