//! Groups' roles in projects, and the Unix groups that go with them. A GID is never given out twice: a group that is
//! taken out of a project keeps its row, and gets its GID back when it returns.

use std::collections::BTreeSet;

use thiserror::Error;
use usher_account_lifecycle::allocate::{self, AllocateError};
use usher_policy::Conditions;
use usher_types::{GroupId, GroupName, NameError, ProjectId, ProjectSlug, UnixGroupName, UnixTime};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    groups::Group,
    projects::{self, Project},
    row::{Columns, Row, statements, to_json},
};

statements! {
    LIST = "SELECT g.group_id, d.name, g.server_access, g.server_admin, g.unix_group_name, g.unix_gid, g.conditions
        FROM project_groups g JOIN groups d ON d.id = g.group_id
        WHERE g.project_id = $1 AND g.removed_at IS NULL ORDER BY d.name";
    ROW = "SELECT unix_group_name, unix_gid, conditions FROM project_groups WHERE project_id = $1 AND group_id = $2";
    NAME_OF_GROUP = "SELECT 1 FROM project_groups
        WHERE project_id = $1 AND unix_group_name = $2 AND removed_at IS NULL AND group_id <> $3 LIMIT 1";
    NAME_OF_USER = "SELECT 1 FROM project_users WHERE project_id = $1 AND login = $2 LIMIT 1";
    CREATE = "INSERT INTO project_groups (project_id, group_id, server_access, server_admin, unix_group_name, unix_gid,
        created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    UPDATE = "UPDATE project_groups SET server_access = $3, server_admin = $4, removed_at = NULL
        WHERE project_id = $1 AND group_id = $2";
    REMOVE = "UPDATE project_groups SET removed_at = $3, server_access = 0, server_admin = 0
        WHERE project_id = $1 AND group_id = $2 AND removed_at IS NULL";
    SET_CONDITIONS = "UPDATE project_groups SET conditions = $3
        WHERE project_id = $1 AND group_id = $2 AND removed_at IS NULL";
    TAKEN = "SELECT DISTINCT t.unix_id FROM taken_ids t JOIN servers s ON s.id = t.server_id WHERE s.project_id = $1";
}

/// A group's role in a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectGroup {
    /// The directory group.
    pub group_id: GroupId,
    /// Its name.
    pub group: GroupName,
    /// Its members may log in on the project's servers.
    pub server_access: bool,
    /// Its members may also use sudo there.
    pub server_admin: bool,
    /// The Unix group on servers.
    pub unix_group_name: UnixGroupName,
    /// The Unix group's GID.
    pub unix_gid: u32,
    /// When the role counts.
    pub conditions: Conditions,
}

/// What a group's members may do in a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Log in and use sudo.
    Admin,
    /// Nothing; the Unix group exists.
    Member,
    /// Log in.
    User,
}

impl Role {
    fn access(self) -> i64 {
        i64::from(self != Self::Member)
    }

    fn admin(self) -> i64 {
        i64::from(self == Self::Admin)
    }
}

/// Why a group cannot have a role in a project.
#[derive(Debug, Error)]
pub enum SetProjectGroupError {
    /// No GID is left.
    #[error("project `{project}` has no GID left")]
    Exhausted {
        /// The project.
        project: ProjectSlug,
        /// Why.
        #[source]
        source: AllocateError,
    },
    /// The name makes no Unix group name.
    #[error("group `{group}` cannot be a group on servers")]
    NotUnix {
        /// The group.
        group: GroupName,
        /// Why.
        #[source]
        source: NameError,
    },
    /// The database failed.
    #[error("the group's role was not set")]
    Store(#[source] StoreError),
    /// Another Unix group of the project has the name: another group's, or a user's private one.
    #[error("project `{project}` has a Unix group `{name}` already, another group's or a user's own")]
    Taken {
        /// The project.
        project: ProjectSlug,
        /// The Unix name.
        name: UnixGroupName,
    },
}

impl From<StoreError> for SetProjectGroupError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The groups of a project by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list(conn: &mut Conn, project: ProjectId) -> Result<Vec<ProjectGroup>, StoreError> {
    let rows = query(LIST).bind(project.to_string()).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<ProjectGroup, StoreError> {
    Ok(ProjectGroup {
        group_id: row.parse("group_id")?,
        group: row.parse("name")?,
        server_access: row.flag("server_access")?,
        server_admin: row.flag("server_admin")?,
        unix_group_name: row.parse("unix_group_name")?,
        unix_gid: row.number("unix_gid")?,
        conditions: row.json_opt("conditions")?.unwrap_or_default(),
    })
}

/// Gives a group its role in a project, and its GID the first time. Accounts for its members are the caller's next step
/// ([`project_users::allocate`](crate::project_users::allocate)).
///
/// # Errors
/// [`SetProjectGroupError`] when its name cannot be a Unix group there.
pub async fn set(
    tx: &mut WriteTx,
    project: ProjectId,
    group: &Group,
    role: Role,
    now: UnixTime,
) -> Result<Option<ProjectGroup>, SetProjectGroupError> {
    // Read here, not handed in: the counter may have moved since the caller looked.
    let Some(project) = projects::by_id(tx, project).await? else { return Ok(None) };
    let (project_id, group_id) = (project.id.to_string(), group.id.to_string());
    let known =
        query(ROW).bind(&project_id).bind(&group_id).fetch_optional(tx).await.map_err(StoreError::from)?;
    let (unix_group_name, unix_gid, conditions) = match &known {
        Some(row) => (row.parse("unix_group_name")?, row.number("unix_gid")?, row.json_opt("conditions")?),
        None => (unix_name(&group.name)?, 0, None),
    };
    check_name(tx, &project, &unix_group_name, &group_id).await?;
    let unix_gid = if known.is_some() {
        query(UPDATE)
            .bind(&project_id)
            .bind(&group_id)
            .bind(role.access())
            .bind(role.admin())
            .execute(tx)
            .await
            .map_err(StoreError::from)?;
        unix_gid
    } else {
        create(tx, project, &group_id, &unix_group_name, role, now).await?
    };
    tx.bump_epoch().await?;
    Ok(Some(ProjectGroup {
        group_id: group.id,
        group: group.name.clone(),
        server_access: role.access() == 1,
        server_admin: role.admin() == 1,
        unix_group_name,
        unix_gid,
        conditions: conditions.unwrap_or_default(),
    }))
}

/// Says when a group's role in a project counts; false when it has none there. A role keeps its conditions when it changes,
/// also while the group is out of the project.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn set_conditions(
    tx: &mut WriteTx,
    project: ProjectId,
    group: GroupId,
    conditions: &Conditions,
) -> Result<bool, StoreError> {
    let text = (!conditions.is_empty()).then(|| to_json(conditions, "conditions")).transpose()?;
    let query = query(SET_CONDITIONS).bind(project.to_string()).bind(group.to_string()).bind(text);
    let set = query.execute(tx).await?.rows_affected() == 1;
    if set {
        tx.bump_epoch().await?;
    }
    Ok(set)
}

async fn create(
    tx: &mut WriteTx,
    project: Project,
    group_id: &str,
    name: &UnixGroupName,
    role: Role,
    now: UnixTime,
) -> Result<u32, SetProjectGroupError> {
    let taken = taken_ids(tx, project.id).await?;
    let allocation = allocate::gid(project.next_unix_gid, &taken)
        .map_err(|source| SetProjectGroupError::Exhausted { project: project.slug.clone(), source })?;
    query(CREATE)
        .bind(project.id.to_string())
        .bind(group_id)
        .bind(role.access())
        .bind(role.admin())
        .bind(name.as_str())
        .bind(i64::from(allocation.id))
        .bind(now.as_millis())
        .execute(tx)
        .await
        .map_err(StoreError::from)?;
    projects::set_counters(tx, &Project { next_unix_gid: allocation.next, ..project }).await?;
    Ok(allocation.id)
}

/// A project's own word for a directory group: `.` is nothing that `useradd` likes.
fn unix_name(group: &GroupName) -> Result<UnixGroupName, SetProjectGroupError> {
    let text = group.as_str().replace('.', "-");
    text.parse().map_err(|source| SetProjectGroupError::NotUnix { group: group.clone(), source })
}

async fn check_name(
    tx: &mut WriteTx,
    project: &Project,
    name: &UnixGroupName,
    group_id: &str,
) -> Result<(), SetProjectGroupError> {
    let of_group = query(NAME_OF_GROUP)
        .bind(project.id.to_string())
        .bind(name.as_str())
        .bind(group_id)
        .fetch_optional(tx)
        .await
        .map_err(StoreError::from)?;
    let of_user = query(NAME_OF_USER)
        .bind(project.id.to_string())
        .bind(name.as_str())
        .fetch_optional(tx)
        .await
        .map_err(StoreError::from)?;
    if of_group.is_some() || of_user.is_some() {
        return Err(SetProjectGroupError::Taken { project: project.slug.clone(), name: name.clone() });
    }
    Ok(())
}

/// Takes a group out of a project; false when it had no role there.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn remove(
    tx: &mut WriteTx,
    project: ProjectId,
    group: GroupId,
    now: UnixTime,
) -> Result<bool, StoreError> {
    let done = query(REMOVE)
        .bind(project.to_string())
        .bind(group.to_string())
        .bind(now.as_millis())
        .execute(tx)
        .await?;
    let removed = done.rows_affected() == 1;
    if removed {
        tx.bump_epoch().await?;
    }
    Ok(removed)
}

/// UIDs and GIDs that some host of the project uses for something of its own.
pub(crate) async fn taken_ids(conn: &mut Conn, project: ProjectId) -> Result<BTreeSet<u32>, StoreError> {
    let rows = query(TAKEN).bind(project.to_string()).fetch_all(conn).await?;
    rows.iter().map(|row| row.number("unix_id")).collect()
}
