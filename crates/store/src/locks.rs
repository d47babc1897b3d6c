//! Locks: what is denied for now, and why. Each moves the epoch, so that no decision made before stands.

use thiserror::Error;
use usher_types::{DeviceId, LockReason, ProjectId, ServerId, UnixTime, UserId, UserName};

use crate::{
    Conn, LockKind, StoreError, WriteTx,
    conn::query,
    row::{Columns, Row, statements},
};

statements! {
    LIST = "SELECT l.kind, l.target, l.reason, l.created_at, b.user_name AS locked_by,
        COALESCE(u.user_name, d.name, s.name, p.slug, l.target) AS name
        FROM locks l LEFT JOIN users b ON b.id = l.locked_by
        LEFT JOIN users u ON l.kind = 'user' AND u.id = l.target
        LEFT JOIN devices d ON l.kind = 'device' AND d.id = l.target
        LEFT JOIN servers s ON l.kind = 'server' AND s.id = l.target
        LEFT JOIN projects p ON l.kind = 'project' AND p.id = l.target
        ORDER BY l.kind, l.target";
    OF_CALLER = "SELECT kind, reason FROM locks
        WHERE kind = 'user' AND target = $1 OR kind = 'device' AND target = $2";
    OF_ACCESS = "SELECT kind, reason FROM locks
        WHERE kind = 'user' AND target = $1 OR kind = 'device' AND target = $2
            OR kind = 'server' AND target = $3 OR kind = 'project' AND target = $4";
    SET = "INSERT INTO locks (kind, target, reason, locked_by, created_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (kind, target) DO UPDATE
        SET reason = excluded.reason, locked_by = excluded.locked_by, created_at = excluded.created_at
        WHERE locks.reason <> excluded.reason";
    CLEAR = "DELETE FROM locks WHERE kind = $1 AND target = $2";
    CLEAR_DEVICES = "DELETE FROM locks WHERE kind = 'device' AND target IN (SELECT id FROM devices WHERE user_id = $1)";
    ACTING_OWNERS = "SELECT COUNT(*) AS owners FROM users u
        WHERE u.team_role = 'owner' AND u.status = 'active'
            AND NOT EXISTS (SELECT 1 FROM locks l WHERE l.kind = 'user' AND l.target = u.id)
            AND NOT EXISTS (SELECT 1 FROM service_users s WHERE s.user_id = u.id)
            AND EXISTS (SELECT 1 FROM devices d WHERE d.user_id = u.id AND d.state = 'approved'
                AND NOT EXISTS (SELECT 1 FROM locks l WHERE l.kind = 'device' AND l.target = d.id))";
}

/// What a lock is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A client installation.
    Device(DeviceId),
    /// A project.
    Project(ProjectId),
    /// A server.
    Server(ServerId),
    /// A user.
    User(UserId),
}

impl Target {
    /// Which kind of thing it is.
    #[must_use]
    pub fn kind(self) -> LockKind {
        match self {
            Self::Device(_) => LockKind::Device,
            Self::Project(_) => LockKind::Project,
            Self::Server(_) => LockKind::Server,
            Self::User(_) => LockKind::User,
        }
    }

    /// Its id as text.
    #[must_use]
    pub fn id(self) -> String {
        match self {
            Self::Device(id) => id.to_string(),
            Self::Project(id) => id.to_string(),
            Self::Server(id) => id.to_string(),
            Self::User(id) => id.to_string(),
        }
    }
}

/// A lock as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// What kind of thing is locked.
    pub kind: LockKind,
    /// Its id.
    pub target: String,
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: LockReason,
    /// Who locked it, unless that user is gone.
    pub locked_by: Option<UserName>,
    /// When.
    pub created_at: UnixTime,
}

impl Lock {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            kind: row.parse("kind")?,
            target: row.text("target")?,
            name: row.text("name")?,
            reason: row.parse("reason")?,
            locked_by: row.parse_opt("locked_by")?,
            created_at: row.time("created_at")?,
        })
    }
}

/// A lock that stands in the way of a decision.
pub type Standing = (LockKind, LockReason);

fn standing(rows: &[Row]) -> Result<Vec<Standing>, StoreError> {
    rows.iter().map(|row| Ok((row.parse("kind")?, row.parse("reason")?))).collect()
}

/// All locks.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<Lock>, StoreError> {
    query(LIST).fetch_all(conn).await?.iter().map(Lock::read).collect()
}

/// Locks on a user and a device of theirs.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn of_caller(conn: &mut Conn, user: UserId, device: DeviceId) -> Result<Vec<Standing>, StoreError> {
    standing(&query(OF_CALLER).bind(user.to_string()).bind(device.to_string()).fetch_all(conn).await?)
}

/// Locks on everything that one access needs.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn of_access(
    conn: &mut Conn,
    user: UserId,
    device: Option<DeviceId>,
    server: ServerId,
    project: ProjectId,
) -> Result<Vec<Standing>, StoreError> {
    let query = query(OF_ACCESS)
        .bind(user.to_string())
        .bind(device.map(|device| device.to_string()).unwrap_or_default())
        .bind(server.to_string())
        .bind(project.to_string());
    standing(&query.fetch_all(conn).await?)
}

/// Why something cannot be locked.
#[derive(Debug, Error)]
pub enum SetLockError {
    /// Nobody would be left to lift it.
    #[error("no administrator would be left who can do anything")]
    LastOwner,
    /// The database failed.
    #[error("nothing was locked")]
    Store(#[source] StoreError),
}

impl From<StoreError> for SetLockError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Locks something; false when it was locked for the same reason. Whoever may be wanted to lift locks must be left: an
/// active administrator, unlocked, with an approved device that is not locked either.
///
/// # Errors
/// [`SetLockError::LastOwner`]; drop the transaction then.
pub async fn set(
    tx: &mut WriteTx,
    target: Target,
    reason: &LockReason,
    by: UserId,
    now: UnixTime,
) -> Result<bool, SetLockError> {
    let done = query(SET)
        .bind(target.kind().as_str())
        .bind(target.id())
        .bind(reason.as_str())
        .bind(by.to_string())
        .bind(now.as_millis())
        .execute(tx)
        .await
        .map_err(StoreError::from)?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    if matches!(target, Target::Device(_) | Target::User(_)) {
        let row = query(ACTING_OWNERS).fetch_one(tx).await.map_err(StoreError::from)?;
        if row.int("owners")? == 0 {
            return Err(SetLockError::LastOwner);
        }
    }
    tx.bump_epoch().await?;
    Ok(true)
}

/// Lifts a lock; false when there was none.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn clear(tx: &mut WriteTx, target: Target) -> Result<bool, StoreError> {
    let cleared = forget(tx, target).await?;
    if cleared {
        tx.bump_epoch().await?;
    }
    Ok(cleared)
}

/// For a user that is deleted with all devices.
pub(crate) async fn forget_user(tx: &mut WriteTx, user: UserId) -> Result<(), StoreError> {
    query(CLEAR_DEVICES).bind(user.to_string()).execute(tx).await?;
    forget(tx, Target::User(user)).await?;
    Ok(())
}

/// For what is deleted, which moves the epoch itself.
pub(crate) async fn forget(tx: &mut WriteTx, target: Target) -> Result<bool, StoreError> {
    let done = query(CLEAR).bind(target.kind().as_str()).bind(target.id()).execute(tx).await?;
    Ok(done.rows_affected() == 1)
}
