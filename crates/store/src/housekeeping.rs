//! Sweeps out what has served its time. Never touches audit rows, connections or accounts.

use std::time::Duration;

use usher_types::UnixTime;

use crate::{
    StoreError, WriteTx, api_keys, conn::query, connections, named_proofs, page_sessions, row::statements,
    service_users,
};

/// How long a session's row outlives the session, for questions about yesterday.
const SESSION_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long a token's row outlives the token.
const TOKEN_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

statements! {
    REQUESTS = "DELETE FROM requests WHERE expires_at <= $1";
    CODES = "DELETE FROM authorization_codes WHERE expires_at <= $1";
    SET_UP_CODES = "DELETE FROM set_up_codes WHERE expires_at <= $1";
    USED_ONCE = "DELETE FROM used_once WHERE expires_at <= $1";
    SESSIONS = "DELETE FROM sessions WHERE expires_at <= $1";
    TOKENS = "DELETE FROM enrollment_tokens WHERE expires_at <= $1";
}

/// Deletes what has expired; says how many rows. Call it every few minutes.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn sweep(tx: &mut WriteTx, now: UnixTime) -> Result<u64, StoreError> {
    let mut swept = connections::forget_answers(tx, now).await?;
    swept = swept.saturating_add(named_proofs::sweep(tx, now).await?);
    swept = swept.saturating_add(page_sessions::sweep(tx, now).await?);
    swept = swept.saturating_add(service_users::sweep(tx, now).await?);
    swept = swept.saturating_add(api_keys::sweep(tx, now.saturating_sub(TOKEN_KEPT)).await?);
    let sessions = now.saturating_sub(SESSION_KEPT);
    let tokens = now.saturating_sub(TOKEN_KEPT);
    let rules = [
        (REQUESTS, now),
        (CODES, now),
        (SET_UP_CODES, now),
        (USED_ONCE, now),
        (SESSIONS, sessions),
        (TOKENS, tokens),
    ];
    for (sql, before) in rules {
        let done = query(sql).bind(before.as_millis()).execute(tx).await?;
        swept = swept.saturating_add(done.rows_affected());
    }
    Ok(swept)
}
