//! Signing keys, private halves in custody. Opening and using them is the keystore's business; which one signs is decided
//! by whoever knows what the other side trusts.

use usher_types::{ProjectId, UnixTime};

use crate::{
    Conn, KeyAlgorithm, KeyCustody, KeyPurpose, KeyState, StoreError, WriteTx,
    conn::query,
    row::{Columns, Row, statements},
    sealed,
};

statements! {
    OF_PROJECT = "SELECT id, purpose, project_id, algorithm, public, custody, sealed, certificate, state, created_at, retired_at
        FROM keys WHERE purpose = $1 AND project_id = $2 ORDER BY created_at DESC, id DESC";
    OF_TEAM = "SELECT id, purpose, project_id, algorithm, public, custody, sealed, certificate, state, created_at, retired_at
        FROM keys WHERE purpose = $1 AND project_id IS NULL ORDER BY created_at DESC, id DESC";
    ALL = "SELECT id, purpose, project_id, algorithm, public, custody, sealed, certificate, state, created_at, retired_at
        FROM keys WHERE purpose = $1 ORDER BY created_at DESC, id DESC";
    INSERT = "INSERT INTO keys (id, purpose, project_id, algorithm, public, custody, sealed, certificate, state, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    RETIRE = "UPDATE keys SET state = 'retired', retired_at = $2 WHERE id = $1 AND state = 'active'";
}

/// A key as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its id, part of the label that it is sealed under.
    pub id: String,
    /// What it is for.
    pub purpose: KeyPurpose,
    /// Whose, when it is a project's.
    pub project_id: Option<ProjectId>,
    /// Its algorithm.
    pub algorithm: KeyAlgorithm,
    /// Raw Ed25519 key or uncompressed SEC1 point.
    pub public: Vec<u8>,
    /// Who holds the private half.
    pub custody: KeyCustody,
    /// What that custody needs to find or open the private half: sealed bytes, wrapped bytes, or the name of a key.
    pub sealed: Vec<u8>,
    /// DER of its CA certificate, where there is one.
    pub certificate: Option<Vec<u8>>,
    /// Whether it signs.
    pub state: KeyState,
    /// When it was made.
    pub created_at: UnixTime,
    /// When it was retired.
    pub retired_at: Option<UnixTime>,
}

impl std::fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredKey")
            .field("id", &self.id)
            .field("purpose", &self.purpose)
            .field("custody", &self.custody)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl StoredKey {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.text("id")?,
            purpose: row.parse("purpose")?,
            project_id: row.parse_opt("project_id")?,
            algorithm: row.parse("algorithm")?,
            public: row.bytes("public")?,
            custody: row.parse("custody")?,
            sealed: row.bytes("sealed")?,
            certificate: row.bytes_opt("certificate")?,
            state: row.parse("state")?,
            created_at: row.time("created_at")?,
            retired_at: row.time_opt("retired_at")?,
        })
    }
}

/// A project's keys of one purpose, newest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn of_project(
    conn: &mut Conn,
    purpose: KeyPurpose,
    project: ProjectId,
) -> Result<Vec<StoredKey>, StoreError> {
    let query = query(OF_PROJECT).bind(purpose.as_str()).bind(project.to_string());
    query.fetch_all(conn).await?.iter().map(StoredKey::read).collect()
}

/// The team's keys of one purpose, newest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn of_team(conn: &mut Conn, purpose: KeyPurpose) -> Result<Vec<StoredKey>, StoreError> {
    let rows = query(OF_TEAM).bind(purpose.as_str()).fetch_all(conn).await?;
    rows.iter().map(StoredKey::read).collect()
}

/// All keys of one purpose, the team's and the projects', newest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn all(conn: &mut Conn, purpose: KeyPurpose) -> Result<Vec<StoredKey>, StoreError> {
    let rows = query(ALL).bind(purpose.as_str()).fetch_all(conn).await?;
    rows.iter().map(StoredKey::read).collect()
}

/// Stores a key. It stands beside those that are there: whoever trusts them is told of it, so the epoch moves.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn insert(tx: &mut WriteTx, key: &StoredKey) -> Result<(), StoreError> {
    if key.custody == KeyCustody::Software {
        sealed::check(tx, &key.sealed).await?;
    }
    query(INSERT)
        .bind(&key.id)
        .bind(key.purpose.as_str())
        .bind(key.project_id.map(|id| id.to_string()))
        .bind(key.algorithm.as_str())
        .bind(key.public.as_slice())
        .bind(key.custody.as_str())
        .bind(key.sealed.as_slice())
        .bind(key.certificate.as_deref())
        .bind(key.state.as_str())
        .bind(key.created_at.as_millis())
        .execute(tx)
        .await?;
    tx.bump_epoch().await?;
    Ok(())
}

/// Retires a key: nothing that it signs from now on is trusted.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn retire(tx: &mut WriteTx, id: &str, now: UnixTime) -> Result<(), StoreError> {
    query(RETIRE).bind(id).bind(now.as_millis()).execute(tx).await?;
    tx.bump_epoch().await?;
    Ok(())
}
