//! Projects: the settings that decide what certificates may do, and the counters that UIDs and GIDs come from.

use thiserror::Error;
use usher_policy::Authentication;
use usher_types::{ProjectId, ProjectSlug, UnixTime, UserId};

use crate::{
    AdminSudo, CertificateType, Conn, PortForwarding, StoreError, WriteTx,
    conn::query,
    locks::{self, Target},
    row::{Columns, Row, statements, to_json},
};

statements! {
    BY_ID = "SELECT id, slug, next_unix_uid, next_unix_gid, ssh_certificate_type, certificate_lifetime_seconds,
        clock_skew_seconds, port_forwarding, admin_sudo, authentication, created_at FROM projects WHERE id = $1";
    BY_NAME = "SELECT id, slug, next_unix_uid, next_unix_gid, ssh_certificate_type, certificate_lifetime_seconds,
        clock_skew_seconds, port_forwarding, admin_sudo, authentication, created_at FROM projects WHERE slug = $1";
    LIST = "SELECT id, slug, next_unix_uid, next_unix_gid, ssh_certificate_type, certificate_lifetime_seconds,
        clock_skew_seconds, port_forwarding, admin_sudo, authentication, created_at FROM projects ORDER BY slug";
    LIST_VISIBLE = "SELECT id, slug, next_unix_uid, next_unix_gid, ssh_certificate_type, certificate_lifetime_seconds,
        clock_skew_seconds, port_forwarding, admin_sudo, authentication, created_at FROM projects p
        WHERE EXISTS (SELECT 1 FROM project_groups g JOIN group_members m ON m.group_id = g.group_id
            WHERE g.project_id = p.id AND g.removed_at IS NULL AND g.server_access = 1 AND m.user_id = $1)
        ORDER BY slug";
    VISIBLE = "SELECT 1 FROM project_groups g JOIN group_members m ON m.group_id = g.group_id
        WHERE g.project_id = $1 AND g.removed_at IS NULL AND g.server_access = 1 AND m.user_id = $2 LIMIT 1";
    CREATE = "INSERT INTO projects (id, slug, next_unix_uid, next_unix_gid, ssh_certificate_type,
            certificate_lifetime_seconds, clock_skew_seconds, port_forwarding, admin_sudo, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING";
    UPDATE = "UPDATE projects SET certificate_lifetime_seconds = $2, clock_skew_seconds = $3, port_forwarding = $4,
        admin_sudo = $5, authentication = $6 WHERE id = $1";
    SET_COUNTERS = "UPDATE projects SET next_unix_uid = $2, next_unix_gid = $3 WHERE id = $1";
    SERVERS = "SELECT COUNT(*) AS servers FROM servers WHERE project_id = $1";
    DELETE = "DELETE FROM projects WHERE id = $1";
    FORGET_DOCUMENT = "DELETE FROM documents WHERE document = $1";
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub slug: ProjectSlug,
    /// Next UID to be given to a user.
    pub next_unix_uid: u32,
    /// Next GID to be given to a user's private group or a project group.
    pub next_unix_gid: u32,
    /// The CA's algorithm.
    pub ssh_certificate_type: CertificateType,
    /// Seconds that a certificate lives.
    pub certificate_lifetime_seconds: u32,
    /// Seconds that a certificate reaches into the past.
    pub clock_skew_seconds: u32,
    /// What certificates may forward on targets.
    pub port_forwarding: PortForwarding,
    /// How admins use sudo.
    pub admin_sudo: AdminSudo,
    /// What is asked of everybody who connects.
    pub authentication: Authentication,
    /// When it was created.
    pub created_at: UnixTime,
}

impl Project {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parse("id")?,
            slug: row.parse("slug")?,
            next_unix_uid: row.number("next_unix_uid")?,
            next_unix_gid: row.number("next_unix_gid")?,
            ssh_certificate_type: row.parse("ssh_certificate_type")?,
            certificate_lifetime_seconds: row.number("certificate_lifetime_seconds")?,
            clock_skew_seconds: row.number("clock_skew_seconds")?,
            port_forwarding: row.parse("port_forwarding")?,
            admin_sudo: row.parse("admin_sudo")?,
            authentication: row.json_opt("authentication")?.unwrap_or_default(),
            created_at: row.time("created_at")?,
        })
    }
}

/// What to change; `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectChange {
    /// New lifetime.
    pub certificate_lifetime_seconds: Option<u32>,
    /// New skew.
    pub clock_skew_seconds: Option<u32>,
    /// New forwarding rule.
    pub port_forwarding: Option<PortForwarding>,
    /// New sudo rule.
    pub admin_sudo: Option<AdminSudo>,
    /// What to ask of everybody from now on.
    pub authentication: Option<Authentication>,
}

/// Why a project cannot be created.
#[derive(Debug, Error)]
pub enum CreateProjectError {
    /// The database failed.
    #[error("the project was not created")]
    Store(#[source] StoreError),
    /// A project has the name.
    #[error("a project with the name `{0}` exists")]
    Taken(ProjectSlug),
}

/// Why a project cannot be deleted.
#[derive(Debug, Error)]
pub enum DeleteProjectError {
    /// It has servers.
    #[error("project `{project}` still has {servers} servers: remove them first")]
    InUse {
        /// The project.
        project: ProjectSlug,
        /// How many.
        servers: u64,
    },
    /// The database failed.
    #[error("the project was not deleted")]
    Store(#[source] StoreError),
}

impl From<StoreError> for DeleteProjectError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// One project by id.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_id(conn: &mut Conn, id: ProjectId) -> Result<Option<Project>, StoreError> {
    let row = query(BY_ID).bind(id.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(Project::read).transpose()
}

/// One project by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_name(conn: &mut Conn, name: &ProjectSlug) -> Result<Option<Project>, StoreError> {
    let row = query(BY_NAME).bind(name.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(Project::read).transpose()
}

/// One project by id or, when the text is no id, by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn find(conn: &mut Conn, name_or_id: &str) -> Result<Option<Project>, StoreError> {
    if let Ok(id) = name_or_id.parse() {
        return by_id(conn, id).await;
    }
    match name_or_id.parse() {
        Ok(name) => by_name(conn, &name).await,
        Err(_) => Ok(None),
    }
}

/// All projects by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<Project>, StoreError> {
    query(LIST).fetch_all(conn).await?.iter().map(Project::read).collect()
}

/// The projects whose servers a user has access to, by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list_visible_to(conn: &mut Conn, user: UserId) -> Result<Vec<Project>, StoreError> {
    let rows = query(LIST_VISIBLE).bind(user.to_string()).fetch_all(conn).await?;
    rows.iter().map(Project::read).collect()
}

/// Whether a user has access to a project's servers.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn is_visible_to(conn: &mut Conn, project: ProjectId, user: UserId) -> Result<bool, StoreError> {
    let query = query(VISIBLE).bind(project.to_string()).bind(user.to_string());
    Ok(query.fetch_optional(conn).await?.is_some())
}

/// Creates a project. Its CA keys go into the same transaction ([`keys::insert`](crate::keys::insert)).
///
/// # Errors
/// [`CreateProjectError`] when the name is taken.
pub async fn create(tx: &mut WriteTx, project: &Project) -> Result<(), CreateProjectError> {
    let done = query(CREATE)
        .bind(project.id.to_string())
        .bind(project.slug.as_str())
        .bind(i64::from(project.next_unix_uid))
        .bind(i64::from(project.next_unix_gid))
        .bind(project.ssh_certificate_type.as_str())
        .bind(i64::from(project.certificate_lifetime_seconds))
        .bind(i64::from(project.clock_skew_seconds))
        .bind(project.port_forwarding.as_str())
        .bind(project.admin_sudo.as_str())
        .bind(project.created_at.as_millis())
        .execute(tx)
        .await
        .map_err(|error| CreateProjectError::Store(error.into()))?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(CreateProjectError::Taken(project.slug.clone())) }
}

/// Changes a project's settings; lifetime and skew are the caller's to check (the table refuses more than 600 together).
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn update(
    tx: &mut WriteTx,
    project: &Project,
    change: &ProjectChange,
) -> Result<Project, StoreError> {
    let changed = Project {
        certificate_lifetime_seconds: change
            .certificate_lifetime_seconds
            .unwrap_or(project.certificate_lifetime_seconds),
        clock_skew_seconds: change.clock_skew_seconds.unwrap_or(project.clock_skew_seconds),
        port_forwarding: change.port_forwarding.unwrap_or(project.port_forwarding),
        admin_sudo: change.admin_sudo.unwrap_or(project.admin_sudo),
        authentication: change.authentication.clone().unwrap_or_else(|| project.authentication.clone()),
        ..project.clone()
    };
    if changed == *project {
        return Ok(changed);
    }
    let asked = Some(&changed.authentication).filter(|asked| !asked.asks_nothing());
    let authentication = asked.map(|asked| to_json(asked, "authentication")).transpose()?;
    query(UPDATE)
        .bind(project.id.to_string())
        .bind(i64::from(changed.certificate_lifetime_seconds))
        .bind(i64::from(changed.clock_skew_seconds))
        .bind(changed.port_forwarding.as_str())
        .bind(changed.admin_sudo.as_str())
        .bind(authentication)
        .execute(tx)
        .await?;
    tx.bump_epoch().await?;
    Ok(changed)
}

/// Moves the id counters, which only go up.
pub(crate) async fn set_counters(tx: &mut WriteTx, project: &Project) -> Result<(), StoreError> {
    query(SET_COUNTERS)
        .bind(project.id.to_string())
        .bind(i64::from(project.next_unix_uid))
        .bind(i64::from(project.next_unix_gid))
        .execute(tx)
        .await?;
    Ok(())
}

/// Deletes a project without servers, with its tokens, groups' roles, allocated ids and keys.
///
/// # Errors
/// [`DeleteProjectError::InUse`] when it has servers.
pub async fn delete(tx: &mut WriteTx, project: &Project) -> Result<(), DeleteProjectError> {
    let id = project.id.to_string();
    let row = query(SERVERS).bind(&id).fetch_one(tx).await.map_err(StoreError::from)?;
    let servers: u64 = row.number("servers")?;
    if servers > 0 {
        return Err(DeleteProjectError::InUse { project: project.slug.clone(), servers });
    }
    locks::forget(tx, Target::Project(project.id)).await?;
    query(DELETE).bind(&id).execute(tx).await.map_err(StoreError::from)?;
    query(FORGET_DOCUMENT).bind(&id).execute(tx).await.map_err(StoreError::from)?;
    tx.bump_epoch().await?;
    Ok(())
}
