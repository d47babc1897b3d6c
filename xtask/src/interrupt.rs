//! Ctrl-C and `kill`: remembered, so that every loop ends soon and everything is taken down in the ordinary way.
//! A second signal changes nothing; `kill -9` is survived by the next run, which finds and cleans the leftovers.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result};

static REQUESTED: AtomicBool = AtomicBool::new(false);
static WHEN_REQUESTED: Mutex<Vec<Box<dyn Fn() + Send>>> = Mutex::new(Vec::new());

/// Whether somebody asked to stop.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Runs `action` in the signal thread as soon as somebody asks to stop: it ends what the main thread waits for.
pub(crate) fn on_request(action: impl Fn() + Send + 'static) {
    if let Ok(mut actions) = WHEN_REQUESTED.lock() {
        actions.push(Box::new(action));
    }
}

/// Starts the thread that listens for SIGINT, SIGTERM and SIGHUP.
///
/// # Errors
/// When no thread or signal handler can be had.
pub(crate) fn listen() -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("no signal handling")?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let _ended: std::io::Result<()> = runtime.block_on(wait());
        REQUESTED.store(true, Ordering::SeqCst);
        if let Ok(actions) = WHEN_REQUESTED.lock() {
            actions.iter().for_each(|action| action());
        }
    })?;
    Ok(())
}

async fn wait() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {},
        _ = terminate.recv() => {},
        _ = hangup.recv() => {},
    }
    Ok(())
}
