//! `GET /authorize` and `POST /sign-in`: from a program's request, or a person's wish, to a login. Where that leads is
//! [`arrival`](super::arrival)'s business.

use std::{net::IpAddr, sync::LazyLock, time::Duration};

use askama::Template;
use axum::{
    Form, Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use usher_audit::{Actor, Code, Event, Record};
use usher_identity::UserStatus;
use usher_keystore::{KeyLabel, Purpose};
use usher_sign_in::{
    AuthorizationParameters, AuthorizationRequest, AuthorizationRequestError, Credentials, Failures, Refusal,
    TotpSecret, Used, Verified,
};
use usher_store::{
    ConnectorState, WriteTx,
    connectors::{self, Connector},
    devices, sign_in,
};
use usher_types::{ConnectorName, DeviceId, Sha256, Thumbprint, UnixTime, UserId, UserName};
use zeroize::Zeroizing;

use super::{
    Message, PageError, Peer,
    arrival::{self, Arrival, Goal},
    render, render_with_script, sealed,
};
use crate::{AppState, error::ApiError};

pub(super) const FORM: &str = "sign-in";

/// Failures take this long, whatever it was: an unknown user writes less to the database than a known one.
pub(super) const FAILURE_TIME: Duration = Duration::from_millis(400);

/// Argon2id takes 19 MiB and tens of milliseconds: a flood of sign-ins waits here instead of filling the memory.
pub(super) static HASHING: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(4));

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/authorize", get(show)).route("/sign-in", post(submit))
}

#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    team: &'a str,
    /// Who asked; none when the person came by itself.
    program: Option<&'a AuthorizationRequest>,
    request: &'a str,
    user_name: &'a str,
    problem: Option<Problem>,
    /// Whether there can be passkeys at this address.
    passkeys: bool,
    /// Identity providers that people may sign in by.
    connectors: &'a [ConnectorName],
}

/// What did not work the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// User name, password or code.
    Password,
    /// The passkey.
    Passkey,
}

async fn show(
    State(app): State<AppState>,
    parameters: Result<Query<AuthorizationParameters>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, PageError> {
    let Ok(Query(parameters)) = parameters else { return bad_link(&app) };
    match AuthorizationRequest::parse(&parameters) {
        Ok(request) => page(&app, &Goal::Program(request), "", None).await,
        Err(AuthorizationRequestError::ClientId | AuthorizationRequestError::RedirectUri(_)) => {
            bad_link(&app)
        }
        Err(AuthorizationRequestError::Parameter { redirect_uri, state, code, parameter }) => {
            let description = format!("bad parameter {parameter}");
            let issuer = issuer(&app);
            let mut parameters =
                vec![("error", code), ("error_description", description.as_str()), ("iss", &issuer)];
            if !state.is_empty() {
                parameters.push(("state", &state));
            }
            redirect(&redirect_uri.with_parameters(&parameters))
        }
    }
}

/// What was sealed into the page is worth nothing any more.
pub(super) fn too_old(app: &AppState) -> Result<Response, PageError> {
    let message = Message {
        team: app.team().as_str(),
        heading: "This page is too old",
        text: "It lay open too long, or the broker was set up anew. Start again in your terminal:",
        command: Some("usher login"),
    };
    render(StatusCode::BAD_REQUEST, &message)
}

/// Nothing in the link can be trusted, so the browser goes nowhere.
fn bad_link(app: &AppState) -> Result<Response, PageError> {
    let message = Message {
        team: app.team().as_str(),
        heading: "This link is not good",
        text: "It does not come from an Usher client of this version, or was cut off. Start again in your terminal:",
        command: Some("usher login"),
    };
    render(StatusCode::BAD_REQUEST, &message)
}

pub(super) async fn page(
    app: &AppState,
    goal: &Goal,
    user_name: &str,
    problem: Option<Problem>,
) -> Result<Response, PageError> {
    let sealed = sealed::seal(app, FORM, goal, app.now())?;
    let connectors = match goal {
        Goal::Program(_) => connectors(app).await?,
        // People of a provider look after what they sign in with there.
        Goal::Account => Vec::new(),
    };
    let page = SignInPage {
        team: app.team().as_str(),
        program: goal.program(),
        request: &sealed,
        user_name,
        problem,
        passkeys: app.relying_party().is_some(),
        connectors: &connectors,
    };
    render_with_script(app, if problem.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK }, &page)
}

/// Identity providers that people may sign in by.
async fn connectors(app: &AppState) -> Result<Vec<ConnectorName>, PageError> {
    let all = connectors::list(&mut *app.store().read().await?).await?.into_iter();
    let usable =
        |connector: &Connector| connector.state == ConnectorState::Active && connector.oidc.is_some();
    Ok(all.filter(usable).map(|connector| connector.name).collect())
}

#[derive(Deserialize)]
struct SignInForm {
    request: String,
    user_name: String,
    password: Zeroizing<String>,
    code: Zeroizing<String>,
}

async fn submit(
    State(app): State<AppState>,
    Peer(peer): Peer,
    form: Result<Form<SignInForm>, axum::extract::rejection::FormRejection>,
) -> Result<Response, PageError> {
    let now = app.now();
    let answer_failure_at = Instant::now() + FAILURE_TIME;
    app.limits().sign_in_from(peer)?;
    let Ok(Form(form)) = form else { return bad_link(&app) };
    let Some(opened) = sealed::open::<Goal>(&app, FORM, &form.request, now) else {
        return too_old(&app);
    };
    let goal = opened.content;
    // What a person typed, shown again after a failure; trimmed because phones add spaces.
    let typed: String = form.user_name.trim().to_lowercase().chars().take(48).collect();
    let user_name: Option<UserName> = typed.parse().ok();
    let device = match goal.program() {
        Some(request) => own_device(&app, user_name.as_ref(), &request.dpop_jkt).await?,
        None => None,
    };
    if device.is_none() {
        app.limits().sign_in_as(&typed)?;
    }
    let checked = check(&app, user_name.as_ref(), device, form.password, form.code, now).await?;
    let outcome = match checked {
        Ok(verified) => accept(&app, verified, device, opened.hash, &goal, peer, now).await?,
        Err((user_id, refusal)) => Err((user_id, refusal)),
    };
    match outcome {
        Ok(arrival) => arrival.go(),
        Err((user_id, refusal)) => {
            record_failure(&app, user_id, refusal, peer, now).await?;
            sleep_until(answer_failure_at).await;
            page(&app, &goal, &typed, Some(Problem::Password)).await
        }
    }
}

/// Who it would have been, when that is known, and why not.
pub(super) type Refused = (Option<UserId>, Refusal);

/// The device that the request is for, when it is an approved one of the very user whose name was typed. Its thumbprint
/// cannot be guessed, so attempts on it are limited on their own: whoever fails all the time under somebody's name keeps
/// other devices out, but not this one.
async fn own_device(
    app: &AppState,
    user_name: Option<&UserName>,
    jkt: &Thumbprint,
) -> Result<Option<DeviceId>, PageError> {
    let Some(user_name) = user_name else { return Ok(None) };
    let mut reader = app.store().read().await?;
    Ok(devices::approved_of(&mut reader, user_name, jkt).await?)
}

/// Counts the attempt first, so that attempts in parallel are all counted, then looks.
async fn check(
    app: &AppState,
    user_name: Option<&UserName>,
    device: Option<DeviceId>,
    password: Zeroizing<String>,
    code: Zeroizing<String>,
    now: UnixTime,
) -> Result<Result<Verified, Refused>, PageError> {
    let credentials = match user_name {
        Some(name) => count_attempt(app, name, device, now).await?,
        None => None,
    };
    let user_id = credentials.as_ref().map(|credentials| credentials.user_id);
    let _turn = HASHING.acquire().await.map_err(ApiError::internal)?;
    let verified = tokio::task::spawn_blocking(move || {
        usher_sign_in::verify(credentials.as_ref(), &password, &code, now)
    });
    let verified = verified.await.map_err(ApiError::internal)?;
    Ok(verified.map_err(|refusal| (user_id, refusal)))
}

async fn count_attempt(
    app: &AppState,
    name: &UserName,
    device: Option<DeviceId>,
    now: UnixTime,
) -> Result<Option<Credentials>, PageError> {
    let mut tx = app.store().begin().await?;
    let Some(stored) = sign_in::credentials(&mut tx, name).await? else { return Ok(None) };
    let failures = match device {
        Some(device) => app.limits().sign_in_on(device, now),
        None => {
            let failures = Failures { count: stored.failed_attempts, locked_until: stored.locked_until };
            if !failures.locked(now) {
                let after = failures.one_more(now);
                sign_in::record_failures(&mut tx, stored.user_id, after.count, after.locked_until).await?;
                tx.commit().await?;
            }
            failures
        }
    };
    let password = stored.password_hash.as_deref().map(str::parse).transpose().map_err(ApiError::internal)?;
    let totp = match &stored.sealed_totp {
        Some(sealed) => {
            let label = KeyLabel::new(stored.user_id.to_string(), Purpose::TotpSeed);
            let secret = app.keystore().open(&label, sealed).map_err(ApiError::internal)?;
            Some(TotpSecret::from_bytes(&secret).map_err(ApiError::internal)?)
        }
        None => None,
    };
    Ok(Some(Credentials {
        user_id: stored.user_id,
        active: stored.status == UserStatus::Active,
        password,
        totp,
        last_used_step: stored.last_used_step,
        recovery_codes: stored.recovery_codes,
        failures,
    }))
}

/// One transaction: what the sign-in uses up is used up, failures are forgotten, and it leads where it was for.
async fn accept(
    app: &AppState,
    verified: Verified,
    device: Option<DeviceId>,
    page: Sha256,
    goal: &Goal,
    peer: IpAddr,
    now: UnixTime,
) -> Result<Result<Arrival, Refused>, PageError> {
    use usher_identity::Login as _;
    let user_id = verified.login.user_id();
    let reused = Ok(Err((Some(user_id), Refusal::CodeReused)));
    let mut tx = app.store().begin().await?;
    if !use_up(&mut tx, user_id, verified.used, peer, now).await? {
        return reused;
    }
    if device.is_none() {
        sign_in::forget_failures(&mut tx, user_id).await?;
    }
    let Some(arrival) = arrival::arrive(app, &mut tx, verified.login, page, goal, peer, now).await? else {
        return reused;
    };
    tx.commit().await?;
    if let Some(device) = device {
        app.limits().signed_in_on(device);
    }
    Ok(Ok(arrival))
}

/// False when it was used up before.
async fn use_up(
    tx: &mut WriteTx,
    user_id: UserId,
    used: Used,
    peer: IpAddr,
    now: UnixTime,
) -> Result<bool, PageError> {
    match used {
        Used::TotpStep(step) => Ok(sign_in::use_totp_step(tx, user_id, step).await?),
        Used::RecoveryCode(hash) => {
            if !sign_in::use_recovery_code(tx, user_id, hash).await? {
                return Ok(false);
            }
            let left = sign_in::recovery_codes_left(tx, user_id).await?;
            let actor = Actor::User { user_id, device_id: None, session_id: None };
            let event = Event::RecoveryCodeUse { user_id, left };
            tx.audit(&Record { at: now, actor, client_address: Some(peer), event }).await?;
            Ok(true)
        }
    }
}

/// Failures of people who exist go into the audit log; guesses at names are only counted.
pub(super) async fn record_failure(
    app: &AppState,
    user_id: Option<UserId>,
    refusal: Refusal,
    peer: IpAddr,
    now: UnixTime,
) -> Result<(), PageError> {
    tracing::info!(reason = refusal.as_str(), client_address = %peer, "sign-in failed");
    let user_id = match (user_id, refusal) {
        // Both are bounded by nothing but the rate limit, so they are counted outside the chain.
        (None, _) | (Some(_), Refusal::Locked) => {
            app.failures().count("sign_in_fail", peer, now);
            return Ok(());
        }
        (Some(user_id), _) => user_id,
    };
    let reason = Code::new(refusal.as_str());
    let mut tx = app.store().begin().await?;
    tx.audit(&Record {
        at: now,
        actor: Actor::Anonymous,
        client_address: Some(peer),
        event: Event::SignInFail { user_id: Some(user_id), reason, count: 1 },
    })
    .await?;
    tx.commit().await?;
    Ok(())
}

/// The `iss` of RFC 9207: the public URL without a slash at the end.
pub(super) fn issuer(app: &AppState) -> String {
    app.public_url().origin().ascii_serialization()
}

pub(super) fn redirect(location: &str) -> Result<Response, PageError> {
    let location = HeaderValue::from_str(location).map_err(ApiError::internal)?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response())
}
