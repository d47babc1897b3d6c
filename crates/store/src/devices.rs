//! Devices: client installations with their keys. A revoked device stays revoked; its sessions end with it.

use thiserror::Error;
use usher_identity::{DeviceRecord, DeviceState};
use usher_types::{DeviceId, DeviceName, Thumbprint, UnixTime, UserId, UserName};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    locks::{self, Target},
    row::{Columns, Row, statements},
    sessions,
    values::word,
};

statements! {
    BY_ID = "SELECT d.id, d.user_id, u.user_name, d.name, d.jkt, d.state, d.created_at
        FROM devices d JOIN users u ON u.id = d.user_id WHERE d.id = $1";
    BY_KEY = "SELECT d.id, d.user_id, u.user_name, d.name, d.jkt, d.state, d.created_at
        FROM devices d JOIN users u ON u.id = d.user_id WHERE d.user_id = $1 AND d.jkt = $2";
    LIST = "SELECT d.id, d.user_id, u.user_name, d.name, d.jkt, d.state, d.created_at
        FROM devices d JOIN users u ON u.id = d.user_id ORDER BY d.created_at, d.id";
    OF_USER = "SELECT d.id, d.user_id, u.user_name, d.name, d.jkt, d.state, d.created_at
        FROM devices d JOIN users u ON u.id = d.user_id WHERE d.user_id = $1 ORDER BY d.created_at, d.id";
    CREATE = "INSERT INTO devices (id, user_id, name, key, jkt, state, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT DO NOTHING";
    APPROVED_OF = "SELECT d.id FROM devices d JOIN users u ON u.id = d.user_id
        WHERE u.user_name = $1 AND d.jkt = $2 AND d.state = 'approved'";
    ANY_APPROVED = "SELECT 1 FROM devices WHERE user_id = $1 AND state = 'approved' LIMIT 1";
    APPROVED = "SELECT 1 FROM devices WHERE state <> 'pending' LIMIT 1";
    DECIDE = "UPDATE devices SET state = $2, decided_at = $3, decided_by = $4 WHERE id = $1";
    RENAME = "UPDATE devices SET name = $2 WHERE id = $1";
    DELETE = "DELETE FROM devices WHERE id = $1 AND state = 'revoked'";
}

/// A device with its owner's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The device.
    pub record: DeviceRecord,
    /// Its owner's name.
    pub user_name: UserName,
}

impl Device {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let record = DeviceRecord {
            id: row.parse("id")?,
            user_id: row.parse("user_id")?,
            name: row.parse("name")?,
            jkt: row.parse("jkt")?,
            state: row.word("state")?,
            created_at: row.time("created_at")?,
        };
        Ok(Self { record, user_name: row.parse("user_name")? })
    }
}

/// Whether a user has an approved device.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn has_approved(conn: &mut Conn, user: UserId) -> Result<bool, StoreError> {
    Ok(query(ANY_APPROVED).bind(user.to_string()).fetch_optional(conn).await?.is_some())
}

/// Why a device cannot be approved.
#[derive(Debug, Error)]
pub enum DecideDeviceError {
    /// It was revoked, for good.
    #[error("device `{0}` was revoked and stays so: sign in from it with a new key instead")]
    Revoked(DeviceId),
    /// The database failed.
    #[error("the device was not changed")]
    Store(#[source] StoreError),
}

impl From<StoreError> for DecideDeviceError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// One device.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_id(conn: &mut Conn, id: DeviceId) -> Result<Option<Device>, StoreError> {
    let row = query(BY_ID).bind(id.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(Device::read).transpose()
}

/// A user's device by its key.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_key(conn: &mut Conn, user: UserId, jkt: &Thumbprint) -> Result<Option<Device>, StoreError> {
    let query = query(BY_KEY).bind(user.to_string()).bind(jkt.to_string());
    query.fetch_optional(conn).await?.as_ref().map(Device::read).transpose()
}

/// The approved device with this key of the user with this name. One statement, so that an unknown user costs what a
/// known one does.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn approved_of(
    conn: &mut Conn,
    user: &UserName,
    jkt: &Thumbprint,
) -> Result<Option<DeviceId>, StoreError> {
    let query = query(APPROVED_OF).bind(user.as_str()).bind(jkt.to_string());
    query.fetch_optional(conn).await?.map(|row| row.parse("id")).transpose()
}

/// All devices, oldest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<Device>, StoreError> {
    query(LIST).fetch_all(conn).await?.iter().map(Device::read).collect()
}

/// A user's devices, oldest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn of_user(conn: &mut Conn, user: UserId) -> Result<Vec<Device>, StoreError> {
    let rows = query(OF_USER).bind(user.to_string()).fetch_all(conn).await?;
    rows.iter().map(Device::read).collect()
}

/// Whether any device of the team is, or ever was, approved: the first one of a team administrator needs nobody's approval. Ask in
/// the transaction that creates the device.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn any_approved(conn: &mut Conn) -> Result<bool, StoreError> {
    Ok(query(APPROVED).fetch_optional(conn).await?.is_some())
}

/// Stores a new device with its public key (an uncompressed SEC1 point); false when the user has one with this key.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn create(tx: &mut WriteTx, device: &DeviceRecord, key: &[u8]) -> Result<bool, StoreError> {
    let done = query(CREATE)
        .bind(device.id.to_string())
        .bind(device.user_id.to_string())
        .bind(device.name.as_str())
        .bind(key)
        .bind(device.jkt.to_string())
        .bind(word(&device.state))
        .bind(device.created_at.as_millis())
        .execute(tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Approves a device.
///
/// # Errors
/// [`DecideDeviceError::Revoked`] when it was revoked.
pub async fn approve(
    tx: &mut WriteTx,
    device: &DeviceRecord,
    by: Option<UserId>,
    now: UnixTime,
) -> Result<(), DecideDeviceError> {
    if device.state == DeviceState::Revoked {
        return Err(DecideDeviceError::Revoked(device.id));
    }
    decide(tx, device.id, DeviceState::Approved, by, now).await?;
    Ok(())
}

/// Takes a device out of use for good and ends its sessions.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn revoke(
    tx: &mut WriteTx,
    device: DeviceId,
    by: Option<UserId>,
    now: UnixTime,
) -> Result<(), StoreError> {
    decide(tx, device, DeviceState::Revoked, by, now).await?;
    sessions::end_of_device(tx, device, now).await?;
    Ok(())
}

async fn decide(
    tx: &mut WriteTx,
    device: DeviceId,
    state: DeviceState,
    by: Option<UserId>,
    now: UnixTime,
) -> Result<(), StoreError> {
    query(DECIDE)
        .bind(device.to_string())
        .bind(word(&state))
        .bind(now.as_millis())
        .bind(by.map(|id| id.to_string()))
        .execute(tx)
        .await?;
    tx.bump_epoch().await?;
    Ok(())
}

/// Calls a device something else. No decision depends on it.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn rename(tx: &mut WriteTx, device: DeviceId, name: &DeviceName) -> Result<(), StoreError> {
    query(RENAME).bind(device.to_string()).bind(name.as_str()).execute(tx).await?;
    Ok(())
}

/// Deletes a revoked device's row; false when it is not revoked. The same key may then sign in again, as a new device.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn delete(tx: &mut WriteTx, device: DeviceId) -> Result<bool, StoreError> {
    locks::forget(tx, Target::Device(device)).await?;
    let done = query(DELETE).bind(device.to_string()).execute(tx).await?;
    Ok(done.rows_affected() == 1)
}
