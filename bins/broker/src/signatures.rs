//! How many signatures this process asked of keys in outside custody: counted where they are asked for, written to the
//! audit log each minute and at the end, compared with what the custody counted by `usher-broker audit reconcile`.
//!
//! A process that is killed loses at most a minute of it; its signatures then look like somebody else's.

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

/// What a command that ends now asked for.
pub(crate) fn of_a_command(keystore: &Keystore, now: UnixTime) -> Option<Event> {
    let counted = keystore.kms_signatures().into_iter().filter_map(|key| {
        let KmsSignatures { id, sent, made } = key;
        Some(KeyCount { key: id.parse().ok()?, sent, made }).filter(|count| count.sent > 0)
    });
    let counts: Vec<KeyCount> = counted.take(KEYS_PER_ROW).collect();
    (!counts.is_empty()).then_some(Event::KeySignatures { since: now, counts })
}

/// What was written down already.
#[derive(Debug, Default)]
pub(crate) struct Signatures(Mutex<Noted>);

#[derive(Clone, Debug, Default)]
struct Noted {
    /// Requests and answers, by key.
    counts: BTreeMap<String, (u64, u64)>,
    until: Option<UnixTime>,
}

impl Signatures {
    /// Writes down what was asked for since the last time.
    pub(crate) async fn write_down(&self, app: &AppState, now: UnixTime) -> Result<(), StoreError> {
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut after = Noted { counts: before.counts.clone(), until: Some(now) };
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
        if !counts.is_empty() {
            let since = before.until.unwrap_or(now);
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
