//! Passkeys of people. What a key and an answer of it are worth is `usher-sign-in`'s to say.

use usher_identity::UserStatus;
use usher_types::{DisplayName, PasskeyId, UnixTime, UserId};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    row::{Columns, Row, statements},
};

statements! {
    ADD = "INSERT INTO passkeys (id, user_id, credential_id, credential, sign_count, name, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    OF_USER = "SELECT p.id, p.user_id, p.credential_id, p.credential, p.sign_count, p.name, p.created_at, p.last_used_at,
            u.status, u.connector_id
        FROM passkeys p JOIN users u ON u.id = p.user_id WHERE p.user_id = $1 ORDER BY p.created_at, p.id";
    BY_CREDENTIAL = "SELECT p.id, p.user_id, p.credential_id, p.credential, p.sign_count, p.name, p.created_at,
            p.last_used_at, u.status, u.connector_id
        FROM passkeys p JOIN users u ON u.id = p.user_id WHERE p.credential_id = $1";
    USED = "UPDATE passkeys SET credential = $2, sign_count = $3, last_used_at = $4
        WHERE id = $1 AND (sign_count < $3 OR (sign_count = 0 AND $3 = 0))";
    RENAME = "UPDATE passkeys SET name = $3 WHERE id = $1 AND user_id = $2";
    REMOVE = "DELETE FROM passkeys WHERE id = $1 AND user_id = $2";
    REMOVE_ALL = "DELETE FROM passkeys WHERE user_id = $1";
}

/// A passkey's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    /// Its id.
    pub id: PasskeyId,
    /// Whose it is.
    pub user_id: UserId,
    /// What the authenticator calls it, base64url.
    pub credential_id: String,
    /// Public key and properties, JSON.
    pub credential: String,
    /// How often it has signed; 0 for those that do not count.
    pub sign_count: u32,
    /// What its owner calls it.
    pub name: DisplayName,
    /// When it was registered.
    pub created_at: UnixTime,
    /// When its owner last signed in with it.
    pub last_used_at: Option<UnixTime>,
    /// Whether its owner may do anything.
    pub owner: UserStatus,
    /// Whether its owner belongs to an identity provider.
    pub of_provider: bool,
}

fn read(row: &Row) -> Result<Passkey, StoreError> {
    Ok(Passkey {
        id: row.parse("id")?,
        user_id: row.parse("user_id")?,
        credential_id: row.text("credential_id")?,
        credential: row.text("credential")?,
        sign_count: row.number("sign_count")?,
        name: row.parse("name")?,
        created_at: row.time("created_at")?,
        last_used_at: row.time_opt("last_used_at")?,
        owner: row.word("status")?,
        of_provider: row.text_opt("connector_id")?.is_some(),
    })
}

/// Adds a key; false when somebody, whoever it is, has one with the same credential id.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn add(tx: &mut WriteTx, passkey: &Passkey) -> Result<bool, StoreError> {
    let done = query(ADD)
        .bind(passkey.id.to_string())
        .bind(passkey.user_id.to_string())
        .bind(&passkey.credential_id)
        .bind(&passkey.credential)
        .bind(i64::from(passkey.sign_count))
        .bind(passkey.name.as_str())
        .bind(passkey.created_at.as_millis())
        .execute(tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// A user's keys, oldest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn of_user(conn: &mut Conn, user: UserId) -> Result<Vec<Passkey>, StoreError> {
    query(OF_USER).bind(user.to_string()).fetch_all(conn).await?.iter().map(read).collect()
}

/// The key that the authenticator calls so.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_credential(conn: &mut Conn, credential_id: &str) -> Result<Option<Passkey>, StoreError> {
    let row = query(BY_CREDENTIAL).bind(credential_id).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// Records a use; false when the key is gone, or has meanwhile counted as far: then there may be two of it.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn used(
    tx: &mut WriteTx,
    id: PasskeyId,
    credential: &str,
    sign_count: u32,
    now: UnixTime,
) -> Result<bool, StoreError> {
    let done = query(USED)
        .bind(id.to_string())
        .bind(credential)
        .bind(i64::from(sign_count))
        .bind(now.as_millis())
        .execute(tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives a user's key another name; false when the user has no such key.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn rename(
    tx: &mut WriteTx,
    user: UserId,
    id: PasskeyId,
    name: &DisplayName,
) -> Result<bool, StoreError> {
    let query = query(RENAME).bind(id.to_string()).bind(user.to_string()).bind(name.as_str());
    Ok(query.execute(tx).await?.rows_affected() == 1)
}

/// Removes a user's key; false when the user has no such key.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn remove(tx: &mut WriteTx, user: UserId, id: PasskeyId) -> Result<bool, StoreError> {
    let done = query(REMOVE).bind(id.to_string()).bind(user.to_string()).execute(tx).await?;
    Ok(done.rows_affected() == 1)
}

/// Removes all keys of a user; says how many.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn remove_all(tx: &mut WriteTx, user: UserId) -> Result<u64, StoreError> {
    Ok(query(REMOVE_ALL).bind(user.to_string()).execute(tx).await?.rows_affected())
}
