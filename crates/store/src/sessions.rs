//! Sessions, found by their token's id. Whether one is good is `usher-identity`'s to say.

use usher_identity::{DeviceRecord, SessionRecord, UserRecord};
use usher_types::{ConnectorId, DeviceId, SessionId, TokenId, UnixTime, UserId};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    row::{Columns, Row, statements, to_json},
};

statements! {
    BY_TOKEN = "SELECT s.id, s.token_id, s.token_hash, s.auth_time, s.amr, s.created_at, s.expires_at, s.ended_at,
        u.id AS user_id, u.user_name, u.display_name, u.unix_user_name, u.status, u.team_admin, u.connector_id,
        u.created_at AS user_created_at,
        d.id AS device_id, d.user_id AS device_user_id, d.name, d.jkt, d.state, d.created_at AS device_created_at
        FROM sessions s JOIN users u ON u.id = s.user_id JOIN devices d ON d.id = s.device_id
        WHERE s.token_id = $1";
    CREATE = "INSERT INTO sessions (id, token_id, token_hash, user_id, device_id, auth_time, amr, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    END = "UPDATE sessions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL";
    END_OF_USER = "UPDATE sessions SET ended_at = $2 WHERE user_id = $1 AND ended_at IS NULL";
    END_OF_CONNECTOR = "UPDATE sessions SET ended_at = $2 WHERE ended_at IS NULL
        AND user_id IN (SELECT id FROM users WHERE connector_id = $1)";
    END_OF_DEVICE = "UPDATE sessions SET ended_at = $2 WHERE device_id = $1 AND ended_at IS NULL";
}

/// The three rows that a request with a session token rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerRows {
    /// Who.
    pub user: UserRecord,
    /// On which device.
    pub device: DeviceRecord,
    /// In which session.
    pub session: SessionRecord,
}

impl CallerRows {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let user = UserRecord {
            id: row.parse("user_id")?,
            user_name: row.parse("user_name")?,
            display_name: row.parse("display_name")?,
            unix_user_name: row.parse("unix_user_name")?,
            status: row.word("status")?,
            team_admin: row.flag("team_admin")?,
            connector_id: row.parse_opt("connector_id")?,
            created_at: row.time("user_created_at")?,
        };
        let device = DeviceRecord {
            id: row.parse("device_id")?,
            user_id: row.parse("device_user_id")?,
            name: row.parse("name")?,
            jkt: row.parse("jkt")?,
            state: row.word("state")?,
            created_at: row.time("device_created_at")?,
        };
        let amr: Vec<String> = row.json("amr")?;
        let session = SessionRecord {
            id: row.parse("id")?,
            token_id: row.parse("token_id")?,
            token_hash: row.parse("token_hash")?,
            user_id: user.id,
            device_id: device.id,
            auth_time: row.time("auth_time")?,
            amr: amr
                .iter()
                .map(|method| method.parse().map_err(|_error| StoreError::Corrupt { column: "amr" }))
                .collect::<Result<_, _>>()?,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
            ended_at: row.time_opt("ended_at")?,
        };
        Ok(Self { user, device, session })
    }
}

/// The rows of a session token; also those of one that has ended.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn caller(conn: &mut Conn, token: TokenId) -> Result<Option<CallerRows>, StoreError> {
    let row = query(BY_TOKEN).bind(token.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(CallerRows::read).transpose()
}

/// Stores a new session.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn create(tx: &mut WriteTx, session: &SessionRecord) -> Result<(), StoreError> {
    let amr: Vec<&str> = session.amr.iter().map(|method| method.as_str()).collect();
    query(CREATE)
        .bind(session.id.to_string())
        .bind(session.token_id.to_string())
        .bind(session.token_hash.to_string())
        .bind(session.user_id.to_string())
        .bind(session.device_id.to_string())
        .bind(session.auth_time.as_millis())
        .bind(to_json(&amr, "amr")?)
        .bind(session.created_at.as_millis())
        .bind(session.expires_at.as_millis())
        .execute(tx)
        .await?;
    Ok(())
}

/// Ends a session; false when it had ended.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn end(tx: &mut WriteTx, session: SessionId, now: UnixTime) -> Result<bool, StoreError> {
    let count = end_where(tx, END, session.to_string(), now).await?;
    Ok(count == 1)
}

/// Ends all sessions of a user; says how many.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn end_of_user(tx: &mut WriteTx, user: UserId, now: UnixTime) -> Result<u64, StoreError> {
    end_where(tx, END_OF_USER, user.to_string(), now).await
}

/// Ends all sessions of a connector's users; says how many.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn end_of_connector(
    tx: &mut WriteTx,
    connector: ConnectorId,
    now: UnixTime,
) -> Result<u64, StoreError> {
    end_where(tx, END_OF_CONNECTOR, connector.to_string(), now).await
}

/// Ends all sessions of a device; says how many.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn end_of_device(tx: &mut WriteTx, device: DeviceId, now: UnixTime) -> Result<u64, StoreError> {
    end_where(tx, END_OF_DEVICE, device.to_string(), now).await
}

async fn end_where(
    tx: &mut WriteTx,
    sql: &'static str,
    id: String,
    now: UnixTime,
) -> Result<u64, StoreError> {
    let done = query(sql).bind(id).bind(now.as_millis()).execute(tx).await?;
    if done.rows_affected() > 0 {
        tx.bump_epoch().await?;
    }
    Ok(done.rows_affected())
}
