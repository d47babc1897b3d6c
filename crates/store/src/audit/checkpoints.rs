//! Signed statements of how far the log has come: made in three steps, so that no transaction waits for the key.

use thiserror::Error;
use usher_audit::{Checkpoint, EncodeError, SignedCheckpoint, checkpoint_sign_input};
use usher_types::{Sha256, UnixTime};

use crate::{
    Conn, Store, StoreError, chain,
    conn::query,
    row::{Columns as _, Row, statements},
};

/// Checkpoints that are in memory at one time.
const PAGE: i64 = 1000;

statements! {
    LAST = "SELECT number, position, body FROM audit_checkpoints ORDER BY number DESC LIMIT 1";
    AFTER = "SELECT number, body, signature, key_id FROM audit_checkpoints WHERE number > $1 ORDER BY number LIMIT $2";
    NEWER_HEADS = "SELECT a.position, a.writer, a.sequence, a.hash FROM audit_writers w
        JOIN audit a ON a.writer = w.writer AND a.sequence = (SELECT MAX(b.sequence) FROM audit b WHERE b.writer = w.writer)
        WHERE a.sequence > w.checkpointed ORDER BY a.writer";
    ADD = "INSERT INTO audit_checkpoints (number, position, body, signature, key_id, created_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (number) DO NOTHING";
    COVER = "UPDATE audit_writers SET checkpointed = $2 WHERE writer = $1 AND checkpointed < $2";
    LAST_BEFORE = "SELECT MAX(position) AS position FROM audit_checkpoints WHERE created_at < $1";
}

/// A stored checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Its number.
    pub number: u64,
    /// Id of the key that is said to have signed it.
    pub key_id: String,
    /// Its bytes and signature.
    pub signed: SignedCheckpoint,
}

fn read(row: &Row) -> Result<StoredCheckpoint, StoreError> {
    let signature = row.bytes("signature")?;
    // A signature of another length is none; whoever verifies says so.
    let signature = <[u8; 64]>::try_from(signature).unwrap_or([0; 64]);
    let signed = SignedCheckpoint { bytes: row.bytes("body")?, signature };
    Ok(StoredCheckpoint { number: row.number("number")?, key_id: row.text("key_id")?, signed })
}

/// At most `limit` checkpoints behind number `after`, oldest first. Export them: they show that the log was cut only
/// where its keeper cannot change them.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn page(conn: &mut Conn, after: u64, limit: u32) -> Result<Vec<StoredCheckpoint>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    query(AFTER).bind(after).bind(i64::from(limit)).fetch_all(conn).await?.iter().map(read).collect()
}

/// Hands over every checkpoint, oldest first.
pub(super) async fn each(conn: &mut Conn, mut take: impl FnMut(&SignedCheckpoint)) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let rows = query(AFTER).bind(after).bind(PAGE).fetch_all(&mut *conn).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.int("number")?;
        for row in &rows {
            take(&read(row)?.signed);
        }
    }
}

pub(super) async fn last_position_before(conn: &mut Conn, time: UnixTime) -> Result<i64, StoreError> {
    let row = query(LAST_BEFORE).bind(time.as_millis()).fetch_one(conn).await?;
    Ok(row.int_opt("position")?.unwrap_or(0))
}

/// Why no checkpoint was made.
#[derive(Debug, Error)]
pub enum MakeCheckpointError {
    /// It could not be encoded.
    #[error("the checkpoint could not be encoded")]
    Encode(#[source] EncodeError),
    /// The key did not sign.
    #[error("the checkpoint could not be signed")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database failed.
    #[error("the checkpoint was not stored")]
    Store(#[source] StoreError),
}

impl From<StoreError> for MakeCheckpointError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Store {
    /// Signs how far the log has come and stores that; `None` when nothing was written since the checkpoint before, or
    /// another broker was quicker. `sign` gets the exact bytes to sign and answers `r || s`; it may take its time. Call
    /// this about every minute and at the end.
    ///
    /// # Errors
    /// [`MakeCheckpointError`]; then nothing was stored.
    pub async fn checkpoint<F, E>(
        &self,
        key_id: &str,
        sign: impl FnOnce(Vec<u8>) -> F,
        now: UnixTime,
    ) -> Result<Option<SignedCheckpoint>, MakeCheckpointError>
    where
        F: Future<Output = Result<[u8; 64], E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut reader = self.read().await?;
        let Some((checkpoint, position)) = next(&mut reader, now).await? else { return Ok(None) };
        drop(reader);
        let bytes = checkpoint.encode().map_err(MakeCheckpointError::Encode)?;
        let signature = sign(checkpoint_sign_input(&bytes)).await;
        let signature = signature.map_err(|error| MakeCheckpointError::Sign(error.into()))?;
        let mut tx = self.begin().await?;
        let added = query(ADD)
            .bind(i64::try_from(checkpoint.number).unwrap_or(i64::MAX))
            .bind(position)
            .bind(bytes.as_slice())
            .bind(signature.as_slice())
            .bind(key_id)
            .bind(now.as_millis())
            .execute(&mut tx)
            .await
            .map_err(StoreError::from)?;
        if added.rows_affected() == 0 {
            return Ok(None);
        }
        for head in &checkpoint.heads {
            let sequence = i64::try_from(head.sequence).unwrap_or(i64::MAX);
            let cover = query(COVER).bind(head.writer.to_string()).bind(sequence);
            cover.execute(&mut tx).await.map_err(StoreError::from)?;
        }
        tx.commit().await?;
        Ok(Some(SignedCheckpoint { bytes, signature }))
    }
}

/// What the next checkpoint says, and the last position that it speaks about.
async fn next(conn: &mut Conn, now: UnixTime) -> Result<Option<(Checkpoint, i64)>, StoreError> {
    let last = query(LAST).fetch_optional(conn).await?;
    let (number, mut position, previous) = match &last {
        Some(row) => {
            let number: u64 = row.number("number")?;
            (number.saturating_add(1), row.int("position")?, Some(Sha256::of(&row.bytes("body")?)))
        }
        None => (1, 0, None),
    };
    let newer = query(NEWER_HEADS).fetch_all(conn).await?;
    let mut heads = Vec::with_capacity(newer.len());
    for row in &newer {
        heads.push(chain::read_head(row)?);
        position = position.max(row.int("position")?);
    }
    let checkpoint = Checkpoint { number, issued_at: now, previous, heads };
    Ok((!checkpoint.heads.is_empty()).then_some((checkpoint, position)))
}
