//! When sessions were used last. Known here at once, written down for everybody at most once a minute and for many
//! sessions together: a use changes no decision of another broker but for the minute that it may be behind.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use usher_store::{StoreError, sessions};
use usher_telemetry::Chain;
use usher_types::{SessionId, UnixTime};

use super::MOST;
use crate::AppState;

/// How long what was written down stays good enough.
const MINUTE: Duration = Duration::from_secs(60);
/// How long uses gather before they are written.
const GATHER: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug)]
struct Use {
    at: UnixTime,
    written: UnixTime,
}

impl Use {
    fn is_due(self) -> bool {
        self.at.since(self.written) >= MINUTE
    }
}

/// By session.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    known: Mutex<BTreeMap<SessionId, Use>>,
    writing: AtomicBool,
}

impl Uses {
    /// The last use that this broker has seen.
    pub(crate) fn last(&self, session: SessionId) -> Option<UnixTime> {
        self.known().get(&session).map(|known| known.at)
    }

    /// A session was used. `written` is what its row says.
    pub(crate) fn note(app: &AppState, session: SessionId, written: UnixTime, now: UnixTime) {
        let uses = &app.hot().uses;
        let due = {
            let mut known = uses.known();
            if known.len() >= MOST && !known.contains_key(&session) {
                known.retain(|_, known| known.is_due());
            }
            let known = known.entry(session).or_insert(Use { at: written, written });
            known.at = known.at.max(now);
            known.written = known.written.max(written);
            known.is_due()
        };
        if due && !uses.writing.swap(true, Ordering::AcqRel) {
            tokio::spawn(write(app.clone()));
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<SessionId, Use>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(app: AppState) {
    tokio::time::sleep(GATHER).await;
    let uses = &app.hot().uses;
    // Before they are collected: what comes later starts a writing of its own.
    uses.writing.store(false, Ordering::Release);
    let due: Vec<_> =
        uses.known().iter().filter(|(_, known)| known.is_due()).map(|(id, known)| (*id, known.at)).collect();
    match write_down(&app, &due).await {
        Ok(()) => {
            let mut known = uses.known();
            for (session, at) in due {
                if let Some(known) = known.get_mut(&session) {
                    known.written = known.written.max(at);
                }
            }
        }
        // The next use tries again. Whoever asks another broker meanwhile seems to have rested for longer than it did.
        Err(error) => {
            tracing::warn!(cause = %Chain(&error), "the last use of sessions could not be written down");
        }
    }
}

async fn write_down(app: &AppState, due: &[(SessionId, UnixTime)]) -> Result<(), StoreError> {
    let mut tx = app.store().begin().await?;
    for (session, at) in due {
        sessions::used(&mut tx, *session, *at).await?;
    }
    tx.commit().await
}
