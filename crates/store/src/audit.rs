//! Reading the audit log: by position, by writer, by time, and as it grows. Appending is
//! [`WriteTx::audit`](crate::WriteTx::audit).
//!
//! A writer's rows are committed in the order of their sequence. Those of different brokers are not committed in the
//! order of their position: a row may appear behind one that was read before. Whoever follows the log therefore keeps
//! a [`Cursor`], which knows the writers.

pub mod checkpoints;
pub mod export;
mod follow;

use usher_audit::{ChainRow, Head, LogVerifier, Report, Trust, WriterId};
use usher_types::UnixTime;

pub(crate) use self::follow::STATEMENTS as FOLLOW_STATEMENTS;
pub use self::follow::{Cursor, ParseCursorError, follow};
use crate::{
    Conn, StoreError, chain,
    conn::query,
    row::{Columns, Row, statements},
};

/// Rows that are in memory at one time while the log is looked through.
const PAGE: u32 = 1000;

statements! {
    PAGE_AFTER = "SELECT position, writer, sequence, previous_hash, hash, body FROM audit
        WHERE position > $1 ORDER BY position LIMIT $2";
    PAGE_BEFORE = "SELECT position, writer, sequence, previous_hash, hash, body FROM audit
        WHERE position < $1 ORDER BY position DESC LIMIT $2";
    OF_WRITER = "SELECT position, writer, sequence, previous_hash, hash, body FROM audit
        WHERE writer = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
    HEADS = "SELECT a.writer, a.sequence, a.hash FROM audit_writers w
        JOIN audit a ON a.writer = w.writer AND a.sequence = (SELECT MAX(b.sequence) FROM audit b WHERE b.writer = w.writer)
        ORDER BY a.writer";
    LAST_POSITION = "SELECT MAX(position) AS position FROM audit";
    POSITION_BEFORE = "SELECT MAX(position) AS position FROM audit_checkpoints
        WHERE number < (SELECT MIN(number) FROM audit_checkpoints WHERE created_at >= $1)";
    POSITION_BEHIND = "SELECT MIN(position) AS position FROM audit_checkpoints
        WHERE number > (SELECT MAX(number) FROM audit_checkpoints WHERE created_at <= $1)";
}

fn read_row(row: &Row) -> Result<ChainRow, StoreError> {
    Ok(ChainRow {
        position: row.int("position")?,
        writer: row.parse("writer")?,
        sequence: row.number("sequence")?,
        previous: row.parse("previous_hash")?,
        hash: row.parse("hash")?,
        bytes: row.bytes("body")?,
    })
}

/// At most `limit` rows behind position `after`, oldest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn page(conn: &mut Conn, after: i64, limit: u32) -> Result<Vec<ChainRow>, StoreError> {
    let query = query(PAGE_AFTER).bind(after).bind(i64::from(limit));
    query.fetch_all(conn).await?.iter().map(read_row).collect()
}

/// At most `limit` rows before position `before`, newest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn page_before(conn: &mut Conn, before: i64, limit: u32) -> Result<Vec<ChainRow>, StoreError> {
    let query = query(PAGE_BEFORE).bind(before).bind(i64::from(limit));
    query.fetch_all(conn).await?.iter().map(read_row).collect()
}

/// At most `limit` rows of `writer` behind its row `after`, oldest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn of_writer(
    conn: &mut Conn,
    writer: WriterId,
    after: u64,
    limit: u32,
) -> Result<Vec<ChainRow>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let query = query(OF_WRITER).bind(writer.to_string()).bind(after).bind(i64::from(limit));
    query.fetch_all(conn).await?.iter().map(read_row).collect()
}

/// Where every writer's chain stands, sorted by writer.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn heads(conn: &mut Conn) -> Result<Vec<Head>, StoreError> {
    query(HEADS).fetch_all(conn).await?.iter().map(chain::read_head).collect()
}

/// Position of the last row, 0 when there is none.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn last_position(conn: &mut Conn) -> Result<i64, StoreError> {
    Ok(query(LAST_POSITION).fetch_one(conn).await?.int_opt("position")?.unwrap_or(0))
}

/// A position behind which all rows of `time` and later lie. Checkpoints are the index, one a minute: give a time a
/// little earlier than you mean.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn position_before(conn: &mut Conn, time: UnixTime) -> Result<i64, StoreError> {
    let row = query(POSITION_BEFORE).bind(time.as_millis()).fetch_one(conn).await?;
    match row.int_opt("position")? {
        Some(position) => Ok(position),
        // Every checkpoint is older, or every one is newer.
        None => checkpoints::last_position_before(conn, time).await,
    }
}

/// A position up to which all rows of `time` and earlier lie, `None` for the end of the log. As exact as
/// [`position_before`].
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn position_behind(conn: &mut Conn, time: UnixTime) -> Result<Option<i64>, StoreError> {
    let row = query(POSITION_BEHIND).bind(time.as_millis()).fetch_one(conn).await?;
    row.int_opt("position")
}

/// Checks the whole log in one snapshot: every row's bytes and place, and what the checkpoints say. `keys` are the
/// public keys that may have signed them.
///
/// # Errors
/// [`StoreError`] when the database fails; what is wrong with the log is in the report.
pub async fn verify(conn: &mut Conn, keys: &[[u8; 65]]) -> Result<Report, StoreError> {
    verify_against(conn, keys, Trust::Named, &[]).await
}

/// The same with what is known from outside of the database: which of the keys to trust, and heads that were seen
/// earlier.
///
/// # Errors
/// As [`verify`].
pub async fn verify_against(
    conn: &mut Conn,
    keys: &[[u8; 65]],
    trust: Trust<'_>,
    copies: &[Head],
) -> Result<Report, StoreError> {
    let mut verifier = LogVerifier::new();
    copies.iter().for_each(|head| verifier.expect(head));
    checkpoints::each(conn, |signed| verifier.checkpoint(signed, keys)).await?;
    let mut after = 0;
    loop {
        let rows = query(PAGE_AFTER).bind(after).bind(i64::from(PAGE)).fetch_all(&mut *conn).await?;
        let Some(last) = rows.last() else { break };
        after = last.int("position")?;
        for row in &rows {
            match read_row(row) {
                Ok(row) => verifier.row(&row),
                Err(StoreError::Corrupt { .. }) => verifier.unreadable(row.int("position")?),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(verifier.finish(trust))
}
