//! Users' accounts in projects: login, UID and private GID, given at the first access and never again to anybody else.

use std::collections::BTreeMap;

use thiserror::Error;
use usher_account_lifecycle::allocate::{self, AllocateError};
use usher_types::{GroupId, LoginName, ProjectId, ProjectSlug, UnixTime, UserId};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    project_groups,
    projects::{self, Project},
    row::{Columns, Row, statements},
};

statements! {
    MISSING_IN_PROJECT = "SELECT DISTINCT g.project_id, u.id, u.unix_user_name
        FROM project_groups g
        JOIN group_members m ON m.group_id = g.group_id
        JOIN users u ON u.id = m.user_id AND u.status = 'active'
        LEFT JOIN project_users a ON a.project_id = g.project_id AND a.user_id = m.user_id
        WHERE g.project_id = $1 AND g.removed_at IS NULL AND g.server_access = 1 AND a.user_id IS NULL
        ORDER BY g.project_id, u.unix_user_name";
    MISSING_OF_USER = "SELECT DISTINCT g.project_id, u.id, u.unix_user_name
        FROM users u
        JOIN group_members m ON m.user_id = u.id
        JOIN project_groups g ON g.group_id = m.group_id AND g.removed_at IS NULL AND g.server_access = 1
        LEFT JOIN project_users a ON a.project_id = g.project_id AND a.user_id = u.id
        WHERE u.id = $1 AND u.status = 'active' AND a.user_id IS NULL
        ORDER BY g.project_id, u.unix_user_name";
    MISSING_OF_GROUP = "SELECT DISTINCT g.project_id, u.id, u.unix_user_name
        FROM project_groups g
        JOIN group_members m ON m.group_id = g.group_id
        JOIN users u ON u.id = m.user_id AND u.status = 'active'
        LEFT JOIN project_users a ON a.project_id = g.project_id AND a.user_id = m.user_id
        WHERE g.group_id = $1 AND g.removed_at IS NULL AND g.server_access = 1 AND a.user_id IS NULL
        ORDER BY g.project_id, u.unix_user_name";
    GROUP_NAME = "SELECT 1 FROM project_groups
        WHERE project_id = $1 AND unix_group_name = $2 AND removed_at IS NULL LIMIT 1";
    LOGINS = "SELECT user_id, login FROM project_users WHERE project_id = $1";
    CREATE = "INSERT INTO project_users (project_id, user_id, login, unix_uid, unix_gid, created_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
}

/// Whose accounts to complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A group's members, in every project of the group.
    Group(GroupId),
    /// Everybody with access to a project.
    Project(ProjectId),
    /// A user, in every project.
    User(UserId),
}

/// An account that was made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectUser {
    /// In which project.
    pub project_id: ProjectId,
    /// Whose.
    pub user_id: UserId,
    /// Its name on servers.
    pub login: LoginName,
    /// Its UID.
    pub unix_uid: u32,
    /// Its private group's GID.
    pub unix_gid: u32,
}

/// Why somebody cannot have an account.
#[derive(Debug, Error)]
pub enum AllocateUserError {
    /// No UID or GID is left.
    #[error("project `{project}` has no UID or GID left")]
    Exhausted {
        /// The project.
        project: ProjectSlug,
        /// Why.
        #[source]
        source: AllocateError,
    },
    /// The database failed.
    #[error("the account was not allocated")]
    Store(#[source] StoreError),
    /// The login is spoken for: by a Unix group, or by somebody before.
    #[error("the Unix name `{login}` is taken in project `{project}`, by a group or by a former user")]
    Taken {
        /// The project.
        project: ProjectSlug,
        /// The login.
        login: LoginName,
    },
}

impl From<StoreError> for AllocateUserError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

struct Missing {
    project_id: ProjectId,
    user_id: UserId,
    login: LoginName,
}

impl Missing {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            project_id: row.parse("project_id")?,
            user_id: row.parse("id")?,
            login: row.parse("unix_user_name")?,
        })
    }
}

/// Everybody's account in a project.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn logins(conn: &mut Conn, project: ProjectId) -> Result<BTreeMap<UserId, LoginName>, StoreError> {
    let rows = query(LOGINS).bind(project.to_string()).fetch_all(conn).await?;
    rows.iter().map(|row| Ok((row.parse("user_id")?, row.parse("login")?))).collect()
}

/// Allocates what is missing: every active user with access to a project's servers has an account there. Call it in the
/// transaction that gives access.
///
/// # Errors
/// [`AllocateUserError`] when one cannot be had; drop the transaction then.
pub async fn allocate(
    tx: &mut WriteTx,
    scope: Scope,
    now: UnixTime,
) -> Result<Vec<ProjectUser>, AllocateUserError> {
    let query = match scope {
        Scope::Group(id) => query(MISSING_OF_GROUP).bind(id.to_string()),
        Scope::Project(id) => query(MISSING_IN_PROJECT).bind(id.to_string()),
        Scope::User(id) => query(MISSING_OF_USER).bind(id.to_string()),
    };
    let rows = query.fetch_all(tx).await.map_err(StoreError::from)?;
    let mut by_project = BTreeMap::<ProjectId, Vec<Missing>>::new();
    for missing in rows.iter().map(Missing::read) {
        let missing = missing?;
        by_project.entry(missing.project_id).or_default().push(missing);
    }
    let mut made = Vec::new();
    for (project_id, missing) in by_project {
        let Some(mut project) = projects::by_id(tx, project_id).await? else { continue };
        let taken = project_groups::taken_ids(tx, project_id).await?;
        for missing in missing {
            let exhausted = |source| AllocateUserError::Exhausted { project: project.slug.clone(), source };
            let uid = allocate::uid(project.next_unix_uid, &taken).map_err(exhausted)?;
            let gid = allocate::gid(project.next_unix_gid, &taken).map_err(exhausted)?;
            (project.next_unix_uid, project.next_unix_gid) = (uid.next, gid.next);
            let user = ProjectUser {
                project_id,
                user_id: missing.user_id,
                login: missing.login,
                unix_uid: uid.id,
                unix_gid: gid.id,
            };
            insert(tx, &project, &user, now).await?;
            made.push(user);
        }
        projects::set_counters(tx, &project).await?;
        tx.bump_epoch().await?;
    }
    Ok(made)
}

async fn insert(
    tx: &mut WriteTx,
    project: &Project,
    user: &ProjectUser,
    now: UnixTime,
) -> Result<(), AllocateUserError> {
    let taken = || AllocateUserError::Taken { project: project.slug.clone(), login: user.login.clone() };
    let group = query(GROUP_NAME)
        .bind(user.project_id.to_string())
        .bind(user.login.as_str())
        .fetch_optional(tx)
        .await
        .map_err(StoreError::from)?;
    if group.is_some() {
        return Err(taken());
    }
    let done = query(CREATE)
        .bind(user.project_id.to_string())
        .bind(user.user_id.to_string())
        .bind(user.login.as_str())
        .bind(i64::from(user.unix_uid))
        .bind(i64::from(user.unix_gid))
        .bind(now.as_millis())
        .execute(tx)
        .await
        .map_err(StoreError::from)?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(taken()) }
}
