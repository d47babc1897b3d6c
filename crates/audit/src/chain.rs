//! The hash chain: each row's hash covers its writer, its number, the hash before it and its exact bytes.
//!
//! A change of any row breaks the chain behind it. A chain that was cut at its end, or a writer that vanished whole, is
//! found against a checkpoint, or against a later writer's `log.start`, which names the last row it saw.

use std::{collections::BTreeMap, fmt, str::FromStr};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use usher_types::{Sha256, UnixTime};

use crate::Checkpoint;

const DOMAIN: &[u8] = b"usher-audit-v1\0";

/// Names one process start of one broker: 48 bits of time, 80 random; 32 lower-case hex digits, in order of time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WriterId([u8; 16]);

impl WriterId {
    /// A fresh id from the start's time and ten random bytes.
    #[must_use]
    pub fn new(now: UnixTime, random: [u8; 10]) -> Self {
        let mut bytes = [0_u8; 16];
        let millis = now.as_millis().to_be_bytes();
        for (slot, byte) in bytes.iter_mut().zip(millis.iter().skip(2).chain(&random)) {
            *slot = *byte;
        }
        Self(bytes)
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not a writer's id.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("expected 32 lower-case hex digits")]
pub struct ParseWriterError;

impl FromStr for WriterId {
    type Err = ParseWriterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_error| ParseWriterError)?;
        Ok(Self(bytes.try_into().map_err(|_error| ParseWriterError)?))
    }
}

impl TryFrom<String> for WriterId {
    type Error = ParseWriterError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<WriterId> for String {
    fn from(writer: WriterId) -> Self {
        writer.to_string()
    }
}

/// SHA-256 of `usher-audit-v1\0`, the writer's 16 bytes, the sequence as 8 bytes big-endian, the previous hash and the
/// row's bytes. Everything before the bytes has a fixed length, so no two rows hash the same input.
#[must_use]
pub fn chain_hash(writer: WriterId, sequence: u64, previous: &Sha256, bytes: &[u8]) -> Sha256 {
    Sha256::of_parts(&[DOMAIN, &writer.0, &sequence.to_be_bytes(), previous.as_bytes(), bytes])
}

/// Where a writer's chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The writer.
    pub writer: WriterId,
    /// Number of its last row; 0 before the first.
    pub sequence: u64,
    /// Hash of its last row; all zero before the first.
    pub hash: Sha256,
}

impl Head {
    /// A chain without rows.
    #[must_use]
    pub fn genesis(writer: WriterId) -> Self {
        Self { writer, sequence: 0, hash: Sha256::from_bytes([0; 32]) }
    }

    /// Where the chain stands with one more row: the row's number and hash. Keep it once the row is committed.
    #[must_use]
    pub fn append(&self, bytes: &[u8]) -> Self {
        let sequence = self.sequence.saturating_add(1);
        Self { writer: self.writer, sequence, hash: chain_hash(self.writer, sequence, &self.hash, bytes) }
    }
}

/// One stored row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainRow {
    /// Who wrote it.
    pub writer: WriterId,
    /// Its number in the writer's chain, from 1.
    pub sequence: u64,
    /// Its stored hash.
    pub hash: Sha256,
    /// Its stored bytes.
    pub bytes: Vec<u8>,
}

/// Where every writer's chain stands at the end of a verified log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads(BTreeMap<WriterId, Head>);

impl Heads {
    /// The heads, by writer.
    pub fn iter(&self) -> impl Iterator<Item = &Head> {
        self.0.values()
    }

    /// How many rows were verified.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.0.values().fold(0, |sum, head| sum.saturating_add(head.sequence))
    }
}

/// What is wrong with a log.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ChainFault {
    /// Bytes, or a hash, were changed.
    #[error("row {sequence} of writer {writer} was changed")]
    Changed {
        /// The writer.
        writer: WriterId,
        /// The first row that does not match.
        sequence: u64,
    },
    /// Two versions of one row: the log was continued from an older copy, or rewritten.
    #[error("there are two versions of row {sequence} of writer {writer}")]
    Forked {
        /// The writer.
        writer: WriterId,
        /// The row.
        sequence: u64,
    },
    /// A row is not where it must be: deleted, or moved.
    #[error("row {expected} of writer {writer} is missing; row {found} comes next")]
    Missing {
        /// The writer.
        writer: WriterId,
        /// The number that comes next.
        expected: u64,
        /// The number that is there.
        found: u64,
    },
    /// The log ends before a row that a checkpoint or another row names.
    #[error("row {sequence} of writer {writer} is known to exist and is gone")]
    Truncated {
        /// The writer.
        writer: WriterId,
        /// The row.
        sequence: u64,
    },
}

/// Checks rows one by one, in the order of the log, so that a log of any size can be streamed.
#[derive(Clone, Debug, Default)]
pub struct ChainVerifier {
    heads: BTreeMap<WriterId, Head>,
    /// Hashes that rows must have, from checkpoints; removed once seen.
    expected: BTreeMap<(WriterId, u64), Sha256>,
}

impl ChainVerifier {
    /// For a log from its first row on, that must hold what `checkpoints` say. Their signatures must be verified
    /// already: see [`crate::SignedCheckpoint::verify`].
    pub fn new<'a>(checkpoints: impl IntoIterator<Item = &'a Checkpoint>) -> Self {
        let heads = checkpoints.into_iter().flat_map(|checkpoint| &checkpoint.heads);
        let expected = heads.map(|head| ((head.writer, head.sequence), head.hash)).collect();
        Self { heads: BTreeMap::new(), expected }
    }

    /// Checks the next row.
    ///
    /// # Errors
    /// [`ChainFault`] when it does not follow from the rows before it.
    pub fn push(&mut self, row: &ChainRow) -> Result<(), ChainFault> {
        let ChainRow { writer, sequence, .. } = *row;
        let head = self.heads.get(&writer).copied().unwrap_or_else(|| Head::genesis(writer));
        let next = head.append(&row.bytes);
        if sequence <= head.sequence {
            return Err(ChainFault::Forked { writer, sequence });
        }
        if sequence != next.sequence {
            return Err(ChainFault::Missing { writer, expected: next.sequence, found: sequence });
        }
        if row.hash != next.hash {
            return Err(ChainFault::Changed { writer, sequence });
        }
        if let Some(hash) = self.expected.remove(&(writer, sequence))
            && hash != next.hash
        {
            return Err(ChainFault::Forked { writer, sequence });
        }
        if sequence == 1 {
            self.check_start(&row.bytes)?;
        }
        self.heads.insert(writer, next);
        Ok(())
    }

    /// A writer's first row names the last row that it saw, which must be there.
    fn check_start(&self, bytes: &[u8]) -> Result<(), ChainFault> {
        let Some(after) = named_by_start(bytes) else { return Ok(()) };
        let Head { writer, sequence, hash } = after;
        match self.heads.get(&writer) {
            Some(head) if head.sequence == sequence && head.hash != hash => {
                Err(ChainFault::Forked { writer, sequence })
            }
            Some(head) if head.sequence >= sequence => Ok(()),
            Some(_) | None => Err(ChainFault::Truncated { writer, sequence }),
        }
    }

    /// Ends the log.
    ///
    /// # Errors
    /// [`ChainFault::Truncated`] when a row that a checkpoint names did not come.
    pub fn finish(self) -> Result<Heads, ChainFault> {
        match self.expected.first_key_value() {
            Some(((writer, sequence), _)) => {
                Err(ChainFault::Truncated { writer: *writer, sequence: *sequence })
            }
            None => Ok(Heads(self.heads)),
        }
    }
}

/// `after` of a `log.start`, in whatever version it was written; other rows name nothing.
fn named_by_start(bytes: &[u8]) -> Option<Head> {
    #[derive(Deserialize)]
    struct Row {
        event: Start,
    }
    #[derive(Deserialize)]
    struct Start {
        r#type: String,
        after: Option<Head>,
    }
    let Row { event } = serde_json::from_slice(bytes).ok()?;
    event.after.filter(|_| event.r#type == "log.start")
}

/// Checks a whole log, rows in the order of the log.
///
/// # Errors
/// [`ChainFault`] for the first row that was edited, deleted, moved or written twice. A log that was cut at its end is
/// a shorter log: only [`verify_chain_against`] finds that.
pub fn verify_chain(rows: impl IntoIterator<Item = ChainRow>) -> Result<Heads, ChainFault> {
    verify_chain_against(rows, &[])
}

/// Checks a whole log against checkpoints whose signatures were verified.
///
/// # Errors
/// [`ChainFault`], also when the log lacks what a checkpoint says.
pub fn verify_chain_against(
    rows: impl IntoIterator<Item = ChainRow>,
    checkpoints: &[Checkpoint],
) -> Result<Heads, ChainFault> {
    let mut verifier = ChainVerifier::new(checkpoints);
    for row in rows {
        verifier.push(&row)?;
    }
    verifier.finish()
}
