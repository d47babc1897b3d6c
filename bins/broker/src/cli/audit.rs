//! `usher-broker audit`: checks and exports the log, on the broker's host or from a file anywhere.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use p256::{
    PublicKey,
    elliptic_curve::sec1::ToSec1Point as _,
    pkcs8::{DecodePublicKey as _, EncodePublicKey as _, LineEnding},
};
use serde::Serialize;
use thiserror::Error;
use usher_audit::{Fault, Head, Line, LogVerifier, MAX_LINE_LENGTH, Report, Trust, thumbprint};
use usher_store::{
    Conn, KeyPurpose, Store,
    audit::{self, Cursor, checkpoints},
    keys,
};
use usher_types::UnixTime;

use super::{Place, commands::load, output::Output, reconcile};
use crate::database;

/// An uncompressed SEC1 point.
type Point = [u8; 65];

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Write the log as JSON lines to standard output.
    Export(Export),
    /// Print the public keys that sign checkpoints, to be kept elsewhere.
    Keys(Place),
    /// Compare the signatures that AWS KMS made, as CloudTrail tells, with the log. Ends with 9 when they do not agree.
    Reconcile(reconcile::Reconcile),
    /// Check every row, every chain and every checkpoint. Ends with 9 when something is wrong with the log.
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Check an exported file instead of the database; several files in the order in which they were written.
    #[arg(long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// A checkpoint key that you trust: a PEM file, or the thumbprint that `audit keys` showed. Others count only when
    /// the log announces them under this one's signature.
    // One thumbprint in sixty-four begins with a hyphen.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    key: Vec<String>,
    /// An exported file that was kept elsewhere: every row that it has must be in the database.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    against: Vec<PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Rows behind this position only.
    #[arg(long, value_name = "POSITION", conflicts_with_all = ["since", "cursor"])]
    after: Option<u32>,
    /// From the checkpoint before this time on (RFC 3339).
    #[arg(long, value_name = "TIME", conflicts_with = "cursor")]
    since: Option<UnixTime>,
    /// Go on where this file says that the last export ended, and note the end there.
    #[arg(long, value_name = "FILE")]
    cursor: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// The log is not as it was written.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the audit log is not as it was written: {0} {s} found", s = if *.0 == 1 { "fault" } else { "faults" })]
pub(super) struct NotGood(u64);

pub(super) async fn run(command: AuditCommand, output: Output) -> Result<()> {
    match command {
        AuditCommand::Export(options) => export(options).await,
        AuditCommand::Keys(place) => show_keys(&place, output).await,
        AuditCommand::Reconcile(options) => reconcile::run(options, output).await,
        AuditCommand::Verify(options) => verify(options, output).await,
    }
}

async fn open(place: &Place) -> Result<Store> {
    Ok(database::open(&load(place)?).await?)
}

/// Every key that ever signed checkpoints, with its id.
async fn known_keys(conn: &mut Conn) -> Result<Vec<(String, Point)>> {
    let mut known = Vec::new();
    for key in keys::of_team(conn, KeyPurpose::Audit).await? {
        let point = Point::try_from(key.public).ok().context("a stored checkpoint key is damaged")?;
        known.push((key.id, point));
    }
    Ok(known)
}

#[derive(Serialize)]
struct ShownKeys {
    keys: Vec<ShownKey>,
}

#[derive(Serialize)]
struct ShownKey {
    id: String,
    thumbprint: String,
    public_key: String,
}

async fn show_keys(place: &Place, output: Output) -> Result<()> {
    let store = open(place).await?;
    let mut shown = ShownKeys { keys: Vec::new() };
    let mut text = String::new();
    for (id, point) in known_keys(&mut *store.read().await?).await? {
        let key = PublicKey::from_sec1_bytes(&point).ok().context("a stored checkpoint key is damaged")?;
        let public_key = key.to_public_key_pem(LineEnding::LF).ok().context("the key cannot be written")?;
        let thumbprint = thumbprint(&point).to_string();
        text.push_str(&format!("{thumbprint}  {id}\n{public_key}"));
        shown.keys.push(ShownKey { id, thumbprint, public_key });
    }
    Ok(output.print(&shown, &text)?)
}

#[derive(Serialize)]
struct Verified {
    good: bool,
    source: &'static str,
    /// `given` keys, or those that the log itself names.
    trust: &'static str,
    rows: u64,
    writers: usize,
    unsigned_rows: u64,
    checkpoints: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_checkpoint: Option<LastCheckpoint>,
    /// Lines of files that are no lines of an export: cut off by a crash, perhaps.
    unreadable_lines: u64,
    faults: Vec<ShownFault>,
    fault_count: u64,
}

#[derive(Serialize)]
struct LastCheckpoint {
    number: u64,
    issued_at: UnixTime,
}

#[derive(Serialize)]
struct ShownFault {
    #[serde(flatten)]
    fault: Fault,
    message: String,
}

async fn verify(options: Verify, output: Output) -> Result<()> {
    let given: Vec<Given> = options.key.iter().map(|key| Given::read(key)).collect::<Result<_>>()?;
    let trusted = |known: &[Point]| -> Vec<Point> {
        let named = known.iter().filter(|point| given.iter().any(|given| given.names(point)));
        given.iter().filter_map(Given::point).chain(named.copied()).collect()
    };
    let mut unreadable = 0;
    let report = if options.file.is_empty() {
        let store = open(&options.place).await?;
        let mut reader = store.read().await?;
        let known: Vec<Point> =
            known_keys(&mut reader).await?.into_iter().map(|(_id, point)| point).collect();
        let mut copies = Vec::new();
        for file in &options.against {
            let mut copy = FileCheck::begin(file)?;
            unreadable += copy.read(file)?;
            copies.extend(copy.heads());
        }
        let trusted = trusted(&known);
        let trust = if given.is_empty() { Trust::Named } else { Trust::Only(&trusted) };
        audit::verify_against(&mut reader, &known, trust, &copies).await?
    } else {
        let mut check = FileCheck::begin(options.file.first().context("no file")?)?;
        for file in &options.file {
            unreadable += check.read(file)?;
        }
        let trusted = trusted(&check.keys);
        let trust = if given.is_empty() { Trust::Named } else { Trust::Only(&trusted) };
        check.verifier.finish(trust)
    };
    show(&report, &options, unreadable, output)?;
    if report.is_good() { Ok(()) } else { Err(NotGood(report.fault_count).into()) }
}

fn show(report: &Report, options: &Verify, unreadable_lines: u64, output: Output) -> Result<()> {
    let value = Verified {
        good: report.is_good(),
        source: if options.file.is_empty() { "database" } else { "file" },
        trust: if options.key.is_empty() { "named" } else { "given" },
        rows: report.rows,
        writers: report.heads.len(),
        unsigned_rows: report.unsigned_rows,
        checkpoints: report.checkpoints,
        last_checkpoint: report
            .last_checkpoint
            .map(|(number, issued_at)| LastCheckpoint { number, issued_at }),
        unreadable_lines,
        faults: report
            .faults
            .iter()
            .map(|fault| ShownFault { fault: *fault, message: fault.to_string() })
            .collect(),
        fault_count: report.fault_count,
    };
    let verdict = if value.good { "good" } else { "NOT good" };
    let mut text = format!(
        "The audit log is {verdict}: {} rows of {} writers, {} checkpoints; {} rows are not signed yet.\n",
        value.rows, value.writers, value.checkpoints, value.unsigned_rows
    );
    for fault in &value.faults {
        text.push_str(&format!("{}\n", fault.message));
    }
    if unreadable_lines > 0 {
        text.push_str(&format!("{unreadable_lines} lines are not lines of an export.\n"));
    }
    if options.key.is_empty() {
        text.push_str(
            "Signatures were checked with the keys that the log itself names; name yours with --key.\n",
        );
    }
    Ok(output.print(&value, &text)?)
}

/// A key as it was named on the command line.
enum Given {
    Point(Point),
    Thumbprint(usher_types::Thumbprint),
}

impl Given {
    fn read(text: &str) -> Result<Self> {
        if let Ok(thumbprint) = text.parse() {
            return Ok(Self::Thumbprint(thumbprint));
        }
        let pem = std::fs::read_to_string(text)
            .with_context(|| format!("--key `{text}` is neither a thumbprint nor a file that can be read"))?;
        let key = PublicKey::from_public_key_pem(&pem)
            .ok()
            .with_context(|| format!("`{text}` holds no P-256 public key (PEM)"))?;
        let point = key.to_sec1_point(false);
        Ok(Self::Point(point.as_bytes().try_into().context("the key is of another form")?))
    }

    fn names(&self, point: &Point) -> bool {
        match self {
            Self::Point(given) => given == point,
            Self::Thumbprint(given) => *given == thumbprint(point),
        }
    }

    fn point(&self) -> Option<Point> {
        match self {
            Self::Point(point) => Some(*point),
            Self::Thumbprint(_) => None,
        }
    }
}

/// The check of exported files.
struct FileCheck {
    verifier: LogVerifier,
    keys: Vec<Point>,
    heads: std::collections::BTreeMap<usher_audit::WriterId, Head>,
}

impl FileCheck {
    /// A file whose first row is the first of the whole log is checked as a whole log, another one as a part of it.
    fn begin(first: &Path) -> Result<Self> {
        let mut lines = Lines::open(first)?;
        let mut whole = false;
        while let Some(line) = lines.next()? {
            if let Ok(Line::Row(row)) = Line::decode(line) {
                whole = row.position == 1 && row.sequence == 1;
                break;
            }
        }
        let verifier = if whole { LogVerifier::of_copy() } else { LogVerifier::of_excerpt() };
        Ok(Self { verifier, keys: Vec::new(), heads: std::collections::BTreeMap::new() })
    }

    /// Reads a file; says how many lines were none.
    fn read(&mut self, file: &Path) -> Result<u64> {
        let mut lines = Lines::open(file)?;
        let mut unreadable = 0;
        while let Some(line) = lines.next()? {
            match Line::decode(line) {
                Ok(Line::Row(row)) => {
                    self.verifier.row(&row);
                    let head = self.heads.entry(row.writer).or_insert_with(|| row.head());
                    if row.sequence > head.sequence {
                        *head = row.head();
                    }
                }
                Ok(Line::Checkpoint { signed, key }) => {
                    if !self.keys.contains(&key) {
                        self.keys.push(key);
                    }
                    self.verifier.checkpoint(&signed, &[key]);
                }
                Err(_error) => unreadable += 1,
            }
        }
        Ok(unreadable)
    }

    /// The last row of each writer that the file has.
    fn heads(&self) -> impl Iterator<Item = Head> {
        self.heads.values().copied()
    }
}

/// Lines of a file, none of them longer than a line of an export may be.
struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
}

impl Lines {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(Self { reader: BufReader::new(file), line: Vec::new() })
    }

    fn next(&mut self) -> Result<Option<&[u8]>> {
        self.line.clear();
        let most = u64::try_from(MAX_LINE_LENGTH)?.saturating_add(1);
        let read = (&mut self.reader)
            .take(most)
            .read_until(b'\n', &mut self.line)
            .context("cannot read the file")?;
        if self.line.len() > MAX_LINE_LENGTH {
            bail!("the file has a line that is longer than any line of an export");
        }
        Ok((read > 0).then_some(self.line.as_slice()))
    }
}

/// Rows that are in memory at one time.
const PAGE: u32 = 1000;

/// Where an export ended: a cursor of the log, and the last checkpoint.
fn read_cursor(path: &Path) -> Result<Option<(Cursor, u64)>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("cannot read `{}`", path.display()))?,
    };
    let parts = text.trim_end().split_once(' ');
    let parsed =
        parts.and_then(|(checkpoint, cursor)| Some((cursor.parse().ok()?, checkpoint.parse().ok()?)));
    parsed.map(Some).with_context(|| format!("`{}` holds no cursor of an export", path.display()))
}

/// Replaced as a whole, so that an interrupted export leaves the one before.
fn write_cursor(path: &Path, cursor: &Cursor, checkpoint: u64) -> Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".new");
    let next = PathBuf::from(next);
    let failed = || format!("cannot write `{}`", next.display());
    let mut file = File::create(&next).with_context(failed)?;
    writeln!(file, "{checkpoint} {cursor}").and_then(|()| file.sync_all()).with_context(failed)?;
    std::fs::rename(&next, path).with_context(|| format!("cannot write `{}`", path.display()))
}

async fn export(options: Export) -> Result<()> {
    let store = open(&options.place).await?;
    let mut reader = store.read().await?;
    let known = known_keys(&mut reader).await?;
    let begin = match (&options.cursor, options.after, options.since) {
        (Some(path), _, _) => read_cursor(path)?,
        (None, Some(after), _) => Some((Cursor::at(&mut reader, i64::from(after)).await?, 0)),
        (None, None, Some(since)) => {
            let position = audit::position_before(&mut reader, since).await?;
            Some((Cursor::at(&mut reader, position).await?, 0))
        }
        (None, None, None) => None,
    };
    let (mut cursor, mut number) = begin.unwrap_or_default();
    let mut out = std::io::stdout().lock();
    loop {
        let before = cursor.position;
        let rows = audit::follow(&mut reader, &mut cursor, PAGE).await?;
        if rows.is_empty() && cursor.position == before {
            break;
        }
        for row in rows {
            out.write_all(&Line::Row(row).encode()?).context("cannot write the export")?;
        }
    }
    loop {
        let page = checkpoints::page(&mut reader, number, PAGE).await?;
        let Some(last) = page.last() else { break };
        number = last.number;
        for stored in page {
            let key = known.iter().find(|(id, _)| *id == stored.key_id).map_or([0; 65], |(_, point)| *point);
            let line = Line::Checkpoint { signed: stored.signed, key };
            out.write_all(&line.encode()?).context("cannot write the export")?;
        }
    }
    out.flush().context("cannot write the export")?;
    if let Some(path) = &options.cursor {
        write_cursor(path, &cursor, number)?;
    }
    Ok(())
}
