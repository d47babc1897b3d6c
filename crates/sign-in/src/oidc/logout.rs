//! Logout tokens (OpenID Connect Back-Channel Logout 1.0): a provider says that somebody signed out there.

use openidconnect::core::CoreJsonWebKeySet;
use serde_json::Value;
use usher_types::{ExternalId, Sha256, UnixTime};

use super::{ProviderSettings, TOLERANCE, TokenError, jws::Parts};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
const MAX_TEXT: usize = 255;

/// A logout token that verifies. The caller uses up `id` once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutToken {
    /// Names this very token.
    pub id: Sha256,
    /// Whoever signed out, when all of their sessions end.
    pub subject: Option<ExternalId>,
    /// The provider's session that ended.
    pub session: Option<String>,
    /// When the token is worth nothing any more.
    pub expires_at: UnixTime,
}

/// Who a token says that it is from; nothing of it is verified.
#[must_use]
pub fn issuer_of(token: &str) -> Option<String> {
    Parts::of(token).ok()?.text("iss").map(str::to_owned)
}

pub(super) fn verify(
    parts: &Parts<'_>,
    settings: &ProviderSettings,
    keys: &CoreJsonWebKeySet,
    now: UnixTime,
) -> Result<LogoutToken, TokenError> {
    parts.verify(keys)?;
    let typ = parts.header.typ.as_deref().map(str::to_ascii_lowercase);
    if !matches!(typ.as_deref(), None | Some("jwt" | "logout+jwt" | "application/logout+jwt")) {
        return Err(TokenError::Claim("typ"));
    }
    if parts.text("iss") != Some(&settings.issuer) {
        return Err(TokenError::Claim("iss"));
    }
    let audience = match parts.payload.get("aud") {
        Some(Value::Array(list)) => match list.as_slice() {
            [only] => only.as_str(),
            _ => None,
        },
        other => other.and_then(Value::as_str),
    };
    if audience != Some(&settings.client_id) {
        return Err(TokenError::Claim("aud"));
    }
    // A token for a sign-in has a nonce, one for a logout must not.
    if parts.payload.contains_key("nonce") {
        return Err(TokenError::Claim("nonce"));
    }
    let event = parts.payload.get("events").and_then(|events| events.get(EVENT));
    if !event.is_some_and(Value::is_object) {
        return Err(TokenError::Claim("events"));
    }
    let issued = UnixTime::from_secs(parts.seconds("iat")?.ok_or(TokenError::Claim("iat"))?);
    let expires_at =
        UnixTime::from_secs(parts.seconds("exp")?.ok_or(TokenError::Claim("exp"))?).saturating_add(TOLERANCE);
    if issued > now.saturating_add(TOLERANCE) || now >= expires_at {
        return Err(TokenError::Time);
    }
    let jti = parts.text("jti").filter(|jti| (1..=MAX_TEXT).contains(&jti.len()));
    let jti = jti.ok_or(TokenError::Claim("jti"))?;
    let id = Sha256::of_parts(&[b"usher-logout\0", settings.issuer.as_bytes(), b"\0", jti.as_bytes()]);
    let session = parts.text("sid").filter(|sid| (1..=MAX_TEXT).contains(&sid.len())).map(str::to_owned);
    let subject = parts.text("sub").and_then(|sub| sub.parse().ok());
    if session.is_none() && subject.is_none() {
        return Err(TokenError::Claim("sid"));
    }
    Ok(LogoutToken { id, subject, session, expires_at })
}
