//! Rows and checkpoints outside the database: one JSON object a line, from which every hash can be computed again.
//!
//! `record` of a row and `checkpoint` of a checkpoint are the exact bytes that were hashed and signed. They are JSON, so
//! they stand in the line as they are; whoever forwards lines must not format them anew. A row that somebody damaged so
//! that it is no JSON any more is written as `bytes` (base64url) instead.

use std::str;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;
use usher_types::Sha256;

use crate::{ChainRow, MAX_CHECKPOINT_LENGTH, SignedCheckpoint, WriterId};

/// Longest line that is looked at.
pub const MAX_LINE_LENGTH: usize = 2 * MAX_CHECKPOINT_LENGTH;

/// One line of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A checkpoint.
    Checkpoint {
        /// The checkpoint.
        signed: SignedCheckpoint,
        /// The public key that it says signed it: an uncompressed SEC1 point.
        key: [u8; 65],
    },
    /// A row.
    Row(ChainRow),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Written<'a> {
    Checkpoint {
        key: String,
        signature: String,
        checkpoint: &'a RawValue,
    },
    Row {
        position: i64,
        writer: WriterId,
        sequence: u64,
        previous: Sha256,
        hash: Sha256,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        record: Option<&'a RawValue>,
    },
}

/// Both kinds at once: an enum with `type` inside would not keep the exact bytes.
#[derive(Deserialize)]
struct Read<'a> {
    r#type: String,
    position: Option<i64>,
    writer: Option<WriterId>,
    sequence: Option<u64>,
    previous: Option<Sha256>,
    hash: Option<Sha256>,
    bytes: Option<String>,
    #[serde(borrow)]
    record: Option<&'a RawValue>,
    key: Option<String>,
    signature: Option<String>,
    #[serde(borrow)]
    checkpoint: Option<&'a RawValue>,
}

/// A line is not one of an export: cut off in the middle, perhaps.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("this is not a line of an audit export")]
pub struct LineError;

/// The bytes as they are, when they are JSON without anything around it.
fn raw(bytes: &[u8]) -> Option<&RawValue> {
    let text = str::from_utf8(bytes).ok()?;
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    // A line break inside would make two lines of one.
    (raw.get().len() == text.len() && !text.contains(['\n', '\r'])).then_some(raw)
}

impl Line {
    /// The line, with its line break.
    ///
    /// # Errors
    /// [`LineError`] for a checkpoint that is no JSON.
    pub fn encode(&self) -> Result<Vec<u8>, LineError> {
        let written = match self {
            Self::Checkpoint { signed, key } => Written::Checkpoint {
                key: BASE64URL_NOPAD.encode(key),
                signature: BASE64URL_NOPAD.encode(&signed.signature),
                checkpoint: raw(&signed.bytes).ok_or(LineError)?,
            },
            Self::Row(row) => {
                let record = raw(&row.bytes);
                Written::Row {
                    position: row.position,
                    writer: row.writer,
                    sequence: row.sequence,
                    previous: row.previous,
                    hash: row.hash,
                    bytes: record.is_none().then(|| BASE64URL_NOPAD.encode(&row.bytes)),
                    record,
                }
            }
        };
        let mut line = serde_json::to_vec(&written).map_err(|_error| LineError)?;
        line.push(b'\n');
        Ok(line)
    }

    /// Reads a line, with or without its line break. Says nothing about whether its hash is right.
    ///
    /// # Errors
    /// [`LineError`].
    pub fn decode(line: &[u8]) -> Result<Self, LineError> {
        if line.len() > MAX_LINE_LENGTH {
            return Err(LineError);
        }
        let read: Read<'_> = serde_json::from_slice(line).map_err(|_error| LineError)?;
        match read.r#type.as_str() {
            "checkpoint" => read.into_checkpoint(),
            "row" => read.into_row().map(Self::Row),
            _ => None,
        }
        .ok_or(LineError)
    }
}

impl Read<'_> {
    fn into_checkpoint(self) -> Option<Line> {
        let decode = |text: Option<String>| BASE64URL_NOPAD.decode(text?.as_bytes()).ok();
        let key = decode(self.key)?.try_into().ok()?;
        let signature = decode(self.signature)?.try_into().ok()?;
        let bytes = self.checkpoint?.get().as_bytes().to_vec();
        Some(Line::Checkpoint { signed: SignedCheckpoint { bytes, signature }, key })
    }

    fn into_row(self) -> Option<ChainRow> {
        let bytes = match (self.record, self.bytes) {
            (Some(record), None) => record.get().as_bytes().to_vec(),
            (None, Some(bytes)) => BASE64URL_NOPAD.decode(bytes.as_bytes()).ok()?,
            _ => return None,
        };
        Some(ChainRow {
            position: self.position?,
            writer: self.writer?,
            sequence: self.sequence?,
            previous: self.previous?,
            hash: self.hash?,
            bytes,
        })
    }
}
