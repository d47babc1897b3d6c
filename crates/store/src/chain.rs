//! This process's audit chain: where it stands, and how a row is appended. The chain moves only when the transaction
//! that appended to it was committed; after a failed commit it is read again from the table.

use usher_audit::{Actor, Event, Head, Record, WriterId, encode};
use usher_types::{Sha256, UnixTime};

use crate::{
    Conn, StoreError,
    bulk::Bulk,
    conn::{Value, query},
    row::{Columns as _, Row, statements},
};

statements! {
    APPEND = "INSERT INTO audit (writer, sequence, previous_hash, hash, body) VALUES ($1, $2, $3, $4, $5)";
    OWN_HEAD = "SELECT writer, sequence, hash FROM audit WHERE writer = $1 ORDER BY sequence DESC LIMIT 1";
    LAST_ROW = "SELECT writer, sequence, hash FROM audit ORDER BY position DESC LIMIT 1";
    ADD_WRITER = "INSERT INTO audit_writers (writer, checkpointed) VALUES ($1, 0)";
    LAST_CHECKPOINT = "SELECT body FROM audit_checkpoints ORDER BY number DESC LIMIT 1";
}

static APPEND_MANY: Bulk = Bulk::of(APPEND);

/// The chain of this process. Its writer id is made with its first row.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    writer: Option<WriterId>,
    head: Option<Head>,
}

impl Chain {
    /// Where the chain stands. The first row of a chain is written here: it names the last row and checkpoint of the
    /// log, so that a log without them is seen to be cut.
    pub(crate) async fn head(&mut self, conn: &mut Conn, now: UnixTime) -> Result<Head, StoreError> {
        if let Some(head) = self.head {
            return Ok(head);
        }
        let writer = match self.writer {
            Some(writer) => writer,
            None => *self.writer.insert(WriterId::new(now, random()?)),
        };
        let own = query(OWN_HEAD).bind(writer.to_string()).fetch_optional(&mut *conn).await?;
        if let Some(row) = own {
            return read_head(&row);
        }
        let after = query(LAST_ROW).fetch_optional(&mut *conn).await?;
        let checkpoint = query(LAST_CHECKPOINT).fetch_optional(&mut *conn).await?;
        let event = Event::LogStart {
            after: after.as_ref().map(read_head).transpose()?,
            checkpoint: checkpoint.map(|row| row.bytes("body")).transpose()?.map(|body| Sha256::of(&body)),
        };
        query(ADD_WRITER).bind(writer.to_string()).execute(conn).await?;
        let record = Record { at: now, actor: Actor::System, client_address: None, event };
        append(conn, Head::genesis(writer), &record).await
    }

    /// Called before a commit whose outcome is not known yet.
    pub(crate) fn forget(&mut self) -> Option<Head> {
        self.head.take()
    }

    /// Called when the commit is known to have happened.
    pub(crate) fn remember(&mut self, head: Option<Head>) {
        self.head = head;
    }
}

/// Appends one row; returns where the chain then stands.
pub(crate) async fn append(conn: &mut Conn, head: Head, record: &Record) -> Result<Head, StoreError> {
    append_all(conn, head, &[record]).await
}

/// Appends rows in their order; returns where the chain then stands.
pub(crate) async fn append_all(
    conn: &mut Conn,
    mut head: Head,
    records: &[&Record],
) -> Result<Head, StoreError> {
    let mut rows: Vec<Value<'_>> = Vec::with_capacity(records.len().saturating_mul(5));
    for record in records {
        let body = encode(record).map_err(StoreError::Audit)?;
        let next = head.append(&body);
        rows.push(next.writer.to_string().into());
        rows.push(i64::try_from(next.sequence).unwrap_or(i64::MAX).into());
        rows.push(head.hash.to_string().into());
        rows.push(next.hash.to_string().into());
        rows.push(body.into());
        head = next;
    }
    APPEND_MANY.insert(conn, rows).await?;
    Ok(head)
}

pub(crate) fn read_head(row: &Row) -> Result<Head, StoreError> {
    Ok(Head { writer: row.parse("writer")?, sequence: row.number("sequence")?, hash: row.parse("hash")? })
}

fn random() -> Result<[u8; 10], StoreError> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes).map_err(StoreError::Random)?;
    Ok(bytes)
}
