//! A connector's users, as its provider sees them. Who they are here follows: status and display name go through
//! [`crate::users`], an external id through [`connectors::bind`].

use std::collections::BTreeMap;

use thiserror::Error;
use usher_identity::{
    UserRecord, UserStatus, naming,
    scim::{AttributeError, Attributes, ResourceType},
};
use usher_types::{ConnectorId, ExternalId, GroupId, TeamRole, UnixTime, UserId};

use super::{ListError, Listing, Page, filter, key};
use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    connectors::{self, BindError},
    row::{Columns, Row, statements, to_json},
    users::{self, ChangeUserError, CreateUserError, UserChange},
};

statements! {
    BY_ID = "SELECT u.id, u.user_name, u.display_name, u.unix_user_name, u.status, u.team_role, u.connector_id,
            u.created_at, s.attributes, s.version, s.changed_at
        FROM scim_users s JOIN users u ON u.id = s.user_id WHERE s.connector_id = $1 AND s.user_id = $2";
    COUNT = "SELECT COUNT(*) AS total FROM scim_users s JOIN users u ON u.id = s.user_id WHERE s.connector_id = $1";
    SELECT = "SELECT u.id, u.user_name, u.display_name, u.unix_user_name, u.status, u.team_role, u.connector_id,
            u.created_at, s.attributes, s.version, s.changed_at
        FROM scim_users s JOIN users u ON u.id = s.user_id WHERE s.connector_id = $1";
    NAMED = "SELECT user_id FROM scim_users WHERE connector_id = $1 AND user_name_key = $2";
    CREATE = "INSERT INTO scim_users (user_id, connector_id, user_name_key, external_id, attributes, version, changed_at)
        VALUES ($1, $2, $3, $4, $5, 1, $6) ON CONFLICT DO NOTHING";
    UPDATE = "UPDATE scim_users SET user_name_key = $2, external_id = $3, attributes = $4, version = version + 1,
            changed_at = $5 WHERE user_id = $1";
    GROUPS = "SELECT m.group_id, g.display_name FROM group_members m JOIN groups g ON g.id = m.group_id
        WHERE m.user_id = $1 AND g.connector_id = $2 ORDER BY m.group_id";
}

/// A connector's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScimUser {
    /// Who it is here.
    pub user: UserRecord,
    /// What its provider says.
    pub attributes: Attributes,
    /// Moves with every change by the provider.
    pub version: i64,
    /// When the provider last changed it.
    pub changed_at: UnixTime,
}

/// Why a connector's user cannot be written.
#[derive(Debug, Error)]
pub enum WriteUserError {
    /// It would take the last administrator.
    #[error(transparent)]
    Change(ChangeUserError),
    /// The external id has a form that none can have.
    #[error("`externalId` must have 1 to 255 bytes, without control characters")]
    ExternalId,
    /// No name on servers can be made for it.
    #[error("no free name can be made of `userName`")]
    NoName,
    /// The database failed.
    #[error("the user was not stored")]
    Store(#[source] StoreError),
    /// Another user of the connector has it.
    #[error("another user of this connector has this `{0}`")]
    Taken(&'static str),
}

impl From<StoreError> for WriteUserError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn read(row: &Row) -> Result<ScimUser, StoreError> {
    let attributes = Attributes::stored(ResourceType::User, row.json("attributes")?);
    Ok(ScimUser {
        user: users::read(row)?,
        attributes: attributes
            .map_err(|_error: AttributeError| StoreError::Corrupt { column: "attributes" })?,
        version: row.int("version")?,
        changed_at: row.time("changed_at")?,
    })
}

/// One user.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_id(
    conn: &mut Conn,
    connector: ConnectorId,
    id: UserId,
) -> Result<Option<ScimUser>, StoreError> {
    let row = query(BY_ID).bind(connector.to_string()).bind(id.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// Some users.
///
/// # Errors
/// [`ListError`].
pub async fn list(
    conn: &mut Conn,
    connector: ConnectorId,
    listing: &Listing,
) -> Result<Page<ScimUser>, ListError> {
    let (total, rows) = filter::list(conn, ResourceType::User, connector, listing, COUNT, SELECT).await?;
    let items: Result<_, StoreError> = rows.iter().map(read).collect();
    Ok(Page { total, items: items? })
}

/// The groups of the connector that a user is in, with what the provider calls them.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn groups(
    conn: &mut Conn,
    connector: ConnectorId,
    id: UserId,
) -> Result<BTreeMap<GroupId, String>, StoreError> {
    let rows = query(GROUPS).bind(id.to_string()).bind(connector.to_string()).fetch_all(conn).await?;
    rows.iter()
        .map(|row| Ok((row.parse("group_id")?, row.text_opt("display_name")?.unwrap_or_default())))
        .collect()
}

/// Stores a new user of a connector, under the first free names; `id` is for it. A user of the same connector who signed
/// in before anything was said about it is that user, by its external id; users of other directories never are.
///
/// # Errors
/// [`WriteUserError`]; drop the transaction then.
pub async fn create(
    tx: &mut WriteTx,
    connector: ConnectorId,
    attributes: Attributes,
    id: UserId,
    now: UnixTime,
) -> Result<ScimUser, WriteUserError> {
    let user_name_key = key(attributes.name());
    if named(tx, connector, &user_name_key).await?.is_some() {
        return Err(WriteUserError::Taken("userName"));
    }
    let external_id = external_id(&attributes)?;
    let known = match &external_id {
        Some(external_id) => connectors::user(tx, connector, external_id).await?,
        None => None,
    };
    let status = if attributes.active() { UserStatus::Active } else { UserStatus::Disabled };
    let display_name = naming::display_name(attributes.shown_name());
    let user = match known {
        Some(known) if by_id(tx, connector, known.id).await?.is_some() => {
            return Err(WriteUserError::Taken("externalId"));
        }
        Some(known) => {
            // The provider lets nobody in whom somebody here has put out.
            let status = (status == UserStatus::Disabled).then_some(status);
            let change = UserChange { status, display_name, ..UserChange::default() };
            users::update(tx, &known, &change, now).await.map_err(changed)?
        }
        None => {
            let user = new_user(tx, connector, &attributes, id, now).await?;
            let user = UserRecord {
                display_name: display_name.unwrap_or_else(|| user.display_name.clone()),
                status,
                ..user
            };
            users::create(tx, &user).await.map_err(not_created)?;
            if let Some(external_id) = &external_id {
                connectors::bind(tx, connector, external_id, &user).await.map_err(not_bound)?;
            }
            user
        }
    };
    let done = query(CREATE)
        .bind(user.id.to_string())
        .bind(connector.to_string())
        .bind(user_name_key)
        .bind(attributes.external_id())
        .bind(to_json(attributes.values(), "attributes")?)
        .bind(now.as_millis())
        .execute(tx)
        .await
        .map_err(StoreError::from)?;
    if done.rows_affected() != 1 {
        return Err(WriteUserError::Taken("userName"));
    }
    Ok(ScimUser { user, attributes, version: 1, changed_at: now })
}

async fn named(
    conn: &mut Conn,
    connector: ConnectorId,
    user_name_key: &str,
) -> Result<Option<UserId>, StoreError> {
    let row = query(NAMED).bind(connector.to_string()).bind(user_name_key).fetch_optional(conn).await?;
    row.map(|row| row.parse("user_id")).transpose()
}

fn external_id(attributes: &Attributes) -> Result<Option<ExternalId>, WriteUserError> {
    let parse = |id: &str| id.parse().map_err(|_error| WriteUserError::ExternalId);
    attributes.external_id().map(parse).transpose()
}

async fn new_user(
    tx: &mut WriteTx,
    connector: ConnectorId,
    attributes: &Attributes,
    id: UserId,
    now: UnixTime,
) -> Result<UserRecord, WriteUserError> {
    let free = users::first_free(tx, naming::users(attributes.name())).await?;
    let (user_name, unix_user_name) = free.ok_or(WriteUserError::NoName)?;
    let display_name = naming::display_name(user_name.as_str()).ok_or(WriteUserError::NoName)?;
    Ok(UserRecord {
        id,
        user_name,
        display_name,
        unix_user_name,
        status: UserStatus::Active,
        team_role: TeamRole::Member,
        connector_id: Some(connector),
        created_at: now,
    })
}

fn changed(error: ChangeUserError) -> WriteUserError {
    match error {
        ChangeUserError::Store(error) => WriteUserError::Store(error),
        error @ ChangeUserError::LastOwner(_) => WriteUserError::Change(error),
    }
}

fn not_created(error: CreateUserError) -> WriteUserError {
    match error {
        CreateUserError::Store(error) => WriteUserError::Store(error),
        CreateUserError::LooksLikeId(_)
        | CreateUserError::Taken { .. }
        | CreateUserError::UnixNameUsed(_) => WriteUserError::NoName,
    }
}

fn not_bound(error: BindError) -> WriteUserError {
    match error {
        BindError::Store(error) => WriteUserError::Store(error),
        BindError::Foreign(_) | BindError::Taken(_) => WriteUserError::Taken("externalId"),
    }
}

/// Writes what a provider says now about a user that was read in this transaction. Names on servers stay; the status
/// follows when the provider changes its mind, so that whom somebody here has disabled stays so until the provider
/// disables and enables. What changes access ends sessions and moves the epoch.
///
/// # Errors
/// [`WriteUserError`]; drop the transaction then.
pub async fn update(
    tx: &mut WriteTx,
    before: &ScimUser,
    attributes: Attributes,
    now: UnixTime,
) -> Result<ScimUser, WriteUserError> {
    if attributes == before.attributes {
        return Ok(before.clone());
    }
    let Some(connector) = before.user.connector_id else { return Err(WriteUserError::NoName) };
    let user_name_key = key(attributes.name());
    if named(tx, connector, &user_name_key).await?.is_some_and(|id| id != before.user.id) {
        return Err(WriteUserError::Taken("userName"));
    }
    let external_id = external_id(&attributes)?;
    if let (Some(external_id), None) = (&external_id, before.attributes.external_id()) {
        connectors::bind(tx, connector, external_id, &before.user).await.map_err(not_bound)?;
    }
    let status = (attributes.active() != before.attributes.active()).then(|| match attributes.active() {
        true => UserStatus::Active,
        false => UserStatus::Disabled,
    });
    let display_name = naming::display_name(attributes.shown_name());
    let change = UserChange { status, display_name, ..UserChange::default() };
    let user = users::update(tx, &before.user, &change, now).await.map_err(changed)?;
    query(UPDATE)
        .bind(user.id.to_string())
        .bind(user_name_key)
        .bind(attributes.external_id())
        .bind(to_json(attributes.values(), "attributes")?)
        .bind(now.as_millis())
        .execute(tx)
        .await
        .map_err(StoreError::from)?;
    Ok(ScimUser { user, attributes, version: before.version.saturating_add(1), changed_at: now })
}
