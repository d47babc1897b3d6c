//! The root half: no network, no threads, no interpretation. Starts the network half, answers its typed requests, and repairs
//! the host from the last verified state whether or not anybody asks.

use std::{
    io::{Error, ErrorKind},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use usher_api::v1::SignedDocument;
use usher_host::{LinuxHost, ServiceUser, Unprivileged, spawn_unprivileged};
use usher_telemetry::Chain;
use usher_types::UnixTime;

use crate::{
    clock,
    config::Config,
    engine::Engine,
    enrollment::Enrollment,
    exit::Failure,
    message::{self, Answer, BrokerState, Job, Request},
    places,
    status::{self, Status},
};

/// The network half asks at least every thirty seconds, so this is when something is wrong with it.
const SILENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };
/// Silent for so many times [`SILENCE`], it is started anew.
const PATIENCE: u32 = 3;
/// A message that has begun must arrive in this time.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two starts of the network half.
const FIRST_PAUSE: i64 = 1;
const LONGEST_PAUSE: i64 = 30;

/// `usher-agent run`.
pub(crate) fn run(config: Config) -> Result<(), Failure> {
    require_root("run")?;
    let enrollment = Enrollment::load()?;
    let user = ServiceUser::find()?.ok_or_else(|| {
        Failure::other("the user `usher-agent` is missing")
            .next("run `usher-agent enroll` again: it makes the user")
    })?;
    let host = LinuxHost::open(places::ROOT, &config.break_glass_users, clock::now)?;
    let mut helper = Helper::new(Engine::new(host, enrollment.clone(), config));
    helper.engine.reconcile();
    helper.write_status();
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "systemd cannot be told that the agent is ready");
    }
    tracing::info!(server = %enrollment.name, server_id = %enrollment.server_id, "agent started");
    let mut pause = FIRST_PAUSE;
    loop {
        match helper.serve(&enrollment, user) {
            Ok(()) => pause = FIRST_PAUSE,
            Err(error) => tracing::error!(error = %Chain(&error), "the network process ended"),
        }
        helper.network_pid = None;
        helper.engine.reconcile();
        helper.write_status();
        // Waiting, and nothing else: without descriptors poll cannot fail in a way that matters.
        let _ = poll(&mut [], Some(&Timespec { tv_sec: pause, tv_nsec: 0 }));
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// Refuses to go on as anybody but root.
pub(crate) fn require_root(command: &str) -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err(Failure::other(format!("`usher-agent {command}` must run as root"))
            .next(format!("sudo usher-agent {command} ...")))
    }
}

/// Starts the network half with its job as the first message.
pub(crate) fn start_network(user: ServiceUser, job: &Job) -> Result<(UnixStream, Unprivileged), Failure> {
    let fail = |error: &Error| Failure::because("the network process cannot be started", error);
    let (mut ours, theirs) = UnixStream::pair().map_err(|error| fail(&error))?;
    let program = std::env::current_exe().map_err(|error| fail(&error))?;
    let process = spawn_unprivileged(Path::new(&program), &["network"], user, OwnedFd::from(theirs))?;
    message::write(&mut ours, job).map_err(|error| fail(&error))?;
    Ok((ours, process))
}

struct Helper {
    engine: Engine,
    broker: BrokerState,
    broker_since: UnixTime,
    network_pid: Option<u32>,
    refused: Option<String>,
}

impl Helper {
    fn new(engine: Engine) -> Self {
        let (broker, broker_since) = (BrokerState::default(), clock::now());
        Self { engine, broker, broker_since, network_pid: None, refused: None }
    }

    /// Answers one network process until it ends.
    fn serve(&mut self, enrollment: &Enrollment, user: ServiceUser) -> Result<(), Error> {
        let named = self.engine.pins();
        // Only a pinned broker is pinned: with an operator's own certificate the platform's roots decide.
        let pins = match enrollment.pin {
            Some(pin) if named.is_empty() => vec![pin],
            Some(_) => named,
            None => Vec::new(),
        };
        let logging = self.engine.logging();
        let job = Job::Serve { url: enrollment.url.clone(), pins, logging };
        let (mut stream, process) =
            start_network(user, &job).map_err(|failure| Error::other(failure.message))?;
        stream.set_read_timeout(Some(MESSAGE_TIMEOUT))?;
        stream.set_write_timeout(Some(MESSAGE_TIMEOUT))?;
        self.network_pid = Some(process.id());
        let mut silent = 0;
        loop {
            if !is_readable(&stream)? {
                silent += 1;
                if silent >= PATIENCE {
                    return Err(Error::new(ErrorKind::TimedOut, "the network process is silent"));
                }
                self.engine.reconcile();
                self.write_status();
                continue;
            }
            silent = 0;
            let request = message::read(&mut stream)?;
            let answer = self.answer(request);
            self.write_status();
            message::write(&mut stream, &answer)?;
        }
    }

    /// The whole of what the network half can make root do.
    fn answer(&mut self, request: Request) -> Answer {
        match request {
            Request::Broker(state) => {
                if state != self.broker {
                    self.broker_since = clock::now();
                }
                self.broker = state;
                self.with_report(None, false)
            }
            Request::Offer { project, server } => self.offer(project, server),
            Request::Report => {
                self.engine.reconcile();
                self.with_report(None, true)
            }
        }
    }

    fn offer(&mut self, project: SignedDocument, server: SignedDocument) -> Answer {
        match self.engine.offer(project, server) {
            Ok(()) => {
                self.refused = None;
                self.engine.reconcile();
                self.with_report(None, true)
            }
            Err(reason) => {
                tracing::error!(reason, "state from the broker is refused; the last one stays");
                self.refused = Some(reason.clone());
                self.with_report(Some(reason), true)
            }
        }
    }

    fn with_report(&self, refused: Option<String>, wanted: bool) -> Answer {
        let report = if wanted {
            self.engine
                .report()
                .map_err(|failure| {
                    tracing::error!(reason = failure.message, "the host's facts cannot be had");
                })
                .ok()
        } else {
            None
        };
        let (generation, server_generation) = self.engine.generations();
        Answer {
            generation,
            server_generation,
            refused,
            report: report.map(Box::new),
            pins: self.engine.pins(),
        }
    }

    fn write_status(&self) {
        let (generation, server_generation) = self.engine.generations();
        status::write(&Status {
            v: 1,
            at: clock::now(),
            helper_pid: std::process::id(),
            network_pid: self.network_pid,
            broker: self.broker.clone(),
            broker_since: self.broker_since,
            generation,
            server_generation,
            refused: self.refused.clone(),
            last_pass: self.engine.pass().clone(),
        });
    }
}

/// Waits for a message to begin; false after a while without one.
fn is_readable(stream: &UnixStream) -> Result<bool, Error> {
    let mut watched = [PollFd::new(stream, PollFlags::IN)];
    match poll(&mut watched, Some(&SILENCE)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
