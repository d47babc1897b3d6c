//! Groups of users. Who is in a group decides who gets in; every change of members moves the epoch.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;
use usher_types::{ConnectorId, ConnectorName, GroupId, GroupName, UnixTime, UserId, UserName};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    row::{Columns, Row, statements},
};

statements! {
    BY_ID = "SELECT id, name, connector_id, display_name, created_at FROM groups WHERE id = $1";
    BY_NAME = "SELECT id, name, connector_id, display_name, created_at FROM groups WHERE name = $1";
    LIST = "SELECT id, name, connector_id, display_name, created_at FROM groups ORDER BY name";
    OF_CONNECTOR = "SELECT id, name, connector_id, display_name, created_at FROM groups
        WHERE connector_id = $1 ORDER BY name";
    CREATE = "INSERT INTO groups (id, name, connector_id, display_name, created_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING";
    NAMESPACE = "SELECT name FROM connectors WHERE substr($1, 1, length(name) + 1) = name || '.' LIMIT 1";
    IN_PROJECT = "SELECT p.slug FROM project_groups g JOIN projects p ON p.id = g.project_id
        WHERE g.group_id = $1 AND g.removed_at IS NULL ORDER BY p.slug LIMIT 1";
    DELETE = "DELETE FROM groups WHERE id = $1";
    MEMBERS = "SELECT u.user_name FROM group_members m JOIN users u ON u.id = m.user_id
        WHERE m.group_id = $1 ORDER BY u.user_name";
    MEMBERSHIPS = "SELECT user_id, group_id FROM group_members";
    ALL_MEMBERS = "SELECT m.group_id, u.user_name FROM group_members m JOIN users u ON u.id = m.user_id
        ORDER BY u.user_name";
    OF_USER = "SELECT g.id, g.name, g.connector_id, g.display_name, g.created_at
        FROM group_members m JOIN groups g ON g.id = m.group_id WHERE m.user_id = $1 ORDER BY g.name";
    ADD_MEMBER = "INSERT INTO group_members (group_id, user_id, added_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    REMOVE_MEMBER = "DELETE FROM group_members WHERE group_id = $1 AND user_id = $2";
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Its name.
    pub name: GroupName,
    /// The connector whose directory it belongs to; none is the broker's own.
    pub connector_id: Option<ConnectorId>,
    /// Its name as the identity provider spells it.
    pub display_name: Option<String>,
    /// When it was created.
    pub created_at: UnixTime,
}

impl Group {
    /// A group of the broker's own directory.
    #[must_use]
    pub fn local(id: GroupId, name: GroupName, created_at: UnixTime) -> Self {
        Self { id, name, connector_id: None, display_name: None, created_at }
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parse("id")?,
            name: row.parse("name")?,
            connector_id: row.parse_opt("connector_id")?,
            display_name: row.text_opt("display_name")?,
            created_at: row.time("created_at")?,
        })
    }
}

/// Why a group cannot be created.
#[derive(Debug, Error)]
pub enum CreateGroupError {
    /// The name reads as an id and would be taken for one.
    #[error("`{0}` looks like an id and cannot be a group name")]
    LooksLikeId(GroupName),
    /// The name is a connector's to give.
    #[error("groups that begin with `{0}.` are those of connector `{0}`")]
    Namespace(ConnectorName),
    /// The database failed.
    #[error("the group was not created")]
    Store(#[source] StoreError),
    /// A group has the name.
    #[error("a group with the name `{0}` exists")]
    Taken(GroupName),
}

/// Why a group cannot be deleted.
#[derive(Debug, Error)]
pub enum DeleteGroupError {
    /// It has a role in a project.
    #[error("group `{group}` has a role in project `{project}`: take it out of the project first")]
    InUse {
        /// The group.
        group: GroupName,
        /// The first such project.
        project: usher_types::ProjectSlug,
    },
    /// The database failed.
    #[error("the group was not deleted")]
    Store(#[source] StoreError),
}

impl From<StoreError> for DeleteGroupError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// One group by id.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_id(conn: &mut Conn, id: GroupId) -> Result<Option<Group>, StoreError> {
    let row = query(BY_ID).bind(id.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(Group::read).transpose()
}

/// One group by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_name(conn: &mut Conn, name: &GroupName) -> Result<Option<Group>, StoreError> {
    let row = query(BY_NAME).bind(name.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(Group::read).transpose()
}

/// One group by id or, when the text is no id, by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn find(conn: &mut Conn, name_or_id: &str) -> Result<Option<Group>, StoreError> {
    if let Ok(id) = name_or_id.parse() {
        return by_id(conn, id).await;
    }
    match name_or_id.parse() {
        Ok(name) => by_name(conn, &name).await,
        Err(_) => Ok(None),
    }
}

/// All groups by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<Group>, StoreError> {
    query(LIST).fetch_all(conn).await?.iter().map(Group::read).collect()
}

/// The groups of a connector by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn of_connector(conn: &mut Conn, connector: ConnectorId) -> Result<Vec<Group>, StoreError> {
    let rows = query(OF_CONNECTOR).bind(connector.to_string()).fetch_all(conn).await?;
    rows.iter().map(Group::read).collect()
}

/// Creates a group.
///
/// # Errors
/// [`CreateGroupError`] when the name is taken.
pub async fn create(tx: &mut WriteTx, group: &Group) -> Result<(), CreateGroupError> {
    if group.name.as_str().parse::<GroupId>().is_ok() {
        return Err(CreateGroupError::LooksLikeId(group.name.clone()));
    }
    let failed = |error: sqlx::Error| CreateGroupError::Store(error.into());
    if group.connector_id.is_none() {
        let owner = query(NAMESPACE).bind(group.name.as_str()).fetch_optional(tx).await.map_err(failed)?;
        if let Some(row) = owner {
            return Err(CreateGroupError::Namespace(row.parse("name").map_err(CreateGroupError::Store)?));
        }
    }
    let done = query(CREATE)
        .bind(group.id.to_string())
        .bind(group.name.as_str())
        .bind(group.connector_id.map(|id| id.to_string()))
        .bind(group.display_name.as_deref())
        .bind(group.created_at.as_millis())
        .execute(tx)
        .await
        .map_err(failed)?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(CreateGroupError::Taken(group.name.clone())) }
}

/// Deletes a group that has no role in any project.
///
/// # Errors
/// [`DeleteGroupError::InUse`] when it has one.
pub async fn delete(tx: &mut WriteTx, group: &Group) -> Result<(), DeleteGroupError> {
    let id = group.id.to_string();
    let used = query(IN_PROJECT).bind(&id).fetch_optional(tx).await.map_err(StoreError::from)?;
    if let Some(row) = used {
        return Err(DeleteGroupError::InUse { group: group.name.clone(), project: row.parse("slug")? });
    }
    query(DELETE).bind(&id).execute(tx).await.map_err(StoreError::from)?;
    tx.bump_epoch().await?;
    Ok(())
}

/// A group's members by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn members(conn: &mut Conn, group: GroupId) -> Result<Vec<UserName>, StoreError> {
    let rows = query(MEMBERS).bind(group.to_string()).fetch_all(conn).await?;
    rows.iter().map(|row| row.parse("user_name")).collect()
}

/// The members of every group that has any.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn all_members(conn: &mut Conn) -> Result<BTreeMap<GroupId, Vec<UserName>>, StoreError> {
    let mut groups = BTreeMap::<GroupId, Vec<UserName>>::new();
    for row in query(ALL_MEMBERS).fetch_all(conn).await? {
        groups.entry(row.parse("group_id")?).or_default().push(row.parse("user_name")?);
    }
    Ok(groups)
}

/// The groups of every user that is in any.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn memberships(conn: &mut Conn) -> Result<BTreeMap<UserId, BTreeSet<GroupId>>, StoreError> {
    let mut users = BTreeMap::<UserId, BTreeSet<GroupId>>::new();
    for row in query(MEMBERSHIPS).fetch_all(conn).await? {
        users.entry(row.parse("user_id")?).or_default().insert(row.parse("group_id")?);
    }
    Ok(users)
}

/// The groups that a user is in.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn of_user(conn: &mut Conn, user: UserId) -> Result<Vec<Group>, StoreError> {
    let rows = query(OF_USER).bind(user.to_string()).fetch_all(conn).await?;
    rows.iter().map(Group::read).collect()
}

/// The names of the groups that a user is in.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn names_of_user(conn: &mut Conn, user: UserId) -> Result<Vec<GroupName>, StoreError> {
    Ok(of_user(conn, user).await?.into_iter().map(|group| group.name).collect())
}

/// Adds a member; false when it is one already. Accounts in the group's projects are the caller's next step
/// ([`project_users::allocate`](crate::project_users::allocate)).
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn add_member(
    tx: &mut WriteTx,
    group: GroupId,
    user: UserId,
    now: UnixTime,
) -> Result<bool, StoreError> {
    let done = query(ADD_MEMBER)
        .bind(group.to_string())
        .bind(user.to_string())
        .bind(now.as_millis())
        .execute(tx)
        .await?;
    moved(tx, done.rows_affected() == 1).await
}

/// Removes a member; false when it was none.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn remove_member(tx: &mut WriteTx, group: GroupId, user: UserId) -> Result<bool, StoreError> {
    let done = query(REMOVE_MEMBER).bind(group.to_string()).bind(user.to_string()).execute(tx).await?;
    moved(tx, done.rows_affected() == 1).await
}

/// Moves the epoch when the members changed.
async fn moved(tx: &mut WriteTx, changed: bool) -> Result<bool, StoreError> {
    if changed {
        tx.bump_epoch().await?;
    }
    Ok(changed)
}
