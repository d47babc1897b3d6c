//! Connectors, the team's identity providers, and who is who there. What a provider says is checked elsewhere.
//!
//! An external id belongs to one user of one connector for ever; a user of the broker's own directory never gets one.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use usher_identity::UserRecord;
use usher_types::{ConnectorId, ConnectorName, ExternalId, UnixTime, UserId, UserName};

use crate::{
    Conn, ConnectorState, ExternalIdClaim, JoinRule, StoreError, WriteTx,
    conn::query,
    row::{Columns, Row, statements, to_json},
    sealed, sessions, sign_in, users,
};

statements! {
    BY_ID = "SELECT id, name, issuer, client_id, client_secret, settings, join_rule, state, created_at
        FROM connectors WHERE id = $1";
    BY_NAME = "SELECT id, name, issuer, client_id, client_secret, settings, join_rule, state, created_at
        FROM connectors WHERE name = $1";
    LIST = "SELECT id, name, issuer, client_id, client_secret, settings, join_rule, state, created_at
        FROM connectors ORDER BY name";
    CREATE = "INSERT INTO connectors (id, name, issuer, client_id, client_secret, settings, join_rule, state,
            created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
    SAME_ISSUER = "SELECT id, name, issuer, client_id, client_secret, settings, join_rule, state, created_at
        FROM connectors WHERE issuer = $1";
    UPDATE = "UPDATE connectors SET issuer = $2, client_id = $3, client_secret = $4, settings = $5, join_rule = $6,
            state = $7 WHERE id = $1";
    OWNED = "SELECT (SELECT COUNT(*) FROM users WHERE connector_id = $1) AS users,
            (SELECT COUNT(*) FROM groups WHERE connector_id = $1) AS groups";
    BOUND = "SELECT COUNT(*) AS people FROM external_identities WHERE connector_id = $1";
    GROUPS_BEGINNING = "SELECT 1 FROM groups WHERE connector_id IS NULL AND substr(name, 1, length($1)) = $1 LIMIT 1";
    DELETE = "DELETE FROM connectors WHERE id = $1";
    BIND = "INSERT INTO external_identities (connector_id, external_id, user_id) VALUES ($1, $2, $3)
        ON CONFLICT DO NOTHING";
    USER = "SELECT u.id, u.user_name, u.display_name, u.unix_user_name, u.status, u.team_role, u.connector_id,
            u.created_at
        FROM external_identities e JOIN users u ON u.id = e.user_id
        WHERE e.connector_id = $1 AND e.external_id = $2";
    OF_USER = "SELECT external_id FROM external_identities WHERE connector_id = $1 AND user_id = $2";
}

/// An identity provider of the team.
#[derive(Clone, PartialEq, Eq)]
pub struct Connector {
    /// Its id.
    pub id: ConnectorId,
    /// Its name; groups of it begin with it.
    pub name: ConnectorName,
    /// OpenID Connect; absent on a connector that only provisions.
    pub oidc: Option<OidcClient>,
    /// The rest.
    pub settings: ConnectorSettings,
    /// Who is let in by an external id that nobody here has.
    pub join_rule: JoinRule,
    /// Whether it is used.
    pub state: ConnectorState,
    /// When it was created.
    pub created_at: UnixTime,
}

/// What the broker is at an OpenID provider.
#[derive(Clone, PartialEq, Eq)]
pub struct OidcClient {
    /// The provider's issuer identifier, compared byte by byte.
    pub issuer: String,
    /// The broker's name there.
    pub client_id: String,
    /// The broker's secret there, under the seal key; absent for a public client.
    pub sealed_secret: Option<Vec<u8>>,
}

impl std::fmt::Debug for OidcClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OidcClient")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("oidc", &self.oidc)
            .finish_non_exhaustive()
    }
}

/// What can be set of a connector beside what finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorSettings {
    /// Scopes to ask for beside `openid`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Which claim is the external id.
    #[serde(default)]
    pub external_id_claim: ExternalIdClaim,
    /// The claim that lists a person's groups.
    #[serde(default)]
    pub groups_claim: Option<String>,
    /// Authentication contexts to ask for.
    #[serde(default)]
    pub acr_values: Vec<String>,
    /// Private networks in which the provider may be.
    #[serde(default)]
    pub private_networks: Vec<IpNet>,
}

impl Default for ConnectorSettings {
    fn default() -> Self {
        Self {
            scopes: ["profile", "email"].map(str::to_owned).to_vec(),
            external_id_claim: ExternalIdClaim::Sub,
            groups_claim: None,
            acr_values: Vec::new(),
            private_networks: Vec::new(),
        }
    }
}

impl Connector {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let oidc = match (row.text_opt("issuer")?, row.text_opt("client_id")?) {
            (Some(issuer), Some(client_id)) => {
                Some(OidcClient { issuer, client_id, sealed_secret: row.bytes_opt("client_secret")? })
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(StoreError::Corrupt { column: "client_id" }),
        };
        Ok(Self {
            id: row.parse("id")?,
            name: row.parse("name")?,
            oidc,
            settings: row.json("settings")?,
            join_rule: row.parse("join_rule")?,
            state: row.parse("state")?,
            created_at: row.time("created_at")?,
        })
    }
}

/// Why a connector cannot be created or changed.
#[derive(Debug, Error)]
pub enum WriteConnectorError {
    /// Groups of the broker's own directory have names that would be this connector's.
    #[error("a group of the team's own begins with `{0}.`: delete it, or choose another name")]
    GroupsBegin(ConnectorName),
    /// External ids are an issuer's, by one of its claims: elsewhere the same ones are other people's.
    #[error("{people} people of connector `{name}` are known by their ids at its issuer")]
    InUse {
        /// The connector.
        name: ConnectorName,
        /// How many.
        people: i64,
    },
    /// Another connector has the issuer: its external ids would belong to two.
    #[error("connector `{0}` has this issuer")]
    IssuerTaken(ConnectorName),
    /// The name reads as an id and would be taken for one.
    #[error("`{0}` looks like an id and cannot be a connector name")]
    LooksLikeId(ConnectorName),
    /// The database failed.
    #[error("the connector was not stored")]
    Store(#[source] StoreError),
    /// A connector has the name.
    #[error("a connector with the name `{0}` exists")]
    Taken(ConnectorName),
}

impl From<StoreError> for WriteConnectorError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Why a connector cannot be deleted.
#[derive(Debug, Error)]
pub enum DeleteConnectorError {
    /// It has users or groups.
    #[error(
        "connector `{name}` has {users} users and {groups} groups: delete them first, or disable the connector"
    )]
    InUse {
        /// The connector.
        name: ConnectorName,
        /// Its users.
        users: i64,
        /// Its groups.
        groups: i64,
    },
    /// The database failed.
    #[error("the connector was not deleted")]
    Store(#[source] StoreError),
}

impl From<StoreError> for DeleteConnectorError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Why somebody does not get an external id.
#[derive(Debug, Error)]
pub enum BindError {
    /// The user is not of this connector.
    #[error("user `{0}` does not belong to this connector")]
    Foreign(UserName),
    /// The database failed.
    #[error("the external identity was not stored")]
    Store(#[source] StoreError),
    /// The external id is another user's, or the user has another one.
    #[error("the external id is another user's, or user `{0}` has another one")]
    Taken(UserName),
}

impl From<StoreError> for BindError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// One connector by id.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_id(conn: &mut Conn, id: ConnectorId) -> Result<Option<Connector>, StoreError> {
    one(conn, BY_ID, &id.to_string()).await
}

/// One connector by id or, when the text is no id, by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn find(conn: &mut Conn, name_or_id: &str) -> Result<Option<Connector>, StoreError> {
    let by = if name_or_id.parse::<ConnectorId>().is_ok() { BY_ID } else { BY_NAME };
    one(conn, by, name_or_id).await
}

async fn one(conn: &mut Conn, sql: &'static str, value: &str) -> Result<Option<Connector>, StoreError> {
    let row = query(sql).bind(value).fetch_optional(conn).await?;
    row.as_ref().map(Connector::read).transpose()
}

/// The connector of an issuer.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_issuer(conn: &mut Conn, issuer: &str) -> Result<Option<Connector>, StoreError> {
    one(conn, SAME_ISSUER, issuer).await
}

/// All connectors by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<Connector>, StoreError> {
    query(LIST).fetch_all(conn).await?.iter().map(Connector::read).collect()
}

/// Creates a connector.
///
/// # Errors
/// [`WriteConnectorError`] when its name or issuer is taken.
pub async fn create(tx: &mut WriteTx, connector: &Connector) -> Result<(), WriteConnectorError> {
    if connector.name.as_str().parse::<ConnectorId>().is_ok() {
        return Err(WriteConnectorError::LooksLikeId(connector.name.clone()));
    }
    unique_issuer(tx, connector).await?;
    let prefix = format!("{}.", connector.name);
    if query(GROUPS_BEGINNING).bind(&prefix).fetch_optional(tx).await.map_err(StoreError::from)?.is_some() {
        return Err(WriteConnectorError::GroupsBegin(connector.name.clone()));
    }
    let (issuer, client_id, secret) = client(tx, connector).await?;
    let done = query(CREATE)
        .bind(connector.id.to_string())
        .bind(connector.name.as_str())
        .bind(issuer)
        .bind(client_id)
        .bind(secret)
        .bind(to_json(&connector.settings, "settings")?)
        .bind(connector.join_rule.as_str())
        .bind(connector.state.as_str())
        .bind(connector.created_at.as_millis())
        .execute(tx)
        .await
        .map_err(StoreError::from)?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(WriteConnectorError::Taken(connector.name.clone())) }
}

/// Writes a connector that was read and changed. When it is disabled, the sessions of its users end.
///
/// # Errors
/// [`WriteConnectorError::IssuerTaken`] when another connector has the issuer, [`WriteConnectorError::InUse`] when somebody
/// would be somebody else by the new one.
pub async fn update(
    tx: &mut WriteTx,
    connector: &Connector,
    now: UnixTime,
) -> Result<(), WriteConnectorError> {
    unique_issuer(tx, connector).await?;
    keeps_people(tx, connector).await?;
    let (issuer, client_id, secret) = client(tx, connector).await?;
    query(UPDATE)
        .bind(connector.id.to_string())
        .bind(issuer)
        .bind(client_id)
        .bind(secret)
        .bind(to_json(&connector.settings, "settings")?)
        .bind(connector.join_rule.as_str())
        .bind(connector.state.as_str())
        .execute(tx)
        .await
        .map_err(StoreError::from)?;
    if connector.state == ConnectorState::Disabled {
        sign_in::forget_codes_of(tx, connector.id).await?;
        sessions::end_of_connector(tx, connector.id, now).await?;
    }
    Ok(())
}

type ClientColumns<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a [u8]>);

async fn client<'a>(tx: &mut WriteTx, connector: &'a Connector) -> Result<ClientColumns<'a>, StoreError> {
    let Some(client) = &connector.oidc else { return Ok((None, None, None)) };
    let secret = client.sealed_secret.as_deref();
    if let Some(secret) = secret {
        sealed::check(tx, secret).await?;
    }
    Ok((Some(&client.issuer), Some(&client.client_id), secret))
}

async fn unique_issuer(tx: &mut WriteTx, connector: &Connector) -> Result<(), WriteConnectorError> {
    let Some(client) = &connector.oidc else { return Ok(()) };
    match one(tx, SAME_ISSUER, &client.issuer).await? {
        Some(other) if other.id != connector.id => Err(WriteConnectorError::IssuerTaken(other.name)),
        Some(_) | None => Ok(()),
    }
}

/// SECURITY: whoever gets an id of this connector at another issuer, or by another claim, must not become its owner here.
async fn keeps_people(tx: &mut WriteTx, connector: &Connector) -> Result<(), WriteConnectorError> {
    let Some(before) = by_id(tx, connector.id).await? else { return Ok(()) };
    // SCIM may have brought people before there was an issuer: theirs are the ids that it will sign in.
    let Some(was) = &before.oidc else { return Ok(()) };
    let same_issuer = connector.oidc.as_ref().is_some_and(|client| client.issuer == was.issuer);
    if same_issuer && connector.settings.external_id_claim == before.settings.external_id_claim {
        return Ok(());
    }
    let row = query(BOUND).bind(connector.id.to_string()).fetch_one(tx).await.map_err(StoreError::from)?;
    match row.int("people")? {
        0 => Ok(()),
        people => Err(WriteConnectorError::InUse { name: connector.name.clone(), people }),
    }
}

/// Deletes a connector that has neither users nor groups.
///
/// # Errors
/// [`DeleteConnectorError::InUse`] when it has some.
pub async fn delete(tx: &mut WriteTx, connector: &Connector) -> Result<(), DeleteConnectorError> {
    let id = connector.id.to_string();
    let row = query(OWNED).bind(&id).fetch_one(tx).await.map_err(StoreError::from)?;
    let (users, groups) = (row.int("users")?, row.int("groups")?);
    if (users, groups) != (0, 0) {
        return Err(DeleteConnectorError::InUse { name: connector.name.clone(), users, groups });
    }
    query(DELETE).bind(&id).execute(tx).await.map_err(StoreError::from)?;
    Ok(())
}

/// Gives a user of a connector its external id there.
///
/// # Errors
/// [`BindError`] when the user is of another directory, the external id is another's, or the user has another one.
pub async fn bind(
    tx: &mut WriteTx,
    connector: ConnectorId,
    external_id: &ExternalId,
    user: &UserRecord,
) -> Result<(), BindError> {
    // SECURITY: who signs in by the identity provider must not become somebody of another directory.
    if user.connector_id != Some(connector) {
        return Err(BindError::Foreign(user.user_name.clone()));
    }
    let done = query(BIND)
        .bind(connector.to_string())
        .bind(external_id.as_str())
        .bind(user.id.to_string())
        .execute(tx)
        .await
        .map_err(StoreError::from)?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(BindError::Taken(user.user_name.clone())) }
}

/// The user with this external id.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn user(
    conn: &mut Conn,
    connector: ConnectorId,
    external_id: &ExternalId,
) -> Result<Option<UserRecord>, StoreError> {
    let query = query(USER).bind(connector.to_string()).bind(external_id.as_str());
    query.fetch_optional(conn).await?.as_ref().map(users::read).transpose()
}

/// A user's external id at its connector.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn external_id(
    conn: &mut Conn,
    connector: ConnectorId,
    user: UserId,
) -> Result<Option<ExternalId>, StoreError> {
    let query = query(OF_USER).bind(connector.to_string()).bind(user.to_string());
    query.fetch_optional(conn).await?.map(|row| row.parse("external_id")).transpose()
}
