//! The caller: code for a session, who am I, sign out; the team and the description of the API.

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use http::header;
use usher_api::{
    ErrorCode,
    v1::{
        Device, DeviceState, Me, SessionInfo, Team, TokenGrant, TokenRequest, TokenResponse, User, UserStatus,
    },
};
use usher_audit::{Actor, Code, Event, Record};
use usher_identity::{
    Arrival, DeviceRecord, OpenSessionError, PublicKey, SessionRecord, UserRecord, dpop::MAX_PROOF_LENGTH,
    open_session,
};
use usher_sign_in::{AuthorizationCode, CodeRecord, RedeemError, Redemption, VerifiedLogin, redeem};
use usher_store::{
    Conn, WriteTx, devices, groups, named_proofs, service_users, sessions, sign_in, team, team_roles, users,
};
use usher_types::{DeviceId, DeviceName, SecretToken, Sha256, TeamRole, TokenId, TokenKind, UserName};

use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    exchange,
    extract::{Proven, Public, SignedIn},
    random,
    request::RequestInfo,
};

/// The routes of this module; the guard of each comes from `usher_api::v1::ENDPOINTS`.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/team", get(about))
        .route("/v1/openapi.json", get(openapi))
        .route("/v1/token", post(token))
        .route("/v1/me", get(me))
        .route("/v1/session", delete(sign_out))
}

async fn about(State(app): State<AppState>, _caller: Public) -> Answer<Team> {
    Answer::ok(Team {
        team: app.team().clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pins: app.pins(),
    })
}

async fn openapi(_caller: Public) -> Result<Response, ApiError> {
    let document = usher_api::openapi_json().map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
}

/// `POST /v1/token`: everything or nothing in one transaction, the code's use included.
async fn token(
    State(app): State<AppState>,
    Proven { key, info, body }: Proven<TokenGrant>,
) -> Result<Answer<TokenResponse>, ApiError> {
    let body = match body {
        TokenGrant::Code(body) => body,
        TokenGrant::Exchange(body) => return exchange::exchange(&app, &key, &info, body).await,
    };
    let mut tx = app.store().begin().await?;
    let (login, code_hash) = redeem_code(&mut tx, &key, &info, &body).await?;
    let user_id = usher_identity::Login::user_id(&login);
    let user = users::by_id(&mut tx, user_id).await?.ok_or_else(|| bad_code(RedeemError::Code))?;
    if user.status == usher_identity::UserStatus::Disabled {
        return Err(usher_identity::AuthenticationError::UserDisabled.into());
    }
    let device = device_of(&mut tx, &user, &key, body.device_name, &info).await?;
    let token =
        SecretToken::new(TokenKind::Session, TokenId::new(info.now, random::bytes()?), random::bytes()?);
    let terms = team::session_terms(&mut tx).await?;
    let arrival = Arrival::at(info.now).from(info.client_address);
    let session = open_session(login, &device, &token, terms, arrival)?;
    // A device has one session: whoever signs in again, for more than the last one was good for, leaves none behind.
    for session_id in sessions::end_of_device(&mut tx, device.id, info.now).await? {
        let event = Event::SessionClose { session_id, user_id: user.id, reason: Code::new("replaced") };
        tx.audit(&record(&info, &user, device.id, Some(&session), event)).await?;
    }
    sessions::create(&mut tx, &session).await?;
    let auth_time = session.auth_time;
    let servers = named_proofs::give(&mut tx, code_hash, user.id, device.id, auth_time).await?;
    let event = Event::SessionOpen {
        session_id: session.id,
        user_id: user.id,
        device_id: device.id,
        amr: session.amr.iter().map(|method| Code::new(method.as_str())).collect(),
        servers: servers.into_iter().collect(),
    };
    tx.audit(&record(&info, &user, device.id, Some(&session), event)).await?;
    let answer = TokenResponse {
        session_token: token.reveal().as_str().to_owned(),
        session: session_info(&session),
        device: device_out(&device, &user.user_name),
        user: user_out(&mut tx, &user).await?,
    };
    tx.commit().await?;
    Ok(Answer::ok(answer).shown_once())
}

async fn redeem_code(
    tx: &mut WriteTx,
    key: &PublicKey,
    info: &RequestInfo,
    body: &TokenRequest,
) -> Result<(VerifiedLogin, Sha256), ApiError> {
    // Longer than any code; not worth a digest.
    if body.code.len() > MAX_PROOF_LENGTH {
        return Err(bad_code(RedeemError::Code));
    }
    let stored = sign_in::code(tx, AuthorizationCode::hash_of(&body.code)).await?;
    let stored = stored.ok_or_else(|| bad_code(RedeemError::Code))?;
    let code_hash = stored.code_hash;
    let record = CodeRecord {
        code_hash,
        user_id: stored.user_id,
        auth_time: stored.auth_time,
        amr: stored.amr,
        redirect_uri: stored.redirect_uri,
        code_challenge: stored.code_challenge,
        dpop_jkt: stored.dpop_jkt,
        expires_at: stored.expires_at,
        used_at: stored.used_at,
        provider: stored.provider,
    };
    let redemption = Redemption {
        code: &body.code,
        code_verifier: &body.code_verifier,
        redirect_uri: &body.redirect_uri,
        jkt: key.thumbprint(),
    };
    let login = redeem(&record, &redemption, info.now).map_err(bad_code)?;
    if sign_in::use_code(tx, code_hash, info.now).await? {
        Ok((login, code_hash))
    } else {
        Err(bad_code(RedeemError::Used))
    }
}

fn bad_code(error: RedeemError) -> ApiError {
    ApiError::new(
        ErrorCode::InvalidGrant,
        "the authorization code is wrong, used, expired or not for this client",
    )
    .with_next("sign in again with `usher login`")
    .with_cause(error)
}

impl From<OpenSessionError> for ApiError {
    fn from(error: OpenSessionError) -> Self {
        match error {
            OpenSessionError::DeviceRevoked => usher_identity::AuthenticationError::DeviceRevoked.into(),
            OpenSessionError::ForeignDevice | OpenSessionError::TokenKind => Self::internal(error),
        }
    }
}

/// The user's device with this key; a new one waits for approval, unless it is the first of a team and an
/// administrator's: then there is nobody to approve it.
async fn device_of(
    tx: &mut WriteTx,
    user: &UserRecord,
    key: &PublicKey,
    name: DeviceName,
    info: &RequestInfo,
) -> Result<DeviceRecord, ApiError> {
    let jkt = key.thumbprint();
    if let Some(device) = devices::by_key(tx, user.id, &jkt).await? {
        return Ok(device.record);
    }
    let first = user.team_role == TeamRole::Owner && !devices::any_approved(tx).await?;
    let state =
        if first { usher_identity::DeviceState::Approved } else { usher_identity::DeviceState::Pending };
    let id = DeviceId::new(info.now, random::bytes()?);
    let device = DeviceRecord { id, user_id: user.id, name, jkt, state, created_at: info.now };
    if !devices::create(tx, &device, &key.to_sec1()).await? {
        return Err(ApiError::internal("a device that was not there is there"));
    }
    let event =
        Event::DeviceRegister { device_id: id, user_id: user.id, device_name: device.name.clone(), jkt };
    tx.audit(&record(info, user, id, None, event)).await?;
    if first {
        let event = Event::DeviceApprove { device_id: id, user_id: user.id, automatic: true };
        tx.audit(&record(info, user, id, None, event)).await?;
    }
    Ok(device)
}

pub(crate) fn record(
    info: &RequestInfo,
    user: &UserRecord,
    device_id: DeviceId,
    session: Option<&SessionRecord>,
    event: Event,
) -> Record {
    let actor = Actor::User {
        user_id: user.id,
        device_id: Some(device_id),
        session_id: session.map(|session| session.id),
    };
    Record { at: info.now, actor, client_address: Some(info.client_address), event }
}

async fn me(
    State(app): State<AppState>,
    SignedIn { user: caller, .. }: SignedIn,
) -> Result<Answer<Me>, ApiError> {
    let mut reader = app.store().read().await?;
    let gone = || ApiError::login_required();
    let user = users::by_id(&mut reader, caller.user_id()).await?.ok_or_else(gone)?;
    let device = devices::by_id(&mut reader, caller.device_id()).await?.ok_or_else(gone)?;
    // Neither people of an identity provider nor programs have any.
    let has_codes = user.connector_id.is_none() && !service_users::is_one(&mut reader, user.id).await?;
    let recovery_codes_left = match has_codes {
        true => Some(sign_in::recovery_codes_left(&mut reader, user.id).await?),
        false => None,
    };
    Ok(Answer::ok(Me {
        team: app.team().clone(),
        user: user_out(&mut reader, &user).await?,
        device: device_out(&device.record, &device.user_name),
        session: SessionInfo {
            id: caller.session_id(),
            auth_time: caller.auth_time(),
            amr: caller.amr().iter().map(ToString::to_string).collect(),
            expires_at: caller.expires_at(),
        },
        recovery_codes_left,
    }))
}

async fn sign_out(
    State(app): State<AppState>,
    SignedIn { user: caller, info }: SignedIn,
) -> Result<Answer<()>, ApiError> {
    let mut tx = app.store().begin().await?;
    named_proofs::forget_device(&mut tx, caller.device_id()).await?;
    if sessions::end(&mut tx, caller.session_id(), info.now).await? {
        tx.audit(&Record {
            at: info.now,
            actor: Actor::User {
                user_id: caller.user_id(),
                device_id: Some(caller.device_id()),
                session_id: Some(caller.session_id()),
            },
            client_address: Some(info.client_address),
            event: Event::SessionClose {
                session_id: caller.session_id(),
                user_id: caller.user_id(),
                reason: Code::new("signed_out"),
            },
        })
        .await?;
        tx.commit().await?;
    }
    Ok(Answer::empty())
}

pub(crate) fn session_info(session: &SessionRecord) -> SessionInfo {
    SessionInfo {
        id: session.id,
        auth_time: session.auth_time,
        amr: session.amr.iter().map(ToString::to_string).collect(),
        expires_at: session.ends_at(),
    }
}

pub(crate) fn device_out(device: &DeviceRecord, user_name: &UserName) -> Device {
    Device {
        id: device.id,
        user_name: user_name.clone(),
        name: device.name.clone(),
        state: match device.state {
            usher_identity::DeviceState::Approved => DeviceState::Approved,
            usher_identity::DeviceState::Pending => DeviceState::Pending,
            usher_identity::DeviceState::Revoked => DeviceState::Revoked,
        },
        created_at: device.created_at,
    }
}

pub(crate) async fn user_out(conn: &mut Conn, user: &UserRecord) -> Result<User, ApiError> {
    Ok(User {
        id: user.id,
        user_name: user.user_name.clone(),
        display_name: user.display_name.clone(),
        unix_user_name: user.unix_user_name.clone(),
        status: match user.status {
            usher_identity::UserStatus::Active => UserStatus::Active,
            usher_identity::UserStatus::Disabled => UserStatus::Disabled,
        },
        team_role: user.team_role,
        team_roles: team_roles::of_user(conn, user.id).await?.iter().collect(),
        groups: groups::of_user(conn, user.id).await?.into_iter().map(|group| group.name).collect(),
        created_at: user.created_at,
    })
}
