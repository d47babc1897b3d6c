//! One host from outside: start and end it, run programs in it, read and write its files.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Child,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use super::{inner::Plan, leftovers::ProcessId};
use crate::{
    clock,
    process::{Cmd, Output},
    workspace,
};

/// Where xtask itself is inside hosts, for the parts of a test that must speak from there.
pub(crate) const XTASK: &str = "/usr/lib/usher-lab/xtask";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A host of the laboratory.
#[derive(Debug)]
pub(crate) struct Host {
    name: String,
    netns: String,
    dir: PathBuf,
    init: Option<ProcessId>,
}

impl Host {
    pub(super) fn new(name: &str, netns: String, dir: PathBuf) -> Self {
        Self { name: name.to_owned(), netns, dir, init: None }
    }

    /// A host of a laboratory that some other process brought up.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(crate) fn open(lab: &Path, name: &str) -> Result<Self> {
        let dir = lab.join(name);
        let init = fs::read(dir.join("init.json")).with_context(|| format!("there is no host `{name}`"))?;
        let init = serde_json::from_slice::<ProcessId>(&init)?;
        Ok(Self { name: name.to_owned(), netns: String::new(), dir, init: Some(init) })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Starts the host's first process; `wait_until_up` must follow.
    pub(super) fn start(&self, plan: &Plan) -> Result<()> {
        fs::create_dir_all(&self.dir)?;
        let _old = fs::remove_file(self.dir.join("init.json"));
        let child = Cmd::new(["nsenter", &format!("--net=/run/netns/{}", self.netns), "unshare"])
            .args(["--mount", "--propagation", "private", "--pid", "--uts", "--ipc", "--cgroup"])
            .args(["--fork", "--kill-child"])
            .arg(workspace::own_executable()?)
            .args(["lab-init", &serde_json::to_string(plan)?])
            .spawn(&self.console())?;
        fs::write(self.dir.join("unshare.pid"), child.id().to_string())?;
        Ok(())
    }

    /// Waits for its sshd and remembers its first process.
    pub(super) fn wait_until_up(&mut self) -> Result<()> {
        let unshare: i32 = fs::read_to_string(self.dir.join("unshare.pid"))?.parse()?;
        let limit = clock::PATIENCE;
        let up = || {
            let init = child_of(unshare).and_then(ProcessId::of)?;
            // tini takes the stage's place once everything is mounted.
            let name = fs::read_to_string(format!("/proc/{}/comm", init.pid())).ok()?;
            let ready = Path::new(&format!("/proc/{}/root/run/sshd.pid", init.pid())).exists();
            (name.trim() == "tini" && ready).then_some(init)
        };
        let init = clock::wait_for(&format!("sshd on {}", self.name), limit, || {
            if let Some(init) = up() {
                return Some(Ok(init));
            }
            let ended = ProcessId::of(unshare).is_none();
            ended.then(|| Err(anyhow::anyhow!("{} did not start: {}", self.name, self.console_tail())))
        })??;
        fs::write(self.dir.join("init.json"), serde_json::to_vec(&init)?)?;
        self.init = Some(init);
        Ok(())
    }

    /// Ends all of its processes at once.
    pub(super) fn kill(&self) -> Result<()> {
        self.init()?.kill()
    }

    fn init(&self) -> Result<ProcessId> {
        self.init.with_context(|| format!("{} is not up", self.name))
    }

    fn console(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    fn console_tail(&self) -> String {
        fs::read_to_string(self.console()).unwrap_or_default()
    }

    /// Runs a program as root and collects what it prints.
    ///
    /// # Errors
    /// When it cannot be started or does not end in time.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Result<Output> {
        self.cmd(argv).output()
    }

    /// A program to be run in this host.
    pub(crate) fn cmd<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> HostCmd<'_> {
        HostCmd {
            host: self,
            argv: argv.into_iter().map(|arg| arg.as_ref().to_owned()).collect(),
            user: None,
            env: Vec::new(),
            stdin: None,
            limit: clock::PATIENCE,
        }
    }

    /// A hidden subcommand of xtask, run inside this host.
    pub(crate) fn xtask<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> HostCmd<'_> {
        let mut command = self.cmd([XTASK]);
        command.argv.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        command
    }

    /// A file of the host as seen from outside.
    ///
    /// # Errors
    /// When the host is not up.
    pub(crate) fn path(&self, inside: &str) -> Result<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}/root{inside}", self.init()?.pid())))
    }

    /// Reads a file of the host; empty when there is none.
    pub(crate) fn read(&self, inside: &str) -> String {
        let bytes = self.path(inside).and_then(|path| Ok(fs::read(path)?)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Writes a file of the host, owned by root.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, inside: &str, mode: u32, text: &str) -> Result<()> {
        let path = self.path(inside)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {inside} on {}", self.name))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    /// Whether a file exists in the host.
    pub(crate) fn has(&self, inside: &str) -> bool {
        self.path(inside).is_ok_and(|path| path.symlink_metadata().is_ok())
    }

    /// Starts a daemon under the host's first process, both outputs into `log` (a path in the host). `prefix` is a
    /// program that changes something and becomes the daemon.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn daemon(&self, log: &str, prefix: &[&str], argv: &[&str]) -> Result<()> {
        let start = ["setsid", "--fork"].iter().chain(prefix).chain(argv);
        let command = self.cmd(start).build()?;
        let mut child = command.spawn(&self.path(log)?)?;
        child.wait()?;
        Ok(())
    }

    /// Where files lie that belong to the host but are not in it.
    pub(crate) fn tools(&self) -> &Path {
        &self.dir
    }

    /// Starts a program that sees this machine's files but the host's network, and ends with the host. Both outputs go
    /// into `log`, a file of [`Self::tools`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn beside<S: AsRef<OsStr>>(&self, log: &str, argv: impl IntoIterator<Item = S>) -> Result<()> {
        let init = self.init()?.pid().to_string();
        let command = Cmd::new(["nsenter", "-t", &init, "-n", "-p", "--", "setsid", "--fork"]).args(argv);
        command.spawn(&self.dir.join(log))?.wait()?;
        Ok(())
    }

    /// A program that sees this machine's files but the host's network, to be waited for.
    ///
    /// # Errors
    /// When the host is not up.
    pub(crate) fn networked<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Result<Cmd> {
        let init = self.init()?.pid().to_string();
        Ok(Cmd::new(["nsenter", "-t", &init, "-n", "--"]).args(argv).limit(clock::PATIENCE))
    }

    /// Process ids, as the host counts them, of programs with exactly this name (15 characters at most).
    ///
    /// # Errors
    /// When the host is not up.
    pub(crate) fn pids_of(&self, name: &str) -> Result<Vec<String>> {
        let output = self.run(["pgrep", "-x", name])?;
        Ok(output.stdout.split_whitespace().map(str::to_owned).collect())
    }

    /// Kills every program of this name inside this host with `kill -9` and waits until none is left.
    ///
    /// # Errors
    /// When one remains.
    pub(crate) fn kill_dead(&self, name: &str) -> Result<()> {
        self.run(["pkill", "-9", "-x", name])?;
        clock::wait_for(&format!("{name} to be gone from {}", self.name), clock::PATIENCE, || {
            self.pids_of(name).ok().filter(Vec::is_empty)
        })
        .map(drop)
    }
}

/// A program to be run in a host.
#[derive(Clone, Debug)]
pub(crate) struct HostCmd<'host> {
    host: &'host Host,
    argv: Vec<std::ffi::OsString>,
    user: Option<String>,
    env: Vec<String>,
    stdin: Option<Vec<u8>>,
    limit: Duration,
}

impl HostCmd<'_> {
    /// Runs it as a user of the host, with the environment that a login would give.
    pub(crate) fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push(format!("{key}={value}"));
        self
    }

    /// More arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.argv.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Feeds these bytes.
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Ends it after this time instead of 30 s.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command as it looks from outside.
    ///
    /// # Errors
    /// When the host is not up.
    pub(crate) fn build(&self) -> Result<Cmd> {
        let init = self.host.init()?.pid().to_string();
        let mut command = Cmd::new(["nsenter", "-t", &init, "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--"]);
        let user = self.user.as_deref().unwrap_or("root");
        if user != "root" {
            let group = if user == "nobody" { "nogroup" } else { user };
            let (uid, gid) = (format!("--reuid={user}"), format!("--regid={group}"));
            command = command.args(["setpriv", &uid, &gid, "--init-groups", "--"]);
        }
        let home = match user {
            "root" => "/root".to_owned(),
            "nobody" => "/".to_owned(),
            person => format!("/home/{person}"),
        };
        command = command
            .args(["env", "-i", "-C", &home, PATH, "LANG=C.UTF-8", "TERM=dumb", "SHELL=/bin/bash"])
            .args([format!("HOME={home}"), format!("USER={user}"), format!("LOGNAME={user}")])
            .args(&self.env)
            .args(&self.argv)
            .limit(self.limit);
        Ok(match &self.stdin {
            Some(bytes) => command.stdin(bytes.clone()),
            None => command,
        })
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started or does not end in time.
    pub(crate) fn output(&self) -> Result<Output> {
        let output = self.build()?.output()?;
        Ok(output.shown_as(&format!("{}$ {}", self.host.name, shown(&self.argv))))
    }

    /// Runs it to its end and wants exit status 0; returns its trimmed standard output.
    ///
    /// # Errors
    /// As [`HostCmd::output`], or when it fails.
    pub(crate) fn read(&self) -> Result<String> {
        self.output()?.success()
    }

    /// Starts it and goes on; what it prints is collected meanwhile.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(&self) -> Result<Background> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let log = self.host.dir.join(format!("background-{number}.log"));
        let child = self.build()?.spawn(&log)?;
        Ok(Background { child, log, shown: format!("{}$ {}", self.host.name, shown(&self.argv)) })
    }
}

/// A program that runs in a host while the test does something else. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Background {
    child: Child,
    log: PathBuf,
    shown: String,
}

impl Background {
    /// What it printed so far, both outputs.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its exit status, once it has ended.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().ok().flatten().map(|status| status.code().unwrap_or(255))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end in time; says what it printed.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<i32> {
        let shown = self.shown.clone();
        clock::wait_for(&format!("`{shown}` to end"), limit, || self.ended())
            .with_context(|| format!("it printed: {}", self.text().trim()))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // The group: nsenter waits for the program that it started inside the host.
            let _gone = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ended = self.child.wait();
        }
    }
}

fn shown(argv: &[std::ffi::OsString]) -> String {
    argv.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn child_of(parent: i32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
