//! Many connections in one statement: a statement of its own for each would cost more than its row.

use std::{collections::BTreeSet, net::IpAddr};

use serde::Serialize;
use usher_types::{ConnectionId, DeviceId, LoginName, ProjectId, ServerId, SessionId, Sha256, UserId};

use super::{NewConnection, certificates_json, insert, purpose_text};
use crate::{
    StoreError, WriteTx,
    conn::query,
    row::{Columns as _, to_json},
};

/// The same as `INSERT`, for a JSON array of rows, in SQLite's words; `WHERE` tells its parser that `ON` begins no join.
const INSERT_ALL: &str = "INSERT INTO connections (id, project_id, server_id, user_id, device_id, session_id, login,
        purpose, client_address, certificates, created_at, expires_at, jkt, jti, method, path, body_hash, answer)
    SELECT r.value ->> 0, r.value ->> 1, r.value ->> 2, r.value ->> 3, r.value ->> 4, r.value ->> 5, r.value ->> 6,
        r.value ->> 7, r.value ->> 8, r.value ->> 9, r.value ->> 10, r.value ->> 11, r.value ->> 12, r.value ->> 13,
        'POST', '/v1/connections', r.value ->> 14, r.value ->> 15
    FROM json_each($1) AS r WHERE true ON CONFLICT DO NOTHING";
/// The same in PostgreSQL's words.
pub(crate) const INSERT_ALL_POSTGRES: &str = "INSERT INTO connections (id, project_id, server_id, user_id, device_id,
        session_id, login, purpose, client_address, certificates, created_at, expires_at, jkt, jti, method, path,
        body_hash, answer)
    SELECT v ->> 0, v ->> 1, v ->> 2, v ->> 3, v ->> 4, v ->> 5, v ->> 6, v ->> 7, v ->> 8, v ->> 9, (v ->> 10)::bigint,
        (v ->> 11)::bigint, v ->> 12, v ->> 13, 'POST', '/v1/connections', v ->> 14, v ->> 15
    FROM json_array_elements($1::json) WITH ORDINALITY AS r (v, n) ORDER BY n ON CONFLICT DO NOTHING RETURNING id";
const THERE: &str = "SELECT c.id FROM connections c JOIN json_each($1) AS r ON c.id = r.value";

/// One row, in the order of [`INSERT_ALL`].
#[derive(Serialize)]
struct Packed<'a>(
    ConnectionId,
    ProjectId,
    ServerId,
    UserId,
    DeviceId,
    SessionId,
    &'a LoginName,
    &'static str,
    IpAddr,
    String,
    i64,
    i64,
    Sha256,
    &'a str,
    Sha256,
    &'a str,
);

/// Writes down connections; says for each whether it was inserted, or one had been made for the same request.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub(crate) async fn insert_all(
    tx: &mut WriteTx,
    connections: &[&NewConnection],
) -> Result<Vec<bool>, StoreError> {
    if connections.len() < 2 {
        return insert_each(tx, connections).await;
    }
    let rows: Vec<_> = connections.iter().map(|connection| pack(connection)).collect::<Result<_, _>>()?;
    if !tx.is_sqlite() {
        let query = query(INSERT_ALL_POSTGRES).bind(to_json(&rows, "connections")?);
        let inserted = query.fetch_all(tx).await?;
        let inserted: BTreeSet<ConnectionId> =
            inserted.iter().map(|row| row.parse("id")).collect::<Result<_, _>>()?;
        return Ok(connections.iter().map(|connection| inserted.contains(&connection.id)).collect());
    }
    let done = query(INSERT_ALL).bind(to_json(&rows, "connections")?).execute(tx).await?;
    if usize::try_from(done.rows_affected()) == Ok(connections.len()) {
        return Ok(vec![true; connections.len()]);
    }
    let ids: Vec<_> = connections.iter().map(|connection| connection.id).collect();
    let there = query(THERE).bind(to_json(&ids, "id")?).fetch_all(tx).await?;
    let there: BTreeSet<ConnectionId> = there.iter().map(|row| row.parse("id")).collect::<Result<_, _>>()?;
    Ok(ids.iter().map(|id| there.contains(id)).collect())
}

/// The same, one by one: also where some of these very rows may be there already.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub(crate) async fn insert_each(
    tx: &mut WriteTx,
    connections: &[&NewConnection],
) -> Result<Vec<bool>, StoreError> {
    let mut inserted = Vec::with_capacity(connections.len());
    for connection in connections {
        inserted.push(insert(tx, connection).await?);
    }
    Ok(inserted)
}

fn pack(connection: &NewConnection) -> Result<Packed<'_>, StoreError> {
    Ok(Packed(
        connection.id,
        connection.project_id,
        connection.server_id,
        connection.user_id,
        connection.device_id,
        connection.session_id,
        &connection.login,
        purpose_text(connection.purpose),
        connection.client_address,
        certificates_json(connection)?,
        connection.created_at.as_millis(),
        connection.expires_at.as_millis(),
        connection.request.jkt,
        &connection.request.jti,
        connection.request.content,
        &connection.answer,
    ))
}
