//! Failures of callers whom nobody knows: counted and sampled, so that guessing cannot fill the audit log.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use usher_audit::{Actor, Code, Event, Record};
use usher_store::{Store, StoreError};
use usher_types::UnixTime;

/// Addresses that are kept of each kind of failure.
const SAMPLE: usize = 10;

#[derive(Clone, Debug)]
struct Counter {
    count: u64,
    since: UnixTime,
    addresses: BTreeSet<IpAddr>,
}

/// Counters since they were last written down.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<BTreeMap<&'static str, Counter>>);

impl Failures {
    /// One more.
    pub(crate) fn count(&self, kind: &'static str, address: IpAddr, now: UnixTime) {
        tracing::debug!(kind, client_address = %address, "unauthenticated failure");
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = counters.entry(kind).or_insert_with(|| Counter {
            count: 0,
            since: now,
            addresses: BTreeSet::new(),
        });
        counter.count = counter.count.saturating_add(1);
        if counter.addresses.len() < SAMPLE {
            counter.addresses.insert(address);
        }
    }

    /// Writes the counters down and starts anew. When the database fails they are lost, not the request.
    pub(crate) async fn write_down(&self, store: &Store, now: UnixTime) -> Result<(), StoreError> {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if written.is_empty() {
            return Ok(());
        }
        let mut tx = store.begin().await?;
        for (kind, counter) in &written {
            tracing::warn!(kind, count = counter.count, addresses = ?counter.addresses, "unauthenticated failures");
            tx.audit(&Record {
                at: now,
                actor: Actor::System,
                client_address: None,
                event: Event::FailureCount {
                    kind: Code::new(kind),
                    count: counter.count,
                    since: counter.since,
                    until: now,
                    addresses: counter.addresses.iter().copied().collect(),
                },
            })
            .await?;
        }
        // Not before: whoever gives up on the way here leaves the counts to the next.
        self.forget(written, now);
        tx.commit().await
    }

    /// Takes off what was written down; what came meanwhile stays.
    fn forget(&self, written: BTreeMap<&'static str, Counter>, now: UnixTime) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, written) in written {
            if let Some(counter) = counters.get_mut(kind) {
                counter.count = counter.count.saturating_sub(written.count);
                counter.since = now;
            }
        }
        counters.retain(|_, counter| counter.count > 0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use usher_store::audit;
    use usher_testkit::NOW;

    use super::*;

    async fn counts(store: &Store) -> Vec<u64> {
        let rows = audit::page(&mut store.read().await.unwrap(), 0, 100).await.unwrap();
        let events = rows.iter().map(|row| serde_json::from_slice::<serde_json::Value>(&row.bytes).unwrap());
        events.filter_map(|row| row["event"]["count"].as_u64()).collect()
    }

    #[tokio::test]
    async fn each_failure_is_written_down_once_also_after_somebody_gave_up() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("usher.db")).await.unwrap();
        let failures = Failures::default();
        let count = || failures.count("set_up_code", "192.0.2.7".parse().unwrap(), NOW);
        count();
        count();

        let others_turn = store.begin().await.unwrap();
        let given_up = tokio::time::timeout(Duration::ZERO, failures.write_down(&store, NOW)).await;
        assert!(given_up.is_err(), "it waits for its turn");
        count();
        drop(others_turn);

        failures.write_down(&store, NOW).await.unwrap();
        failures.write_down(&store, NOW).await.unwrap();
        assert_eq!(counts(&store).await, [3]);
        count();
        failures.write_down(&store, NOW).await.unwrap();
        assert_eq!(counts(&store).await, [3, 1]);
    }
}
