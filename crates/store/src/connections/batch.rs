//! Writing connections down, many at once.

use usher_policy::Purpose;
use usher_types::{ServerId, Sha256};

use super::NewConnection;
use crate::{
    StoreError, WriteTx,
    bulk::Bulk,
    conn::{Value, query},
    row::{statements, to_json},
};

statements! {
    INSERT = "INSERT INTO connections (id, project_id, server_id, user_id, device_id, session_id, login, purpose,
            client_address, certificates, created_at, expires_at, jkt, jti, content, answer)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        ON CONFLICT DO NOTHING";
    IS_THERE = "SELECT 1 AS there FROM connections WHERE id = $1";
}

static INSERT_MANY: Bulk = Bulk::of(INSERT);

#[derive(serde::Serialize)]
struct CertificateJson {
    server: ServerId,
    principal: String,
    serial: String,
    sha256: Sha256,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
}

/// Writes down connections that are not there; says for each whether it was inserted, or one had been made for the same
/// request.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub(crate) async fn insert_all(
    tx: &mut WriteTx,
    connections: &[&NewConnection],
) -> Result<Vec<bool>, StoreError> {
    let mut rows = Vec::with_capacity(connections.len().saturating_mul(16));
    for connection in connections {
        rows.extend(values(connection)?);
    }
    let written = INSERT_MANY.insert(tx, rows).await?;
    if usize::try_from(written) == Ok(connections.len()) {
        return Ok(vec![true; connections.len()]);
    }
    let mut inserted = Vec::with_capacity(connections.len());
    for connection in connections {
        let there = query(IS_THERE).bind(connection.id.to_string()).fetch_optional(tx).await?;
        inserted.push(there.is_some());
    }
    Ok(inserted)
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

/// Writes down a connection; false when one was made for the same request in the meantime. The audit row goes into the
/// same transaction.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn insert(tx: &mut WriteTx, connection: &NewConnection) -> Result<bool, StoreError> {
    Ok(INSERT_MANY.insert(tx, values(connection)?).await? == 1)
}

/// In the order of [`INSERT`].
fn values(connection: &NewConnection) -> Result<[Value<'_>; 16], StoreError> {
    Ok([
        connection.id.to_string().into(),
        connection.project_id.to_string().into(),
        connection.server_id.to_string().into(),
        connection.user_id.to_string().into(),
        connection.device_id.to_string().into(),
        connection.session_id.to_string().into(),
        connection.login.as_str().into(),
        purpose_text(connection.purpose).into(),
        connection.client_address.to_string().into(),
        certificates_json(connection)?.into(),
        connection.created_at.as_millis().into(),
        connection.expires_at.as_millis().into(),
        connection.request.jkt.to_string().into(),
        (&connection.request.jti).into(),
        connection.request.content.to_string().into(),
        (&connection.answer).into(),
    ])
}

fn purpose_text(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Command => "command",
        Purpose::Interactive => "interactive",
    }
}

fn certificates_json(connection: &NewConnection) -> Result<String, StoreError> {
    let certificates: Vec<_> = connection
        .certificates
        .iter()
        .map(|certificate| CertificateJson {
            server: certificate.principal.server(),
            principal: certificate.principal.to_string(),
            serial: certificate.serial.to_string(),
            sha256: certificate.sha256,
            kind: certificate.x509.then_some("x509"),
        })
        .collect();
    to_json(&certificates, "certificates")
}
