//! What signing in reads and writes: passwords, second factors, failures, set-up codes, authorization codes.
//!
//! Hashes and sealed secrets only; what they mean is `usher-sign-in`'s business.

use usher_identity::{AuthenticationMethod, ProviderLogin, UserStatus};
use usher_types::{ConnectorId, Sha256, Thumbprint, UnixTime, UserId, UserName};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    passkeys,
    row::{Columns, Row, statements, to_json},
    sealed, sessions,
};

statements! {
    CREDENTIALS = "SELECT u.id, u.status, p.hash, t.sealed, t.last_used_step, f.failed_attempts, f.locked_until
        FROM users u
        LEFT JOIN passwords p ON p.user_id = u.id
        LEFT JOIN totp_secrets t ON t.user_id = u.id
        LEFT JOIN sign_in_failures f ON f.user_id = u.id
        WHERE u.user_name = $1";
    RECOVERY_CODES = "SELECT r.code_hash FROM recovery_codes r JOIN users u ON u.id = r.user_id
        WHERE u.user_name = $1 ORDER BY r.code_hash";
    RECOVERY_CODES_LEFT = "SELECT COUNT(*) AS codes FROM recovery_codes WHERE user_id = $1";
    USE_RECOVERY_CODE = "DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = $2";
    FORGET_RECOVERY_CODES = "DELETE FROM recovery_codes WHERE user_id = $1";
    ADD_RECOVERY_CODE = "INSERT INTO recovery_codes (user_id, code_hash) VALUES ($1, $2)";
    RECORD_FAILURES = "INSERT INTO sign_in_failures (user_id, failed_attempts, locked_until) VALUES ($1, $2, $3)
        ON CONFLICT (user_id) DO UPDATE SET failed_attempts = excluded.failed_attempts,
            locked_until = excluded.locked_until";
    FORGET_FAILURES = "DELETE FROM sign_in_failures WHERE user_id = $1";
    USE_STEP = "UPDATE totp_secrets SET last_used_step = $2 WHERE user_id = $1 AND last_used_step < $2";
    SET_PASSWORD = "INSERT INTO passwords (user_id, hash, changed_at) VALUES ($1, $2, $3)
        ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at";
    SET_TOTP = "INSERT INTO totp_secrets (user_id, sealed, last_used_step, created_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (user_id) DO UPDATE SET sealed = excluded.sealed, last_used_step = excluded.last_used_step,
            created_at = excluded.created_at";
    SET_UP_CODE = "SELECT c.user_id, c.expires_at, u.user_name, u.status, p.hash
        FROM set_up_codes c JOIN users u ON u.id = c.user_id LEFT JOIN passwords p ON p.user_id = u.id
        WHERE c.code_hash = $1";
    USE_SET_UP_CODE = "DELETE FROM set_up_codes WHERE code_hash = $1 AND expires_at > $2";
    NEW_SET_UP_CODE = "INSERT INTO set_up_codes (user_id, code_hash, created_at, expires_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (user_id) DO UPDATE SET code_hash = excluded.code_hash, created_at = excluded.created_at,
            expires_at = excluded.expires_at";
    FORGET_SET_UP_CODE = "DELETE FROM set_up_codes WHERE user_id = $1";
    FORGET_PASSWORD = "DELETE FROM passwords WHERE user_id = $1";
    HAS_TOTP = "SELECT 1 FROM totp_secrets WHERE user_id = $1";
    FORGET_TOTP = "DELETE FROM totp_secrets WHERE user_id = $1";
    INSERT_CODE = "INSERT INTO authorization_codes (code_hash, request_hash, user_id, redirect_uri, code_challenge,
            dpop_jkt, auth_time, amr, expires_at, connector_id, acr, idp_session, groups_fault)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING";
    USE_ONCE = "INSERT INTO used_once (hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    CODE = "SELECT code_hash, user_id, redirect_uri, code_challenge, dpop_jkt, auth_time, amr, expires_at, used_at,
            connector_id, acr, idp_session, groups_fault
        FROM authorization_codes WHERE code_hash = $1";
    USE_CODE = "UPDATE authorization_codes SET used_at = $2 WHERE code_hash = $1 AND used_at IS NULL";
    FORGET_CODES_OF_CONNECTOR = "DELETE FROM authorization_codes WHERE used_at IS NULL
        AND user_id IN (SELECT id FROM users WHERE connector_id = $1)";
    FORGET_CODES = "DELETE FROM authorization_codes WHERE user_id = $1 AND used_at IS NULL";
}

/// What is stored of a user that bears on signing in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCredentials {
    /// Who.
    pub user_id: UserId,
    /// Whether it may do anything.
    pub status: UserStatus,
    /// Argon2id in PHC form.
    pub password_hash: Option<String>,
    /// The TOTP secret under the seal key.
    pub sealed_totp: Option<Vec<u8>>,
    /// The latest step whose code was used.
    pub last_used_step: Option<i64>,
    /// Hashes of the recovery codes that were not used yet.
    pub recovery_codes: Vec<Sha256>,
    /// Failures since the last good sign-in.
    pub failed_attempts: u32,
    /// Until when sign-in is locked.
    pub locked_until: Option<UnixTime>,
}

/// The credentials of the user with this name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn credentials(
    conn: &mut Conn,
    user_name: &UserName,
) -> Result<Option<StoredCredentials>, StoreError> {
    let row = query(CREDENTIALS).bind(user_name.as_str()).fetch_optional(conn).await?;
    // Also for nobody: an unknown user costs what a known one does.
    let recovery_codes = query(RECOVERY_CODES).bind(user_name.as_str()).fetch_all(conn).await?;
    let recovery_codes: Vec<Sha256> =
        recovery_codes.iter().map(|row| row.parse("code_hash")).collect::<Result<_, _>>()?;
    row.as_ref()
        .map(|row| {
            Ok(StoredCredentials {
                user_id: row.parse("id")?,
                status: row.word("status")?,
                password_hash: row.text_opt("hash")?,
                sealed_totp: row.bytes_opt("sealed")?,
                last_used_step: row.int_opt("last_used_step")?,
                recovery_codes: recovery_codes.clone(),
                failed_attempts: row
                    .int_opt("failed_attempts")?
                    .unwrap_or_default()
                    .try_into()
                    .map_err(|_error| StoreError::Corrupt { column: "failed_attempts" })?,
                locked_until: row.time_opt("locked_until")?,
            })
        })
        .transpose()
}

/// Records how often a user's sign-in failed.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn record_failures(
    tx: &mut WriteTx,
    user_id: UserId,
    failed_attempts: u32,
    locked_until: Option<UnixTime>,
) -> Result<(), StoreError> {
    query(RECORD_FAILURES)
        .bind(user_id.to_string())
        .bind(i64::from(failed_attempts))
        .bind(locked_until.map(UnixTime::as_millis))
        .execute(tx)
        .await?;
    Ok(())
}

/// Forgets failures after a good sign-in.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn forget_failures(tx: &mut WriteTx, user_id: UserId) -> Result<(), StoreError> {
    query(FORGET_FAILURES).bind(user_id.to_string()).execute(tx).await?;
    Ok(())
}

/// Uses up a TOTP step; false when it, or a later one, was used before (RFC 6238 section 5.2).
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn use_totp_step(tx: &mut WriteTx, user_id: UserId, step: i64) -> Result<bool, StoreError> {
    let done = query(USE_STEP).bind(user_id.to_string()).bind(step).execute(tx).await?;
    Ok(done.rows_affected() == 1)
}

/// Sets a user's password.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn set_password(
    tx: &mut WriteTx,
    user_id: UserId,
    hash: &str,
    now: UnixTime,
) -> Result<(), StoreError> {
    query(SET_PASSWORD).bind(user_id.to_string()).bind(hash).bind(now.as_millis()).execute(tx).await?;
    Ok(())
}

/// Sets a user's second factor; `used_step` is the step of the code that proved it.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn set_totp(
    tx: &mut WriteTx,
    user_id: UserId,
    sealed: &[u8],
    used_step: i64,
    now: UnixTime,
) -> Result<(), StoreError> {
    sealed::check(tx, sealed).await?;
    query(SET_TOTP)
        .bind(user_id.to_string())
        .bind(sealed)
        .bind(used_step)
        .bind(now.as_millis())
        .execute(tx)
        .await?;
    Ok(())
}

/// Whether a user has an authenticator with one-time codes.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn has_totp(conn: &mut Conn, user_id: UserId) -> Result<bool, StoreError> {
    Ok(query(HAS_TOTP).bind(user_id.to_string()).fetch_optional(conn).await?.is_some())
}

/// Gives a user these recovery codes and no others.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn set_recovery_codes(
    tx: &mut WriteTx,
    user_id: UserId,
    hashes: &[Sha256],
) -> Result<(), StoreError> {
    query(FORGET_RECOVERY_CODES).bind(user_id.to_string()).execute(tx).await?;
    for hash in hashes {
        query(ADD_RECOVERY_CODE).bind(user_id.to_string()).bind(hash.to_string()).execute(tx).await?;
    }
    Ok(())
}

/// How many recovery codes a user has left.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn recovery_codes_left(conn: &mut Conn, user_id: UserId) -> Result<u32, StoreError> {
    query(RECOVERY_CODES_LEFT).bind(user_id.to_string()).fetch_one(conn).await?.number("codes")
}

/// Uses up a recovery code; false when it was used before.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn use_recovery_code(tx: &mut WriteTx, user_id: UserId, hash: Sha256) -> Result<bool, StoreError> {
    let done = query(USE_RECOVERY_CODE).bind(user_id.to_string()).bind(hash.to_string()).execute(tx).await?;
    Ok(done.rows_affected() == 1)
}

/// Whose set-up code it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUpOwner {
    /// Who.
    pub user_id: UserId,
    /// Its name.
    pub user_name: UserName,
    /// Whether it may do anything.
    pub status: UserStatus,
    /// The password that stayed, Argon2id in PHC form; none when a new one is to be chosen.
    pub password_hash: Option<String>,
    /// When the code stops working.
    pub expires_at: UnixTime,
}

/// The owner of a set-up code.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn set_up_owner(conn: &mut Conn, code_hash: Sha256) -> Result<Option<SetUpOwner>, StoreError> {
    let row = query(SET_UP_CODE).bind(code_hash.to_string()).fetch_optional(conn).await?;
    row.as_ref()
        .map(|row| {
            Ok(SetUpOwner {
                user_id: row.parse("user_id")?,
                user_name: row.parse("user_name")?,
                status: row.word("status")?,
                password_hash: row.text_opt("hash")?,
                expires_at: row.time("expires_at")?,
            })
        })
        .transpose()
}

/// Uses up a set-up code; false when it was used, replaced or has expired.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn use_set_up_code(tx: &mut WriteTx, code_hash: Sha256, now: UnixTime) -> Result<bool, StoreError> {
    let done = query(USE_SET_UP_CODE).bind(code_hash.to_string()).bind(now.as_millis()).execute(tx).await?;
    Ok(done.rows_affected() == 1)
}

/// How far a user starts over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// Password and second factors.
    Everything,
    /// The password stays.
    SecondFactor,
}

/// Starts a user's credentials over: the old ones and all sessions end now, `code_hash`'s code makes new ones. A reset
/// that left what it is about working would surprise whoever asked for it.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn new_set_up_code(
    tx: &mut WriteTx,
    user_id: UserId,
    reset: Reset,
    code_hash: Sha256,
    now: UnixTime,
    expires_at: UnixTime,
) -> Result<(), StoreError> {
    let id = user_id.to_string();
    if reset == Reset::Everything {
        query(FORGET_PASSWORD).bind(&id).execute(tx).await?;
    }
    forget_second_factor(tx, user_id).await?;
    query(NEW_SET_UP_CODE)
        .bind(&id)
        .bind(code_hash.to_string())
        .bind(now.as_millis())
        .bind(expires_at.as_millis())
        .execute(tx)
        .await?;
    sessions::end_of_user(tx, user_id, now).await?;
    Ok(())
}

/// Takes away what a user's second factors were, and what is on its way because of them.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn forget_second_factor(tx: &mut WriteTx, user_id: UserId) -> Result<(), StoreError> {
    for sql in [FORGET_TOTP, FORGET_RECOVERY_CODES, FORGET_FAILURES, FORGET_CODES] {
        query(sql).bind(user_id.to_string()).execute(tx).await?;
    }
    passkeys::remove_all(tx, user_id).await?;
    Ok(())
}

/// Takes back a user's set-up code. Authorization codes on their way stay: whoever redeems one is told that the user is
/// disabled.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn forget_set_up_code(tx: &mut WriteTx, user_id: UserId) -> Result<(), StoreError> {
    query(FORGET_SET_UP_CODE).bind(user_id.to_string()).execute(tx).await?;
    Ok(())
}

/// Forgets the authorization codes that a connector's users have not redeemed yet.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub(crate) async fn forget_codes_of(tx: &mut WriteTx, connector: ConnectorId) -> Result<(), StoreError> {
    query(FORGET_CODES_OF_CONNECTOR).bind(connector.to_string()).execute(tx).await?;
    Ok(())
}

/// An authorization code and what it is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCode {
    /// Hash of the code.
    pub code_hash: Sha256,
    /// Who signed in.
    pub user_id: UserId,
    /// When.
    pub auth_time: UnixTime,
    /// How.
    pub amr: Vec<AuthenticationMethod>,
    /// Where the code went.
    pub redirect_uri: String,
    /// PKCE.
    pub code_challenge: Sha256,
    /// The device key that may redeem it.
    pub dpop_jkt: Thumbprint,
    /// When it stops working.
    pub expires_at: UnixTime,
    /// When it was redeemed.
    pub used_at: Option<UnixTime>,
    /// What the identity provider said.
    pub provider: Option<ProviderLogin>,
}

impl StoredCode {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let words: Vec<String> = row.json("amr")?;
        let amr = words.iter().map(|word| word.parse()).collect::<Result<_, _>>();
        Ok(Self {
            code_hash: row.parse("code_hash")?,
            user_id: row.parse("user_id")?,
            auth_time: row.time("auth_time")?,
            amr: amr.map_err(|_error| StoreError::Corrupt { column: "amr" })?,
            redirect_uri: row.text("redirect_uri")?,
            code_challenge: row.parse("code_challenge")?,
            dpop_jkt: row.parse("dpop_jkt")?,
            expires_at: row.time("expires_at")?,
            used_at: row.time_opt("used_at")?,
            provider: sessions::read_provider(row, "connector_id")?,
        })
    }
}

/// Records the code that answers an authorization request; false when the request was answered before.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn insert_code(
    tx: &mut WriteTx,
    request_hash: Sha256,
    code: &StoredCode,
) -> Result<bool, StoreError> {
    let amr: Vec<&str> = code.amr.iter().map(|method| method.as_str()).collect();
    let query = query(INSERT_CODE)
        .bind(code.code_hash.to_string())
        .bind(request_hash.to_string())
        .bind(code.user_id.to_string())
        .bind(&code.redirect_uri)
        .bind(code.code_challenge.to_string())
        .bind(code.dpop_jkt.to_string())
        .bind(code.auth_time.as_millis())
        .bind(to_json(&amr, "amr")?)
        .bind(code.expires_at.as_millis());
    let done = sessions::bind_provider(query, code.provider.as_ref()).execute(tx).await?;
    Ok(done.rows_affected() == 1)
}

/// Uses up what works once: false when it was used before. It is remembered until `until`.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn use_once(tx: &mut WriteTx, hash: Sha256, until: UnixTime) -> Result<bool, StoreError> {
    let done = query(USE_ONCE).bind(hash.to_string()).bind(until.as_millis()).execute(tx).await?;
    Ok(done.rows_affected() == 1)
}

/// The code with this hash, used or not.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn code(conn: &mut Conn, code_hash: Sha256) -> Result<Option<StoredCode>, StoreError> {
    let row = query(CODE).bind(code_hash.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(StoredCode::read).transpose()
}

/// Uses up a code; false when it was used before.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn use_code(tx: &mut WriteTx, code_hash: Sha256, now: UnixTime) -> Result<bool, StoreError> {
    let done = query(USE_CODE).bind(code_hash.to_string()).bind(now.as_millis()).execute(tx).await?;
    Ok(done.rows_affected() == 1)
}
