//! The team's access rules, read again in the background when the epoch moved. Nobody waits for that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::time::{Instant, sleep};
use usher_policy::Snapshot;
use usher_store::{Epoch, Store, StoreError, snapshot};
use usher_telemetry::Chain;

use crate::AppState;

/// Reading takes at most one part of so many of the time, however fast the epoch moves.
const SHARE: u32 = 5;

/// Who may reach what, at one epoch.
#[derive(Debug)]
pub(crate) struct Team {
    pub(crate) epoch: Epoch,
    pub(crate) snapshot: Snapshot,
}

impl Team {
    async fn read(store: &Store) -> Result<Self, StoreError> {
        let mut reader = store.read().await?;
        let epoch = reader.epoch().await?;
        Ok(Self { epoch, snapshot: snapshot::read(&mut reader).await? })
    }
}

/// The newest that was read.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    newest: ArcSwapOption<Team>,
    reading: Arc<AtomicBool>,
}

impl Rules {
    /// What is known, be it old; `None` before it was read once. Has it read again when it is old.
    pub(crate) fn get(&self, app: &AppState) -> Option<Arc<Team>> {
        let newest = self.newest.load_full();
        let current = newest.as_ref().is_some_and(|team| team.epoch >= app.store().known_epoch());
        if !current && !self.reading.swap(true, Ordering::AcqRel) {
            tokio::spawn(refresh(app.clone(), Reading(Arc::clone(&self.reading))));
        }
        newest
    }
}

/// Given back when the reading ends, however it ends.
struct Reading(Arc<AtomicBool>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

async fn refresh(app: AppState, _reading: Reading) {
    let start = Instant::now();
    match Team::read(app.store()).await {
        Ok(team) => {
            let spent = start.elapsed();
            tracing::debug!(
                milliseconds = spent.as_millis(),
                servers = team.snapshot.servers(),
                bytes = team.snapshot.heap_size(),
                "access rules read"
            );
            app.hot().rules.newest.store(Some(Arc::new(team)));
        }
        Err(error) => tracing::error!(cause = %Chain(&error), "the access rules could not be read"),
    }
    // Errors too: a database that is gone is not asked by every request.
    sleep(start.elapsed().saturating_mul(SHARE).max(Duration::from_millis(1))).await;
}
