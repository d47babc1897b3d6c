//! The hash chain: each row's hash covers its writer, its number, the hash before it and its exact bytes.
//!
//! A change of any row breaks the chain behind it. A chain that was cut at its end, or a writer that vanished whole, is
//! found against a checkpoint, or against a later writer's `log.start`, which names the last row it saw. Finding is the
//! business of [`LogVerifier`](crate::LogVerifier).

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use usher_types::{Sha256, UnixTime};

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

    /// The row that [`append`](Self::append) with the same bytes makes, at `position` of the log.
    #[must_use]
    pub fn row(&self, position: i64, bytes: Vec<u8>) -> ChainRow {
        let Self { writer, sequence, hash } = self.append(&bytes);
        ChainRow { position, writer, sequence, previous: self.hash, hash, bytes }
    }
}

/// One stored row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainRow {
    /// Its place in the log. Orders rows for readers; the chain does not cover it.
    pub position: i64,
    /// Who wrote it.
    pub writer: WriterId,
    /// Its number in the writer's chain, from 1.
    pub sequence: u64,
    /// Its stored hash of the row before.
    pub previous: Sha256,
    /// Its stored hash.
    pub hash: Sha256,
    /// Its stored bytes.
    pub bytes: Vec<u8>,
}

impl ChainRow {
    /// The row as the head of its chain.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { writer: self.writer, sequence: self.sequence, hash: self.hash }
    }

    /// Whether its bytes and its own envelope belong together; says nothing about its place among the others.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        chain_hash(self.writer, self.sequence, &self.previous, &self.bytes) == self.hash
    }
}
