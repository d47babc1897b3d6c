//! The authorization code between the sign-in page and the session: good once, for a minute, for one client process
//! (PKCE), one redirect URI and one device key.

use std::{fmt, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use thiserror::Error;
use usher_identity::{AuthenticationMethod, Login as _, ProviderLogin, pkce::CodeVerifier};
use usher_types::{Sha256, Thumbprint, UnixTime, UserId};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{AuthorizationRequest, VerifiedLogin};

/// How long a code works.
pub const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// A code: 32 random bytes. Cannot be printed by accident; wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct AuthorizationCode(String);

impl AuthorizationCode {
    /// The text for the redirect.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored, and found again by, for any text that claims to be a code.
    #[must_use]
    pub fn hash_of(text: &str) -> Sha256 {
        Sha256::of_parts(&[b"usher-authorization-code\0", text.as_bytes()])
    }
}

impl fmt::Debug for AuthorizationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthorizationCode([secret])")
    }
}

/// What is stored of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeRecord {
    /// [`AuthorizationCode::hash_of`].
    pub code_hash: Sha256,
    /// Who signed in.
    pub user_id: UserId,
    /// When.
    pub auth_time: UnixTime,
    /// How.
    pub amr: Vec<AuthenticationMethod>,
    /// The request that it answers.
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

/// Makes the code that stands for `login`, which is used up by it.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "a login becomes one code; it is used up here")]
pub fn issue_code(
    login: VerifiedLogin,
    request: &AuthorizationRequest,
    random: [u8; 32],
    now: UnixTime,
) -> (AuthorizationCode, CodeRecord) {
    let code = AuthorizationCode(BASE64URL_NOPAD.encode(&random));
    let record = CodeRecord {
        code_hash: AuthorizationCode::hash_of(code.reveal()),
        user_id: login.user_id(),
        auth_time: login.auth_time(),
        amr: login.amr().to_vec(),
        redirect_uri: request.redirect_uri.as_str().to_owned(),
        code_challenge: request.code_challenge,
        dpop_jkt: request.dpop_jkt,
        expires_at: now.saturating_add(CODE_LIFETIME),
        used_at: None,
        provider: login.provider().cloned(),
    };
    (code, record)
}

/// What a client presents for a code.
#[derive(Clone, Copy, Debug)]
pub struct Redemption<'a> {
    /// The code, as text.
    pub code: &'a str,
    /// The PKCE verifier, as text.
    pub code_verifier: &'a str,
    /// The redirect URI of the authorization request.
    pub redirect_uri: &'a str,
    /// Thumbprint of the proof's key.
    pub jkt: Thumbprint,
}

/// Why a code is not redeemed. For the log; the caller learns `invalid_grant`.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RedeemError {
    /// There is no such code.
    #[error("unknown authorization code")]
    Code,
    /// Too late.
    #[error("the authorization code has expired")]
    Expired,
    /// Another device's.
    #[error("the authorization code belongs to another device")]
    Key,
    /// Another redirect URI.
    #[error("the authorization code belongs to another redirect URI")]
    RedirectUri,
    /// Redeemed before.
    #[error("the authorization code was used before")]
    Used,
    /// The verifier is not the challenge's.
    #[error("the authorization code belongs to another client process")]
    Verifier,
}

/// Turns a code back into the login that it stands for. The caller marks the record used in the same transaction.
///
/// # Errors
/// [`RedeemError`] for the first check that fails.
pub fn redeem(
    record: &CodeRecord,
    redemption: &Redemption<'_>,
    now: UnixTime,
) -> Result<VerifiedLogin, RedeemError> {
    if AuthorizationCode::hash_of(redemption.code) != record.code_hash {
        return Err(RedeemError::Code);
    }
    if redemption.jkt != record.dpop_jkt {
        return Err(RedeemError::Key);
    }
    let verifier = CodeVerifier::parse(redemption.code_verifier).map_err(|_error| RedeemError::Verifier)?;
    if !verifier.matches(&record.code_challenge) {
        return Err(RedeemError::Verifier);
    }
    if redemption.redirect_uri != record.redirect_uri {
        return Err(RedeemError::RedirectUri);
    }
    if record.used_at.is_some() {
        return Err(RedeemError::Used);
    }
    if now >= record.expires_at {
        return Err(RedeemError::Expired);
    }
    Ok(VerifiedLogin::new(record.user_id, record.auth_time, record.amr.clone(), record.provider.clone()))
}
