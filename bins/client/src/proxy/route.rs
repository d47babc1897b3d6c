//! One way to a server: a TCP connection, or a chain of stock `ssh -W` through bastions. The bastions see ciphertext
//! only; each is authenticated by its own host key and gets its own certificate.

use std::{
    io::Read as _,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Stdio},
    sync::mpsc::Sender,
};

use super::{
    banner::{self, Greeting},
    dial,
};
use crate::{
    cli::environment::Environment,
    exit::{Exit, Failure},
    spawn,
    ssh::{self, Setting},
    ssh_agent::control::{LegPlan, RoutePlan},
};

/// What became of a route.
pub(super) enum Event {
    /// The server greeted.
    Connected { route: usize, stream: Stream, banner: Vec<u8> },
    /// It did not.
    Failed { route: usize, failure: Failure, again: bool },
}

/// Bytes from and to the server.
pub(super) enum Stream {
    Tcp(TcpStream),
    Pipes(ChildStdin, ChildStdout),
}

/// A stream, and the processes behind it.
pub(super) struct Wire {
    pub(super) stream: Stream,
    pub(super) hops: Option<Hops>,
}

/// The outermost `ssh -W` of a chain.
pub(super) struct Hops(Child);

impl Hops {
    pub(super) fn pid(&self) -> Option<i32> {
        i32::try_from(self.0.id()).ok()
    }

    /// Ends the chain: `ssh` passes the end on to what it started itself.
    pub(super) fn end(&mut self) {
        if let Some(pid) = self.pid().and_then(rustix::process::Pid::from_raw) {
            // Gone already, perhaps.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

/// Starts routes; everything that they have in common.
pub(super) struct Starter {
    setting: Setting,
    binary: PathBuf,
    ssh: PathBuf,
    /// Which of a server's addresses to go to.
    attempt: usize,
}

impl Starter {
    pub(super) fn new(environment: &Environment, runtime: &Path, attempt: usize) -> Result<Self, Failure> {
        let binary = spawn::own_path()?;
        Ok(Self {
            setting: Setting::new(&binary, runtime)?,
            binary,
            ssh: spawn::ssh_path(environment)?,
            attempt,
        })
    }

    /// Starts on a route; its end comes as an [`Event`].
    pub(super) fn start(
        &self,
        route: usize,
        plan: &RoutePlan,
        events: &Sender<Event>,
    ) -> Result<Option<Hops>, Failure> {
        let events = events.clone();
        let (target, bastions) =
            plan.legs.split_last().ok_or_else(|| Failure::other("a route without a server"))?;
        if bastions.is_empty() {
            let addresses = addresses(target);
            std::thread::spawn(move || {
                let event = match dial::dial(&addresses) {
                    Ok((stream, banner)) => Event::Connected { route, stream: Stream::Tcp(stream), banner },
                    // It was tried again for long enough.
                    Err(failure) => Event::Failed { route, failure, again: false },
                };
                // Nobody listens when another route was faster.
                let _ = events.send(event);
            });
            return Ok(None);
        }
        let mut command = spawn::program(&self.ssh);
        command.args(self.hop_arguments(bastions, target)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| Failure::io("cannot start ssh", &error))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Failure::other("cannot talk to ssh"));
        };
        let through = bastions.iter().map(|leg| format!("`{}`", leg.name)).collect::<Vec<_>>().join(", ");
        std::thread::spawn(move || {
            // The other end may be gone: another route was faster.
            let _ = events.send(wait_for_greeting(route, stdin, stdout, stderr, &through));
        });
        Ok(Some(Hops(child)))
    }

    /// Arguments of the `ssh` that forwards to `target` through the last of `bastions`; the ones before it are its own
    /// `ProxyCommand`.
    fn hop_arguments(&self, bastions: &[LegPlan], target: &LegPlan) -> Result<Vec<String>, Failure> {
        let (bastion, before) =
            bastions.split_last().ok_or_else(|| Failure::other("a hop without a bastion"))?;
        let proxy = if before.is_empty() {
            let mut words = vec![self.binary.display().to_string(), "dial".to_owned()];
            words.extend(addresses(bastion).iter().map(ToString::to_string));
            words
        } else {
            let mut words = vec![self.ssh.display().to_string()];
            words.extend(self.hop_arguments(before, bastion)?);
            words
        };
        let goals = addresses(target);
        let goal = goals.iter().cycle().nth(self.attempt).ok_or_else(|| {
            Failure::new(Exit::Network, format!("`{}` has not reported an address", target.name))
        })?;
        let mut words: Vec<String> = ["-F", "none", "-a", "-x", "-T"].map(str::to_owned).to_vec();
        let mut options: Vec<(&str, String)> = self.setting.options();
        options.extend(HOP_OPTIONS.map(|(name, value)| (name, value.to_owned())));
        options.push(("HostKeyAlias", bastion.server_id.to_string()));
        options.push(("ProxyCommand", ssh::command_line(&proxy)));
        words.extend(
            options.into_iter().flat_map(|(name, value)| ["-o".to_owned(), format!("{name}={value}")]),
        );
        words.extend(["-l".to_owned(), bastion.account.clone(), "-W".to_owned(), goal.to_string()]);
        words.extend(["--".to_owned(), bastion.server_id.to_string()]);
        Ok(words)
    }
}

/// What ssh, or `usher dial` below it, says when trying again makes no sense. Anything else was dropped by a busy server,
/// as far as one can see.
const FINAL: [&str; 8] = [
    "administratively prohibited",
    "cannot be reached",
    "connect failed",
    "no matching",
    "not an SSH server",
    "Permission denied",
    "Too many authentication failures",
    "verification failed",
];

const HOP_OPTIONS: [(&str, &str); 8] = [
    ("BatchMode", "yes"),
    // Says why a channel was not opened; shown only when no route leads to the server.
    ("LogLevel", "INFO"),
    ("ConnectTimeout", "15"),
    // A hop whose network went away ends by itself.
    ("ServerAliveInterval", "15"),
    ("ServerAliveCountMax", "3"),
    ("ExitOnForwardFailure", "yes"),
    ("ControlMaster", "no"),
    ("ControlPath", "none"),
];

fn wait_for_greeting(
    route: usize,
    stdin: ChildStdin,
    mut stdout: ChildStdout,
    stderr: ChildStderr,
    through: &str,
) -> Event {
    // Read on the side, so that a talkative ssh never waits for us.
    let said = std::thread::spawn(move || {
        let mut text = Vec::new();
        // What was said so far is worth showing even when reading fails.
        let _ = stderr.take(4096).read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    match banner::read(&mut stdout) {
        Ok(Greeting::Ssh(banner)) => Event::Connected { route, stream: Stream::Pipes(stdin, stdout), banner },
        Ok(Greeting::Dropped) => {
            drop((stdin, stdout));
            let said = said.join().unwrap_or_default();
            let busy = !FINAL.iter().any(|sign| said.contains(sign));
            let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            let why =
                if lines.is_empty() { "the connection was closed".to_owned() } else { lines.join("; ") };
            let failure = Failure::new(Exit::Network, format!("no connection through {through}: {why}"))
                .next("`usher servers` shows which servers are up");
            Event::Failed { route, failure, again: busy }
        }
        Ok(Greeting::NotSsh) => Event::Failed {
            route,
            failure: Failure::new(
                Exit::Network,
                format!("what answers behind {through} is not an SSH server"),
            ),
            again: false,
        },
        Err(error) => Event::Failed {
            route,
            failure: Failure::io(format_args!("through {through}"), &error),
            again: false,
        },
    }
}

fn addresses(leg: &LegPlan) -> Vec<SocketAddr> {
    leg.addresses.iter().map(|address| SocketAddr::new(address.ip, address.port)).collect()
}
