//! API keys of service users. The secret is shown once and stored as its hash; one takes the place of another without a gap.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    routing::{delete, get, post},
};
use usher_api::{
    ErrorCode,
    v1::{ApiKey, CreateApiKey, CreatedApiKey, Page, RotateApiKey},
};
use usher_audit::{Event, ReplacedKey, Restriction};
use usher_store::{api_keys, service_users};
use usher_types::{Cidr, ParseCidrError, SecretToken, TokenId, TokenKind, UnixTime};

use super::{Change, begin, users};
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Path},
    random,
};

const LONGEST_TTL: u32 = 366 * 24 * 60 * 60;
const DEFAULT_OVERLAP: u32 = 24 * 60 * 60;
const LONGEST_OVERLAP: u32 = 30 * DEFAULT_OVERLAP;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/api-keys", get(list).post(create))
        .route("/v1/api-keys/{key}", delete(revoke))
        .route("/v1/api-keys/{key}/rotate", post(rotate))
}

fn shown(key: api_keys::ApiKey) -> ApiKey {
    ApiKey {
        id: key.id,
        service_user: key.user_name,
        description: key.description,
        created_by: key.created_by_name,
        expires_at: key.expires_at,
        cidr: key.cidr.map(|cidr| cidr.to_string()),
        last_used_at: key.last_used_at,
    }
}

async fn list(State(app): State<AppState>, _caller: Admin) -> Result<Answer<Page<ApiKey>>, ApiError> {
    let mut reader = app.store().read().await?;
    let mut keys = api_keys::list(&mut reader).await?;
    keys.retain(|key| key.revoked_at.is_none());
    Ok(Answer::ok(Page { items: keys.into_iter().map(shown).collect() }))
}

fn end(now: UnixTime, ttl: u32) -> Result<UnixTime, ApiError> {
    if !(1..=LONGEST_TTL).contains(&ttl) {
        return Err(ApiError::invalid(format!("ttl_seconds: use 1 to {LONGEST_TTL} (a year)")));
    }
    Ok(now.saturating_add(Duration::from_secs(u64::from(ttl))))
}

async fn create(
    State(app): State<AppState>,
    Admin { admin: caller, info, body }: Admin<CreateApiKey>,
) -> Result<Answer<CreatedApiKey>, ApiError> {
    let now = info.now;
    let expires_at = end(now, body.ttl_seconds)?;
    let cidr: Option<Cidr> = body
        .cidr
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error: ParseCidrError| ApiError::invalid(format!("cidr: {error}")))?;
    let secret = SecretToken::new(TokenKind::ApiKey, TokenId::new(now, random::bytes()?), random::bytes()?);
    let mut change = begin(&app, &caller, info).await?;
    let name = body.service_user.as_str();
    let user = service_users::find(&mut change.tx, name).await?;
    let user = user.ok_or_else(|| ApiError::not_found("service user", name))?;
    // SECURITY: whoever holds the key is that user.
    change.refuse_above_user(&user).await?;
    let key = api_keys::ApiKey {
        id: secret.id(),
        user_id: user.id,
        user_name: user.user_name,
        description: body.description,
        hash: secret.hash(),
        cidr,
        created_by: caller.user().user_id(),
        created_by_name: caller.user().user_name().clone(),
        created_at: now,
        expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    make(change, key, &secret, None).await
}

/// Stores a key, writes it down, shows it.
async fn make(
    mut change: Change,
    key: api_keys::ApiKey,
    secret: &SecretToken,
    replaces: Option<ReplacedKey>,
) -> Result<Answer<CreatedApiKey>, ApiError> {
    api_keys::create(&mut change.tx, &key).await?;
    let cidr = key.cidr.as_ref().map(ToString::to_string).map(Restriction::try_from).transpose();
    change
        .audit(Event::ApiKeyCreate {
            token_id: key.id,
            user_id: key.user_id,
            description: key.description.clone(),
            expires_at: key.expires_at,
            cidr: cidr.map_err(ApiError::internal)?,
            replaces,
        })
        .await?;
    change.commit().await?;
    let answer = CreatedApiKey { api_key: shown(key), key: secret.reveal().to_string() };
    Ok(Answer::created(answer).shown_once())
}

async fn find(change: &mut Change, id: &str) -> Result<api_keys::ApiKey, ApiError> {
    let key = match id.parse::<TokenId>() {
        Ok(id) => api_keys::by_id(&mut change.tx, id).await?,
        Err(_) => None,
    };
    let key = key.filter(|key| key.revoked_at.is_none());
    let key = key.ok_or_else(|| ApiError::not_found("API key", id))?;
    let user = users::find(&mut change.tx, &key.user_id.to_string()).await?;
    change.refuse_above_user(&user).await?;
    Ok(key)
}

async fn rotate(
    State(app): State<AppState>,
    Path(id): Path<String>,
    Admin { admin: caller, info, body }: Admin<RotateApiKey>,
) -> Result<Answer<CreatedApiKey>, ApiError> {
    let now = info.now;
    let overlap = body.overlap_seconds.unwrap_or(DEFAULT_OVERLAP);
    if overlap > LONGEST_OVERLAP {
        return Err(ApiError::invalid(format!("overlap_seconds: use 0 to {LONGEST_OVERLAP} (30 days)")));
    }
    let secret = SecretToken::new(TokenKind::ApiKey, TokenId::new(now, random::bytes()?), random::bytes()?);
    let mut change = begin(&app, &caller, info).await?;
    let old = find(&mut change, &id).await?;
    if now >= old.expires_at {
        return Err(ApiError::new(ErrorCode::InUse, format!("API key `{}` has ended", old.id))
            .with_next("make a new one with `usher api-key create`"));
    }
    let expires_at = match body.ttl_seconds {
        Some(ttl) => end(now, ttl)?,
        None => now.saturating_add(old.expires_at.since(old.created_at)),
    };
    let old_ends = old.expires_at.min(now.saturating_add(Duration::from_secs(u64::from(overlap))));
    api_keys::end_at(&mut change.tx, old.id, old_ends).await?;
    let replaces = ReplacedKey { token_id: old.id, expires_at: old_ends };
    let key = api_keys::ApiKey {
        id: secret.id(),
        hash: secret.hash(),
        created_by: caller.user().user_id(),
        created_by_name: caller.user().user_name().clone(),
        created_at: now,
        expires_at,
        last_used_at: None,
        ..old
    };
    make(change, key, &secret, Some(replaces)).await
}

async fn revoke(
    State(app): State<AppState>,
    Path(id): Path<String>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let key = find(&mut change, &id).await?;
    api_keys::revoke(&mut change.tx, key.id, change.info.now).await?;
    change.audit(Event::ApiKeyRevoke { token_id: key.id, user_id: key.user_id }).await?;
    change.commit().await?;
    Ok(Answer::empty())
}
