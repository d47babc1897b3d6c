//! Users. Disabling and deleting end sessions and move the epoch in the same transaction.

use thiserror::Error;
use usher_identity::{UserRecord, UserStatus};
use usher_types::{DisplayName, LoginName, TeamRole, UnixTime, UserId, UserName};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    locks,
    row::{Columns, Row, statements},
    sessions, sign_in,
    values::word,
};

statements! {
    BY_ID = "SELECT id, user_name, display_name, unix_user_name, status, team_role, connector_id, created_at
        FROM users WHERE id = $1";
    BY_NAME = "SELECT id, user_name, display_name, unix_user_name, status, team_role, connector_id, created_at
        FROM users WHERE user_name = $1";
    LIST = "SELECT id, user_name, display_name, unix_user_name, status, team_role, connector_id, created_at
        FROM users ORDER BY user_name";
    CREATE = "INSERT INTO users (id, user_name, display_name, unix_user_name, status, team_role, connector_id,
            created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
    NAMES_TAKEN = "SELECT 1 FROM users WHERE user_name = $1 OR unix_user_name = $2
        UNION ALL SELECT 1 FROM project_users WHERE login = $2
        UNION ALL SELECT 1 FROM project_groups WHERE unix_group_name = $2 LIMIT 1";
    LOGIN_USED = "SELECT 1 FROM project_users WHERE login = $1 LIMIT 1";
    UPDATE = "UPDATE users SET display_name = $2, status = $3, team_role = $4 WHERE id = $1";
    OTHER_OWNERS = "SELECT COUNT(*) AS others FROM users WHERE team_role = 'owner' AND status = 'active' AND id <> $1
        AND NOT EXISTS (SELECT 1 FROM locks l WHERE l.kind = 'user' AND l.target = users.id)
        AND NOT EXISTS (SELECT 1 FROM service_users s WHERE s.user_id = users.id)";
    DELETE = "DELETE FROM users WHERE id = $1";
}

pub(crate) fn read(row: &Row) -> Result<UserRecord, StoreError> {
    Ok(UserRecord {
        id: row.parse("id")?,
        user_name: row.parse("user_name")?,
        display_name: row.parse("display_name")?,
        unix_user_name: row.parse("unix_user_name")?,
        status: row.word("status")?,
        team_role: row.parse("team_role")?,
        connector_id: row.parse_opt("connector_id")?,
        created_at: row.time("created_at")?,
    })
}

/// By its own role: what a group gives, whoever keeps the group can take away.
fn active_owner(user: &UserRecord) -> bool {
    user.team_role == TeamRole::Owner && user.status == UserStatus::Active
}

/// What to change; `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// Enable or disable.
    pub status: Option<UserStatus>,
    /// New display name.
    pub display_name: Option<DisplayName>,
    /// New role in the team.
    pub team_role: Option<TeamRole>,
}

/// Why a user cannot be created.
#[derive(Debug, Error)]
pub enum CreateUserError {
    /// The name reads as an id and would be taken for one.
    #[error("`{0}` looks like an id and cannot be a user name")]
    LooksLikeId(UserName),
    /// The database failed.
    #[error("the user was not created")]
    Store(#[source] StoreError),
    /// Another user has the name or the Unix name.
    #[error("a user with the name `{user_name}` or the Unix name `{unix_user_name}` exists")]
    Taken {
        /// The name that was asked for.
        user_name: UserName,
        /// The Unix name that was asked for.
        unix_user_name: LoginName,
    },
    /// A user that is gone had this Unix name on servers; what it left behind must not become another's.
    #[error("the Unix name `{0}` belonged to a deleted user and is not given out again")]
    UnixNameUsed(LoginName),
}

/// Why a user cannot be changed or deleted.
#[derive(Debug, Error)]
pub enum ChangeUserError {
    /// Nobody would be left who can do everything.
    #[error("`{0}` is the last active owner of the team")]
    LastOwner(UserName),
    /// The database failed.
    #[error("the user was not changed")]
    Store(#[source] StoreError),
}

impl From<StoreError> for ChangeUserError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// One user by id.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_id(conn: &mut Conn, id: UserId) -> Result<Option<UserRecord>, StoreError> {
    let row = query(BY_ID).bind(id.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// One user by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_name(conn: &mut Conn, name: &UserName) -> Result<Option<UserRecord>, StoreError> {
    let row = query(BY_NAME).bind(name.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// One user by id or, when the text is no id, by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn find(conn: &mut Conn, name_or_id: &str) -> Result<Option<UserRecord>, StoreError> {
    if let Ok(id) = name_or_id.parse() {
        return by_id(conn, id).await;
    }
    match name_or_id.parse() {
        Ok(name) => by_name(conn, &name).await,
        Err(_) => Ok(None),
    }
}

/// All users by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<UserRecord>, StoreError> {
    query(LIST).fetch_all(conn).await?.iter().map(read).collect()
}

/// The first of names for a new user that nobody has, and that nothing on servers ever had.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn first_free(
    conn: &mut Conn,
    names: impl Iterator<Item = (UserName, LoginName)>,
) -> Result<Option<(UserName, LoginName)>, StoreError> {
    for (user_name, login) in names {
        let taken =
            query(NAMES_TAKEN).bind(user_name.as_str()).bind(login.as_str()).fetch_optional(conn).await?;
        if taken.is_none() && user_name.as_str().parse::<UserId>().is_err() {
            return Ok(Some((user_name, login)));
        }
    }
    Ok(None)
}

/// Creates a user.
///
/// # Errors
/// [`CreateUserError`] when a name is taken or was.
pub async fn create(tx: &mut WriteTx, user: &UserRecord) -> Result<(), CreateUserError> {
    let failed = |error: sqlx::Error| CreateUserError::Store(error.into());
    if user.user_name.as_str().parse::<UserId>().is_ok() {
        return Err(CreateUserError::LooksLikeId(user.user_name.clone()));
    }
    let done = query(CREATE)
        .bind(user.id.to_string())
        .bind(user.user_name.as_str())
        .bind(user.display_name.as_str())
        .bind(user.unix_user_name.as_str())
        .bind(word(&user.status))
        .bind(user.team_role.as_str())
        .bind(user.connector_id.map(|id| id.to_string()))
        .bind(user.created_at.as_millis())
        .execute(tx)
        .await
        .map_err(failed)?;
    if done.rows_affected() != 1 {
        return Err(CreateUserError::Taken {
            user_name: user.user_name.clone(),
            unix_user_name: user.unix_user_name.clone(),
        });
    }
    let used =
        query(LOGIN_USED).bind(user.unix_user_name.as_str()).fetch_optional(tx).await.map_err(failed)?;
    if used.is_some() {
        // A caller may go on with another name.
        query(DELETE).bind(user.id.to_string()).execute(tx).await.map_err(failed)?;
        return Err(CreateUserError::UnixNameUsed(user.unix_user_name.clone()));
    }
    Ok(())
}

/// Changes a user. Disabling ends its sessions and takes back its set-up code; every change of status or role moves the
/// epoch.
///
/// # Errors
/// [`ChangeUserError::LastOwner`] when nobody would be left.
pub async fn update(
    tx: &mut WriteTx,
    user: &UserRecord,
    change: &UserChange,
    now: UnixTime,
) -> Result<UserRecord, ChangeUserError> {
    let changed = UserRecord {
        status: change.status.unwrap_or(user.status),
        display_name: change.display_name.clone().unwrap_or_else(|| user.display_name.clone()),
        team_role: change.team_role.unwrap_or(user.team_role),
        ..user.clone()
    };
    if active_owner(user) && !active_owner(&changed) {
        another_owner(tx, user).await?;
    }
    query(UPDATE)
        .bind(user.id.to_string())
        .bind(changed.display_name.as_str())
        .bind(word(&changed.status))
        .bind(changed.team_role.as_str())
        .execute(tx)
        .await
        .map_err(StoreError::from)?;
    if changed.status == UserStatus::Disabled {
        sessions::end_of_user(tx, user.id, now).await?;
        sign_in::forget_set_up_code(tx, user.id).await?;
    }
    // The display name too: it is in every host's passwd.
    if changed != *user {
        tx.bump_epoch().await?;
    }
    Ok(changed)
}

/// Deletes a user for good, with credentials, devices, sessions and memberships. Its login, UID and GID stay spoken for.
///
/// # Errors
/// [`ChangeUserError::LastOwner`] when nobody would be left.
pub async fn delete(tx: &mut WriteTx, user: &UserRecord) -> Result<(), ChangeUserError> {
    if active_owner(user) {
        another_owner(tx, user).await?;
    }
    locks::forget_user(tx, user.id).await?;
    query(DELETE).bind(user.id.to_string()).execute(tx).await.map_err(StoreError::from)?;
    tx.bump_epoch().await?;
    Ok(())
}

async fn another_owner(tx: &mut WriteTx, user: &UserRecord) -> Result<(), ChangeUserError> {
    let row = query(OTHER_OWNERS).bind(user.id.to_string()).fetch_one(tx).await.map_err(StoreError::from)?;
    if row.int("others")? == 0 { Err(ChangeUserError::LastOwner(user.user_name.clone())) } else { Ok(()) }
}
