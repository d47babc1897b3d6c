//! What an ID token says, once everything about it holds.

use openidconnect::{
    AccessToken, AccessTokenHash, ClientId, IssuerUrl, Nonce,
    core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet},
};
use serde_json::{Map, Value};
use thiserror::Error;
use usher_identity::{AuthenticationMethod, GroupsFault, ProviderLogin, UserRecord};
use usher_types::{ConnectorId, ExternalId, UnixTime};

use super::{
    ExternalIdFrom, ProviderSettings, TOLERANCE,
    jws::{ALGORITHMS, Parts},
};
use crate::VerifiedLogin;

/// More groups than this are an overage.
const MAX_GROUPS: usize = 500;
/// Longest group name or other text that is kept.
const MAX_TEXT: usize = 255;

/// Why a token is worth nothing.
#[derive(Debug, Error)]
pub enum TokenError {
    /// Not one of the algorithms by which only the provider can sign.
    #[error("the token's algorithm is none that is accepted")]
    Algorithm,
    /// Made for another client.
    #[error("the token was made for another client")]
    AuthorizedParty,
    /// A claim is missing or of the wrong type.
    #[error("the token's claim `{0}` is missing or of the wrong type")]
    Claim(&'static str),
    /// Critical header parameters that nobody here knows.
    #[error("the token has critical parameters")]
    Critical,
    /// Not yet, or no longer.
    #[error("the token is not valid at this time")]
    Time,
    /// It was not made for this access token.
    #[error("the token belongs to another access token")]
    AccessToken,
    /// The provider has no such key.
    #[error("the token names no key of the provider")]
    Key,
    /// Another issuer, client or nonce, or a wrong signature.
    #[error("the token does not verify")]
    Verify(#[source] openidconnect::ClaimsVerificationError),
    /// A wrong signature.
    #[error("the token's signature is wrong")]
    Signature,
    /// Not a token at all.
    #[error("not a signed token")]
    Shape,
}

/// What a provider says about somebody's groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupsClaim {
    /// Nobody asked.
    NotAsked,
    /// These, and no others.
    Listed(Vec<String>),
    /// Something that counts as no groups.
    Faulty(GroupsFault),
}

/// Who signed in, in the provider's words; only this crate makes it.
#[derive(Debug)]
pub struct ProviderIdentity {
    external_id: ExternalId,
    user_name: String,
    display_name: Option<String>,
    auth_time: UnixTime,
    amr: Vec<AuthenticationMethod>,
    acr: Option<String>,
    session: Option<String>,
    groups: GroupsClaim,
}

impl ProviderIdentity {
    /// Names the person at the provider for ever.
    #[must_use]
    pub fn external_id(&self) -> &ExternalId {
        &self.external_id
    }

    /// What the provider calls the person now: material for a name, never an identity.
    #[must_use]
    pub fn user_name(&self) -> &str {
        &self.user_name
    }

    /// The person's name.
    #[must_use]
    pub fn display_name(&self) -> Option<&str> {
        self.display_name.as_deref()
    }

    /// The person's groups.
    #[must_use]
    pub fn groups(&self) -> &GroupsClaim {
        &self.groups
    }

    /// The login of the user who has this external id at this connector; `None` for a user of another directory.
    #[must_use]
    pub fn login(self, user: &UserRecord, connector_id: ConnectorId) -> Option<VerifiedLogin> {
        let groups_fault = match self.groups {
            GroupsClaim::Faulty(fault) => Some(fault),
            GroupsClaim::Listed(_) | GroupsClaim::NotAsked => None,
        };
        let provider = ProviderLogin { connector_id, acr: self.acr, session: self.session, groups_fault };
        (user.connector_id == Some(connector_id))
            .then(|| VerifiedLogin::new(user.id, self.auth_time, self.amr, Some(provider)))
    }
}

/// Checks an ID token that came from the token endpoint (OpenID Connect Core 3.1.3.7).
pub(super) fn verify(
    token: &str,
    access_token: &AccessToken,
    nonce: &str,
    settings: &ProviderSettings,
    issuer: &IssuerUrl,
    keys: &CoreJsonWebKeySet,
    now: UnixTime,
) -> Result<ProviderIdentity, TokenError> {
    let parts = Parts::of(token)?;
    parts.verify(keys)?;
    let parsed: CoreIdToken =
        serde_json::from_value(Value::String(token.to_owned())).map_err(|_error| TokenError::Shape)?;
    // Never as a confidential client: the secret would make HS256 tokens good.
    let client = ClientId::new(settings.client_id.clone());
    let a_little_ago = now.saturating_sub(TOLERANCE);
    let moment = chrono::DateTime::from_timestamp_millis(a_little_ago.as_millis()).ok_or(TokenError::Time)?;
    let verifier = CoreIdTokenVerifier::new_public_client(client, issuer.clone(), keys.clone())
        .set_allowed_algs(ALGORITHMS)
        .set_time_fn(move || moment);
    let claims = parsed.claims(&verifier, &Nonce::new(nonce.to_owned())).map_err(TokenError::Verify)?;
    check_times(&parts, now)?;
    let azp = parts.payload.get("azp");
    if azp.is_some_and(|azp| azp.as_str() != Some(&settings.client_id)) {
        return Err(TokenError::AuthorizedParty);
    }
    if let Some(expected) = claims.access_token_hash() {
        let algorithm = parsed.signing_alg().map_err(|_error| TokenError::AccessToken)?;
        let key = parsed.signing_key(&verifier).map_err(|_error| TokenError::AccessToken)?;
        let actual = AccessTokenHash::from_token(access_token, algorithm, key);
        if actual.map_err(|_error| TokenError::AccessToken)? != *expected {
            return Err(TokenError::AccessToken);
        }
    }
    identity(&parts, settings, now)
}

fn check_times(parts: &Parts<'_>, now: UnixTime) -> Result<(), TokenError> {
    let soon = now.saturating_add(TOLERANCE).as_secs();
    parts.seconds("exp")?.ok_or(TokenError::Claim("exp"))?;
    let issued = parts.seconds("iat")?.ok_or(TokenError::Claim("iat"))?;
    let begins = parts.seconds("nbf")?;
    let in_time = |seconds: i64| seconds <= soon;
    if in_time(issued) && begins.is_none_or(in_time) { Ok(()) } else { Err(TokenError::Time) }
}

fn identity(
    parts: &Parts<'_>,
    settings: &ProviderSettings,
    now: UnixTime,
) -> Result<ProviderIdentity, TokenError> {
    let claim = match settings.external_id {
        ExternalIdFrom::Oid => "oid",
        ExternalIdFrom::Sub => "sub",
    };
    let external_id: ExternalId =
        parts.text(claim).and_then(|id| id.parse().ok()).ok_or(TokenError::Claim(claim))?;
    let short =
        |name: &str| parts.text(name).filter(|text| (1..=MAX_TEXT).contains(&text.len())).map(str::to_owned);
    let user_name = short("preferred_username").or_else(|| short("email")).or_else(|| short("name"));
    Ok(ProviderIdentity {
        user_name: user_name.unwrap_or_else(|| external_id.as_str().to_owned()),
        external_id,
        display_name: short("name"),
        auth_time: auth_time(parts, now)?,
        amr: amr(&parts.payload),
        acr: short("acr"),
        session: short("sid"),
        groups: groups(&parts.payload, settings.groups_claim.as_deref()),
    })
}

/// A provider that does not say when leaves it at 1970: that is never fresh.
fn auth_time(parts: &Parts<'_>, now: UnixTime) -> Result<UnixTime, TokenError> {
    let seconds = parts.seconds("auth_time")?.unwrap_or_default();
    let time = UnixTime::from_secs(seconds);
    if time > now.saturating_add(TOLERANCE) { Err(TokenError::Time) } else { Ok(time.min(now)) }
}

/// The methods that are known here. None at all is none: nothing follows from silence.
fn amr(payload: &Map<String, Value>) -> Vec<AuthenticationMethod> {
    let said = payload.get("amr").and_then(Value::as_array);
    let mut amr: Vec<AuthenticationMethod> =
        said.into_iter().flatten().filter_map(|method| method.as_str()?.parse().ok()).collect();
    amr.sort_unstable();
    amr.dedup();
    amr
}

fn groups(payload: &Map<String, Value>, claim: Option<&str>) -> GroupsClaim {
    let Some(claim) = claim else { return GroupsClaim::NotAsked };
    // Entra names where to ask instead when there are too many.
    let elsewhere = payload.get("_claim_names").and_then(|names| names.get(claim)).is_some();
    let too_many = payload.get("hasgroups").is_some_and(|value| *value != Value::Bool(false));
    if elsewhere || too_many {
        return GroupsClaim::Faulty(GroupsFault::Overage);
    }
    let Some(value) = payload.get(claim) else { return GroupsClaim::Faulty(GroupsFault::Missing) };
    let Some(list) = value.as_array() else { return GroupsClaim::Faulty(GroupsFault::NotAList) };
    if list.len() > MAX_GROUPS {
        return GroupsClaim::Faulty(GroupsFault::Overage);
    }
    let texts = list
        .iter()
        .map(|group| group.as_str().filter(|text| (1..=MAX_TEXT).contains(&text.len())).map(str::to_owned));
    let mut groups: Vec<String> = match texts.collect() {
        Some(groups) => groups,
        None => return GroupsClaim::Faulty(GroupsFault::NotAList),
    };
    groups.sort_unstable();
    groups.dedup();
    GroupsClaim::Listed(groups)
}
