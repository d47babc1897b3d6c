//! `POST /v1/connections`: decide, sign, record, answer. Nothing leaves before its audit row is on disk.
//!
//! What may be is decided by `usher-policy`, what a certificate says by its grant. This module finds the facts, the way
//! and the keys, and keeps the order.

mod issuance;
mod quick;
mod routes;
mod sign;

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::post,
};
use http::{HeaderValue, header};
use usher_api::{
    ErrorCode,
    v1::{ConnectionRequest, Purpose},
};
use usher_audit::{Actor, Code, Event, Record};
use usher_ca::{SubjectKey, x509::ProvenKey};
use usher_identity::ApprovedUser;
use usher_policy::{AccessRequest, Decision, Denial, Grant, Reason, StepUp, authorize};
use usher_store::{
    Epoch, Outcome, Reader, StoreError,
    connections::{self, Repeated, RequestName},
    servers, sessions,
};
use usher_types::{ConnectionId, LoginName, Permission, ServerId};

use self::{issuance::Fall, routes::Bastions};
use crate::{
    AppState, admin, error::ApiError, extract::Approved, hot::Place, random, request::RequestInfo, x509,
};

/// One for the target and one for each bastion of the longest route.
const MAX_KEYS: usize = 1 + usher_enrollment::MAX_HOPS;

/// How often a connection is planned anew because its servers changed while it was signed.
const ATTEMPTS: usize = 3;

/// The routes of this module; the guard of each comes from `usher_api::v1::ENDPOINTS`.
pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/v1/connections", post(connect))
}

/// A request whose syntax was checked.
struct Asked {
    server: String,
    access: AccessRequest,
    via: Option<Vec<String>>,
    keys: Vec<SubjectKey>,
    x509: Option<ProvenKey>,
    request: RequestName,
}

async fn connect(
    State(app): State<AppState>,
    Approved { user, info, body }: Approved<ConnectionRequest>,
) -> Result<Response, ApiError> {
    let asked = parse(body, &info)?;
    let mut user = user;
    for attempt in 0..ATTEMPTS {
        let quick = match attempt {
            0 => quick::plan(&app, &user, &asked, &info).await?,
            _ => None,
        };
        let planned = match quick {
            Some(planned) => {
                app.hot().planned.fetch_add(1, Ordering::Relaxed);
                planned
            }
            None => {
                let mut reader = app.store().read().await?;
                if let Some(repeated) = connections::repeated(&mut reader, &asked.request, info.now).await? {
                    return again(repeated);
                }
                // On the heap: hardly any request comes this way, and all would carry its size.
                Box::pin(plan(&app, reader, &user, &asked, &info)).await?
            }
        };
        let item = sign::sign(&app, planned, user, &asked, &info).await?;
        let (item, outcome) = app.store().issue(item).await?;
        match outcome {
            Outcome::Recorded => return Ok(stored(item.into_answer())),
            Outcome::Repeated => {
                let mut reader = app.store().read().await?;
                let repeated = connections::repeated(&mut reader, &asked.request, info.now).await?;
                return again(repeated.unwrap_or(Repeated::Forgotten));
            }
            Outcome::Fell => match item.into_fall() {
                Fall::Refused(error) => return Err(error),
                Fall::Moved(same_user) => user = same_user,
            },
        }
    }
    Err(ApiError::new(ErrorCode::Unavailable, "the servers on the way keep changing; try again")
        .with_retry_after(1))
}

fn parse(body: ConnectionRequest, info: &RequestInfo) -> Result<Asked, ApiError> {
    let key = info.key.as_ref().ok_or_else(|| ApiError::internal("a signed-in request without a proof"))?;
    Ok(Asked {
        server: body.server,
        access: AccessRequest {
            login: body.login,
            purpose: match body.purpose {
                Purpose::Command => usher_policy::Purpose::Command,
                Purpose::Interactive => usher_policy::Purpose::Interactive,
            },
        },
        via: body.via,
        keys: subject_keys(&body.keys)?,
        x509: body.csr.as_deref().map(x509::requested_key).transpose()?,
        request: RequestName { jkt: key.jkt, jti: key.jti.clone(), content: key.content },
    })
}

fn subject_keys(lines: &[String]) -> Result<Vec<SubjectKey>, ApiError> {
    if lines.is_empty() || lines.len() > MAX_KEYS {
        return Err(ApiError::invalid(format!("keys: give 1 to {MAX_KEYS} keys")));
    }
    let mut keys = Vec::with_capacity(lines.len());
    for line in lines {
        let key = SubjectKey::parse(line).map_err(|error| ApiError::invalid(format!("keys: {error}")))?;
        if keys.contains(&key) {
            return Err(ApiError::invalid("keys: each must be another one; make one per server on the way"));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// The answer that the same request got before.
fn again(repeated: Repeated) -> Result<Response, ApiError> {
    match repeated {
        Repeated::Answer(answer) => Ok(stored(answer)),
        Repeated::Forgotten => {
            Err(ApiError::new(ErrorCode::AlreadyDone, "this request was answered more than ten minutes ago"))
        }
        Repeated::OtherContent => {
            Err(ApiError::new(ErrorCode::RequestReused, "the same request id came with another content"))
        }
    }
}

/// The JSON text exactly as it was recorded.
fn stored(answer: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], answer).into_response()
}

/// Allowed, and how to get there; not signed yet.
struct Planned {
    epoch: Epoch,
    grant: Grant,
    target: Arc<Place>,
    routes: Vec<Bastions>,
}

/// Decides, and finds the way, from the rows of one snapshot.
async fn plan(
    app: &AppState,
    mut reader: Reader,
    user: &ApprovedUser,
    asked: &Asked,
    info: &RequestInfo,
) -> Result<Planned, ApiError> {
    let epoch = reader.epoch().await?;
    let id = ConnectionId::new(info.now, random::bytes()?);
    let Some(server) = servers::find(&mut reader, &asked.server).await? else {
        drop(reader);
        let deny = denied(info, user, id, None, &asked.access.login, [Code::new("unknown_server")]);
        record(app, &deny).await?;
        return Err(ApiError::not_found("server", &asked.server));
    };
    // The caller was authenticated on an older snapshot; the epoch of this one would not show what happened between.
    let user = recheck(&mut reader, user, info).await?;
    let facts =
        connections::facts(&mut reader, user.user().user_id(), Some(user.user().device_id()), &server)
            .await?;
    let facts = facts.ok_or_else(|| ApiError::not_found("server", &asked.server))?;
    let decision = authorize(&user, &asked.access, &facts, id, Some(info.client_address), info.now);
    let grant = match decision {
        Decision::Allow(grant) => grant,
        Decision::Deny(denial) => {
            drop(reader);
            let deny = denied(info, &user, id, Some(server.id), &asked.access.login, codes(&denial));
            record(app, &deny).await?;
            return Err(refusal(&denial, &user, &asked.server));
        }
        Decision::StepUp(step_up) => {
            drop(reader);
            let login = &asked.access.login;
            let deny = denied(info, &user, id, Some(server.id), login, [Code::new("step_up")]);
            record(app, &deny).await?;
            return Err(stepped_up(&step_up));
        }
    };
    let target = Arc::new(Place::of(app, &mut reader, server, info.now).await?);
    let mut rows = routes::Rows { app, reader: &mut reader, now: info.now };
    let routes = match &asked.via {
        Some(via) => routes::requested(&mut rows, &target, via).await,
        None => routes::configured(&mut rows, &target, info.now, &mut random::rng()).await,
    };
    let routes = match routes {
        Err(error) if error.code() == ErrorCode::NoRoute => {
            drop(reader);
            record(app, &failed(info, &user, id, target.server.id, "no_route")).await?;
            return Err(error);
        }
        routes => routes?,
    };
    enough_keys(asked, &target, &routes)?;
    Ok(Planned { epoch, grant, target, routes })
}

fn enough_keys(asked: &Asked, target: &Place, routes: &[Bastions]) -> Result<(), ApiError> {
    let needed = routes.iter().map(Vec::len).max().unwrap_or_default().saturating_add(1);
    if asked.keys.len() < needed {
        return Err(ApiError::invalid(format!(
            "keys: the way to `{}` needs {needed} keys, one per server on it; the request has {}",
            target.server.name,
            asked.keys.len()
        )));
    }
    Ok(())
}

/// The caller as the rows say now.
async fn recheck(
    conn: &mut usher_store::Conn,
    user: &ApprovedUser,
    info: &RequestInfo,
) -> Result<ApprovedUser, ApiError> {
    let rows = sessions::caller(conn, user.user().token_id()).await?;
    let rows = rows.ok_or(usher_identity::AuthenticationError::SessionEnded)?;
    Ok(user.check_again(&rows.user, &rows.team_roles, &rows.device, &rows.session, info.now)?)
}

/// What a denied caller is told.
fn refusal(denial: &Denial, user: &ApprovedUser, server: &str) -> ApiError {
    if denial.hides_server() && !user.user().team_roles().permit(Permission::ReadTeam) {
        return ApiError::not_found("server", server);
    }
    ApiError::new(ErrorCode::AccessDenied, "access denied")
        .with_reasons(denial.reasons().map(ToString::to_string).collect())
        .with_next(denial.next())
}

fn stepped_up(step_up: &StepUp) -> ApiError {
    let server = step_up.server().clone();
    ApiError::new(ErrorCode::InsufficientUserAuthentication, step_up.to_string())
        .with_next(format!("sign in for it with `usher step-up {server}`, then try again"))
        .with_step_up(usher_api::StepUp {
            server,
            authentication: admin::conditions::shown_authentication(step_up.wanted()),
        })
}

fn codes(denial: &Denial) -> Vec<Code> {
    denial.reasons().map(|reason: &Reason| Code::new(reason.code())).collect()
}

fn actor(user: &ApprovedUser) -> Actor {
    let user = user.user();
    Actor::User {
        user_id: user.user_id(),
        device_id: Some(user.device_id()),
        session_id: Some(user.session_id()),
    }
}

fn audit_record(info: &RequestInfo, user: &ApprovedUser, event: Event) -> Record {
    Record { at: info.now, actor: actor(user), client_address: Some(info.client_address), event }
}

fn denied(
    info: &RequestInfo,
    user: &ApprovedUser,
    connection_id: ConnectionId,
    server_id: Option<ServerId>,
    login: &Option<LoginName>,
    reasons: impl Into<Vec<Code>>,
) -> Record {
    let event =
        Event::ConnectionDeny { connection_id, server_id, login: login.clone(), reasons: reasons.into() };
    audit_record(info, user, event)
}

fn failed(
    info: &RequestInfo,
    user: &ApprovedUser,
    connection_id: ConnectionId,
    server_id: ServerId,
    reason: &str,
) -> Record {
    audit_record(info, user, Event::ConnectionFail { connection_id, server_id, reason: Code::new(reason) })
}

async fn record(app: &AppState, record: &Record) -> Result<(), StoreError> {
    let mut tx = app.store().begin().await?;
    tx.audit(record).await?;
    tx.commit().await
}
