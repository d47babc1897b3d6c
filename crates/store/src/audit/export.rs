//! How far the log was sent to a sink, and by whom. One process at a time holds a sink; when it is gone, the next one
//! goes on where it stood. Whatever was sent but not noted is sent again.

use std::collections::BTreeSet;

use usher_audit::{ChainRow, WriterId};
use usher_types::UnixTime;

use super::{Cursor, follow::advance, heads, of_writer};
use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    row::{Columns as _, statements},
};

statements! {
    HOLD = "INSERT INTO audit_exports (sink, holder, held_until, position, checkpoint) VALUES ($1, $2, $3, 0, 0)
        ON CONFLICT (sink) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
        WHERE audit_exports.holder = excluded.holder OR audit_exports.held_until < $4";
    PROGRESS = "SELECT position, checkpoint FROM audit_exports WHERE sink = $1";
    CURSORS = "SELECT writer, sequence FROM audit_cursors WHERE sink = $1";
    SAVE = "UPDATE audit_exports SET position = $3, checkpoint = $4, held_until = $5 WHERE sink = $1 AND holder = $2";
    SAVE_CURSOR = "INSERT INTO audit_cursors (sink, writer, sequence) VALUES ($1, $2, $3)
        ON CONFLICT (sink, writer) DO UPDATE SET sequence = excluded.sequence";
    RELEASE = "UPDATE audit_exports SET held_until = 0 WHERE sink = $1 AND holder = $2";
}

/// Up to where a sink has the log. Knows every writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    cursor: Cursor,
    checkpoint: u64,
    /// Writers whose rows were read since it was saved.
    unsaved: BTreeSet<WriterId>,
}

impl Progress {
    /// Number of the last checkpoint that the sink has.
    #[must_use]
    pub fn checkpoint(&self) -> u64 {
        self.checkpoint
    }

    /// The sink will have this checkpoint.
    pub fn set_checkpoint(&mut self, number: u64) {
        self.checkpoint = number;
    }

    /// The next rows, about `limit`; none when the sink has all that can be seen near its position.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn next(&mut self, conn: &mut Conn, limit: u32) -> Result<Vec<ChainRow>, StoreError> {
        let rows = advance(conn, &mut self.cursor, limit, Some(0)).await?.rows;
        self.unsaved.extend(rows.iter().map(|row| row.writer));
        Ok(rows)
    }

    /// Rows of every writer that the sink lacks, about `limit`: also those that were committed long after others with
    /// higher positions. Costs a look at every writer.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn lagging(&mut self, conn: &mut Conn, limit: u32) -> Result<Vec<ChainRow>, StoreError> {
        let mut rows = Vec::new();
        for head in heads(conn).await? {
            let read = self.cursor.writers.get(&head.writer).copied().unwrap_or(0);
            if head.sequence <= read {
                continue;
            }
            rows.extend(of_writer(conn, head.writer, read, limit).await?);
            if let Some(last) = rows.last() {
                self.cursor.writers.insert(head.writer, last.sequence);
                self.unsaved.insert(head.writer);
            }
            if rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
                break;
            }
        }
        Ok(rows)
    }
}

/// Takes the sink, or keeps it, until `until`; says up to where it has the log. `None` while another process holds it.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn hold(
    tx: &mut WriteTx,
    sink: &str,
    holder: &str,
    now: UnixTime,
    until: UnixTime,
) -> Result<Option<Progress>, StoreError> {
    let hold = query(HOLD).bind(sink).bind(holder).bind(until.as_millis()).bind(now.as_millis());
    if hold.execute(tx).await?.rows_affected() == 0 {
        return Ok(None);
    }
    let row = query(PROGRESS).bind(sink).fetch_one(tx).await?;
    let cursors = query(CURSORS).bind(sink).fetch_all(tx).await?;
    let writers = cursors.iter().map(|row| Ok((row.parse("writer")?, row.number("sequence")?)));
    Ok(Some(Progress {
        cursor: Cursor {
            position: row.int("position")?,
            writers: writers.collect::<Result<_, StoreError>>()?,
        },
        checkpoint: row.number("checkpoint")?,
        unsaved: BTreeSet::new(),
    }))
}

/// Notes what the sink has, and keeps it until `until`. False when another process has taken it meanwhile: then nothing
/// was noted, and it begins where the last note stood.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn save(
    tx: &mut WriteTx,
    sink: &str,
    holder: &str,
    progress: &mut Progress,
    until: UnixTime,
) -> Result<bool, StoreError> {
    let saved = query(SAVE)
        .bind(sink)
        .bind(holder)
        .bind(progress.cursor.position)
        .bind(i64::try_from(progress.checkpoint).unwrap_or(i64::MAX))
        .bind(until.as_millis())
        .execute(tx)
        .await?;
    if saved.rows_affected() == 0 {
        return Ok(false);
    }
    for writer in &progress.unsaved {
        let sequence = progress.cursor.writers.get(writer).copied().unwrap_or(0);
        let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
        query(SAVE_CURSOR).bind(sink).bind(writer.to_string()).bind(sequence).execute(tx).await?;
    }
    progress.unsaved.clear();
    Ok(true)
}

/// Lets others take the sink at once: at the end of the process.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn release(tx: &mut WriteTx, sink: &str, holder: &str) -> Result<(), StoreError> {
    query(RELEASE).bind(sink).bind(holder).execute(tx).await?;
    Ok(())
}
