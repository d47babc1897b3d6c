//! What the audit log knows of signatures: the brokers' counts, and for the time after a broker's last count, when it was
//! killed, the certificates and checkpoints themselves.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use usher_audit::{KeyCount, KeyId, WriterId};
use usher_store::{
    Conn, KeyPurpose, StoreError,
    audit::{self, checkpoints},
    keys::StoredKey,
};
use usher_types::{Sha256, UnixTime};

use super::{DAY, PAGE, Period, cloudtrail::SLACK, matching::Asked};
use crate::keys::fingerprint;

/// Clocks, and counts that are written a little after they were taken.
const BEFORE: Duration = Duration::from_secs(15);
/// A row's time is that of its request, which may wait for its signature; a count's is when it was taken.
const AFTER: Duration = Duration::from_secs(60);

/// What is known of one key.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) asked: Vec<Asked>,
    /// When each certificate was made.
    pub(super) certificates: Vec<UnixTime>,
}

/// A row, as far as it tells of signatures.
#[derive(Deserialize)]
struct Telling {
    at: UnixTime,
    event: TellingEvent,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum TellingEvent {
    #[serde(rename = "connection.issue")]
    Issue { certificates: Vec<Issued> },
    #[serde(rename = "server.certificate")]
    Server { key: Sha256 },
    #[serde(rename = "key.signatures")]
    Signatures { since: UnixTime, counts: Vec<KeyCount> },
}

#[derive(Deserialize)]
struct Issued {
    key: Option<Sha256>,
}

fn asked(since: UnixTime, at: UnixTime, sent: u64, made: u64) -> Asked {
    Asked {
        begin: since.saturating_sub(BEFORE),
        end: at.saturating_add(AFTER),
        at,
        sent: sent.max(made),
        made,
    }
}

/// Reads the log around `period`.
pub(super) async fn read(
    conn: &mut Conn,
    keys: &[StoredKey],
    period: Period,
) -> Result<BTreeMap<KeyId, Known>, StoreError> {
    let begin = period.first.begin().saturating_sub(SLACK);
    let end = period.last.begin().saturating_add(DAY).saturating_add(SLACK);
    let mut reading =
        Reading { fingerprints: BTreeMap::new(), known: BTreeMap::new(), later: BTreeMap::new() };
    for key in keys {
        if let (Ok(digest), Ok(id)) = (fingerprint(key), key.id.parse::<KeyId>()) {
            reading.fingerprints.insert(digest.to_string(), id);
        }
    }
    let mut position = audit::position_before(conn, begin).await?;
    loop {
        let rows = audit::page(conn, position, PAGE).await?;
        let Some(last) = rows.last() else { break };
        position = last.position;
        for row in &rows {
            // Rows of any other kind, and damaged ones, count nothing here; `audit verify` is about those.
            let Ok(telling) = serde_json::from_slice::<Telling>(&row.bytes) else { continue };
            // Counts are written a minute later; the row after the end may be about the time before it.
            if telling.at >= begin && telling.at <= end.saturating_add(SLACK) {
                reading.take(row.writer, telling);
            }
        }
    }
    let mut known = reading.finish();
    checkpoints_of(conn, keys, begin, end, &mut known).await?;
    Ok(known)
}

struct Reading {
    fingerprints: BTreeMap<String, KeyId>,
    known: BTreeMap<KeyId, Known>,
    /// Certificates that no count of their writer is known to cover yet.
    later: BTreeMap<(WriterId, KeyId), Vec<UnixTime>>,
}

impl Reading {
    fn take(&mut self, writer: WriterId, Telling { at, event }: Telling) {
        match event {
            TellingEvent::Issue { certificates } => {
                for key in certificates.into_iter().filter_map(|issued| issued.key) {
                    self.certificate(writer, key, at);
                }
            }
            TellingEvent::Server { key } => self.certificate(writer, key, at),
            TellingEvent::Signatures { since, counts } => {
                for KeyCount { key, sent, made } in counts {
                    self.later.remove(&(writer, key.clone()));
                    self.known.entry(key).or_default().asked.push(asked(since, at, sent, made));
                }
            }
        }
    }

    fn certificate(&mut self, writer: WriterId, key: Sha256, at: UnixTime) {
        let Some(key) = self.fingerprints.get(&key.to_string()) else { return };
        self.known.entry(key.clone()).or_default().certificates.push(at);
        self.later.entry((writer, key.clone())).or_default().push(at);
    }

    fn finish(mut self) -> BTreeMap<KeyId, Known> {
        for ((_, key), times) in self.later {
            let known = self.known.entry(key).or_default();
            known.asked.extend(times.into_iter().map(|at| asked(at, at, 1, 1)));
        }
        self.known
    }
}

/// A checkpoint that no broker's counts cover was signed all the same.
async fn checkpoints_of(
    conn: &mut Conn,
    keys: &[StoredKey],
    begin: UnixTime,
    end: UnixTime,
    known: &mut BTreeMap<KeyId, Known>,
) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let page = checkpoints::page(conn, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.number;
        for stored in &page {
            let is_ours = |key: &&StoredKey| key.purpose == KeyPurpose::Audit && key.id == stored.key_id;
            let Some(key) = keys.iter().find(is_ours).and_then(|key| key.id.parse::<KeyId>().ok()) else {
                continue;
            };
            let Ok(checkpoint) = usher_audit::Checkpoint::decode(&stored.signed.bytes) else { continue };
            let at = checkpoint.issued_at;
            let known = known.entry(key).or_default();
            // One that was made right after a count is in the next.
            let covered = |one: &Asked| one.begin <= at && at < one.at;
            if begin <= at && at <= end && !known.asked.iter().any(covered) {
                known.asked.push(asked(at, at, 1, 1));
            }
        }
    }
}
