//! What can be wrong with a log, and what its check came to.

use std::fmt;

use serde::Serialize;
use usher_types::UnixTime;

use crate::{Head, WriterId};

/// What says that a row exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "type", content = "is", rename_all = "snake_case")]
pub enum Witness {
    /// The signed checkpoint of this number.
    Checkpoint(u64),
    /// A copy of the log that was kept elsewhere.
    Copy,
    /// Another row of the log with the same number.
    Row,
    /// The `log.start` of this writer.
    Start(WriterId),
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint(number) => write!(f, "checkpoint {number}"),
            Self::Copy => f.write_str("the copy of the log"),
            Self::Row => f.write_str("another row of the same number"),
            Self::Start(writer) => write!(f, "the first row of writer {writer}"),
        }
    }
}

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum RowFault {
    /// Its bytes, or its envelope, are not those that were hashed.
    Changed,
    /// Another version of it is known: the log was rewritten, or went on from an older copy.
    Forked {
        /// What knows the other version.
        witness: Witness,
    },
    /// It, and those up to `through`, are not between their neighbours.
    Removed {
        /// The last that is missing.
        through: u64,
    },
    /// It stands behind a row that was written after it.
    Reordered,
    /// It is there once more.
    Repeated,
    /// It, and those up to `through`, were cut off the end of the writer's chain.
    Truncated {
        /// The last that is known to have been there.
        through: u64,
        /// What knows it.
        witness: Witness,
    },
}

/// What is wrong with a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum CheckpointFault {
    /// It does not name the one before as it is.
    Discontinuous,
    /// Its bytes are no checkpoint.
    Malformed,
    /// It, and those up to `through`, are not there.
    Removed {
        /// The last that is missing.
        through: u64,
    },
    /// No key of the log signed it.
    Signature,
    /// The key that signed it is neither given nor announced in what given keys vouch for.
    Untrusted,
}

/// One thing that is wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Fault {
    /// With a checkpoint.
    Checkpoint {
        /// Its number, or the number that it should have.
        number: u64,
        /// What it is.
        #[serde(flatten)]
        fault: CheckpointFault,
    },
    /// With a row.
    Row {
        /// Its writer.
        writer: WriterId,
        /// Its number in the writer's chain.
        sequence: u64,
        /// Its position in the log; that of the next row of the writer when it is gone, none when there is no next.
        position: Option<i64>,
        /// What it is.
        #[serde(flatten)]
        fault: RowFault,
    },
    /// A row cannot even be read: its envelope is damaged.
    Unreadable {
        /// Its position in the log.
        position: i64,
    },
}

impl CheckpointFault {
    fn through(self) -> Option<u64> {
        if let Self::Removed { through } = self { Some(through) } else { None }
    }
}

impl fmt::Display for CheckpointFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discontinuous => "does not follow from the one before",
            Self::Malformed => "is malformed",
            Self::Removed { .. } => "removed",
            Self::Signature => "its signature is wrong",
            Self::Untrusted => "signed by a key that nothing vouches for",
        })
    }
}

impl RowFault {
    fn through(self) -> Option<u64> {
        match self {
            Self::Removed { through } | Self::Truncated { through, .. } => Some(through),
            Self::Changed | Self::Forked { .. } | Self::Reordered | Self::Repeated => None,
        }
    }
}

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("changed"),
            Self::Forked { witness } => write!(f, "not the row that {witness} knows"),
            Self::Removed { .. } => f.write_str("removed"),
            Self::Reordered => f.write_str("moved"),
            Self::Repeated => f.write_str("there once more"),
            Self::Truncated { witness, .. } => write!(f, "cut off; {witness} knows of it"),
        }
    }
}

/// `row 3`, `rows 3 to 5`.
fn numbered(f: &mut fmt::Formatter<'_>, what: &str, first: u64, through: Option<u64>) -> fmt::Result {
    match through {
        Some(through) if through > first => write!(f, "{what}s {first} to {through}"),
        Some(_) | None => write!(f, "{what} {first}"),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Checkpoint { number, fault } => {
                numbered(f, "checkpoint", number, fault.through())?;
                write!(f, ": {fault}")
            }
            Self::Row { writer, sequence, position, fault } => {
                numbered(f, "row", sequence, fault.through())?;
                write!(f, " of writer {writer}: {fault}")?;
                let Some(position) = position else { return Ok(()) };
                let gone = fault.through().is_some();
                write!(f, ", {} position {position}", if gone { "before" } else { "at" })
            }
            Self::Unreadable { position } => write!(f, "the row at position {position} cannot be read"),
        }
    }
}

/// What the check of a log came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where each writer's chain ends, sorted by writer.
    pub heads: Vec<Head>,
    /// How many rows were looked at.
    pub rows: u64,
    /// How many of them no checkpoint vouches for yet.
    pub unsigned_rows: u64,
    /// How many checkpoints hold.
    pub checkpoints: u64,
    /// Number and time of the last of them.
    pub last_checkpoint: Option<(u64, UnixTime)>,
    /// What is wrong: rows in the order in which it was found, at most [`MAX_FAULTS`].
    pub faults: Vec<Fault>,
    /// How much is wrong.
    pub fault_count: u64,
}

/// Faults that are named; the others are counted.
pub const MAX_FAULTS: usize = 1000;

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.fault_count == 0
    }
}
