//! People who signed in at a browser to look after what they sign in with. Nothing else is open to them there.

use usher_types::{Sha256, UnixTime, UserId};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    row::{Columns as _, statements},
};

statements! {
    OPEN = "INSERT INTO page_sessions (token_hash, user_id, expires_at) VALUES ($1, $2, $3)";
    USER = "SELECT s.user_id FROM page_sessions s JOIN users u ON u.id = s.user_id
        LEFT JOIN connectors c ON c.id = u.connector_id
        WHERE s.token_hash = $1 AND s.expires_at > $2 AND u.status = 'active'
        AND (u.connector_id IS NULL OR c.state = 'active')
        AND NOT EXISTS (SELECT 1 FROM locks l WHERE l.kind = 'user' AND l.target = u.id)";
    END = "DELETE FROM page_sessions WHERE token_hash = $1";
    END_OF_USER = "DELETE FROM page_sessions WHERE user_id = $1";
    SWEEP = "DELETE FROM page_sessions WHERE expires_at <= $1";
}

/// Opens a session.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn open(
    tx: &mut WriteTx,
    token_hash: Sha256,
    user: UserId,
    expires_at: UnixTime,
) -> Result<(), StoreError> {
    query(OPEN)
        .bind(token_hash.to_string())
        .bind(user.to_string())
        .bind(expires_at.as_millis())
        .execute(tx)
        .await?;
    Ok(())
}

/// Whose session it is; none when it is over, or its owner may do nothing.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn user(conn: &mut Conn, token_hash: Sha256, now: UnixTime) -> Result<Option<UserId>, StoreError> {
    let query = query(USER).bind(token_hash.to_string()).bind(now.as_millis());
    query.fetch_optional(conn).await?.map(|row| row.parse("user_id")).transpose()
}

/// Ends a session.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn end(tx: &mut WriteTx, token_hash: Sha256) -> Result<(), StoreError> {
    query(END).bind(token_hash.to_string()).execute(tx).await?;
    Ok(())
}

/// Ends all sessions of a user.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn end_of_user(tx: &mut WriteTx, user: UserId) -> Result<(), StoreError> {
    query(END_OF_USER).bind(user.to_string()).execute(tx).await?;
    Ok(())
}

/// Deletes those that are over; says how many.
pub(crate) async fn sweep(tx: &mut WriteTx, now: UnixTime) -> Result<u64, StoreError> {
    Ok(query(SWEEP).bind(now.as_millis()).execute(tx).await?.rows_affected())
}
