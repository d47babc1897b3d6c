//! Sessions, found by their token's id. Whether one is good is `usher-identity`'s to say.

use usher_identity::{DeviceRecord, GroupsFault, ProviderLogin, SessionRecord, UserRecord};
use usher_types::{
    ConnectorId, DeviceId, DeviceName, SessionId, TeamRoles, TokenId, UnixTime, UserId, UserName,
};

use crate::{
    Conn, StoreError, WriteTx,
    conn::{Query, query},
    page_sessions,
    row::{Columns, Row, statements, to_json},
    team, team_roles,
};

statements! {
    BY_TOKEN = "SELECT s.id, s.token_id, s.token_hash, s.auth_time, s.amr, s.created_at, s.expires_at, s.ended_at,
        s.connector_id AS idp, s.acr, s.idp_session, s.groups_fault, s.client_address, s.last_used_at,
        t.session_lifetime_seconds, t.session_idle_seconds, t.session_bound,
        u.id AS user_id, u.user_name, u.display_name, u.unix_user_name, u.status, u.team_role, u.connector_id,
        u.created_at AS user_created_at,
        d.id AS device_id, d.user_id AS device_user_id, d.name, d.jkt, d.state, d.created_at AS device_created_at
        FROM sessions s JOIN users u ON u.id = s.user_id JOIN devices d ON d.id = s.device_id
        LEFT JOIN team t ON t.singleton = 1
        WHERE s.token_id = $1";
    BY_ID = "SELECT s.id, s.token_id, s.token_hash, s.auth_time, s.amr, s.created_at, s.expires_at, s.ended_at,
        s.connector_id AS idp, s.acr, s.idp_session, s.groups_fault, s.client_address, s.last_used_at,
        t.session_lifetime_seconds, t.session_idle_seconds, t.session_bound,
        s.user_id, s.device_id, u.user_name, d.name
        FROM sessions s JOIN users u ON u.id = s.user_id JOIN devices d ON d.id = s.device_id
        LEFT JOIN team t ON t.singleton = 1
        WHERE s.id = $1";
    OPEN = "SELECT s.id, s.token_id, s.token_hash, s.auth_time, s.amr, s.created_at, s.expires_at, s.ended_at,
        s.connector_id AS idp, s.acr, s.idp_session, s.groups_fault, s.client_address, s.last_used_at,
        t.session_lifetime_seconds, t.session_idle_seconds, t.session_bound,
        s.user_id, s.device_id, u.user_name, d.name
        FROM sessions s JOIN users u ON u.id = s.user_id JOIN devices d ON d.id = s.device_id
        LEFT JOIN team t ON t.singleton = 1
        WHERE s.ended_at IS NULL AND s.expires_at > $1 ORDER BY s.created_at, s.id";
    OPEN_OF_USER = "SELECT s.id, s.token_id, s.token_hash, s.auth_time, s.amr, s.created_at, s.expires_at, s.ended_at,
        s.connector_id AS idp, s.acr, s.idp_session, s.groups_fault, s.client_address, s.last_used_at,
        t.session_lifetime_seconds, t.session_idle_seconds, t.session_bound,
        s.user_id, s.device_id, u.user_name, d.name
        FROM sessions s JOIN users u ON u.id = s.user_id JOIN devices d ON d.id = s.device_id
        LEFT JOIN team t ON t.singleton = 1
        WHERE s.ended_at IS NULL AND s.expires_at > $1 AND s.user_id = $2 ORDER BY s.created_at, s.id";
    USED = "UPDATE sessions SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
    CREATE = "INSERT INTO sessions (id, token_id, token_hash, user_id, device_id, auth_time, amr, created_at, expires_at,
            client_address, last_used_at, connector_id, acr, idp_session, groups_fault)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    END = "UPDATE sessions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL";
    END_OF_USER = "UPDATE sessions SET ended_at = $2 WHERE user_id = $1 AND ended_at IS NULL";
    END_OF_CONNECTOR = "UPDATE sessions SET ended_at = $2 WHERE ended_at IS NULL
        AND user_id IN (SELECT id FROM users WHERE connector_id = $1)";
    OF_IDP_SESSION = "SELECT id, user_id FROM sessions
        WHERE connector_id = $1 AND idp_session = $2 AND ended_at IS NULL ORDER BY id";
    LIVE_OF_IDP_USER = "SELECT id, user_id FROM sessions
        WHERE connector_id = $1 AND user_id = $2 AND ended_at IS NULL ORDER BY id";
    END_OF_DEVICE = "UPDATE sessions SET ended_at = $2 WHERE device_id = $1 AND ended_at IS NULL RETURNING id";
}

/// What a request with a session token rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerRows {
    /// Who.
    pub user: UserRecord,
    /// What it is in the team, by itself and by its groups.
    pub team_roles: TeamRoles,
    /// On which device.
    pub device: DeviceRecord,
    /// In which session.
    pub session: SessionRecord,
}

impl CallerRows {
    fn read(row: &Row, team_roles: TeamRoles) -> Result<Self, StoreError> {
        let user = UserRecord {
            id: row.parse("user_id")?,
            user_name: row.parse("user_name")?,
            display_name: row.parse("display_name")?,
            unix_user_name: row.parse("unix_user_name")?,
            status: row.word("status")?,
            team_role: row.parse("team_role")?,
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
        Ok(Self { user, team_roles, device, session: read_session(row)? })
    }
}

fn read_session(row: &Row) -> Result<SessionRecord, StoreError> {
    let amr: Vec<String> = row.json("amr")?;
    let created_at = row.time("created_at")?;
    Ok(SessionRecord {
        id: row.parse("id")?,
        token_id: row.parse("token_id")?,
        token_hash: row.parse("token_hash")?,
        user_id: row.parse("user_id")?,
        device_id: row.parse("device_id")?,
        auth_time: row.time("auth_time")?,
        amr: amr
            .iter()
            .map(|method| method.parse().map_err(|_error| StoreError::Corrupt { column: "amr" }))
            .collect::<Result<_, _>>()?,
        created_at,
        expires_at: row.time("expires_at")?,
        ended_at: row.time_opt("ended_at")?,
        provider: read_provider(row, "idp")?,
        client_address: row.parse_opt("client_address")?,
        last_used_at: row.time_opt("last_used_at")?.unwrap_or(created_at),
        terms: team::read_session_terms(row)?,
    })
}

/// A session as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session.
    pub record: SessionRecord,
    /// Whose.
    pub user_name: UserName,
    /// What the owner calls the device it is on.
    pub device_name: DeviceName,
}

impl Session {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            record: read_session(row)?,
            user_name: row.parse("user_name")?,
            device_name: row.parse("name")?,
        })
    }
}

/// One session; also one that has ended.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_id(conn: &mut Conn, id: SessionId) -> Result<Option<Session>, StoreError> {
    let row = query(BY_ID).bind(id.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(Session::read).transpose()
}

/// Sessions that were not ended and whose time is not over, of one user or of all, oldest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn open(conn: &mut Conn, of: Option<UserId>, now: UnixTime) -> Result<Vec<Session>, StoreError> {
    let query = match of {
        Some(user) => query(OPEN_OF_USER).bind(now.as_millis()).bind(user.to_string()),
        None => query(OPEN).bind(now.as_millis()),
    };
    let rows = query.fetch_all(conn).await?;
    let sessions: Vec<Session> = rows.iter().map(Session::read).collect::<Result<_, _>>()?;
    let is_open = |session: &Session| {
        let record = &session.record;
        now < record.ends_at() && !record.is_idle(record.last_used_at, now)
    };
    Ok(sessions.into_iter().filter(is_open).collect())
}

/// Writes down that a session was used. Moves no epoch: nothing that was allowed is denied by it.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn used(tx: &mut WriteTx, session: SessionId, at: UnixTime) -> Result<(), StoreError> {
    query(USED).bind(session.to_string()).bind(at.as_millis()).execute(tx).await?;
    Ok(())
}

/// The rows of a session token; also those of one that has ended.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn caller(conn: &mut Conn, token: TokenId) -> Result<Option<CallerRows>, StoreError> {
    let row = query(BY_TOKEN).bind(token.to_string()).fetch_optional(conn).await?;
    let Some(row) = row else { return Ok(None) };
    let team_roles = team_roles::of_user(conn, row.parse("user_id")?).await?;
    CallerRows::read(&row, team_roles).map(Some)
}

/// Stores a new session.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn create(tx: &mut WriteTx, session: &SessionRecord) -> Result<(), StoreError> {
    let amr: Vec<&str> = session.amr.iter().map(|method| method.as_str()).collect();
    let query = query(CREATE)
        .bind(session.id.to_string())
        .bind(session.token_id.to_string())
        .bind(session.token_hash.to_string())
        .bind(session.user_id.to_string())
        .bind(session.device_id.to_string())
        .bind(session.auth_time.as_millis())
        .bind(to_json(&amr, "amr")?)
        .bind(session.created_at.as_millis())
        .bind(session.expires_at.as_millis())
        .bind(session.client_address.map(|address| address.to_string()))
        .bind(session.last_used_at.as_millis());
    bind_provider(query, session.provider.as_ref()).execute(tx).await?;
    Ok(())
}

/// The four columns of what an identity provider said, in this order.
pub(crate) fn bind_provider<'q>(query: Query<'q>, login: Option<&'q ProviderLogin>) -> Query<'q> {
    query
        .bind(login.map(|login| login.connector_id.to_string()))
        .bind(login.and_then(|login| login.acr.as_deref()))
        .bind(login.and_then(|login| login.session.as_deref()))
        .bind(login.and_then(|login| login.groups_fault).map(GroupsFault::as_str))
}

/// What an identity provider said; `connector` is the column that says which one.
pub(crate) fn read_provider(row: &Row, connector: &'static str) -> Result<Option<ProviderLogin>, StoreError> {
    let Some(connector_id) = row.parse_opt(connector)? else { return Ok(None) };
    Ok(Some(ProviderLogin {
        connector_id,
        acr: row.text_opt("acr")?,
        session: row.text_opt("idp_session")?,
        groups_fault: row.parse_opt("groups_fault")?,
    }))
}

/// Ends a session; false when it had ended.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn end(tx: &mut WriteTx, session: SessionId, now: UnixTime) -> Result<bool, StoreError> {
    let count = end_where(tx, END, session.to_string(), now).await?;
    Ok(count == 1)
}

/// Ends all sessions of a user, those on pages too; says how many of devices.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn end_of_user(tx: &mut WriteTx, user: UserId, now: UnixTime) -> Result<u64, StoreError> {
    page_sessions::end_of_user(tx, user).await?;
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

/// Whose logins by an identity provider it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoggedOut<'a> {
    /// One session of the provider.
    Session(&'a str),
    /// All logins of a user.
    User(UserId),
}

/// The open sessions that began with a login by this provider and end with this logout there.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn of_logout(
    conn: &mut Conn,
    connector: ConnectorId,
    whose: &LoggedOut<'_>,
) -> Result<Vec<(SessionId, UserId)>, StoreError> {
    let connector = connector.to_string();
    let query = match whose {
        LoggedOut::Session(session) => query(OF_IDP_SESSION).bind(connector).bind(*session),
        LoggedOut::User(user) => query(LIVE_OF_IDP_USER).bind(connector).bind(user.to_string()),
    };
    let rows = query.fetch_all(conn).await?;
    rows.iter().map(|row| Ok((row.parse("id")?, row.parse("user_id")?))).collect()
}

/// Ends all sessions of a device; says which.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn end_of_device(
    tx: &mut WriteTx,
    device: DeviceId,
    now: UnixTime,
) -> Result<Vec<SessionId>, StoreError> {
    let rows = query(END_OF_DEVICE).bind(device.to_string()).bind(now.as_millis()).fetch_all(tx).await?;
    if !rows.is_empty() {
        tx.bump_epoch().await?;
    }
    rows.iter().map(|row| row.parse("id")).collect()
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
