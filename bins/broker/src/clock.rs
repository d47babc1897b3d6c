//! The broker's one look at the clock; tests bring their own hands.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use usher_types::UnixTime;

/// What time it is.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `now` until [`Clock::set`].
    #[must_use]
    pub fn fixed(now: UnixTime) -> Self {
        Self(Some(Arc::new(AtomicI64::new(now.as_millis()))))
    }

    /// Moves a fixed clock; the system's stays as it is.
    pub fn set(&self, now: UnixTime) {
        if let Some(hands) = &self.0 {
            hands.store(now.as_millis(), Ordering::Relaxed);
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        match &self.0 {
            Some(hands) => UnixTime::from_millis(hands.load(Ordering::Relaxed)),
            None => system_now(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the broker's one place that reads the wall clock")]
fn system_now() -> UnixTime {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
