//! A connector's groups, as its provider sees them, and their members: users of that connector and nobody else. Roles are
//! bound to a group's id, so that a rename moves none.

use std::collections::BTreeSet;

use thiserror::Error;
use usher_identity::{naming, scim::MemberChange, scim::ResourceType};
use usher_types::{ConnectorId, ConnectorName, GroupId, ProjectId, UnixTime, UserId};

use super::{ListError, Listing, Page, filter};
use crate::{
    Conn, StoreError, WriteTx,
    bulk::Bulk,
    conn::{Value, query},
    groups::{self, CreateGroupError, DeleteGroupError, Group},
    project_groups,
    row::{Columns, Row, statements},
};

statements! {
    BY_ID = "SELECT g.id, g.name, g.connector_id, g.display_name, g.created_at, s.external_id, s.version, s.changed_at
        FROM scim_groups s JOIN groups g ON g.id = s.group_id WHERE s.connector_id = $1 AND s.group_id = $2";
    COUNT = "SELECT COUNT(*) AS total FROM scim_groups s JOIN groups g ON g.id = s.group_id WHERE s.connector_id = $1";
    SELECT = "SELECT g.id, g.name, g.connector_id, g.display_name, g.created_at, s.external_id, s.version, s.changed_at
        FROM scim_groups s JOIN groups g ON g.id = s.group_id WHERE s.connector_id = $1";
    NAME_TAKEN = "SELECT 1 FROM groups WHERE name = $1";
    CREATE = "INSERT INTO scim_groups (group_id, connector_id, external_id, version, changed_at)
        VALUES ($1, $2, $3, 1, $4) ON CONFLICT DO NOTHING";
    EXTERNAL = "SELECT group_id FROM scim_groups WHERE connector_id = $1 AND external_id = $2";
    UPDATE = "UPDATE scim_groups SET external_id = $2, version = version + 1, changed_at = $3 WHERE group_id = $1";
    RENAME = "UPDATE groups SET display_name = $2 WHERE id = $1";
    MEMBERS = "SELECT user_id FROM group_members WHERE group_id = $1 ORDER BY user_id";
    IS_MEMBER = "SELECT 1 FROM group_members WHERE group_id = $1 AND user_id = $2";
    IS_OF_CONNECTOR = "SELECT 1 FROM scim_users WHERE connector_id = $1 AND user_id = $2";
    OF_CONNECTOR = "SELECT user_id FROM scim_users WHERE connector_id = $1";
    ADD_MEMBERS = "INSERT INTO group_members (group_id, user_id, added_at) VALUES ($1, $2, $3)";
    REMOVE_MEMBER = "DELETE FROM group_members WHERE group_id = $1 AND user_id = $2";
    REMOVE_ALL = "DELETE FROM group_members WHERE group_id = $1";
    PROJECTS = "SELECT project_id FROM project_groups WHERE group_id = $1 AND removed_at IS NULL ORDER BY project_id";
}

static MANY_MEMBERS: Bulk = Bulk::of(ADD_MEMBERS);

/// Up to how many members are looked up one by one; of more, all are read at once.
const FEW: usize = 64;

/// A connector's group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScimGroup {
    /// What it is here.
    pub group: Group,
    /// Its provider's id of it.
    pub external_id: Option<String>,
    /// Moves with every change by the provider.
    pub version: i64,
    /// When the provider last changed it.
    pub changed_at: UnixTime,
}

impl ScimGroup {
    /// What its provider calls it.
    #[must_use]
    pub fn display_name(&self) -> &str {
        self.group.display_name.as_deref().unwrap_or_default()
    }
}

/// Who joined and who left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// They were no members before.
    pub joined: BTreeSet<UserId>,
    /// They are no members any more.
    pub left: BTreeSet<UserId>,
}

/// Why a connector's group cannot be written.
#[derive(Debug, Error)]
pub enum WriteGroupError {
    /// Somebody is not a user of the connector.
    #[error("`{0}` is not a user of this connector")]
    NotAUser(UserId),
    /// No name can be made for it.
    #[error("no free name can be made of `displayName`")]
    NoName,
    /// The name means something here.
    #[error("`{0}` is reserved")]
    Reserved(String),
    /// The database failed.
    #[error("the group was not stored")]
    Store(#[source] StoreError),
    /// Another group of the connector has it.
    #[error("another group of this connector has this `{0}`")]
    Taken(&'static str),
}

impl From<StoreError> for WriteGroupError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn read(row: &Row) -> Result<ScimGroup, StoreError> {
    Ok(ScimGroup {
        group: Group::read(row)?,
        external_id: row.text_opt("external_id")?,
        version: row.int("version")?,
        changed_at: row.time("changed_at")?,
    })
}

/// One group.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_id(
    conn: &mut Conn,
    connector: ConnectorId,
    id: GroupId,
) -> Result<Option<ScimGroup>, StoreError> {
    let row = query(BY_ID).bind(connector.to_string()).bind(id.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// Some groups.
///
/// # Errors
/// [`ListError`].
pub async fn list(
    conn: &mut Conn,
    connector: ConnectorId,
    listing: &Listing,
) -> Result<Page<ScimGroup>, ListError> {
    let (total, rows) = filter::list(conn, ResourceType::Group, connector, listing, COUNT, SELECT).await?;
    let items: Result<_, StoreError> = rows.iter().map(read).collect();
    Ok(Page { total, items: items? })
}

/// A group's members.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn members(conn: &mut Conn, group: GroupId) -> Result<BTreeSet<UserId>, StoreError> {
    ids(conn, MEMBERS, group.to_string()).await
}

async fn ids(conn: &mut Conn, sql: &'static str, of: String) -> Result<BTreeSet<UserId>, StoreError> {
    query(sql).bind(of).fetch_all(conn).await?.iter().map(|row| row.parse("user_id")).collect()
}

/// Stores a new group of a connector, without members, under the first free name in the connector's namespace.
///
/// # Errors
/// [`WriteGroupError`]; drop the transaction then.
pub async fn create(
    tx: &mut WriteTx,
    (connector, connector_name): (ConnectorId, &ConnectorName),
    display_name: &str,
    external_id: Option<&str>,
    id: GroupId,
    now: UnixTime,
) -> Result<ScimGroup, WriteGroupError> {
    refuse_reserved(display_name)?;
    let mut name = None;
    for candidate in naming::groups(connector_name.as_str(), display_name) {
        let taken = query(NAME_TAKEN).bind(candidate.as_str()).fetch_optional(tx).await;
        if taken.map_err(StoreError::from)?.is_none() {
            name = Some(candidate);
            break;
        }
    }
    let group = Group {
        id,
        name: name.ok_or(WriteGroupError::NoName)?,
        connector_id: Some(connector),
        display_name: Some(display_name.to_owned()),
        created_at: now,
    };
    groups::create(tx, &group).await.map_err(|error| match error {
        CreateGroupError::Store(error) => WriteGroupError::Store(error),
        _ => WriteGroupError::NoName,
    })?;
    let done = query(CREATE)
        .bind(id.to_string())
        .bind(connector.to_string())
        .bind(external_id)
        .bind(now.as_millis())
        .execute(tx)
        .await
        .map_err(StoreError::from)?;
    if done.rows_affected() != 1 {
        return Err(WriteGroupError::Taken("externalId"));
    }
    Ok(ScimGroup { group, external_id: external_id.map(str::to_owned), version: 1, changed_at: now })
}

fn refuse_reserved(display_name: &str) -> Result<(), WriteGroupError> {
    if naming::is_reserved_group(display_name) {
        return Err(WriteGroupError::Reserved(display_name.trim().chars().take(64).collect()));
    }
    Ok(())
}

/// Writes what a provider says now about a group that was read in this transaction. Its name here, its roles and its members
/// stay.
///
/// # Errors
/// [`WriteGroupError`]; drop the transaction then.
pub async fn update(
    tx: &mut WriteTx,
    before: &ScimGroup,
    display_name: &str,
    external_id: Option<&str>,
    now: UnixTime,
) -> Result<ScimGroup, WriteGroupError> {
    let id = before.group.id.to_string();
    if display_name != before.display_name() {
        refuse_reserved(display_name)?;
        query(RENAME).bind(&id).bind(display_name).execute(tx).await.map_err(StoreError::from)?;
    }
    if let (Some(external_id), Some(connector)) = (external_id, before.group.connector_id) {
        let other = query(EXTERNAL).bind(connector.to_string()).bind(external_id).fetch_optional(tx).await;
        let other = other.map_err(StoreError::from)?.map(|row| row.text("group_id")).transpose()?;
        if other.is_some_and(|other| other != id) {
            return Err(WriteGroupError::Taken("externalId"));
        }
    }
    let update = query(UPDATE).bind(&id).bind(external_id).bind(now.as_millis());
    update.execute(tx).await.map_err(StoreError::from)?;
    Ok(ScimGroup {
        group: Group { display_name: Some(display_name.to_owned()), ..before.group.clone() },
        external_id: external_id.map(str::to_owned),
        version: before.version.saturating_add(1),
        changed_at: now,
    })
}

/// Makes changes to the members of a group, in order; says what came of all of them. Moves the epoch when anything did. Accounts in
/// the group's projects are the caller's next step.
///
/// # Errors
/// [`WriteGroupError::NotAUser`] when somebody is none of the connector's; drop the transaction then.
pub async fn change_members(
    tx: &mut WriteTx,
    connector: ConnectorId,
    group: GroupId,
    changes: &[MemberChange],
    now: UnixTime,
) -> Result<Moves, WriteGroupError> {
    let mut moves = Moves::default();
    for change in changes {
        match change {
            MemberChange::Add(users) => {
                let users: BTreeSet<UserId> = users.iter().copied().collect();
                let joining = without_members(tx, group, users).await?;
                join(tx, connector, group, &joining, &mut moves, now).await?;
            }
            MemberChange::Remove(users) => {
                let users: BTreeSet<UserId> = users.iter().copied().collect();
                leave(tx, group, &users, &mut moves).await?;
            }
            MemberChange::RemoveAll => {
                let members = members(tx, group).await?;
                query(REMOVE_ALL).bind(group.to_string()).execute(tx).await.map_err(StoreError::from)?;
                members.into_iter().for_each(|user| moves.leaves(user));
            }
            MemberChange::Replace(users) => {
                let users: BTreeSet<UserId> = users.iter().copied().collect();
                let members = members(tx, group).await?;
                let leaving = members.difference(&users).copied().collect();
                leave(tx, group, &leaving, &mut moves).await?;
                let joining = users.difference(&members).copied().collect();
                join(tx, connector, group, &joining, &mut moves, now).await?;
            }
        }
    }
    if moves != Moves::default() {
        tx.bump_epoch().await?;
    }
    Ok(moves)
}

impl Moves {
    fn joins(&mut self, user: UserId) {
        if !self.left.remove(&user) {
            self.joined.insert(user);
        }
    }

    fn leaves(&mut self, user: UserId) {
        if !self.joined.remove(&user) {
            self.left.insert(user);
        }
    }
}

async fn without_members(
    tx: &mut WriteTx,
    group: GroupId,
    mut users: BTreeSet<UserId>,
) -> Result<BTreeSet<UserId>, StoreError> {
    if users.len() > FEW {
        let members = members(tx, group).await?;
        users.retain(|user| !members.contains(user));
        return Ok(users);
    }
    let mut joining = BTreeSet::new();
    for user in users {
        let row = query(IS_MEMBER).bind(group.to_string()).bind(user.to_string()).fetch_optional(tx).await?;
        if row.is_none() {
            joining.insert(user);
        }
    }
    Ok(joining)
}

async fn join(
    tx: &mut WriteTx,
    connector: ConnectorId,
    group: GroupId,
    users: &BTreeSet<UserId>,
    moves: &mut Moves,
    now: UnixTime,
) -> Result<(), WriteGroupError> {
    // SECURITY: whoever holds a connector's token must not get anybody else into, or out of, anything.
    if users.len() > FEW {
        let known = ids(tx, OF_CONNECTOR, connector.to_string()).await?;
        if let Some(stranger) = users.iter().find(|user| !known.contains(user)) {
            return Err(WriteGroupError::NotAUser(*stranger));
        }
    } else {
        for user in users {
            let known = query(IS_OF_CONNECTOR).bind(connector.to_string()).bind(user.to_string());
            if known.fetch_optional(tx).await.map_err(StoreError::from)?.is_none() {
                return Err(WriteGroupError::NotAUser(*user));
            }
        }
    }
    let row = |user: &UserId| -> [Value<'static>; 3] {
        [group.to_string().into(), user.to_string().into(), now.as_millis().into()]
    };
    MANY_MEMBERS.insert(tx, users.iter().flat_map(row)).await?;
    users.iter().for_each(|user| moves.joins(*user));
    Ok(())
}

async fn leave(
    tx: &mut WriteTx,
    group: GroupId,
    users: &BTreeSet<UserId>,
    moves: &mut Moves,
) -> Result<(), StoreError> {
    for user in users {
        let done = query(REMOVE_MEMBER).bind(group.to_string()).bind(user.to_string()).execute(tx).await?;
        if done.rows_affected() == 1 {
            moves.leaves(*user);
        }
    }
    Ok(())
}

/// Deletes a group with its roles, which end with it; says in which projects it had one.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn delete(tx: &mut WriteTx, group: &Group, now: UnixTime) -> Result<Vec<ProjectId>, StoreError> {
    let rows = query(PROJECTS).bind(group.id.to_string()).fetch_all(tx).await?;
    let projects: Vec<ProjectId> =
        rows.iter().map(|row| row.parse("project_id")).collect::<Result<_, _>>()?;
    for project in &projects {
        project_groups::remove(tx, *project, group.id, now).await?;
    }
    match groups::delete(tx, group).await {
        Ok(()) => Ok(projects),
        Err(DeleteGroupError::Store(error)) => Err(error),
        // They were all taken away above, in this transaction.
        Err(DeleteGroupError::InUse { .. }) => Err(StoreError::Corrupt { column: "removed_at" }),
    }
}
