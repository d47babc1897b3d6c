//! API keys of service users. Whether one is good is `usher-sign-in`'s to say. Sessions end with the key by which they
//! began.

use usher_types::{Cidr, Label, Sha256, TokenId, UnixTime, UserId, UserName};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    row::{Columns, Row, statements},
};

statements! {
    BY_ID = "SELECT k.id, k.user_id, u.user_name, k.description, k.secret_hash, k.cidr, k.created_by,
            k.created_by_name, k.created_at, k.expires_at, k.revoked_at, k.last_used_at
        FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.id = $1";
    LIST = "SELECT k.id, k.user_id, u.user_name, k.description, k.secret_hash, k.cidr, k.created_by,
            k.created_by_name, k.created_at, k.expires_at, k.revoked_at, k.last_used_at
        FROM api_keys k JOIN users u ON u.id = k.user_id ORDER BY k.created_at, k.id";
    CREATE = "INSERT INTO api_keys (id, user_id, description, secret_hash, cidr, created_by, created_by_name, created_at,
            expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    END_AT = "UPDATE api_keys SET expires_at = $2 WHERE id = $1 AND revoked_at IS NULL AND expires_at > $2";
    SESSIONS_END_AT = "UPDATE sessions SET expires_at = $2
        WHERE api_key_id = $1 AND ended_at IS NULL AND expires_at > $2";
    REVOKE = "UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
    END_SESSIONS = "UPDATE sessions SET ended_at = $2 WHERE api_key_id = $1 AND ended_at IS NULL";
    USED = "UPDATE api_keys SET last_used_at = $2 WHERE id = $1";
    OLD = "DELETE FROM api_keys WHERE expires_at <= $1";
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: TokenId,
    /// The service user that it is of.
    pub user_id: UserId,
    /// That user's name.
    pub user_name: UserName,
    /// What it is called.
    pub description: Label,
    /// [`usher_types::SecretToken::hash`] of it.
    pub hash: Sha256,
    /// From where it may be used; from everywhere when absent.
    pub cidr: Option<Cidr>,
    /// Who made it.
    pub created_by: UserId,
    /// What that user was called then.
    pub created_by_name: UserName,
    /// When it was made.
    pub created_at: UnixTime,
    /// When it ends.
    pub expires_at: UnixTime,
    /// When it was revoked.
    pub revoked_at: Option<UnixTime>,
    /// When it was last used, give or take a minute.
    pub last_used_at: Option<UnixTime>,
}

fn read(row: &Row) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: row.parse("id")?,
        user_id: row.parse("user_id")?,
        user_name: row.parse("user_name")?,
        description: row.parse("description")?,
        hash: row.parse("secret_hash")?,
        cidr: row.parse_opt("cidr")?,
        created_by: row.parse("created_by")?,
        created_by_name: row.parse("created_by_name")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        revoked_at: row.time_opt("revoked_at")?,
        last_used_at: row.time_opt("last_used_at")?,
    })
}

/// One key.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_id(conn: &mut Conn, id: TokenId) -> Result<Option<ApiKey>, StoreError> {
    let row = query(BY_ID).bind(id.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// All keys, oldest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<ApiKey>, StoreError> {
    query(LIST).fetch_all(conn).await?.iter().map(read).collect()
}

/// Stores a new key. Those that the user has go on working.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn create(tx: &mut WriteTx, key: &ApiKey) -> Result<(), StoreError> {
    query(CREATE)
        .bind(key.id.to_string())
        .bind(key.user_id.to_string())
        .bind(key.description.as_str())
        .bind(key.hash.to_string())
        .bind(key.cidr.as_ref().map(ToString::to_string))
        .bind(key.created_by.to_string())
        .bind(key.created_by_name.as_str())
        .bind(key.created_at.as_millis())
        .bind(key.expires_at.as_millis())
        .execute(tx)
        .await?;
    Ok(())
}

/// Has a key, and the sessions that began by it, end sooner; false when it ends by then anyway.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn end_at(tx: &mut WriteTx, id: TokenId, end: UnixTime) -> Result<bool, StoreError> {
    let id = id.to_string();
    let done = query(END_AT).bind(&id).bind(end.as_millis()).execute(tx).await?;
    query(SESSIONS_END_AT).bind(&id).bind(end.as_millis()).execute(tx).await?;
    tx.bump_epoch().await?;
    Ok(done.rows_affected() == 1)
}

/// Revokes a key and ends the sessions that began by it; false when it was revoked before.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn revoke(tx: &mut WriteTx, id: TokenId, now: UnixTime) -> Result<bool, StoreError> {
    let id = id.to_string();
    let done = query(REVOKE).bind(&id).bind(now.as_millis()).execute(tx).await?;
    query(END_SESSIONS).bind(&id).bind(now.as_millis()).execute(tx).await?;
    tx.bump_epoch().await?;
    Ok(done.rows_affected() == 1)
}

/// Remembers that a key was used. No decision depends on it.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn used(tx: &mut WriteTx, id: TokenId, now: UnixTime) -> Result<(), StoreError> {
    query(USED).bind(id.to_string()).bind(now.as_millis()).execute(tx).await?;
    Ok(())
}

/// Deletes keys that ended before this time.
pub(crate) async fn sweep(tx: &mut WriteTx, before: UnixTime) -> Result<u64, StoreError> {
    let done = query(OLD).bind(before.as_millis()).execute(tx).await?;
    Ok(done.rows_affected())
}
