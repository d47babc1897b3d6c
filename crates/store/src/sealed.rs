//! Secrets under the seal key, wherever they are: which key sealed them, and writing all of them anew. Opening them is the
//! keystore's business.

use usher_types::{ConnectorId, SealKeyId, UserId};

use crate::{
    Conn, KeyPurpose, StoreError, WriteTx,
    conn::query,
    row::{Columns as _, statements},
};

statements! {
    KEY = "SELECT seal_key FROM team";
    SET_KEY = "UPDATE team SET seal_key = $1";
    KEYS = "SELECT id, purpose, sealed FROM keys WHERE custody = 'software' ORDER BY id";
    TOTP_SECRETS = "SELECT user_id, sealed FROM totp_secrets ORDER BY user_id";
    CLIENT_SECRETS = "SELECT id, client_secret FROM connectors WHERE client_secret IS NOT NULL ORDER BY id";
    REWRITE_KEY = "UPDATE keys SET sealed = $2 WHERE id = $1";
    REWRITE_CLIENT_SECRET = "UPDATE connectors SET client_secret = $2 WHERE id = $1";
    REWRITE_TOTP_SECRET = "UPDATE totp_secrets SET sealed = $2 WHERE user_id = $1";
}

/// Whose secret it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealedPlace {
    /// The broker's secret at an identity provider.
    ClientSecret(ConnectorId),
    /// A signing key in software custody.
    Key {
        /// The key's id.
        id: String,
        /// What it is for.
        purpose: KeyPurpose,
    },
    /// A user's second factor.
    TotpSecret(UserId),
}

/// A sealed secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Where it is.
    pub place: SealedPlace,
    /// As it is stored.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealed").field("place", &self.place).finish_non_exhaustive()
    }
}

/// The key that sealed everything; `None` before anything named its key.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn seal_key(conn: &mut Conn) -> Result<Option<SealKeyId>, StoreError> {
    let row = query(KEY).fetch_optional(conn).await?;
    Ok(row.map(|row| row.parse_opt("seal_key")).transpose()?.flatten())
}

/// Every sealed secret.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn all(conn: &mut Conn) -> Result<Vec<Sealed>, StoreError> {
    let mut all = Vec::new();
    for row in query(KEYS).fetch_all(conn).await? {
        let place = SealedPlace::Key { id: row.text("id")?, purpose: row.parse("purpose")? };
        all.push(Sealed { place, bytes: row.bytes("sealed")? });
    }
    for row in query(TOTP_SECRETS).fetch_all(conn).await? {
        let place = SealedPlace::TotpSecret(row.parse("user_id")?);
        all.push(Sealed { place, bytes: row.bytes("sealed")? });
    }
    for row in query(CLIENT_SECRETS).fetch_all(conn).await? {
        let place = SealedPlace::ClientSecret(row.parse("id")?);
        all.push(Sealed { place, bytes: row.bytes("client_secret")? });
    }
    Ok(all)
}

/// Puts secrets that another key sealed in the place of all there are, and makes that key the one in force. Whoever reads
/// keys, here or in another broker, learns of it by the epoch.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn replace_all(tx: &mut WriteTx, all: &[Sealed], key: SealKeyId) -> Result<(), StoreError> {
    for Sealed { place, bytes } in all {
        let query = match place {
            SealedPlace::ClientSecret(connector) => query(REWRITE_CLIENT_SECRET).bind(connector.to_string()),
            SealedPlace::Key { id, .. } => query(REWRITE_KEY).bind(id.as_str()),
            SealedPlace::TotpSecret(user) => query(REWRITE_TOTP_SECRET).bind(user.to_string()),
        };
        query.bind(bytes.as_slice()).execute(tx).await?;
    }
    query(SET_KEY).bind(key.to_string()).execute(tx).await?;
    tx.bump_epoch().await?;
    Ok(())
}

/// SECURITY: a broker that has not heard of the new seal key yet must not store what the old one sealed: nothing could open
/// it any more. Called before every write of a sealed secret; writers take turns.
pub(crate) async fn check(tx: &mut WriteTx, sealed: &[u8]) -> Result<(), StoreError> {
    let Some(key) = SealKeyId::of_sealed(sealed) else { return Ok(()) };
    match seal_key(tx).await? {
        Some(in_force) if in_force == key => Ok(()),
        Some(_) => Err(StoreError::SealKey),
        None => {
            query(SET_KEY).bind(key.to_string()).execute(tx).await?;
            Ok(())
        }
    }
}
