//! Trusts: whose identity tokens make a session of a service user. What a token says is checked elsewhere. Sessions end
//! with the trust by which they began.

use ipnet::IpNet;
use usher_identity::workload::ClaimRules;
use usher_types::{Label, TrustId, UnixTime, UserId, UserName};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    row::{Columns, Row, statements, to_json},
};

statements! {
    LIST = "SELECT t.id, t.user_id, u.user_name, t.description, t.issuer, t.audience, t.claims, t.private_networks,
            t.created_by, t.created_by_name, t.created_at, t.last_used_at
        FROM trusts t JOIN users u ON u.id = t.user_id ORDER BY t.created_at, t.id";
    BY_ID = "SELECT t.id, t.user_id, u.user_name, t.description, t.issuer, t.audience, t.claims, t.private_networks,
            t.created_by, t.created_by_name, t.created_at, t.last_used_at
        FROM trusts t JOIN users u ON u.id = t.user_id WHERE t.id = $1";
    OF_ISSUER = "SELECT t.id, t.user_id, u.user_name, t.description, t.issuer, t.audience, t.claims, t.private_networks,
            t.created_by, t.created_by_name, t.created_at, t.last_used_at
        FROM trusts t JOIN users u ON u.id = t.user_id WHERE u.user_name = $1 AND t.issuer = $2
        ORDER BY t.created_at, t.id";
    CREATE = "INSERT INTO trusts (id, user_id, description, issuer, audience, claims, private_networks, created_by,
            created_by_name, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    DELETE = "DELETE FROM trusts WHERE id = $1";
    END_SESSIONS = "UPDATE sessions SET ended_at = $2 WHERE trust_id = $1 AND ended_at IS NULL";
    USED = "UPDATE trusts SET last_used_at = $2 WHERE id = $1";
}

/// Whose tokens are let in as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Its id.
    pub id: TrustId,
    /// The service user.
    pub user_id: UserId,
    /// That user's name.
    pub user_name: UserName,
    /// What it is called.
    pub description: Label,
    /// Who says so, byte by byte.
    pub issuer: String,
    /// For whom the token must have been made.
    pub audience: String,
    /// What it must say.
    pub claims: ClaimRules,
    /// Private networks in which the issuer may be.
    pub private_networks: Vec<IpNet>,
    /// Who made it.
    pub created_by: UserId,
    /// What that user was called then.
    pub created_by_name: UserName,
    /// When it was made.
    pub created_at: UnixTime,
    /// When it was last used, give or take a minute.
    pub last_used_at: Option<UnixTime>,
}

fn read(row: &Row) -> Result<Trust, StoreError> {
    Ok(Trust {
        id: row.parse("id")?,
        user_id: row.parse("user_id")?,
        user_name: row.parse("user_name")?,
        description: row.parse("description")?,
        issuer: row.text("issuer")?,
        audience: row.text("audience")?,
        claims: row.json("claims")?,
        private_networks: row.json("private_networks")?,
        created_by: row.parse("created_by")?,
        created_by_name: row.parse("created_by_name")?,
        created_at: row.time("created_at")?,
        last_used_at: row.time_opt("last_used_at")?,
    })
}

/// All trusts, oldest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<Trust>, StoreError> {
    query(LIST).fetch_all(conn).await?.iter().map(read).collect()
}

/// One trust.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_id(conn: &mut Conn, id: TrustId) -> Result<Option<Trust>, StoreError> {
    let row = query(BY_ID).bind(id.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// What tokens of this issuer may make a session of this user, oldest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn of_issuer(conn: &mut Conn, user: &UserName, issuer: &str) -> Result<Vec<Trust>, StoreError> {
    query(OF_ISSUER).bind(user.as_str()).bind(issuer).fetch_all(conn).await?.iter().map(read).collect()
}

/// Stores a new trust.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn create(tx: &mut WriteTx, trust: &Trust) -> Result<(), StoreError> {
    query(CREATE)
        .bind(trust.id.to_string())
        .bind(trust.user_id.to_string())
        .bind(trust.description.as_str())
        .bind(&trust.issuer)
        .bind(&trust.audience)
        .bind(to_json(&trust.claims, "claims")?)
        .bind(to_json(&trust.private_networks, "private_networks")?)
        .bind(trust.created_by.to_string())
        .bind(trust.created_by_name.as_str())
        .bind(trust.created_at.as_millis())
        .execute(tx)
        .await?;
    Ok(())
}

/// Deletes a trust and ends the sessions that began by it; false when there is none.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn delete(tx: &mut WriteTx, id: TrustId, now: UnixTime) -> Result<bool, StoreError> {
    let id = id.to_string();
    let done = query(DELETE).bind(&id).execute(tx).await?;
    query(END_SESSIONS).bind(&id).bind(now.as_millis()).execute(tx).await?;
    tx.bump_epoch().await?;
    Ok(done.rows_affected() == 1)
}

/// Remembers that a trust was used. No decision depends on it.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn used(tx: &mut WriteTx, id: TrustId, now: UnixTime) -> Result<(), StoreError> {
    query(USED).bind(id.to_string()).bind(now.as_millis()).execute(tx).await?;
    Ok(())
}
