//! Which team this database belongs to, and the keys that are not a project's: nonce keys.

use usher_types::{TeamSlug, UnixTime};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    row::{Columns as _, statements},
};

statements! {
    TEAM = "SELECT slug FROM team";
    CREATE_TEAM = "INSERT INTO team (singleton, slug, created_at) VALUES (1, $1, $2) ON CONFLICT DO NOTHING";
    NONCE_KEYS = "SELECT key FROM nonce_keys ORDER BY id DESC LIMIT 2";
    NONCE_KEY_TIME = "SELECT created_at FROM nonce_keys ORDER BY id DESC LIMIT 1";
    ADD_NONCE_KEY = "INSERT INTO nonce_keys (id, key, created_at)
        SELECT COALESCE(MAX(id), 0) + 1, $1, $2 FROM nonce_keys";
    DROP_NONCE_KEYS = "DELETE FROM nonce_keys WHERE id < (SELECT MAX(id) FROM nonce_keys) - 1";
}

/// The team; `None` before `init`.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn slug(conn: &mut Conn) -> Result<Option<TeamSlug>, StoreError> {
    query(TEAM).fetch_optional(conn).await?.map(|row| row.parse("slug")).transpose()
}

/// Names the team; false when it has a name already.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn create(tx: &mut WriteTx, slug: &TeamSlug, now: UnixTime) -> Result<bool, StoreError> {
    let done = query(CREATE_TEAM).bind(slug.as_str()).bind(now.as_millis()).execute(tx).await?;
    Ok(done.rows_affected() == 1)
}

/// The nonce keys in use, current first, at most two.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn nonce_keys(conn: &mut Conn) -> Result<Vec<Vec<u8>>, StoreError> {
    let rows = query(NONCE_KEYS).fetch_all(conn).await?;
    rows.iter().map(|row| row.bytes("key")).collect()
}

/// When the current nonce key was made.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn nonce_key_time(conn: &mut Conn) -> Result<Option<UnixTime>, StoreError> {
    let row = query(NONCE_KEY_TIME).fetch_optional(conn).await?;
    Ok(row.map(|row| row.int("created_at")).transpose()?.map(UnixTime::from_millis))
}

/// Makes `key` the current nonce key; the one before it stays accepted, older ones go.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn rotate_nonce_key(tx: &mut WriteTx, key: &[u8], now: UnixTime) -> Result<(), StoreError> {
    query(ADD_NONCE_KEY).bind(key).bind(now.as_millis()).execute(tx).await?;
    query(DROP_NONCE_KEYS).execute(tx).await?;
    Ok(())
}
