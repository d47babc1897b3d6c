//! Signing keys, private halves sealed. Opening and using them is the keystore's business.

use usher_types::{ProjectId, UnixTime};

use crate::{
    Conn, KeyAlgorithm, KeyPurpose, KeyState, StoreError, WriteTx,
    conn::query,
    row::{Columns, Row, statements},
};

statements! {
    OF_PROJECT = "SELECT id, purpose, project_id, algorithm, public, sealed, certificate, state, created_at
        FROM keys WHERE purpose = $1 AND project_id = $2 ORDER BY created_at DESC, id DESC";
    OF_TEAM = "SELECT id, purpose, project_id, algorithm, public, sealed, certificate, state, created_at
        FROM keys WHERE purpose = $1 AND project_id IS NULL ORDER BY created_at DESC, id DESC";
    ALL = "SELECT id, purpose, project_id, algorithm, public, sealed, certificate, state, created_at
        FROM keys WHERE purpose = $1 ORDER BY created_at DESC, id DESC";
    INSERT = "INSERT INTO keys (id, purpose, project_id, algorithm, public, sealed, certificate, state, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    SET_STATE = "UPDATE keys SET state = $2 WHERE id = $1";
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
    /// The private half under the seal key.
    pub sealed: Vec<u8>,
    /// DER of its CA certificate, where there is one.
    pub certificate: Option<Vec<u8>>,
    /// Whether it signs.
    pub state: KeyState,
    /// When it was made.
    pub created_at: UnixTime,
}

impl std::fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredKey")
            .field("id", &self.id)
            .field("purpose", &self.purpose)
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
            sealed: row.bytes("sealed")?,
            certificate: row.bytes_opt("certificate")?,
            state: row.parse("state")?,
            created_at: row.time("created_at")?,
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

/// Stores a key.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn insert(tx: &mut WriteTx, key: &StoredKey) -> Result<(), StoreError> {
    query(INSERT)
        .bind(&key.id)
        .bind(key.purpose.as_str())
        .bind(key.project_id.map(|id| id.to_string()))
        .bind(key.algorithm.as_str())
        .bind(key.public.as_slice())
        .bind(key.sealed.as_slice())
        .bind(key.certificate.as_deref())
        .bind(key.state.as_str())
        .bind(key.created_at.as_millis())
        .execute(tx)
        .await?;
    Ok(())
}

/// Retires a key or takes it back into use.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn set_state(tx: &mut WriteTx, id: &str, state: KeyState) -> Result<(), StoreError> {
    query(SET_STATE).bind(id).bind(state.as_str()).execute(tx).await?;
    tx.bump_epoch().await?;
    Ok(())
}
