//! The only place of xtask that reads a clock or lets time pass.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use usher_types::UnixTime;

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock in xtask")]
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Measures a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts it.
    #[expect(clippy::disallowed_methods, reason = "the one reader of the monotonic clock in xtask")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Milliseconds since the start.
    pub(crate) fn ms(self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Lets other processes work for a moment between two looks at a condition.
#[expect(
    clippy::disallowed_methods,
    reason = "polls what other processes do; nothing sleeps instead of looking"
)]
fn breathe(pause: Duration) {
    std::thread::sleep(pause);
}

/// Looks at a condition until it yields a value.
///
/// # Errors
/// When it has not by `limit`, or when the run was interrupted; names `what` was waited for.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    wait_for_ok(what, limit, || look().ok_or_else(|| anyhow::anyhow!("not yet")))
}

/// Like [`wait_for`], to its end also when the run was interrupted: for taking things down.
///
/// # Errors
/// When the condition does not hold by `limit`.
pub(crate) fn wait_for_end(what: &str, limit: Duration, mut look: impl FnMut() -> bool) -> Result<()> {
    poll(what, limit, || false, || if look() { Ok(()) } else { bail!("not yet") })
}

/// How long to wait for what must happen: a busy machine is slow, not wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Like [`wait_for`] for conditions that say why they do not hold; the last reason ends up in the error.
///
/// # Errors
/// As [`wait_for`].
pub(crate) fn wait_for_ok<T>(what: &str, limit: Duration, look: impl FnMut() -> Result<T>) -> Result<T> {
    poll(what, limit, crate::interrupt::requested, look)
}

fn poll<T>(
    what: &str,
    limit: Duration,
    stop: impl Fn() -> bool,
    mut look: impl FnMut() -> Result<T>,
) -> Result<T> {
    let watch = Stopwatch::start();
    let mut pause = Duration::from_millis(5);
    loop {
        let error = match look() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if stop() {
            bail!("interrupted while waiting for {what}");
        }
        if watch.elapsed() > limit {
            return Err(error.context(format!("waited {} s for {what}", limit.as_secs_f32())));
        }
        breathe(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(50));
    }
}
