//! From headers to a caller as strong as the endpoint's guard asks for.

use std::net::IpAddr;

use http::{HeaderMap, header, request::Parts};
use usher_api::{
    ErrorCode, headers,
    v1::{Endpoint, Guard},
};
use usher_identity::{
    ApprovedUser, Arrival, AuthenticatedUser, authenticate,
    dpop::{ProofRequest, VerifiedProof, verify},
};
use usher_store::{
    servers,
    sessions::{self, CallerRows},
};
use usher_types::{SecretToken, Sha256, TokenKind, UnixTime};

use super::{Caller, RequestKey};
use crate::{
    AppState,
    admin::locks::refuse_locked,
    error::ApiError,
    hot::{Known, Uses},
};

/// Where connections are asked for, a thousand times a second.
const CONNECTIONS: &str = "/v1/connections";

/// Who sent the request, and by which name it would be known again.
pub(super) async fn recognise(
    app: &AppState,
    endpoint: &Endpoint,
    parts: &Parts,
    body: &[u8],
    client: IpAddr,
    now: UnixTime,
) -> Result<(Caller, Option<RequestKey>), ApiError> {
    let token = match endpoint.guard {
        Guard::Public => return Ok((Caller::Public, None)),
        Guard::Agent | Guard::Proof => None,
        Guard::Permitted(_) | Guard::SignedIn | Guard::User => session_token(&parts.headers)?,
    };
    let proof = proof(app, parts, body, token.as_ref(), now)?;
    let key = request_key(&proof, parts, body);
    let arrival = Arrival::at(now).from(client);
    let caller = match endpoint.guard {
        Guard::Public => Caller::Public,
        Guard::Proof => Caller::Proven(*proof.key()),
        Guard::Agent => agent(app, &proof).await?,
        Guard::SignedIn => Caller::SignedIn(user(app, token, &proof, arrival).await?),
        Guard::User if endpoint.path == CONNECTIONS => {
            Caller::Approved(asking(app, token, &proof, arrival).await?)
        }
        Guard::User => Caller::Approved(approved(app, token, &proof, arrival).await?),
        Guard::Permitted(permission) => {
            Caller::Permitted(approved(app, token, &proof, arrival).await?.with_permission(permission)?)
        }
    };
    Ok((caller, Some(key)))
}

/// The session token; none when there is no such header. A token that does not parse is as good as none, but is told
/// apart from a missing one only after the proof.
fn session_token(headers: &HeaderMap) -> Result<Option<SecretToken>, ApiError> {
    let Some(value) = single(headers, header::AUTHORIZATION.as_str())? else { return Ok(None) };
    let (scheme, text) = value.split_once(' ').ok_or_else(ApiError::login_required)?;
    if !scheme.eq_ignore_ascii_case(headers::DPOP_SCHEME) {
        return Err(ApiError::login_required());
    }
    SecretToken::parse(TokenKind::Session, text.trim())
        .map(Some)
        .map_err(|error| ApiError::login_required().with_cause(error))
}

/// A header that may come once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    match (first, second) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_error| bad_header(name)),
        (Some(_), Some(_)) => Err(bad_header(name)),
    }
}

fn bad_header(name: &str) -> ApiError {
    ApiError::invalid(format!("header `{name}` must come once and be ASCII"))
}

fn proof(
    app: &AppState,
    parts: &Parts,
    body: &[u8],
    token: Option<&SecretToken>,
    now: UnixTime,
) -> Result<VerifiedProof, ApiError> {
    let text = single(&parts.headers, headers::DPOP)?.ok_or_else(|| {
        ApiError::new(
            ErrorCode::InvalidProof,
            "this endpoint wants a proof of possession in the header `dpop`",
        )
    })?;
    let htu = format!("{}{}", app.origin(), parts.uri.path());
    let request = ProofRequest {
        method: parts.method.as_str(),
        htu: &htu,
        query: parts.uri.query().unwrap_or_default(),
        body,
        token,
    };
    Ok(verify(text, &request, &app.nonces(), now, app.verifier())?)
}

fn request_key(proof: &VerifiedProof, parts: &Parts, body: &[u8]) -> RequestKey {
    // Neither a method nor a path nor a query can hold a NUL.
    let content = Sha256::of_parts(&[
        parts.method.as_str().as_bytes(),
        b"\0",
        parts.uri.path().as_bytes(),
        b"\0",
        parts.uri.query().unwrap_or_default().as_bytes(),
        b"\0",
        body,
    ]);
    RequestKey { jkt: proof.jkt(), jti: proof.jti().to_string(), content }
}

async fn user(
    app: &AppState,
    token: Option<SecretToken>,
    proof: &VerifiedProof,
    arrival: Arrival,
) -> Result<AuthenticatedUser, ApiError> {
    let token = token.ok_or_else(ApiError::login_required)?;
    let mut reader = app.store().read().await?;
    let rows = sessions::caller(&mut reader, token.id()).await?.ok_or_else(ApiError::login_required)?;
    drop(reader);
    known(app, &rows, &token, proof, arrival)
}

/// Whom these rows, old or new, say it is. That is a use of the session.
fn known(
    app: &AppState,
    rows: &CallerRows,
    token: &SecretToken,
    proof: &VerifiedProof,
    arrival: Arrival,
) -> Result<AuthenticatedUser, ApiError> {
    let CallerRows { user, team_roles, device, session } = rows;
    let arrival = Arrival { last_used_at: app.hot().uses.last(session.id), ..arrival };
    let caller = authenticate(user, team_roles, device, session, token, proof, arrival)?;
    Uses::note(app, session.id, session.last_used_at, arrival.now);
    Ok(caller)
}

/// A signed-in user on an approved device, neither of them locked.
async fn approved(
    app: &AppState,
    token: Option<SecretToken>,
    proof: &VerifiedProof,
    arrival: Arrival,
) -> Result<ApprovedUser, ApiError> {
    let user = user(app, token, proof, arrival).await?.on_approved_device()?;
    refuse_locked(&mut *app.store().read().await?, &user).await?;
    Ok(user)
}

/// Who asks for a connection. May be remembered: what is asked for is decided again when anything moved. Only a yes
/// comes from memory. Locks are left to policy, which knows every reason, and writes the denial down.
async fn asking(
    app: &AppState,
    token: Option<SecretToken>,
    proof: &VerifiedProof,
    arrival: Arrival,
) -> Result<ApprovedUser, ApiError> {
    let token = token.ok_or_else(ApiError::login_required)?;
    let callers = &app.hot().callers;
    let rows = |remembered: &Known| known(app, &remembered.rows, &token, proof, arrival);
    if let Some(known) = callers.get(token.id(), app.store().known_epoch())
        && let Ok(user) = rows(&known)
        && let Ok(user) = user.on_approved_device()
    {
        return Ok(user);
    }
    let known = callers.load(app.store(), token.id()).await?.ok_or_else(ApiError::login_required)?;
    Ok(rows(&known)?.on_approved_device()?)
}

async fn agent(app: &AppState, proof: &VerifiedProof) -> Result<Caller, ApiError> {
    let mut reader = app.store().read().await?;
    let agent = servers::agent(&mut reader, &proof.jkt()).await?.ok_or_else(|| {
        ApiError::new(ErrorCode::LoginRequired, "no server is enrolled with this key")
            .with_next("enroll this host with a new enrollment token")
    })?;
    Ok(Caller::Agent { server_id: agent.server_id, project_id: agent.project_id })
}
