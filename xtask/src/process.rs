//! The only place of xtask that starts processes. Argument vectors only, never a shell.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    io::{Read, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::{clock::Stopwatch, interrupt};

/// A command that is not running yet.
#[derive(Clone, Debug)]
pub(crate) struct Cmd {
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
    limit: Duration,
}

/// What a command left behind.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// Exit status; 128 and the signal's number when a signal ended it.
    pub(crate) status: i32,
    /// Standard output, invalid UTF-8 replaced.
    pub(crate) stdout: String,
    /// Standard error, likewise.
    pub(crate) stderr: String,
    /// How long it ran.
    pub(crate) ms: u64,
    shown: String,
}

impl Cmd {
    /// A command from its program and arguments.
    pub(crate) fn new<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(|arg| arg.as_ref().to_owned()).collect(),
            env: Vec::new(),
            dir: None,
            stdin: None,
            limit: Duration::from_secs(60),
        }
    }

    /// One more argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.argv.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs in `dir`.
    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Feeds these bytes; without, standard input is empty.
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Ends it after this time instead of a minute.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    #[expect(clippy::disallowed_methods, reason = "the one spawner of xtask")]
    fn build(&self) -> Result<Command> {
        let (program, args) = self.argv.split_first().context("empty command")?;
        let mut command = Command::new(program);
        command.args(args);
        for (key, value) in &self.env {
            command.env(key, value);
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        Ok(command)
    }

    /// Runs it to its end and collects what it prints.
    ///
    /// # Errors
    /// When it cannot be started or does not end in time; never because of its exit status.
    pub(crate) fn output(&self) -> Result<Output> {
        let watch = Stopwatch::start();
        let mut command = self.build()?;
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        // Its own group: Ctrl-C reaches only xtask, which then ends things in order.
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {self}"))?;
        let group = Pid::from_child(&child);
        if let (Some(bytes), Some(mut pipe)) = (self.stdin.clone(), child.stdin.take()) {
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
        let stdout = Reader::start(child.stdout.take());
        let stderr = Reader::start(child.stderr.take());
        let status = wait(child, self.limit, || {
            let _gone = kill_process_group(group, Signal::KILL);
        })?;
        let Some(status) = status else {
            bail!(
                "{self} was ended after {} ms\nstdout: {}\nstderr: {}",
                watch.ms(),
                stdout.finish(),
                stderr.finish()
            );
        };
        Ok(Output {
            status: exit_code(status),
            stdout: stdout.finish(),
            stderr: stderr.finish(),
            ms: watch.ms(),
            shown: self.to_string(),
        })
    }

    /// Runs it to its end and wants exit status 0; returns its trimmed standard output.
    ///
    /// # Errors
    /// As [`Cmd::output`], or when it fails; says what it printed.
    pub(crate) fn read(&self) -> Result<String> {
        self.output()?.success()
    }

    /// Runs it with the terminal of xtask, for as long as it takes.
    ///
    /// # Errors
    /// When it cannot be started, or when somebody asks to stop.
    pub(crate) fn status(&self) -> Result<i32> {
        let child = self.build()?.spawn().with_context(|| format!("cannot start {self}"))?;
        let pid = Pid::from_child(&child);
        let status = wait(child, Duration::MAX, || {
            let _gone = kill_process(pid, Signal::TERM);
        })?;
        status.map(exit_code).with_context(|| format!("{self} was interrupted"))
    }

    /// Starts it in the background, both outputs into `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn(&self, log: &Path) -> Result<Child> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = self.build()?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        command.spawn().with_context(|| format!("cannot start {self}"))
    }

    /// Becomes this command.
    ///
    /// # Errors
    /// Only returns when that fails.
    pub(crate) fn exec(&self) -> anyhow::Error {
        match self.build() {
            Ok(mut command) => anyhow::Error::new(command.exec()).context(format!("cannot start {self}")),
            Err(error) => error,
        }
    }
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> = self.argv.iter().map(|arg| arg.to_string_lossy()).collect();
        write!(f, "`{}`", shown.join(" "))
    }
}

impl Output {
    /// The same, shown in messages as `shown`.
    pub(crate) fn shown_as(mut self, shown: &str) -> Self {
        self.shown = format!("`{shown}`");
        self
    }

    /// Standard output without the white space around it, when the status is 0.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn success(&self) -> Result<String> {
        if self.status == 0 { Ok(self.stdout.trim().to_owned()) } else { bail!("{self}") }
    }

    /// Wants this very exit status.
    ///
    /// # Errors
    /// When it is another one.
    pub(crate) fn exits_with(&self, status: i32) -> Result<&Self> {
        if self.status == status { Ok(self) } else { bail!("expected exit status {status}: {self}") }
    }

    /// Wants the command to have failed.
    ///
    /// # Errors
    /// When it did not.
    pub(crate) fn fails(&self) -> Result<&Self> {
        if self.status == 0 { bail!("expected a refusal: {self}") } else { Ok(self) }
    }

    /// Wants one of the two outputs to contain `text`.
    ///
    /// # Errors
    /// When neither does.
    pub(crate) fn says(&self, text: &str) -> Result<&Self> {
        if self.stdout.contains(text) || self.stderr.contains(text) {
            Ok(self)
        } else {
            bail!("expected `{text}`: {self}")
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ended with {} after {} ms", self.shown, self.status, self.ms)?;
        for (name, text) in [("stdout", self.stdout.trim()), ("stderr", self.stderr.trim())] {
            if !text.is_empty() {
                write!(f, "\n{name}: {text}")?;
            }
        }
        Ok(())
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

/// Waits for a child. Past `limit`, or when somebody asks to stop, calls `end` and yields nothing.
fn wait(mut child: Child, limit: Duration, end: impl Fn()) -> Result<Option<ExitStatus>> {
    let watch = Stopwatch::start();
    // What is started after the request belongs to taking things down, and runs to its end.
    let going_down = interrupt::requested();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait()));
    loop {
        match receiver.recv_timeout(Duration::from_millis(100)) {
            Ok(status) => return Ok(Some(status?)),
            Err(_) if watch.elapsed() < limit && (going_down || !interrupt::requested()) => {}
            Err(_) => {
                end();
                return Ok(None);
            }
        }
    }
}

/// Reads a pipe in a thread. A grandchild that keeps the pipe open does not hold up whoever waits.
struct Reader {
    bytes: Arc<Mutex<Vec<u8>>>,
    done: mpsc::Receiver<()>,
}

impl Reader {
    fn start(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (sender, done) = mpsc::channel();
        let sink = Arc::clone(&bytes);
        if let Some(mut pipe) = pipe {
            std::thread::spawn(move || {
                let mut chunk = [0_u8; 8192];
                while let Ok(length) = pipe.read(&mut chunk) {
                    let Some(read) = chunk.get(..length).filter(|read| !read.is_empty()) else { break };
                    sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(read);
                }
                let _nobody_waits = sender.send(());
            });
        }
        Self { bytes, done }
    }

    fn finish(self) -> String {
        let _late = self.done.recv_timeout(Duration::from_millis(500));
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
