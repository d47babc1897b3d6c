//! Writes by the proof that named them: a repeated request executes nothing and gets the stored answer.
//!
//! Connections are not in here; their rows are their own record.

use std::time::Duration;

use usher_types::{Sha256, UnixTime};

use crate::{
    StoreError, WriteTx,
    conn::query,
    connections::RequestName,
    row::{Columns as _, statements},
};

/// How long an answer is kept.
pub const REQUEST_KEPT: Duration = Duration::from_secs(10 * 60);

statements! {
    CLAIM = "INSERT INTO requests (jkt, jti, content, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING";
    FIND = "SELECT content, status, answer, created_at FROM requests WHERE jkt = $1 AND jti = $2";
    ANSWER = "UPDATE requests SET status = $3, answer = $4 WHERE jkt = $1 AND jti = $2 AND status IS NULL";
    RELEASE = "DELETE FROM requests WHERE jkt = $1 AND jti = $2 AND status IS NULL";
}

/// Whether a request may execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It executed before: this was the answer.
    Answered {
        /// HTTP status.
        status: u16,
        /// The body.
        body: Vec<u8>,
    },
    /// Never seen: it executes now.
    Fresh,
    /// Another request had the same name.
    OtherContent,
    /// It was claimed before, and no answer is known: it executes at this moment, or the process died over it.
    Running {
        /// When it was claimed.
        since: UnixTime,
    },
    /// It executed before, and its answer held a secret that is shown once.
    ShownBefore,
}

/// Claims a request before it executes. Commit before executing it.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn claim(tx: &mut WriteTx, request: &RequestName, now: UnixTime) -> Result<Claim, StoreError> {
    let jkt = request.jkt.to_string();
    let done = query(CLAIM)
        .bind(&jkt)
        .bind(&request.jti)
        .bind(request.content.to_string())
        .bind(now.as_millis())
        .bind(now.saturating_add(REQUEST_KEPT).as_millis())
        .execute(tx)
        .await?;
    if done.rows_affected() == 1 {
        return Ok(Claim::Fresh);
    }
    let row = query(FIND).bind(&jkt).bind(&request.jti).fetch_one(tx).await?;
    let content: Sha256 = row.parse("content")?;
    if content != request.content {
        return Ok(Claim::OtherContent);
    }
    if row.int_opt("status")?.is_none() {
        return Ok(Claim::Running { since: row.time("created_at")? });
    }
    Ok(match row.bytes_opt("answer")? {
        Some(body) => Claim::Answered { status: row.number("status")?, body },
        None => Claim::ShownBefore,
    })
}

/// Keeps the answer of a claimed request; `None` for one that holds a secret. May be called in the transaction that
/// executes the request, and should be.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn answer(
    tx: &mut WriteTx,
    request: &RequestName,
    status: u16,
    body: Option<&[u8]>,
) -> Result<(), StoreError> {
    query(ANSWER)
        .bind(request.jkt.to_string())
        .bind(&request.jti)
        .bind(i64::from(status))
        .bind(body)
        .execute(tx)
        .await?;
    Ok(())
}

/// Gives a claimed request back: it failed and changed nothing, so it may be tried again.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn release(tx: &mut WriteTx, request: &RequestName) -> Result<(), StoreError> {
    let query = query(RELEASE).bind(request.jkt.to_string()).bind(&request.jti);
    query.execute(tx).await?;
    Ok(())
}
