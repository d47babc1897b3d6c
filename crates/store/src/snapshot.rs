//! Reads the whole team's access rules into a [`Snapshot`]. One row for each project: a row costs more than what stands
//! in it.

use std::{collections::BTreeMap, sync::Arc};

use usher_policy::{Assignment, Snapshot, SnapshotBuilder};
use usher_types::{DeviceId, GroupId, GroupName, LoginName, ProjectId, ServerId, UserId};

use crate::{
    Conn, LockKind, StoreError,
    conn::query,
    connections::read_project,
    locks, policies,
    row::{Columns as _, Labels, statements},
};

statements! {
    PROJECTS = "SELECT id, slug, certificate_lifetime_seconds, clock_skew_seconds, port_forwarding, authentication
        FROM projects";
    ROLES = "SELECT g.project_id,
            string_agg(g.group_id || ' ' || d.name || ' ' || g.server_access || ' ' || g.server_admin, ' ') AS roles
        FROM project_groups g JOIN groups d ON d.id = g.group_id WHERE g.removed_at IS NULL GROUP BY g.project_id";
    SERVERS = "SELECT project_id, string_agg(id || ' ' || name, ' ') AS servers FROM servers GROUP BY project_id";
    CONDITIONS = "SELECT project_id, group_id, conditions FROM project_groups
        WHERE removed_at IS NULL AND conditions IS NOT NULL";
    LABELS = "SELECT id, labels FROM servers WHERE labels <> '{}'";
    BASTIONS = "SELECT id, bastion_group FROM servers WHERE bastion_group IS NOT NULL";
    LOCKS = "SELECT kind, target FROM locks WHERE kind IN ('project', 'server')";
    GROUPS_OF_USER = "SELECT group_id FROM group_members WHERE user_id = $1 ORDER BY group_id";
    LOGINS_OF_USER = "SELECT project_id, login FROM project_users WHERE user_id = $1";
}

/// Everything of projects and servers that decides about access. Ask the same [`Reader`](crate::Reader) for its epoch.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn read(conn: &mut Conn) -> Result<Snapshot, StoreError> {
    let mut builder = SnapshotBuilder::new();
    for row in query(PROJECTS).fetch_all(conn).await? {
        builder.project(read_project(&row)?);
    }
    let mut conditions = BTreeMap::new();
    for row in query(CONDITIONS).fetch_all(conn).await? {
        let role: (ProjectId, GroupId) = (row.parse("project_id")?, row.parse("group_id")?);
        conditions.insert(role, Arc::new(row.json("conditions")?));
    }
    for row in query(ROLES).fetch_all(conn).await? {
        let project: ProjectId = row.parse("project_id")?;
        let text = row.text("roles")?;
        let mut words = text.split(' ');
        while let Some(group) = words.next() {
            let mut assignment =
                assignment(group, &mut words).ok_or(StoreError::Corrupt { column: "roles" })?;
            assignment.conditions = conditions.remove(&(project, assignment.group_id)).unwrap_or_default();
            builder.assignment(project, assignment);
        }
    }
    for row in query(SERVERS).fetch_all(conn).await? {
        let project: ProjectId = row.parse("project_id")?;
        let text = row.text("servers")?;
        let mut words = text.split(' ');
        while let (Some(id), Some(name)) = (words.next(), words.next()) {
            let id: ServerId = id.parse().map_err(|_error| StoreError::Corrupt { column: "id" })?;
            builder.server(id, name, project);
        }
    }
    read_labels(conn, &mut builder).await?;
    for row in query(BASTIONS).fetch_all(conn).await? {
        builder.bastion(row.parse("bastion_group")?, row.parse("id")?);
    }
    for row in query(LOCKS).fetch_all(conn).await? {
        match row.parse("kind")? {
            LockKind::Project => builder.lock_project(row.parse("target")?),
            LockKind::Server => builder.lock_server(row.parse("target")?),
            LockKind::Device | LockKind::User => {}
        }
    }
    for policy in policies::all(conn).await? {
        builder.policy(policy);
    }
    Ok(builder.finish())
}

/// Fleets are labelled alike: each set of labels is there once.
async fn read_labels(conn: &mut Conn, builder: &mut SnapshotBuilder) -> Result<(), StoreError> {
    let mut known: BTreeMap<String, Arc<Labels>> = BTreeMap::new();
    for row in query(LABELS).fetch_all(conn).await? {
        let text = row.text("labels")?;
        let labels = match known.get(&text) {
            Some(labels) => Arc::clone(labels),
            None => Arc::clone(known.entry(text).or_insert(Arc::new(row.json("labels")?))),
        };
        builder.labels(row.parse("id")?, labels);
    }
    Ok(())
}

fn assignment<'a>(group: &str, words: &mut impl Iterator<Item = &'a str>) -> Option<Assignment> {
    let group_id: GroupId = group.parse().ok()?;
    let group_name: GroupName = words.next()?.parse().ok()?;
    let flag = |word: &str| match word {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    };
    let server_access = flag(words.next()?)?;
    let server_admin = flag(words.next()?)?;
    Some(Assignment { group_id, group_name, server_access, server_admin, conditions: Arc::default() })
}

/// What decides about a user besides the user's own row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The user's groups, sorted.
    pub groups: Vec<GroupId>,
    /// The user's accounts.
    pub logins: BTreeMap<ProjectId, LoginName>,
    /// Whether the user or the device is locked.
    pub locked: bool,
}

/// A user's groups and accounts, and whether the user or the device is locked.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn membership(conn: &mut Conn, user: UserId, device: DeviceId) -> Result<Membership, StoreError> {
    let locked = !locks::of_caller(conn, user, device).await?.is_empty();
    let user = user.to_string();
    let groups = query(GROUPS_OF_USER).bind(&user).fetch_all(conn).await?;
    let logins = query(LOGINS_OF_USER).bind(&user).fetch_all(conn).await?;
    Ok(Membership {
        groups: groups.iter().map(|row| row.parse("group_id")).collect::<Result<_, _>>()?,
        logins: logins
            .iter()
            .map(|row| Ok((row.parse("project_id")?, row.parse("login")?)))
            .collect::<Result<_, StoreError>>()?,
        locked,
    })
}
