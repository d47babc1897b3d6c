//! Which team this database belongs to, what it asks of sessions, and the keys that are not a project's: nonce keys.

use std::time::Duration;

use usher_identity::{SessionBinding, SessionTerms};
use usher_types::{TeamSlug, UnixTime};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    row::{Columns, Row, statements},
};

statements! {
    TEAM = "SELECT slug FROM team";
    CREATE_TEAM = "INSERT INTO team (singleton, slug, created_at) VALUES (1, $1, $2) ON CONFLICT DO NOTHING";
    SESSION_TERMS = "SELECT session_lifetime_seconds, session_idle_seconds, session_bound FROM team";
    SET_SESSION_TERMS = "UPDATE team SET session_lifetime_seconds = $1, session_idle_seconds = $2, session_bound = $3";
    NONCE_KEYS = "SELECT key FROM nonce_keys ORDER BY id DESC LIMIT 2";
    NONCE_KEY_TIME = "SELECT created_at FROM nonce_keys ORDER BY id DESC LIMIT 1";
    ADD_NONCE_KEY = "INSERT INTO nonce_keys (id, key, created_at)
        SELECT COALESCE(MAX(id), 0) + 1, $1, $2 FROM nonce_keys";
    DROP_NONCE_KEYS = "DELETE FROM nonce_keys WHERE id < (SELECT MAX(id) FROM nonce_keys) - 1";
}

/// The team; `None` before `init`.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn slug(conn: &mut Conn) -> Result<Option<TeamSlug>, StoreError> {
    query(TEAM).fetch_optional(conn).await?.map(|row| row.parse("slug")).transpose()
}

/// Names the team; false when it has a name already.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn create(tx: &mut WriteTx, slug: &TeamSlug, now: UnixTime) -> Result<bool, StoreError> {
    let done = query(CREATE_TEAM).bind(slug.as_str()).bind(now.as_millis()).execute(tx).await?;
    Ok(done.rows_affected() == 1)
}

/// What the team asks of its sessions.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn session_terms(conn: &mut Conn) -> Result<SessionTerms, StoreError> {
    let row = query(SESSION_TERMS).fetch_optional(conn).await?;
    row.as_ref().map_or(Ok(SessionTerms::default()), read_session_terms)
}

/// The three columns of [`session_terms`]; the default where there is no team yet.
pub(crate) fn read_session_terms(row: &Row) -> Result<SessionTerms, StoreError> {
    let Some(lifetime) = row.int_opt("session_lifetime_seconds")? else { return Ok(SessionTerms::default()) };
    let seconds = |number: i64, column| match u64::try_from(number) {
        Ok(number) => Ok(Duration::from_secs(number)),
        Err(_) => Err(StoreError::Corrupt { column }),
    };
    let idle = row.int_opt("session_idle_seconds")?;
    Ok(SessionTerms {
        lifetime: seconds(lifetime, "session_lifetime_seconds")?,
        idle_limit: idle.map(|idle| seconds(idle, "session_idle_seconds")).transpose()?,
        binding: if row.flag("session_bound")? { SessionBinding::Network } else { SessionBinding::None },
    })
}

/// Asks something else of the team's sessions, from now on and of those that there are.
///
/// # Errors
/// [`StoreError`] when the database fails, or the terms are outside of what there may be.
pub async fn set_session_terms(tx: &mut WriteTx, terms: SessionTerms) -> Result<(), StoreError> {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    query(SET_SESSION_TERMS)
        .bind(seconds(terms.lifetime))
        .bind(terms.idle_limit.map(seconds))
        .bind(match terms.binding {
            SessionBinding::None => 0_i64,
            SessionBinding::Network => 1,
        })
        .execute(tx)
        .await?;
    tx.bump_epoch().await?;
    Ok(())
}

/// The nonce keys in use, current first, at most two.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn nonce_keys(conn: &mut Conn) -> Result<Vec<Vec<u8>>, StoreError> {
    let rows = query(NONCE_KEYS).fetch_all(conn).await?;
    rows.iter().map(|row| row.bytes("key")).collect()
}

/// When the current nonce key was made.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn nonce_key_time(conn: &mut Conn) -> Result<Option<UnixTime>, StoreError> {
    let row = query(NONCE_KEY_TIME).fetch_optional(conn).await?;
    Ok(row.map(|row| row.int("created_at")).transpose()?.map(UnixTime::from_millis))
}

/// Makes `key` the current nonce key; the one before it stays accepted, older ones go.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn rotate_nonce_key(tx: &mut WriteTx, key: &[u8], now: UnixTime) -> Result<(), StoreError> {
    query(ADD_NONCE_KEY).bind(key).bind(now.as_millis()).execute(tx).await?;
    query(DROP_NONCE_KEYS).execute(tx).await?;
    Ok(())
}
