//! How many signatures this process asked of keys in outside custody: counted where they are asked for, written to the
//! audit log each minute and at the end, compared with what the custody counted by `usher-broker audit reconcile`.
//!
//! A process that is killed loses what it asked for since the last time: at most a minute of certificates and checkpoints,
//! which are in the database themselves, and seconds of anything else.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use usher_audit::{Actor, Event, KeyCount, Record};
use usher_keystore::{Keystore, KmsSignatures};
use usher_store::{Store, StoreError};
use usher_types::UnixTime;

use crate::Clock;

/// Keys of one row; keeps rows small.
const KEYS_PER_ROW: usize = 256;

/// Checkpoints are signed after every change of the log. Were each one written down at once, that would be a change again.
const FEW_CHECKPOINTS: u64 = 60;

/// How much is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything: nothing comes after.
    All,
    /// All but a few checkpoints.
    Due,
}

/// What a command that began at `now` asked for.
pub(crate) fn of_a_command(keystore: &Keystore, now: UnixTime) -> Option<Event> {
    let counted = keystore.kms_signatures().into_iter().filter_map(|key| {
        let KmsSignatures { id, sent, made } = key;
        Some(KeyCount { key: id.parse().ok()?, sent, made }).filter(|count| count.sent > 0)
    });
    let counts: Vec<KeyCount> = counted.take(KEYS_PER_ROW).collect();
    (!counts.is_empty()).then_some(Event::KeySignatures { since: now, counts })
}

/// What was written down already.
#[derive(Debug)]
pub(crate) struct Signatures(Mutex<Noted>);

#[derive(Clone, Debug)]
struct Noted {
    /// Requests and answers, by key.
    counts: BTreeMap<String, (u64, u64)>,
    until: UnixTime,
}

impl Signatures {
    /// Nothing yet, since `now`.
    pub(crate) fn new(now: UnixTime) -> Self {
        Self(Mutex::new(Noted { counts: BTreeMap::new(), until: now }))
    }

    /// Whether something was asked for that stands nowhere else: neither a certificate nor a checkpoint.
    pub(crate) fn are_only_here(&self, keystore: &Keystore) -> bool {
        let noted = self.noted();
        keystore.kms_signatures().iter().any(|key| {
            let is_only_here = key.id.starts_with("team/") && !is_of_checkpoints(&key.id);
            is_only_here && noted.counts.get(&key.id).copied().unwrap_or_default().0 < key.sent
        })
    }

    /// Writes down what was asked for since the last time.
    pub(crate) async fn write_down(
        &self,
        store: &Store,
        clock: &Clock,
        asked: impl Fn() -> Vec<KmsSignatures>,
        extent: Extent,
    ) -> Result<(), StoreError> {
        if self.since_last(asked(), extent, clock.now()).0.is_empty() {
            return Ok(());
        }
        // What is counted is read only when it is this one's turn to write: nobody else writes the same then.
        let mut tx = store.begin().await?;
        let (counts, after) = self.since_last(asked(), extent, clock.now());
        let before = self.noted().clone();
        for counts in counts.chunks(KEYS_PER_ROW) {
            let event = Event::KeySignatures { since: before.until, counts: counts.to_vec() };
            let at = after.until;
            tx.audit(&Record { at, actor: Actor::System, client_address: None, event }).await?;
        }
        // A commit that was begun goes on when the caller is gone; what it writes must not be written again.
        *self.noted() = after;
        let committed = tx.commit().await;
        if committed.is_err() {
            *self.noted() = before;
        }
        committed
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be written down, nothing when it can wait; and what is noted once it was.
    fn since_last(&self, asked: Vec<KmsSignatures>, extent: Extent, now: UnixTime) -> (Vec<KeyCount>, Noted) {
        let mut noted = self.noted();
        let mut after = Noted { counts: noted.counts.clone(), until: now };
        let mut counts = Vec::new();
        for key in asked {
            let (sent, made) = noted.counts.get(&key.id).copied().unwrap_or_default();
            let (more_sent, more_made) = (key.sent.saturating_sub(sent), key.made.saturating_sub(made));
            let Ok(id) = key.id.parse() else { continue };
            if more_sent > 0 || more_made > 0 {
                counts.push(KeyCount { key: id, sent: more_sent, made: more_made });
                after.counts.insert(key.id, (key.sent, key.made));
            }
        }
        let few = |count: &KeyCount| is_of_checkpoints(count.key.as_str()) && count.sent < FEW_CHECKPOINTS;
        if counts.is_empty() {
            noted.until = after.until;
        } else if extent == Extent::Due && counts.iter().all(few) {
            counts.clear();
        }
        (counts, after)
    }
}

fn is_of_checkpoints(key: &str) -> bool {
    key.starts_with("team/audit/")
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };

    use usher_store::audit;
    use usher_testkit::NOW;

    use super::*;

    async fn written(store: &Store) -> Vec<u64> {
        let rows = audit::page(&mut store.read().await.unwrap(), 0, 100).await.unwrap();
        let rows = rows.iter().map(|row| serde_json::from_slice::<serde_json::Value>(&row.bytes).unwrap());
        rows.filter_map(|row| row["event"]["counts"][0]["sent"].as_u64()).collect()
    }

    /// What is in the log twice would excuse a signature that somebody stole.
    #[tokio::test]
    async fn each_signature_is_written_down_once_whoever_writes_and_gives_up() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("usher.db")).await.unwrap();
        let (clock, count) = (Clock::fixed(NOW), AtomicU64::new(3));
        let asked = || {
            let sent = count.load(Ordering::Relaxed);
            vec![KmsSignatures { id: "team/state/1".to_owned(), sent, made: sent }]
        };
        let signatures = Signatures::new(NOW);
        let write = || signatures.write_down(&store, &clock, asked, Extent::Due);

        let turn = store.begin().await.unwrap();
        assert!(tokio::time::timeout(Duration::ZERO, write()).await.is_err(), "it waits for its turn");
        let both = async { tokio::join!(write(), write()) };
        let (ended, ()) = tokio::join!(both, async {
            tokio::task::yield_now().await;
            count.store(5, Ordering::Relaxed);
            drop(turn);
        });
        assert!(ended.0.is_ok() && ended.1.is_ok(), "{ended:?}");
        assert_eq!(written(&store).await, [5]);
        write().await.unwrap();
        assert_eq!(written(&store).await, [5]);
        count.store(6, Ordering::Relaxed);
        write().await.unwrap();
        assert_eq!(written(&store).await, [5, 1]);
    }
}
