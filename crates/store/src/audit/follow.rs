//! The log as it grows: every row once, each writer's in order, also when rows are committed out of the order of their
//! positions.

use std::{collections::BTreeMap, fmt, str::FromStr};

use thiserror::Error;
use usher_audit::{ChainRow, WriterId};

use super::{of_writer, page};
use crate::{
    Conn, StoreError,
    conn::query,
    row::{Columns as _, statements},
};

/// How far behind the last position rows may still appear. At ten thousand rows a second that is a tenth of a second;
/// what comes later still is noticed with its writer's next row.
const OVERLAP: i64 = 1000;

statements! {
    PLACES = "SELECT position, writer, sequence FROM audit WHERE position > $1 AND position <= $2 ORDER BY position";
}

/// Up to where somebody has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The last position that was looked at.
    pub position: i64,
    /// The last row of each writer that was read; those without a row near the position may be left out.
    pub writers: BTreeMap<WriterId, u64>,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.position)?;
        self.writers.iter().try_for_each(|(writer, sequence)| write!(f, ".{writer}-{sequence}"))
    }
}

/// Text that is not a cursor.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("this is not a cursor of the audit log")]
pub struct ParseCursorError;

impl FromStr for Cursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('.');
        let position = parts.next().and_then(|position| position.parse().ok()).ok_or(ParseCursorError)?;
        let writers = parts.map(|part| {
            let (writer, sequence) = part.split_once('-')?;
            Some((writer.parse().ok()?, sequence.parse().ok()?))
        });
        let writers = writers.collect::<Option<_>>().ok_or(ParseCursorError)?;
        Ok(Self { position, writers })
    }
}

impl Cursor {
    /// Counts `row` as read; whether it was not before. A writer's rows must come in order.
    pub fn take(&mut self, row: &ChainRow) -> bool {
        self.position = self.position.max(row.position);
        let read = self.writers.entry(row.writer).or_default();
        let new = row.sequence > *read;
        *read = row.sequence.max(*read);
        new
    }
}

/// The next rows behind `cursor`, which moves on and forgets writers that are silent: about `limit` of them, none when
/// there is nothing new.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn follow(conn: &mut Conn, cursor: &mut Cursor, limit: u32) -> Result<Vec<ChainRow>, StoreError> {
    let near = advance(conn, cursor, limit, None).await?;
    // Near the position every writer is known; further back none has to be.
    let begin = cursor.position.saturating_sub(OVERLAP);
    cursor.writers.retain(|writer, _| near.places.get(writer).is_some_and(|last| *last > begin));
    Ok(near.rows)
}

/// Rows, and the last position of each writer that was seen near the cursor.
pub(super) struct Advanced {
    pub(super) rows: Vec<ChainRow>,
    places: BTreeMap<WriterId, i64>,
}

/// The next rows behind `cursor`. `unknown`: what was read of writers that it does not know, when that is known.
pub(super) async fn advance(
    conn: &mut Conn,
    cursor: &mut Cursor,
    limit: u32,
    unknown: Option<u64>,
) -> Result<Advanced, StoreError> {
    let begin = cursor.position.saturating_sub(OVERLAP);
    let places = query(PLACES).bind(begin).bind(cursor.position).fetch_all(&mut *conn).await?;
    let mut near = BTreeMap::new();
    let mut late = BTreeMap::<WriterId, u64>::new();
    for place in &places {
        let (writer, sequence) = (place.parse("writer")?, place.number::<u64>("sequence")?);
        near.insert(writer, place.int("position")?);
        if cursor.writers.get(&writer).is_none_or(|read| sequence > *read) {
            late.entry(writer).or_insert(sequence);
        }
    }
    let mut rows = Vec::new();
    for (writer, first) in late {
        let late = of_writer(conn, writer, first.saturating_sub(1), limit).await?;
        // Those behind the position come in their turn.
        let late = late.into_iter().take_while(|row| row.position <= cursor.position);
        let late: Vec<ChainRow> = late.collect();
        rows.extend(late.into_iter().filter(|row| cursor.take(row)));
    }
    for row in page(conn, cursor.position, limit).await? {
        cursor.position = row.position;
        near.insert(row.writer, row.position);
        // Rows that were committed late, further back than the overlap.
        let read = cursor.writers.get(&row.writer).copied().or(unknown).unwrap_or(row.sequence);
        let missed = row.sequence.saturating_sub(read).saturating_sub(1);
        if missed > 0 {
            let late = of_writer(conn, row.writer, read, u32::try_from(missed).unwrap_or(u32::MAX)).await?;
            let late = late.into_iter().take_while(|late| late.sequence < row.sequence);
            rows.extend(late.filter(|row| cursor.take(row)));
        }
        if cursor.take(&row) {
            rows.push(row);
        }
    }
    Ok(Advanced { rows, places: near })
}

impl Cursor {
    /// The end of the log: only what comes from now on is behind it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn at_end(conn: &mut Conn) -> Result<Self, StoreError> {
        let last = super::last_position(conn).await?;
        Self::at(conn, last).await
    }

    /// Behind the row at `position`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn at(conn: &mut Conn, position: i64) -> Result<Self, StoreError> {
        let begin = position.saturating_sub(OVERLAP);
        let places = query(PLACES).bind(begin).bind(position).fetch_all(conn).await?;
        let places = places.iter().map(|place| Ok((place.parse("writer")?, place.number("sequence")?)));
        Ok(Self { position, writers: places.collect::<Result<_, StoreError>>()? })
    }
}
