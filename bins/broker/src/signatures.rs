//! How many signatures this process asked of keys in outside custody: counted where they are asked for, written to the
//! audit log each minute and at the end, compared with what the custody counted by `usher-broker audit reconcile`.
//!
//! A process that is killed loses what it asked for since the last time: at most a minute of certificates and checkpoints,
//! which are in the database themselves, and seconds of anything else.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use usher_audit::{Actor, Event, KeyCount, Record};
use usher_keystore::{Keystore, KmsSignatures};
use usher_store::StoreError;
use usher_types::UnixTime;

use crate::AppState;

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
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keystore.kms_signatures().iter().any(|key| {
            let is_only_here = key.id.starts_with("team/") && !is_of_checkpoints(&key.id);
            is_only_here && noted.counts.get(&key.id).copied().unwrap_or_default().0 < key.sent
        })
    }

    /// Writes down what was asked for since the last time.
    pub(crate) async fn write_down(
        &self,
        app: &AppState,
        extent: Extent,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut after = Noted { counts: before.counts.clone(), until: now };
        let mut counts = Vec::new();
        for key in app.keystore().kms_signatures() {
            let (sent, made) = before.counts.get(&key.id).copied().unwrap_or_default();
            let (more_sent, more_made) = (key.sent.saturating_sub(sent), key.made.saturating_sub(made));
            let Ok(id) = key.id.parse() else { continue };
            if more_sent > 0 || more_made > 0 {
                counts.push(KeyCount { key: id, sent: more_sent, made: more_made });
                after.counts.insert(key.id, (key.sent, key.made));
            }
        }
        let few = |count: &KeyCount| is_of_checkpoints(count.key.as_str()) && count.sent < FEW_CHECKPOINTS;
        if extent == Extent::Due && counts.iter().all(few) {
            return Ok(());
        }
        if !counts.is_empty() {
            let since = before.until;
            let mut tx = app.store().begin().await?;
            for counts in counts.chunks(KEYS_PER_ROW) {
                let event = Event::KeySignatures { since, counts: counts.to_vec() };
                tx.audit(&Record { at: now, actor: Actor::System, client_address: None, event }).await?;
            }
            tx.commit().await?;
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = after;
        Ok(())
    }
}

fn is_of_checkpoints(key: &str) -> bool {
    key.starts_with("team/audit/")
}
