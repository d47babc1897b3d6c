//! `usher-broker audit reconcile`: compares what the keeper of keys counted with what the log knows, key by key and day
//! by day. A signature that the log does not know of is a certificate without a row.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use usher_audit::{Actor, Day, Event, KeyCount, KeyId, Record};
use usher_store::{
    Conn, KeyPurpose, audit,
    keys::{self, StoredKey},
};
use usher_types::{Sha256, UnixTime};

use super::{Place, commands::load, output::Output};
use crate::{Clock, database, keys::fingerprint};

#[derive(Debug, Args)]
pub(super) struct Reconcile {
    /// What the keeper counted: JSON lines `{"key":"ARN or id","day":"2026-11-24","count":1234}`, days of UTC, successful
    /// Sign calls; `-` for standard input. Days that are left out between the first and the last count as 0.
    #[arg(long, value_name = "FILE")]
    counts: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// The counts do not agree.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0} of the counts do not agree with the audit log")]
pub(super) struct Mismatch(usize);

/// One line of the keeper's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counted {
    key: String,
    day: Day,
    count: u64,
}

/// What the log knows of a key on a day.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Answers that were certainly given on that day.
    least: u64,
    /// Requests that may have been made on that day.
    most: u64,
    certificates: u64,
}

#[derive(Serialize)]
struct Compared {
    key: KeyId,
    day: Day,
    keeper: u64,
    least: u64,
    most: u64,
    certificates: u64,
    agrees: bool,
}

#[derive(Serialize)]
struct Reconciled {
    agrees: bool,
    compared: Vec<Compared>,
}

pub(super) async fn run(options: Reconcile, output: Output) -> Result<()> {
    let text = if options.counts.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        text
    } else {
        std::fs::read_to_string(&options.counts)
            .with_context(|| format!("cannot read `{}`", options.counts.display()))?
    };
    let store = database::open(&load(&options.place)?).await?;
    let mut reader = store.read().await?;
    let stored = stored_keys(&mut reader).await?;
    let keeper = keeper(&text, &stored)?;
    let days: BTreeSet<Day> = keeper.keys().map(|(_, day)| *day).collect();
    let (first, last) = days.first().zip(days.last()).context("the file has no counts")?;
    let known = known(&mut reader, &stored, *first, *last).await?;
    drop(reader);
    let named: BTreeSet<&KeyId> = keeper.keys().map(|(key, _)| key).collect();
    let mut places: BTreeSet<(KeyId, Day)> = keeper.keys().cloned().collect();
    places.extend(known.keys().filter(|(key, _)| named.contains(key)).cloned());
    let compared: Vec<Compared> = places
        .into_iter()
        .map(|(key, day)| {
            let place = (key, day);
            let keeper = keeper.get(&place).copied().unwrap_or(0);
            let Known { least, most, certificates } = known.get(&place).copied().unwrap_or_default();
            let agrees = (least..=most).contains(&keeper) && certificates <= keeper.max(most);
            let (key, day) = place;
            Compared { key, day, keeper, least, most, certificates, agrees }
        })
        .collect();
    let mismatches = compared.iter().filter(|compared| !compared.agrees).count();
    let mut tx = store.begin().await?;
    for event in events(&compared, mismatches, *first, *last) {
        tx.audit(&Record { at: Clock::system().now(), actor: Actor::Operator, client_address: None, event })
            .await?;
    }
    tx.commit().await?;
    let value = Reconciled { agrees: mismatches == 0, compared };
    let mut text = String::new();
    for row in &value.compared {
        let verdict = if row.agrees { "agrees" } else { "DOES NOT AGREE" };
        text.push_str(&format!(
            "{}  {}  keeper {}, brokers {} to {}, certificates {}: {verdict}\n",
            row.day, row.key, row.keeper, row.least, row.most, row.certificates
        ));
    }
    output.print(&value, &text)?;
    if mismatches == 0 { Ok(()) } else { Err(Mismatch(mismatches).into()) }
}

fn events(compared: &[Compared], mismatches: usize, since: Day, until: Day) -> Vec<Event> {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let wrong = compared.iter().filter(|compared| !compared.agrees).map(|row| Event::KeySignaturesMismatch {
        key: row.key.clone(),
        day: row.day,
        keeper: row.keeper,
        least: row.least,
        most: row.most,
        certificates: row.certificates,
    });
    let summary = Event::KeySignaturesReconcile {
        since,
        until,
        compared: count(compared.len()),
        mismatches: count(mismatches),
    };
    wrong.chain([summary]).collect()
}

async fn stored_keys(conn: &mut Conn) -> Result<Vec<StoredKey>> {
    let mut stored = Vec::new();
    for purpose in
        [KeyPurpose::Audit, KeyPurpose::SshUserCa, KeyPurpose::State, KeyPurpose::TlsRoot, KeyPurpose::X509Ca]
    {
        stored.extend(keys::all(conn, purpose).await?);
    }
    Ok(stored)
}

fn keeper(text: &str, stored: &[StoredKey]) -> Result<BTreeMap<(KeyId, Day), u64>> {
    let mut counts = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = number.saturating_add(1);
        let counted: Counted =
            serde_json::from_str(line).with_context(|| format!("line {number} is no count of a key"))?;
        // What an `aws-kms` row keeps of its key is the key's ARN.
        let key = stored.iter().find(|key| key.id == counted.key || key.sealed == counted.key.as_bytes());
        let key = key.with_context(|| format!("line {number}: no key of this team has that name"))?;
        let slot = counts.entry((key.id.parse()?, counted.day)).or_insert(0_u64);
        *slot = slot.saturating_add(counted.count);
    }
    Ok(counts)
}

/// A row, as far as it counts something.
#[derive(Deserialize)]
struct Counting {
    at: UnixTime,
    event: CountingEvent,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum CountingEvent {
    #[serde(rename = "connection.issue")]
    Issue { certificates: Vec<Issued> },
    #[serde(rename = "key.signatures")]
    Signatures { since: UnixTime, counts: Vec<KeyCount> },
}

#[derive(Deserialize)]
struct Issued {
    key: Option<Sha256>,
}

/// Rows that are in memory at one time.
const PAGE: u32 = 1000;
/// How far times of rows and of checkpoints may lie apart.
const SLACK: std::time::Duration = std::time::Duration::from_secs(600);

async fn known(
    conn: &mut Conn,
    stored: &[StoredKey],
    first: Day,
    last: Day,
) -> Result<BTreeMap<(KeyId, Day), Known>> {
    let mut by_fingerprint = BTreeMap::new();
    for key in stored {
        if let Ok(digest) = fingerprint(key) {
            by_fingerprint.insert(digest.to_string(), key.id.parse::<KeyId>()?);
        }
    }
    let within = |day: Day| first <= day && day <= last;
    let mut known = BTreeMap::<(KeyId, Day), Known>::new();
    let mut position = audit::position_before(conn, first.begin().saturating_sub(SLACK)).await?;
    loop {
        let rows = audit::page(conn, position, PAGE).await?;
        let Some(end) = rows.last() else { return Ok(known) };
        position = end.position;
        for row in &rows {
            // Rows of any other kind, and damaged ones, count nothing here; `audit verify` is about those.
            let Ok(Counting { at, event }) = serde_json::from_slice(&row.bytes) else { continue };
            let day = Day::of(at);
            match event {
                CountingEvent::Issue { certificates } => {
                    for digest in certificates.into_iter().filter_map(|issued| issued.key) {
                        let key = by_fingerprint.get(&digest.to_string()).filter(|_key| within(day));
                        if let Some(key) = key {
                            let slot = known.entry((key.clone(), day)).or_default();
                            slot.certificates = slot.certificates.saturating_add(1);
                        }
                    }
                }
                CountingEvent::Signatures { since, counts } => {
                    let begin = Day::of(since);
                    for KeyCount { key, sent, made } in counts {
                        for day in BTreeSet::from([begin, day]).into_iter().filter(|day| within(*day)) {
                            let slot = known.entry((key.clone(), day)).or_default();
                            slot.most = slot.most.saturating_add(sent);
                            // Over midnight nobody knows how many belong to which day.
                            if begin == Day::of(at) {
                                slot.least = slot.least.saturating_add(made);
                            }
                        }
                    }
                }
            }
        }
    }
}
