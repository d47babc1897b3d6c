//! `POST /v1/enroll`: a server joins. What it may be comes from its token; the proof's key becomes its agent's key.

use axum::{Router, extract::State, routing::post};
use usher_api::{
    ErrorCode,
    v1::{EnrollRequest, EnrollResponse},
};
use usher_audit::{Actor, Code, Event, Record, ServerPlace};
use usher_enrollment::{
    Admission, Claim, EnrolledServer, Redemption, Refusal, RefusalReason, TokenTerms, allocate_name,
};
use usher_identity::PublicKey;
use usher_store::{
    Conn, WriteTx,
    servers::{self, EnrollServerError, HostFacts, Prior, Server},
    tokens,
};
use usher_types::{SecretToken, ServerId, TokenKind};

use crate::{
    AppState, admin::audited, answer::Answer, error::ApiError, extract::Proven, fleet::facts, keys, random,
    request::RequestInfo,
};

/// The routes of this module; the guard of each comes from `usher_api::v1::ENDPOINTS`.
pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/v1/enroll", post(enroll))
}

async fn enroll(
    State(app): State<AppState>,
    Proven { key, info, body }: Proven<EnrollRequest>,
) -> Result<Answer<EnrollResponse>, ApiError> {
    let facts = facts::parse(&body.facts)?;
    let presented = SecretToken::parse(TokenKind::Enrollment, &body.token)
        .map_err(|_error| refused(Refusal::unknown()))?;
    let claim = Claim { name: body.name, agent_key: key.thumbprint(), peer: info.client_address };
    // Guesses are turned away without the write lock and without a row in the audit log, which anybody could fill.
    let mut reader = app.store().read().await?;
    let rows = Rows::load(&mut reader, &presented, &claim).await?;
    drop(reader);
    if let Err(refusal) = rows.decide(&presented, &claim, &info)
        && is_guess(refusal.reason())
    {
        return Err(refused(refusal));
    }

    let mut tx = app.store().begin().await?;
    let rows = Rows::load(&mut tx, &presented, &claim).await?;
    let server = match rows.decide(&presented, &claim, &info) {
        Ok(Redemption::Again(server)) => server,
        Ok(Redemption::New(admission)) => join(&mut tx, admission, &key, &facts, &info).await?,
        Err(refusal) => {
            let event = Event::ServerEnrollRefuse {
                token_id: presented.id(),
                server_name: claim.name.clone(),
                reason: Code::new(refusal.reason().code()),
            };
            tx.audit(&record(Actor::Anonymous, &info, event)).await?;
            tx.commit().await?;
            return Err(refused(refusal));
        }
    };
    let state_keys = keys::state_keys(&mut tx).await?;
    let row = servers::by_id(&mut tx, server).await?;
    tx.commit().await?;
    let Server { id, name, project, .. } =
        row.ok_or_else(|| ApiError::internal("enrolled server has no row"))?;
    Ok(Answer::ok(EnrollResponse {
        server_id: id,
        name,
        project,
        team: app.team().clone(),
        state_keys: state_keys.public.iter().map(ToString::to_string).collect(),
    }))
}

/// What a presented token is decided on.
struct Rows {
    terms: Option<TokenTerms>,
    prior: Option<Prior>,
}

impl Rows {
    async fn load(conn: &mut Conn, presented: &SecretToken, claim: &Claim) -> Result<Self, ApiError> {
        let token = tokens::by_id(conn, presented.id()).await?;
        Ok(Self {
            terms: token.map(|token| token.terms),
            prior: servers::prior(conn, &claim.agent_key).await?,
        })
    }

    fn decide<'a>(
        &'a self,
        presented: &SecretToken,
        claim: &'a Claim,
        info: &RequestInfo,
    ) -> Result<Redemption<'a>, Refusal> {
        let terms = self.terms.as_ref().ok_or_else(Refusal::unknown)?;
        let prior = match &self.prior {
            Some(Prior::Known(prior)) => Some(prior),
            // Made by a token that is gone, hence not by this one.
            Some(Prior::TokenGone) if presented.hash() == terms.hash => {
                return Err(RefusalReason::KeyInUse.into());
            }
            Some(Prior::TokenGone) | None => None,
        };
        usher_enrollment::redeem(terms, presented, claim, prior, info.now)
    }
}

/// Whether the caller does not even hold the secret of a token.
fn is_guess(reason: RefusalReason) -> bool {
    match reason {
        RefusalReason::Secret | RefusalReason::Unknown => true,
        RefusalReason::Expired
        | RefusalReason::KeyInUse
        | RefusalReason::Name
        | RefusalReason::Network
        | RefusalReason::Revoked
        | RefusalReason::Used => false,
    }
}

fn refused(refusal: Refusal) -> ApiError {
    ApiError::new(ErrorCode::TokenRefused, refusal.to_string())
        .with_next("ask an administrator for a new enrollment token")
}

/// Gives the server its name and writes it down, with its audit row.
async fn join(
    tx: &mut WriteTx,
    admission: Admission<'_>,
    key: &PublicKey,
    facts: &HostFacts,
    info: &RequestInfo,
) -> Result<ServerId, ApiError> {
    let taken = servers::names_like(tx, admission.claimed_name()).await?;
    let name = allocate_name(admission.claimed_name(), |name| taken.contains(name))
        .map_err(|error| ApiError::new(ErrorCode::AlreadyExists, error.to_string()))?;
    let id = ServerId::new(info.now, random::bytes()?);
    let server = admission.enroll(id, name);
    let event = joined(&server);
    let made = servers::enroll(tx, server, &key.to_sec1(), facts).await;
    let refused = made.map_err(|error| match error {
        EnrollServerError::Conflict(_) => ApiError::new(ErrorCode::AlreadyExists, error.to_string()),
        EnrollServerError::Store(error) => error.into(),
    })?;
    for event in [Some(event), refused.map(|change| facts::changed(id, change))].into_iter().flatten() {
        tx.audit(&record(Actor::Server { server_id: id }, info, event)).await?;
    }
    Ok(id)
}

fn record(actor: Actor, info: &RequestInfo, event: Event) -> Record {
    Record { at: info.now, actor, client_address: Some(info.client_address), event }
}

fn joined(server: &EnrolledServer) -> Event {
    let ServerPlace { role, bastion_group, via } = audited(server.placement());
    Event::ServerEnroll {
        server_id: server.id(),
        server_name: server.name().clone(),
        project_id: server.project_id(),
        token_id: server.token_id(),
        agent_key: server.agent_key(),
        role,
        bastion_group,
        via,
        labels: server.labels().clone(),
    }
}
