//! Policies that administrators write in Cedar. What a text means is `usher-policy`'s to say; what was parsed is kept here,
//! so that a decision from the rows parses nothing again.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use thiserror::Error;
use usher_policy::{Policies, Policy, PolicySource};
use usher_types::{PolicyName, ProjectId, ProjectSlug, UnixTime, UserId, UserName};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    row::{Columns as _, Row, statements, to_json},
};

/// A team's policies: more would be a sign that roles should say it.
pub const MOST_POLICIES: i64 = 200;

statements! {
    LIST = "SELECT p.name, p.project_id, p.text, p.bindings, p.updated_at, r.slug, u.user_name
        FROM policies p LEFT JOIN projects r ON r.id = p.project_id LEFT JOIN users u ON u.id = p.updated_by
        ORDER BY p.name";
    BY_NAME = "SELECT p.name, p.project_id, p.text, p.bindings, p.updated_at, r.slug, u.user_name
        FROM policies p LEFT JOIN projects r ON r.id = p.project_id LEFT JOIN users u ON u.id = p.updated_by
        WHERE p.name = $1";
    OF_PROJECT = "SELECT name, project_id, text, bindings FROM policies
        WHERE project_id IS NULL OR project_id = $1 ORDER BY name";
    ALL = "SELECT name, project_id, text, bindings FROM policies ORDER BY name";
    COUNT = "SELECT COUNT(*) AS policies FROM policies";
    SET = "INSERT INTO policies (name, project_id, text, bindings, updated_by, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (name) DO UPDATE SET project_id = excluded.project_id, text = excluded.text,
            bindings = excluded.bindings, updated_by = excluded.updated_by, updated_at = excluded.updated_at";
    REMOVE = "DELETE FROM policies WHERE name = $1";
}

/// A policy as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPolicy {
    /// What it is made from.
    pub source: PolicySource,
    /// The name of its project.
    pub project: Option<ProjectSlug>,
    /// Who set it, unless that user is gone.
    pub updated_by: Option<UserName>,
    /// When.
    pub updated_at: UnixTime,
}

fn source(row: &Row) -> Result<PolicySource, StoreError> {
    Ok(PolicySource {
        name: row.parse("name")?,
        project: row.parse_opt("project_id")?,
        text: row.text("text")?,
        bindings: row.json("bindings")?,
    })
}

fn stored(row: &Row) -> Result<StoredPolicy, StoreError> {
    Ok(StoredPolicy {
        source: source(row)?,
        project: row.parse_opt("slug")?,
        updated_by: row.parse_opt("user_name")?,
        updated_at: row.time("updated_at")?,
    })
}

/// What was parsed, by what it was parsed from: the same text is the same policy, whatever database it is in.
static PARSED: LazyLock<Mutex<BTreeMap<PolicySource, Arc<Policy>>>> = LazyLock::new(Mutex::default);

/// A policy that is parsed now or was before.
#[must_use]
pub fn parsed(source: PolicySource) -> Arc<Policy> {
    let known = || PARSED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(policy) = known().get(&source) {
        return Arc::clone(policy);
    }
    // Others look theirs up meanwhile.
    let policy = Arc::new(Policy::load(source.clone()));
    let mut known = known();
    if known.len() >= usize::try_from(MOST_POLICIES.saturating_mul(4)).unwrap_or_default() {
        known.clear();
    }
    known.insert(source, Arc::clone(&policy));
    policy
}

/// All, by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<StoredPolicy>, StoreError> {
    query(LIST).fetch_all(conn).await?.iter().map(stored).collect()
}

/// One.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_name(conn: &mut Conn, name: &str) -> Result<Option<StoredPolicy>, StoreError> {
    query(BY_NAME).bind(name).fetch_optional(conn).await?.as_ref().map(stored).transpose()
}

/// All of the team, parsed.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn all(conn: &mut Conn) -> Result<Vec<Arc<Policy>>, StoreError> {
    query(ALL).fetch_all(conn).await?.iter().map(|row| source(row).map(parsed)).collect()
}

/// Those that can be about servers of a project, parsed.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn of_project(conn: &mut Conn, project: ProjectId) -> Result<Policies, StoreError> {
    let rows = query(OF_PROJECT).bind(project.to_string()).fetch_all(conn).await?;
    let policies: Vec<_> = rows.iter().map(|row| source(row).map(parsed)).collect::<Result<_, _>>()?;
    Ok(Policies::of_project(project, &policies))
}

/// Why a policy is not set.
#[derive(Debug, Error)]
pub enum SetPolicyError {
    /// There are as many as there may be.
    #[error("a team has at most {MOST_POLICIES} policies")]
    TooMany,
    /// The database failed.
    #[error("no policy was set")]
    Store(#[source] StoreError),
}

impl From<StoreError> for SetPolicyError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<sqlx::Error> for SetPolicyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Sets a policy, in the place of one of the same name.
///
/// # Errors
/// [`SetPolicyError::TooMany`]; drop the transaction then.
pub async fn set(
    tx: &mut WriteTx,
    source: &PolicySource,
    by: UserId,
    now: UnixTime,
) -> Result<(), SetPolicyError> {
    query(SET)
        .bind(source.name.as_str())
        .bind(source.project.map(|project| project.to_string()))
        .bind(&source.text)
        .bind(to_json(&source.bindings, "bindings")?)
        .bind(by.to_string())
        .bind(now.as_millis())
        .execute(tx)
        .await?;
    if query(COUNT).fetch_one(tx).await?.int("policies")? > MOST_POLICIES {
        return Err(SetPolicyError::TooMany);
    }
    tx.bump_epoch().await?;
    Ok(())
}

/// Removes a policy; false when there is none.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn remove(tx: &mut WriteTx, name: &PolicyName) -> Result<bool, StoreError> {
    let removed = query(REMOVE).bind(name.as_str()).execute(tx).await?.rows_affected() == 1;
    if removed {
        // Gives only; but whoever asks next is to see it.
        tx.bump_epoch().await?;
    }
    Ok(removed)
}
