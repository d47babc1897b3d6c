//! Tokens of connectors. The secret is shown once and stored as its hash; a connector can have several, so that one takes the
//! place of another without a gap.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    routing::{delete, get},
};
use usher_api::v1::{CreateScimToken, CreatedScimToken, Page, ScimToken};
use usher_audit::{Event, Restriction};
use usher_store::{connectors, scim::tokens};
use usher_types::{Cidr, ParseCidrError, SecretToken, TokenId, TokenKind};

use super::begin;
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Path},
    random, scim,
};

const DEFAULT_TTL: u32 = 365 * 24 * 60 * 60;
const LONGEST_TTL: u32 = 2 * DEFAULT_TTL;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/scim-tokens", get(list).post(create))
        .route("/v1/scim-tokens/{token}", delete(revoke))
}

fn shown(token: tokens::ScimToken) -> ScimToken {
    ScimToken {
        id: token.id,
        connector: token.connector,
        description: token.description,
        created_by: token.created_by_name,
        expires_at: token.expires_at,
        cidr: token.cidr.map(|cidr| cidr.to_string()),
        last_used_at: token.last_used_at,
    }
}

async fn list(State(app): State<AppState>, _caller: Admin) -> Result<Answer<Page<ScimToken>>, ApiError> {
    let mut reader = app.store().read().await?;
    let mut tokens = tokens::list(&mut reader).await?;
    tokens.retain(|token| token.revoked_at.is_none());
    Ok(Answer::ok(Page { items: tokens.into_iter().map(shown).collect() }))
}

async fn create(
    State(app): State<AppState>,
    Admin { admin: caller, info, body }: Admin<CreateScimToken>,
) -> Result<Answer<CreatedScimToken>, ApiError> {
    let now = info.now;
    let ttl = body.ttl_seconds.unwrap_or(DEFAULT_TTL);
    if !(1..=LONGEST_TTL).contains(&ttl) {
        return Err(ApiError::invalid(format!("ttl_seconds: use 1 to {LONGEST_TTL} (two years)")));
    }
    let cidr: Option<Cidr> = body
        .cidr
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error: ParseCidrError| ApiError::invalid(format!("cidr: {error}")))?;
    let restriction = cidr.as_ref().map(ToString::to_string).map(Restriction::try_from).transpose();
    let secret = SecretToken::new(TokenKind::Scim, TokenId::new(now, random::bytes()?), random::bytes()?);
    let mut change = begin(&app, &caller, info).await?;
    let connector = connectors::find(&mut change.tx, body.connector.as_str()).await?;
    let connector = connector.ok_or_else(|| ApiError::not_found("connector", body.connector.as_str()))?;
    let token = tokens::ScimToken {
        id: secret.id(),
        connector_id: connector.id,
        connector: connector.name,
        connector_state: connector.state,
        description: body.description,
        hash: secret.hash(),
        cidr,
        created_by: caller.user().user_id(),
        created_by_name: caller.user().user_name().clone(),
        created_at: now,
        expires_at: now.saturating_add(Duration::from_secs(u64::from(ttl))),
        revoked_at: None,
        last_used_at: None,
    };
    tokens::create(&mut change.tx, &token).await?;
    change
        .audit(Event::ScimTokenCreate {
            token_id: token.id,
            connector_id: token.connector_id,
            description: token.description.clone(),
            expires_at: token.expires_at,
            cidr: restriction.map_err(ApiError::internal)?,
        })
        .await?;
    change.commit().await?;
    let answer = CreatedScimToken {
        scim_token: shown(token),
        url: scim::base(&app),
        token: secret.reveal().to_string(),
    };
    Ok(Answer::created(answer).shown_once())
}

async fn revoke(
    State(app): State<AppState>,
    Path(id): Path<String>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let unknown = || ApiError::not_found("SCIM token", &id);
    let token_id: TokenId = id.parse().map_err(|_error| unknown())?;
    if !tokens::revoke(&mut change.tx, token_id, change.info.now).await? {
        return Err(unknown());
    }
    change.audit(Event::ScimTokenRevoke { token_id }).await?;
    change.commit().await?;
    Ok(Answer::empty())
}
