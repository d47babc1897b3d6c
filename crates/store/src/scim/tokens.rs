//! Tokens of connectors. The secret that one was presented with is the caller's to compare.

use usher_types::Cidr;
use usher_types::{ConnectorId, ConnectorName, Label, Sha256, TokenId, UnixTime, UserId, UserName};

use crate::{
    Conn, ConnectorState, StoreError, WriteTx,
    conn::query,
    row::{Columns, Row, statements},
};

statements! {
    BY_ID = "SELECT t.id, t.connector_id, c.name, c.state, t.description, t.secret_hash, t.cidr, t.created_by,
            t.created_by_name, t.created_at, t.expires_at, t.revoked_at, t.last_used_at
        FROM scim_tokens t JOIN connectors c ON c.id = t.connector_id WHERE t.id = $1";
    LIST = "SELECT t.id, t.connector_id, c.name, c.state, t.description, t.secret_hash, t.cidr, t.created_by,
            t.created_by_name, t.created_at, t.expires_at, t.revoked_at, t.last_used_at
        FROM scim_tokens t JOIN connectors c ON c.id = t.connector_id ORDER BY t.created_at, t.id";
    CREATE = "INSERT INTO scim_tokens (id, connector_id, description, secret_hash, cidr, created_by, created_by_name,
            created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    REVOKE = "UPDATE scim_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
    USED = "UPDATE scim_tokens SET last_used_at = $2 WHERE id = $1";
}

/// A connector's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScimToken {
    /// Its id.
    pub id: TokenId,
    /// The connector for which it speaks.
    pub connector_id: ConnectorId,
    /// That connector's name.
    pub connector: ConnectorName,
    /// Whether that connector is used.
    pub connector_state: ConnectorState,
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

fn read(row: &Row) -> Result<ScimToken, StoreError> {
    Ok(ScimToken {
        id: row.parse("id")?,
        connector_id: row.parse("connector_id")?,
        connector: row.parse("name")?,
        connector_state: row.parse("state")?,
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

/// One token.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_id(conn: &mut Conn, id: TokenId) -> Result<Option<ScimToken>, StoreError> {
    let row = query(BY_ID).bind(id.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// All tokens, oldest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<ScimToken>, StoreError> {
    query(LIST).fetch_all(conn).await?.iter().map(read).collect()
}

/// Stores a new token. Those that the connector has go on working.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn create(tx: &mut WriteTx, token: &ScimToken) -> Result<(), StoreError> {
    query(CREATE)
        .bind(token.id.to_string())
        .bind(token.connector_id.to_string())
        .bind(token.description.as_str())
        .bind(token.hash.to_string())
        .bind(token.cidr.as_ref().map(ToString::to_string))
        .bind(token.created_by.to_string())
        .bind(token.created_by_name.as_str())
        .bind(token.created_at.as_millis())
        .bind(token.expires_at.as_millis())
        .execute(tx)
        .await?;
    Ok(())
}

/// Revokes a token; false when it was revoked before. What was done with it stays.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn revoke(tx: &mut WriteTx, id: TokenId, now: UnixTime) -> Result<bool, StoreError> {
    let done = query(REVOKE).bind(id.to_string()).bind(now.as_millis()).execute(tx).await?;
    Ok(done.rows_affected() == 1)
}

/// Remembers that a token was used. No decision depends on it.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn used(tx: &mut WriteTx, id: TokenId, now: UnixTime) -> Result<(), StoreError> {
    query(USED).bind(id.to_string()).bind(now.as_millis()).execute(tx).await?;
    Ok(())
}
