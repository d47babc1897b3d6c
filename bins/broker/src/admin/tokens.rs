//! Enrollment tokens. The secret is shown once and stored as its hash.

use std::time::Duration;

use axum::{Router, extract::State, routing::get};
use usher_api::v1::{CreateToken, CreatedToken, EnrollmentToken, Page};
use usher_audit::{Event, Restriction, ServerPlace};
use usher_enrollment::{PastedToken, TokenTerms};
use usher_identity::PermittedUser;
use usher_store::{Conn, tokens};
use usher_types::{ProjectId, SecretToken, TokenId, TokenKind, UnixTime};

use super::{begin, projects, servers};
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Path},
    random,
};

const DEFAULT_TTL: u32 = 60 * 60;
const LONGEST_TTL: u32 = 30 * 24 * 60 * 60;
const MOST_USES: u32 = 10_000;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/tokens", get(list).post(create))
        .route("/v1/tokens/{token}", get(show).delete(revoke))
}

/// Finds a token that was not revoked.
async fn find(conn: &mut Conn, id: &str) -> Result<tokens::Token, ApiError> {
    let found = match id.parse() {
        Ok(id) => tokens::by_id(conn, id).await?,
        Err(_) => None,
    };
    found
        .filter(|token| token.terms.revoked_at.is_none())
        .ok_or_else(|| ApiError::not_found("enrollment token", id))
}

fn shown(token: tokens::Token) -> EnrollmentToken {
    let terms = token.terms;
    EnrollmentToken {
        id: terms.id,
        project: token.project,
        description: token.description,
        created_by: token.created_by_name,
        expires_at: terms.expires_at,
        max_uses: terms.max_uses,
        uses: terms.uses,
        role: servers::role(&terms.placement),
        bastion_group: terms.placement.bastion_group().cloned(),
        via: terms.placement.via().cloned(),
        labels: terms.labels,
        name_pattern: terms.name_pattern.map(|pattern| pattern.to_string()),
        cidr: terms.cidr.map(|cidr| cidr.to_string()),
    }
}

async fn list(
    State(app): State<AppState>,
    _caller: Admin,
) -> Result<Answer<Page<EnrollmentToken>>, ApiError> {
    let mut reader = app.store().read().await?;
    let mut tokens = tokens::list(&mut reader).await?;
    tokens.retain(|token| token.terms.revoked_at.is_none());
    Ok(Answer::ok(Page { items: tokens.into_iter().map(shown).collect() }))
}

async fn show(
    State(app): State<AppState>,
    Path(id): Path<String>,
    _caller: Admin,
) -> Result<Answer<EnrollmentToken>, ApiError> {
    let mut reader = app.store().read().await?;
    Ok(Answer::ok(shown(find(&mut reader, &id).await?)))
}

async fn create(
    State(app): State<AppState>,
    Admin { admin: caller, info, body }: Admin<CreateToken>,
) -> Result<Answer<CreatedToken>, ApiError> {
    let secret =
        SecretToken::new(TokenKind::Enrollment, TokenId::new(info.now, random::bytes()?), random::bytes()?);
    let url = app.public_url().as_str().trim_end_matches('/');
    let pasted = PastedToken::new(url, app.pin(), secret).map_err(ApiError::internal)?;
    let now = info.now;
    let mut change = begin(&app, &caller, info).await?;
    let project = projects::find(&mut change.tx, body.project.as_str()).await?;
    let token = new_token(body, project.id, &caller, pasted.token(), now)?;
    servers::check_topology(&mut change.tx, &token.terms.placement, None, now).await?;
    tokens::create(&mut change.tx, &token).await?;
    change.audit(created(&token)?).await?;
    change.commit().await?;
    let answer = CreatedToken { enrollment_token: shown(token), token: pasted.reveal().to_string() };
    Ok(Answer::created(answer).shown_once())
}

fn new_token(
    body: CreateToken,
    project_id: ProjectId,
    caller: &PermittedUser,
    secret: &SecretToken,
    now: UnixTime,
) -> Result<tokens::Token, ApiError> {
    let ttl = body.ttl_seconds.unwrap_or(DEFAULT_TTL);
    if !(1..=LONGEST_TTL).contains(&ttl) {
        return Err(ApiError::invalid(format!("ttl_seconds: use 1 to {LONGEST_TTL} (30 days)")));
    }
    let max_uses = body.max_uses.unwrap_or(1);
    if !(1..=MOST_USES).contains(&max_uses) {
        return Err(ApiError::invalid(format!("max_uses: use 1 to {MOST_USES}")));
    }
    let name_pattern = body.name_pattern.as_deref().map(str::parse).transpose();
    let cidr = body.cidr.as_deref().map(str::parse).transpose();
    Ok(tokens::Token {
        terms: TokenTerms {
            id: secret.id(),
            hash: secret.hash(),
            project_id,
            placement: servers::placement(body.role, body.bastion_group, body.via)?,
            labels: body.labels,
            name_pattern: name_pattern
                .map_err(|error: usher_enrollment::ParsePatternError| field("name_pattern", &error))?,
            cidr: cidr.map_err(|error: usher_types::ParseCidrError| field("cidr", &error))?,
            expires_at: now.saturating_add(Duration::from_secs(u64::from(ttl))),
            max_uses,
            uses: 0,
            revoked_at: None,
        },
        project: body.project,
        description: body.description,
        created_by: caller.user().user_id(),
        created_by_name: caller.user().user_name().clone(),
        created_at: now,
    })
}

fn field(name: &str, error: &dyn std::error::Error) -> ApiError {
    ApiError::invalid(format!("{name}: {error}"))
}

fn created(token: &tokens::Token) -> Result<Event, ApiError> {
    let terms = &token.terms;
    let ServerPlace { role, bastion_group, via } = servers::audited(&terms.placement);
    let restriction = |text: Option<String>| text.map(Restriction::try_from).transpose();
    let name_pattern = restriction(terms.name_pattern.as_ref().map(ToString::to_string));
    let cidr = restriction(terms.cidr.as_ref().map(ToString::to_string));
    Ok(Event::TokenCreate {
        token_id: terms.id,
        project_id: terms.project_id,
        description: token.description.clone(),
        role,
        bastion_group,
        via,
        max_uses: terms.max_uses,
        expires_at: terms.expires_at,
        labels: terms.labels.clone(),
        name_pattern: name_pattern.map_err(ApiError::internal)?,
        cidr: cidr.map_err(ApiError::internal)?,
    })
}

async fn revoke(
    State(app): State<AppState>,
    Path(id): Path<String>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let now = change.info.now;
    let token = find(&mut change.tx, &id).await?;
    tokens::revoke(&mut change.tx, token.terms.id, now).await?;
    change.audit(Event::TokenRevoke { token_id: token.terms.id }).await?;
    change.commit().await?;
    Ok(Answer::empty())
}
