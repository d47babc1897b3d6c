//! Compares the signatures that AWS KMS made, as CloudTrail tells, with what the audit log knows, one by one: a signature
//! that nothing in the log accounts for is a certificate that nobody wrote down (threats 2 and 25).
//!
//! Only keys in custody `aws-kms`: others sign here, and nobody else counts them. Does not fetch CloudTrail's files.

mod cloudtrail;
mod known;
mod matching;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::interval;
use usher_audit::{Actor, Day, Event, KeyId, Record, Reported};
use usher_store::{
    Conn, KeyCustody, KeyPurpose, Store, StoreError, audit,
    keys::{self, StoredKey},
};
use usher_telemetry::Chain;
use usher_types::UnixTime;

use self::{cloudtrail::Signed, known::Known, matching::Matched};
use crate::AppState;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// As many signatures are named one by one; the counts are whole.
const NAMED: usize = 100;
/// Rows that are in memory at one time.
const PAGE: u32 = 1000;

/// Why nothing was compared.
#[derive(Debug, Error)]
pub(crate) enum ReconcileError {
    /// A file or directory cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file is not CloudTrail's.
    #[error("`{}` is no log file of CloudTrail", path.display())]
    Form {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// There is nothing to compare.
    #[error("no key of this team is in custody `aws-kms`")]
    NoKeys,
    /// The database failed.
    #[error("the database failed")]
    Store(#[from] StoreError),
}

/// Days of UTC, both included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period {
    pub(crate) first: Day,
    pub(crate) last: Day,
}

impl Period {
    pub(crate) fn day(day: Day) -> Self {
        Self { first: day, last: day }
    }

    fn contains(self, time: UnixTime) -> bool {
        self.first <= Day::of(time) && Day::of(time) <= self.last
    }
}

/// Until then CloudTrail has told of the day before, and the copy is made.
const NIGHT: Duration = Duration::from_secs(3 * 60 * 60);
/// How often is looked whether it is time, and again after a failure.
const LOOK: Duration = Duration::from_secs(10 * 60);

/// Compares each day when it is over, where a directory with CloudTrail's files is configured.
pub(crate) async fn daily(app: &AppState) {
    let Some(directory) = &app.config().audit.cloudtrail else { return };
    let mut ticks = interval(LOOK);
    let mut done = None;
    loop {
        ticks.tick().await;
        let day = yesterday(app.now().saturating_sub(NIGHT));
        if done == Some(day) {
            continue;
        }
        match of_day(app, directory, day).await {
            Ok(()) | Err(ReconcileError::NoKeys) => done = Some(day),
            Err(error) => {
                tracing::error!(cause = %Chain(&error), "signatures could not be compared with CloudTrail");
            }
        }
    }
}

/// Compares one day, unless this broker or another one did before.
pub(crate) async fn of_day(app: &AppState, directory: &Path, day: Day) -> Result<(), ReconcileError> {
    let mut reader = app.store().read().await?;
    if is_done(&mut reader, day).await? {
        return Ok(());
    }
    drop(reader);
    let principal = app.config().kms.as_ref().and_then(|kms| kms.principal.as_deref());
    let paths = vec![directory.to_owned()];
    let result = reconcile(app.store(), paths, Period::day(day), principal, Actor::System, app.now()).await?;
    for one in &result.unknown {
        tracing::error!(key = %one.key, at = %one.at, caller = %one.caller, address = %one.address,
            request = %one.request, "KMS made a signature that the audit log does not know");
    }
    for row in result.compared.iter().filter(|row| !row.agrees()) {
        tracing::error!(key = %row.key, %day, made = row.made, unknown = row.unknown, missing = row.missing,
            "signatures of KMS do not agree with the audit log");
    }
    if result.agrees {
        tracing::info!(%day, keys = result.compared.len(), "signatures of KMS agree with the audit log");
    }
    Ok(())
}

#[derive(Deserialize)]
struct Row {
    event: RowEvent,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum RowEvent {
    #[serde(rename = "key.signatures_reconcile")]
    Reconcile { since: Day, until: Day },
}

async fn is_done(conn: &mut Conn, day: Day) -> Result<bool, StoreError> {
    let mut position = audit::position_before(conn, day.begin().saturating_add(DAY)).await?;
    loop {
        let rows = audit::page(conn, position, PAGE).await?;
        let Some(last) = rows.last() else { return Ok(false) };
        position = last.position;
        let done = |bytes: &[u8]| match serde_json::from_slice(bytes) {
            Ok(Row { event: RowEvent::Reconcile { since, until } }) => since <= day && day <= until,
            Err(_) => false,
        };
        if rows.iter().any(|row| done(&row.bytes)) {
            return Ok(true);
        }
    }
}

/// The day before this moment's.
pub(crate) fn yesterday(now: UnixTime) -> Day {
    Day::of(now.saturating_sub(DAY))
}

/// One key on one day.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    pub(crate) key: KeyId,
    pub(crate) day: Day,
    /// Signatures that CloudTrail tells of.
    pub(crate) made: u64,
    /// Those that nothing in the log accounts for.
    pub(crate) unknown: u64,
    /// Signatures that brokers got, and CloudTrail does not tell of.
    pub(crate) missing: u64,
    /// Certificates in the log.
    pub(crate) certificates: u64,
}

impl Compared {
    pub(crate) fn agrees(&self) -> bool {
        self.unknown == 0 && self.missing == 0
    }
}

/// A signature that nothing in the log accounts for.
#[derive(Debug, Serialize)]
pub(crate) struct Unknown {
    pub(crate) key: KeyId,
    pub(crate) at: UnixTime,
    pub(crate) request: Reported,
    pub(crate) caller: Reported,
    pub(crate) address: Reported,
}

/// What came out.
#[derive(Debug, Serialize)]
pub(crate) struct Reconciled {
    pub(crate) agrees: bool,
    pub(crate) compared: Vec<Compared>,
    /// At most a hundred.
    pub(crate) unknown: Vec<Unknown>,
}

impl Reconciled {
    pub(crate) fn mismatches(&self) -> usize {
        self.compared.iter().filter(|compared| !compared.agrees()).count()
    }
}

/// Compares, and writes the result into the log. `principal` is who may sign at all.
pub(crate) async fn reconcile(
    store: &Store,
    paths: Vec<PathBuf>,
    period: Period,
    principal: Option<&str>,
    actor: Actor,
    now: UnixTime,
) -> Result<Reconciled, ReconcileError> {
    let mut reader = store.read().await?;
    let keys = keys_in_kms(&mut reader).await?;
    if keys.is_empty() {
        return Err(ReconcileError::NoKeys);
    }
    let arns: BTreeMap<String, KeyId> = keys
        .iter()
        .filter_map(|key| Some((String::from_utf8(key.sealed.clone()).ok()?, key.id.parse().ok()?)))
        .collect();
    let read = tokio::task::spawn_blocking(move || cloudtrail::read(&paths, period, &arns));
    // A panic in there is a bug, and nothing to compare.
    let signed = read
        .await
        .map_err(|error| ReconcileError::File { path: PathBuf::new(), source: io::Error::other(error) })??;
    let known = known::read(&mut reader, &keys, period).await?;
    drop(reader);
    let result = compare(signed, known, period, principal);
    let mut tx = store.begin().await?;
    for event in events(&result, period) {
        tx.audit(&Record { at: now, actor: actor.clone(), client_address: None, event }).await?;
    }
    tx.commit().await?;
    Ok(result)
}

async fn keys_in_kms(conn: &mut Conn) -> Result<Vec<StoredKey>, StoreError> {
    let mut stored = Vec::new();
    for purpose in
        [KeyPurpose::Audit, KeyPurpose::SshUserCa, KeyPurpose::State, KeyPurpose::TlsRoot, KeyPurpose::X509Ca]
    {
        stored.extend(keys::all(conn, purpose).await?);
    }
    stored.retain(|key| key.custody == KeyCustody::AwsKms);
    Ok(stored)
}

fn compare(
    mut signed: BTreeMap<KeyId, Vec<Signed>>,
    mut known: BTreeMap<KeyId, Known>,
    period: Period,
    principal: Option<&str>,
) -> Reconciled {
    let mut days = BTreeMap::<(KeyId, Day), Compared>::new();
    let mut unknown = Vec::new();
    let keys: BTreeSet<KeyId> = signed.keys().chain(known.keys()).cloned().collect();
    for key in keys {
        let signatures = signed.remove(&key).unwrap_or_default();
        let known = known.remove(&key).unwrap_or_default();
        let mut day = |time: UnixTime, change: &dyn Fn(&mut Compared)| {
            let (key, day) = (key.clone(), Day::of(time));
            change(days.entry((key.clone(), day)).or_insert(Compared {
                key,
                day,
                made: 0,
                unknown: 0,
                missing: 0,
                certificates: 0,
            }));
        };
        for at in known.certificates.iter().filter(|at| period.contains(**at)) {
            day(*at, &|row| row.certificates = row.certificates.saturating_add(1));
        }
        let allowed = |signature: &Signed| principal.is_none_or(|principal| signature.caller == principal);
        let Matched { left, missing } = matching::matched(&signatures, &known.asked, allowed);
        for signature in signatures.iter().filter(|signature| period.contains(signature.at)) {
            day(signature.at, &|row| row.made = row.made.saturating_add(1));
        }
        for index in left {
            let Some(signature) = signatures.get(index).filter(|one| period.contains(one.at)) else {
                continue;
            };
            day(signature.at, &|row| row.unknown = row.unknown.saturating_add(1));
            unknown.push(Unknown {
                key: key.clone(),
                at: signature.at,
                request: Reported::new(&signature.request),
                caller: Reported::new(&signature.caller),
                address: Reported::new(&signature.address),
            });
        }
        for (at, count) in missing.into_iter().filter(|(at, _)| period.contains(*at)) {
            day(at, &|row| row.missing = row.missing.saturating_add(count));
        }
    }
    unknown.sort_by_key(|one| one.at);
    unknown.truncate(NAMED);
    let compared: Vec<Compared> = days.into_values().collect();
    Reconciled { agrees: compared.iter().all(Compared::agrees), compared, unknown }
}

fn events(result: &Reconciled, period: Period) -> Vec<Event> {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let named = result.unknown.iter().map(|one| Event::KeySignatureUnknown {
        key: one.key.clone(),
        at: one.at,
        request: one.request.clone(),
        caller: one.caller.clone(),
        address: one.address.clone(),
    });
    let wrong = result.compared.iter().filter(|row| !row.agrees()).map(|row| {
        let accounted = row.made.saturating_sub(row.unknown).saturating_add(row.missing);
        Event::KeySignaturesMismatch {
            key: row.key.clone(),
            day: row.day,
            keeper: row.made,
            least: accounted,
            most: accounted,
            certificates: row.certificates,
        }
    });
    let summary = Event::KeySignaturesReconcile {
        since: period.first,
        until: period.last,
        compared: count(result.compared.len()),
        mismatches: count(result.mismatches()),
    };
    named.chain(wrong).chain([summary]).collect()
}
