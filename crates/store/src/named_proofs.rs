//! Proofs of who somebody is that were given for servers by name: between the sign-in page and the session with the
//! authorization code, from then on with the device. What they are good for is `usher-policy`'s business.

use std::collections::BTreeSet;

use usher_policy::LONGEST_MAX_AGE;
use usher_types::{DeviceId, ServerId, Sha256, UnixTime, UserId};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    row::{Columns as _, statements, to_json},
};

statements! {
    ASK = "UPDATE authorization_codes SET servers = $2 WHERE code_hash = $1";
    ASKED = "SELECT servers FROM authorization_codes WHERE code_hash = $1";
    GIVE = "INSERT INTO named_proofs (user_id, device_id, server_id, given_at)
        SELECT $1, $2, s.id, $4 FROM servers s WHERE s.id = $3
        ON CONFLICT (user_id, device_id, server_id) DO UPDATE SET given_at = excluded.given_at";
    GIVEN = "SELECT given_at FROM named_proofs WHERE user_id = $1 AND device_id = $2 AND server_id = $3";
    FORGET_DEVICE = "DELETE FROM named_proofs WHERE device_id = $1";
    FORGET_OLD = "DELETE FROM named_proofs WHERE given_at < $1";
}

/// Remembers with an authorization code which servers the sign-in was for.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn ask(
    tx: &mut WriteTx,
    code_hash: Sha256,
    servers: &BTreeSet<ServerId>,
) -> Result<(), StoreError> {
    query(ASK).bind(code_hash.to_string()).bind(to_json(servers, "servers")?).execute(tx).await?;
    Ok(())
}

/// The sign-in that a code stands for came to a session: it counts for the servers that it was for and that are still
/// there. Answers which those were.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn give(
    tx: &mut WriteTx,
    code_hash: Sha256,
    user: UserId,
    device: DeviceId,
    given_at: UnixTime,
) -> Result<BTreeSet<ServerId>, StoreError> {
    let row = query(ASKED).bind(code_hash.to_string()).fetch_optional(tx).await?;
    let asked = row.map(|row| row.json_opt("servers")).transpose()?.flatten();
    let asked: BTreeSet<ServerId> = asked.unwrap_or_default();
    let mut given = BTreeSet::new();
    for server in asked {
        let query = query(GIVE).bind(user.to_string()).bind(device.to_string()).bind(server.to_string());
        if query.bind(given_at.as_millis()).execute(tx).await?.rows_affected() == 1 {
            given.insert(server);
        }
    }
    Ok(given)
}

/// When a user last proved who it is for a server, on a device.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn given_at(
    conn: &mut Conn,
    user: UserId,
    device: DeviceId,
    server: ServerId,
) -> Result<Option<UnixTime>, StoreError> {
    let query = query(GIVEN).bind(user.to_string()).bind(device.to_string()).bind(server.to_string());
    query.fetch_optional(conn).await?.map(|row| row.time("given_at")).transpose()
}

/// Forgets what was given on a device. Its session ends with that, which moves the epoch.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn forget_device(tx: &mut WriteTx, device: DeviceId) -> Result<(), StoreError> {
    query(FORGET_DEVICE).bind(device.to_string()).execute(tx).await?;
    Ok(())
}

/// Forgets what is too old to count.
pub(crate) async fn sweep(tx: &mut WriteTx, now: UnixTime) -> Result<u64, StoreError> {
    let before = now.saturating_sub(LONGEST_MAX_AGE).as_millis();
    Ok(query(FORGET_OLD).bind(before).execute(tx).await?.rows_affected())
}
