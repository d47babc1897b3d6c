//! Reading the audit log, its checkpoints, and the check of the whole. Appending is [`WriteTx::audit`](crate::WriteTx::audit).

use std::collections::BTreeMap;

use thiserror::Error;
use usher_audit::{
    ChainFault, ChainRow, ChainVerifier, Checkpoint, CheckpointError, EncodeError, Head, Heads,
    SignedCheckpoint, WriterId, checkpoint_sign_input, verify_checkpoints,
};
use usher_types::{Sha256, UnixTime};

use crate::{
    Conn, Store, StoreError, chain,
    conn::query,
    row::{Columns, Row, statements},
};

/// Rows that are in memory at one time while the log is checked.
const PAGE: i64 = 1000;

statements! {
    PAGE_AFTER = "SELECT position, writer, sequence, hash, body FROM audit WHERE position > $1 ORDER BY position LIMIT $2";
    NEWER_ROWS = "SELECT position, writer, sequence, hash FROM audit WHERE position > $1 ORDER BY position";
    LAST_CHECKPOINT = "SELECT number, position, body FROM audit_checkpoints ORDER BY number DESC LIMIT 1";
    CHECKPOINTS = "SELECT body, signature FROM audit_checkpoints ORDER BY number";
    ADD_CHECKPOINT = "INSERT INTO audit_checkpoints (number, position, body, signature, key_id, created_at)
        VALUES ($1, $2, $3, $4, $5, $6)";
}

/// A row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place in the log.
    pub position: i64,
    /// Its place in its writer's chain, and its bytes.
    pub row: ChainRow,
}

impl AuditRow {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let chain = ChainRow {
            writer: row.parse("writer")?,
            sequence: row.number("sequence")?,
            hash: row.parse("hash")?,
            bytes: row.bytes("body")?,
        };
        Ok(Self { position: row.int("position")?, row: chain })
    }
}

/// At most `limit` rows behind position `after`, oldest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn page(conn: &mut Conn, after: i64, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
    let query = query(PAGE_AFTER).bind(after).bind(i64::from(limit));
    query.fetch_all(conn).await?.iter().map(AuditRow::read).collect()
}

/// All checkpoints, oldest first. Export them: they show that the log was cut only where its keeper cannot change them.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn checkpoints(conn: &mut Conn) -> Result<Vec<SignedCheckpoint>, StoreError> {
    let rows = query(CHECKPOINTS).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            let signature = row.bytes("signature")?.try_into();
            let signature = signature.map_err(|_error| StoreError::Corrupt { column: "signature" })?;
            Ok(SignedCheckpoint { bytes: row.bytes("body")?, signature })
        })
        .collect()
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
    /// Signs how far the log has come and stores that; `None` when nothing was written since the checkpoint before.
    /// `sign` gets the exact bytes to sign and answers `r || s`; it may take its time, nobody waits for it. `None` also
    /// when another broker was faster. Call it about every minute and at the end.
    ///
    /// # Errors
    /// [`MakeCheckpointError`]; then nothing was stored.
    pub async fn checkpoint<E, F>(
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
        let last = query(LAST_CHECKPOINT).fetch_optional(&mut reader).await.map_err(StoreError::from)?;
        let (number, after, previous) = match &last {
            Some(row) => {
                let number: u64 = row.number("number")?;
                (number.saturating_add(1), row.int("position")?, Some(Sha256::of(&row.bytes("body")?)))
            }
            None => (1, 0, None),
        };
        let newer = query(NEWER_ROWS).bind(after).fetch_all(&mut reader).await.map_err(StoreError::from)?;
        drop(reader);
        let Some(newest) = newer.last() else { return Ok(None) };
        let position = newest.int("position")?;
        let mut heads = BTreeMap::<WriterId, Head>::new();
        for row in &newer {
            let head = chain::read_head(row)?;
            heads.insert(head.writer, head);
        }
        let checkpoint =
            Checkpoint { number, issued_at: now, previous, heads: heads.into_values().collect() };
        let bytes = checkpoint.encode().map_err(MakeCheckpointError::Encode)?;
        let signature = sign(checkpoint_sign_input(&bytes)).await;
        let signature = signature.map_err(|error| MakeCheckpointError::Sign(error.into()))?;
        let mut tx = self.begin().await?;
        let last = query(LAST_CHECKPOINT).fetch_optional(&mut tx).await.map_err(StoreError::from)?;
        if last.map(|row| row.number("number")).transpose()?.unwrap_or(0) >= number {
            return Ok(None);
        }
        query(ADD_CHECKPOINT)
            .bind(i64::try_from(number).unwrap_or(i64::MAX))
            .bind(position)
            .bind(bytes.as_slice())
            .bind(signature.as_slice())
            .bind(key_id)
            .bind(now.as_millis())
            .execute(&mut tx)
            .await
            .map_err(StoreError::from)?;
        tx.commit().await?;
        Ok(Some(SignedCheckpoint { bytes, signature }))
    }
}

/// What the check of a log found good.
#[derive(Clone, Debug)]
pub struct VerifiedLog {
    /// Where each writer's chain ends.
    pub heads: Heads,
    /// How many checkpoints hold.
    pub checkpoints: usize,
}

/// Why a log is not good, or could not be looked at.
#[derive(Debug, Error)]
pub enum VerifyLogError {
    /// A row was changed, deleted, moved, or written twice.
    #[error("the audit log was tampered with")]
    Chain(#[source] ChainFault),
    /// A checkpoint does not hold.
    #[error("the audit log's checkpoints do not hold")]
    Checkpoint(#[source] CheckpointError),
    /// The database failed, or holds what cannot be read.
    #[error("the audit log could not be read")]
    Store(#[source] StoreError),
}

impl From<StoreError> for VerifyLogError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Checks the whole log in one snapshot: every row's bytes and place, and what the checkpoints say. `keys` are the
/// checkpoint keys (uncompressed SEC1 points), from a place that whoever could edit the log could not edit.
///
/// # Errors
/// [`VerifyLogError`] for the first thing that is wrong.
pub async fn verify(conn: &mut Conn, keys: &[[u8; 65]]) -> Result<VerifiedLog, VerifyLogError> {
    let signed = checkpoints(conn).await?;
    let checkpoints = verify_checkpoints(&signed, keys).map_err(VerifyLogError::Checkpoint)?;
    let mut verifier = ChainVerifier::new(&checkpoints);
    let mut after = 0;
    loop {
        let rows =
            query(PAGE_AFTER).bind(after).bind(PAGE).fetch_all(&mut *conn).await.map_err(StoreError::from)?;
        for row in &rows {
            let row = AuditRow::read(row)?;
            verifier.push(&row.row).map_err(VerifyLogError::Chain)?;
            after = row.position;
        }
        if rows.is_empty() {
            break;
        }
    }
    let heads = verifier.finish().map_err(VerifyLogError::Chain)?;
    Ok(VerifiedLog { heads, checkpoints: checkpoints.len() })
}
