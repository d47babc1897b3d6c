//! Service users: which users are programs. They are users like others in groups, roles and accounts; what they lack is
//! every way in that a person has.

use std::time::Duration;

use usher_identity::UserRecord;
use usher_types::{SessionId, TokenId, TrustId, UnixTime, UserId};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    row::statements,
    users::{self, CreateUserError},
};

/// How long a device that a program came by outlives its session: clocks differ.
const DEVICE_KEPT: Duration = Duration::from_secs(10 * 60);

statements! {
    MARK = "INSERT INTO service_users (user_id) VALUES ($1)";
    IS = "SELECT 1 FROM service_users WHERE user_id = $1";
    LIST = "SELECT u.id, u.user_name, u.display_name, u.unix_user_name, u.status, u.team_role, u.connector_id,
            u.created_at
        FROM users u JOIN service_users s ON s.user_id = u.id ORDER BY u.user_name";
    OPENED_BY = "UPDATE sessions SET api_key_id = $2, trust_id = $3 WHERE id = $1";
    SPENT_DEVICES = "DELETE FROM devices WHERE state = 'approved' AND created_at <= $1
        AND user_id IN (SELECT user_id FROM service_users)
        AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.device_id = devices.id AND s.expires_at > $1
            AND s.ended_at IS NULL)
        AND NOT EXISTS (SELECT 1 FROM locks l WHERE l.kind = 'device' AND l.target = devices.id)";
}

/// By what a service user's session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// An API key.
    ApiKey(TokenId),
    /// An identity token that fits a trust.
    Trust(TrustId),
}

/// Creates a service user.
///
/// # Errors
/// [`CreateUserError`] when a name is taken or was.
pub async fn create(tx: &mut WriteTx, user: &UserRecord) -> Result<(), CreateUserError> {
    users::create(tx, user).await?;
    let marked = query(MARK).bind(user.id.to_string()).execute(tx).await;
    marked.map(drop).map_err(|error| CreateUserError::Store(error.into()))
}

/// Whether a user is a service user.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn is_one(conn: &mut Conn, user: UserId) -> Result<bool, StoreError> {
    Ok(query(IS).bind(user.to_string()).fetch_optional(conn).await?.is_some())
}

/// All service users by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<UserRecord>, StoreError> {
    query(LIST).fetch_all(conn).await?.iter().map(users::read).collect()
}

/// One service user by name or id.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn find(conn: &mut Conn, name_or_id: &str) -> Result<Option<UserRecord>, StoreError> {
    let Some(user) = users::find(conn, name_or_id).await? else { return Ok(None) };
    Ok(is_one(conn, user.id).await?.then_some(user))
}

/// Writes down by what a session began, in the transaction that opens it: it ends with that.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn opened_by(
    tx: &mut WriteTx,
    session: SessionId,
    credential: Credential,
) -> Result<(), StoreError> {
    let (key, trust) = match credential {
        Credential::ApiKey(id) => (Some(id.to_string()), None),
        Credential::Trust(id) => (None, Some(id.to_string())),
    };
    query(OPENED_BY).bind(session.to_string()).bind(key).bind(trust).execute(tx).await?;
    Ok(())
}

/// Deletes the devices that service users do not come by any more: each is a key in the memory of a program that is gone.
/// Nobody could do anything with one, so no decision changes. Revoked and locked ones stay.
pub(crate) async fn sweep(tx: &mut WriteTx, now: UnixTime) -> Result<u64, StoreError> {
    let before = now.saturating_sub(DEVICE_KEPT);
    let done = query(SPENT_DEVICES).bind(before.as_millis()).execute(tx).await?;
    Ok(done.rows_affected())
}
