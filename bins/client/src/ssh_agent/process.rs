//! Life of the background process: started once per user, detached from the terminal, closed to debuggers and core
//! dumps. What it serves is in [`super::server`].

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use rustix::process::{DumpableBehavior, Resource, Rlimit};

use super::{
    control::{Answer, ControlClient, Request, VERSION, unexpected},
    server::{Agent, Sockets},
    teams::ConfiguredTeams,
};
use crate::{
    cli::environment::{CONTROL_SOCKET, Environment},
    exit::Failure,
    files, output, spawn,
};

/// Connecting to a process that has just started.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const READY: &[u8] = b"ready\n";
const LOCK: &str = "agent.lock";

/// Runs in the foreground until told to stop.
///
/// # Errors
/// When another one runs, or the sockets cannot be made.
pub fn run(environment: &Environment, runtime: &Path, detached: bool) -> Result<(), Failure> {
    harden()?;
    if detached {
        // Fails only for a leader of a process group, which a spawned process is not; then it stays attached.
        let _ = rustix::process::setsid();
        let _ = rustix::process::chdir("/");
    }
    files::private_directory(runtime)?;
    let Some(_lock) = files::try_lock(&runtime.join(LOCK))? else {
        return Err(Failure::other("another usher background process serves this directory"));
    };
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start", &error))?;
    tokio.block_on(async {
        let sockets = Sockets::bind(runtime)?;
        if detached {
            // The one who started us waits for this line, and no longer than that.
            let mut stdout = std::io::stdout().lock();
            let _ = stdout.write_all(READY).and_then(|()| stdout.flush());
        } else {
            // Only here: the detached one has nobody to tell.
            let _ = usher_telemetry::init("info,usher=debug", usher_telemetry::Format::Text);
            output::note(&format!("serving in `{}`", runtime.display()));
        }
        let teams = Arc::new(ConfiguredTeams::new(environment.config.clone(), environment.names()));
        let agent = Agent::new(teams);
        tokio::select! {
            () = agent.serve(sockets) => {}
            () = terminated() => {}
        }
        Ok(())
    })
}

async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// No core dump, no debugger of the same user, no `/proc/PID/mem`; and enough descriptors for a large fan-out.
fn harden() -> Result<(), Failure> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| Failure::io("cannot close the process to debuggers", &error.into()))?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none)
        .map_err(|error| Failure::io("cannot forbid core dumps", &error.into()))?;
    let files = rustix::process::getrlimit(Resource::Nofile);
    // Without it, a fan-out of more than about a thousand connections would wait.
    let _ = rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit { current: files.maximum, maximum: files.maximum },
    );
    Ok(())
}

/// A connection to the running process, or `None` when there is none.
///
/// # Errors
/// When one runs that cannot be talked to, or is of another version.
pub fn running(runtime: &Path) -> Result<Option<ControlClient>, Failure> {
    let Some(mut client) = ControlClient::connect(&runtime.join(CONTROL_SOCKET))? else { return Ok(None) };
    match client.ask(&Request::Hello)? {
        Answer::Welcome { version: VERSION, .. } => Ok(Some(client)),
        Answer::Welcome { .. } => Err(Failure::other("the usher background process is of another version")
            .next("run `usher ssh-agent --stop`, then sign in again")),
        _ => Err(unexpected()),
    }
}

/// A connection to the process, started when there is none.
///
/// # Errors
/// When it does not start.
pub fn ensure(environment: &Environment) -> Result<ControlClient, Failure> {
    environment.prepare_runtime()?;
    let runtime = &environment.runtime;
    if let Some(client) = running(runtime)? {
        return Ok(client);
    }
    start(runtime)?;
    let end = crate::clock::monotonic() + START_TIMEOUT;
    loop {
        if let Some(client) = running(runtime)? {
            return Ok(client);
        }
        if crate::clock::monotonic() >= end {
            return Err(Failure::other("the usher background process did not start")
                .next("run `usher ssh-agent --foreground` to see why"));
        }
        // Another command is starting it at the same moment.
        crate::clock::pause(Duration::from_millis(20));
    }
}

fn start(runtime: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io("cannot start the usher background process", &error);
    let mut child = spawn::own_binary()?;
    child.arg("ssh-agent").arg("--foreground").arg("--detached").arg("--runtime-directory").arg(runtime);
    child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = child.spawn().map_err(failed)?;
    let mut ready = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout
            .take(u64::try_from(READY.len()).unwrap_or_default())
            .read_to_end(&mut ready)
            .map_err(failed)?;
    }
    // Anything but "ready": it lost a race against another start, or could not; `ensure` finds out which.
    Ok(())
}

/// Ends the process, when there is one.
///
/// # Errors
/// When it does not answer.
pub fn stop(runtime: &Path) -> Result<(), Failure> {
    // Not `running`: one of another version must be stoppable too.
    let Some(mut client) = ControlClient::connect(&runtime.join(CONTROL_SOCKET))? else { return Ok(()) };
    client.ask(&Request::Stop).map(|_| ())
}
