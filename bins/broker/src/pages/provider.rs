//! `GET /sign-in/<connector>` and `GET /oidc/callback`: to an identity provider and back, with an authorization code for
//! the program that asked. `POST /oidc/backchannel-logout`: the provider says that somebody signed out there.
//!
//! Nothing is stored while a person is at the provider: what comes after is sealed in a cookie of this browser, so that
//! an answer is worth something there only. A state is used up before the provider is asked about its code.

use axum::{
    Form, Router,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use usher_audit::{Actor, Code, Event, Record};
use usher_identity::{UserRecord, UserStatus};
use usher_sign_in::oidc::{Callback, Pending, Provider, ProviderError, ProviderIdentity, issuer_of};
use usher_store::{
    ConnectorState, JoinRule, WriteTx,
    connectors::{self, Connector},
    scim,
    sessions::{self, LoggedOut},
    sign_in,
};
use usher_types::{ConnectorId, Sha256, UnixTime};

use super::{
    Message, PageError, Peer,
    arrival::{self, Goal},
    authorize, join, render, sealed, second_factor,
};
use crate::{
    AppState,
    error::ApiError,
    providers::{CALLBACK_PATH, LOGOUT_PATH},
    random,
};

const FORM: &str = "provider";
/// Browsers take a cookie with this name from a secure origin only, for this host and all of its paths.
const COOKIE: &str = "__Host-usher-sign-in-";
/// How much of a state names its cookie: several tabs do not get into each other's way.
const COOKIE_STATE: usize = 16;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/sign-in/{connector}", get(begin))
        .route(CALLBACK_PATH, get(finish))
        .route(LOGOUT_PATH, post(logout))
}

/// What the browser keeps while its owner is at the provider.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Started {
    connector: ConnectorId,
    pending: Pending,
    /// The page that it began with; leads to one code.
    page: Sha256,
    goal: Goal,
}

#[derive(Deserialize)]
struct Begin {
    #[serde(default)]
    request: String,
}

async fn begin(
    State(app): State<AppState>,
    Peer(peer): Peer,
    Path(name): Path<String>,
    Query(query): Query<Begin>,
) -> Result<Response, PageError> {
    let now = app.now();
    app.limits().sign_in_from(peer)?;
    let Some(opened) = sealed::open::<Goal>(&app, authorize::FORM, &query.request, now) else {
        return authorize::too_old(&app);
    };
    // People of a provider look after what they sign in with there.
    let Goal::Program(request) = opened.content else { return no_such(&app) };
    let connector = connectors::find(&mut *app.store().read().await?, &name).await?;
    let Some((connector, provider)) = usable(&app, connector)? else { return no_such(&app) };
    let mut begun = match provider.begin(&random::bytes()?, now).await {
        Ok(begun) => begun,
        Err(error) => return failed(&app, &connector, &error),
    };
    if request.fresh {
        begun.ask_again();
    }
    let name = cookie_name(begun.pending.state()).unwrap_or_default();
    let started = Started {
        connector: connector.id,
        pending: begun.pending,
        page: opened.hash,
        goal: Goal::Program(request),
    };
    let value = sealed::seal(&app, FORM, &started, now)?;
    let mut response = authorize::redirect(begun.url.as_str())?;
    set_cookie(&mut response, &name, &value, sealed::LIFETIME.as_secs())?;
    Ok(response)
}

/// The connector and its provider, when people may sign in by it.
fn usable(
    app: &AppState,
    connector: Option<Connector>,
) -> Result<Option<(Connector, std::sync::Arc<Provider>)>, ApiError> {
    let Some(connector) = connector.filter(|connector| connector.state == ConnectorState::Active) else {
        return Ok(None);
    };
    let Some(client) = &connector.oidc else { return Ok(None) };
    let provider = app.provider(&connector, client)?;
    Ok(Some((connector, provider)))
}

async fn finish(
    State(app): State<AppState>,
    Peer(peer): Peer,
    headers: HeaderMap,
    callback: Result<Query<Callback>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, PageError> {
    let now = app.now();
    app.limits().sign_in_from(peer)?;
    let Ok(Query(callback)) = callback else { return foreign(&app) };
    // SECURITY: without the cookie of this very browser an answer is somebody else's, whoever that is.
    let Some((name, started)) = started(&app, &headers, callback.state.as_deref(), now) else {
        return foreign(&app);
    };
    let mut response = answer(&app, peer, &callback, started, now).await?;
    set_cookie(&mut response, &name, "", 0)?;
    Ok(response)
}

async fn answer(
    app: &AppState,
    peer: std::net::IpAddr,
    callback: &Callback,
    started: Started,
    now: UnixTime,
) -> Result<Response, PageError> {
    if !use_up(app, &started.pending, now).await? {
        return foreign(app);
    }
    let connector = connectors::by_id(&mut *app.store().read().await?, started.connector).await?;
    let Some((connector, provider)) = usable(app, connector)? else { return no_such(app) };
    let identity = match provider.finish(callback, &started.pending, now).await {
        Ok(identity) => identity,
        Err(error) => {
            app.failures().count("sign_in_fail", peer, now);
            return failed(app, &connector, &error);
        }
    };
    accept(app, peer, &connector, identity, &started, now).await
}

/// Remembers a state for as long as its cookie could come again; false when it did.
async fn use_up(app: &AppState, pending: &Pending, now: UnixTime) -> Result<bool, PageError> {
    let state = Sha256::of_parts(&[b"usher-state\0", pending.state().as_bytes()]);
    let mut tx = app.store().begin().await?;
    let first = sign_in::use_once(&mut tx, state, now.saturating_add(sealed::LIFETIME)).await?;
    tx.commit().await?;
    Ok(first)
}

/// One transaction: who it is, made now if the connector's rule says so, and the authorization code.
async fn accept(
    app: &AppState,
    peer: std::net::IpAddr,
    connector: &Connector,
    identity: ProviderIdentity,
    started: &Started,
    now: UnixTime,
) -> Result<Response, PageError> {
    let mut tx = app.store().begin().await?;
    // It may have been disabled while the provider was asked.
    let current = connectors::by_id(&mut tx, connector.id).await?;
    if current.is_none_or(|connector| connector.state != ConnectorState::Active) {
        return no_such(app);
    }
    let known = connectors::user(&mut tx, connector.id, identity.external_id()).await?;
    let user = match (known, connector.join_rule) {
        (Some(user), _) => user,
        (None, JoinRule::FirstLogin) => join::create(&mut tx, connector, &identity, peer, now).await?,
        (None, JoinRule::Scim) => {
            app.failures().count("sign_in_fail", peer, now);
            return not_provisioned(app, connector);
        }
    };
    if user.status == UserStatus::Disabled {
        fail(&mut tx, &user, peer, now).await?;
        tx.commit().await?;
        return disabled(app, connector);
    }
    // Whom SCIM speaks about is in the groups that SCIM says: two would undo each other's changes.
    let is_provisioned = scim::users::by_id(&mut tx, connector.id, user.id).await?.is_some();
    if connector.join_rule == JoinRule::FirstLogin && !is_provisioned {
        join::groups(&mut tx, connector, &user, identity.groups(), peer, now).await?;
    }
    let login = identity.login(&user, connector.id);
    let login = login.ok_or_else(|| ApiError::internal("a user of another directory"))?;
    if second_factor::is_wanted(&mut tx, &user, &login, &started.goal, now).await? {
        tx.commit().await?;
        return second_factor::ask(app, &user, login, started.page, started.goal.clone(), now).await;
    }
    match arrival::arrive(app, &mut tx, login, started.page, &started.goal, peer, now).await? {
        Some(arrival) => {
            tx.commit().await?;
            arrival.go()
        }
        None => foreign(app),
    }
}

async fn fail(
    tx: &mut WriteTx,
    user: &UserRecord,
    peer: std::net::IpAddr,
    now: UnixTime,
) -> Result<(), PageError> {
    let event = Event::SignInFail { user_id: Some(user.id), reason: Code::new("user_disabled"), count: 1 };
    tx.audit(&Record { at: now, actor: Actor::Anonymous, client_address: Some(peer), event }).await?;
    Ok(())
}

fn cookie_name(state: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name = state.get(..COOKIE_STATE).filter(|name| name.chars().all(plain))?;
    Some(format!("{COOKIE}{name}"))
}

/// The cookie of this state, and what is in it.
fn started(
    app: &AppState,
    headers: &HeaderMap,
    state: Option<&str>,
    now: UnixTime,
) -> Option<(String, Started)> {
    let name = cookie_name(state?)?;
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    let opened = sealed::open::<Started>(app, FORM, value, now)?;
    Some((name, opened.content))
}

fn set_cookie(response: &mut Response, name: &str, value: &str, max_age: u64) -> Result<(), ApiError> {
    // Lax: the provider's redirect is a navigation from another site.
    let cookie = format!("{name}={value}; Path=/; Max-Age={max_age}; Secure; HttpOnly; SameSite=Lax");
    let cookie = HeaderValue::from_str(&cookie).map_err(ApiError::internal)?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(())
}

#[derive(Deserialize)]
struct LogoutForm {
    logout_token: String,
}

/// A program reads the answer; it learns no more than whether the token was good.
async fn logout(
    State(app): State<AppState>,
    Peer(peer): Peer,
    form: Result<Form<LogoutForm>, axum::extract::rejection::FormRejection>,
) -> Result<Response, PageError> {
    let now = app.now();
    app.limits().sign_in_from(peer)?;
    let refused = || {
        (
            StatusCode::BAD_REQUEST,
            [(header::CONTENT_TYPE, "application/json")],
            r#"{"error":"invalid_request"}"#,
        )
    };
    let Ok(Form(LogoutForm { logout_token })) = form else { return Ok(refused().into_response()) };
    let Some(issuer) = issuer_of(&logout_token) else { return Ok(refused().into_response()) };
    let connector = connectors::by_issuer(&mut *app.store().read().await?, &issuer).await?;
    let Some((connector, provider)) = usable(&app, connector)? else { return Ok(refused().into_response()) };
    let token = match provider.logout_token(&logout_token, now).await {
        Ok(token) => token,
        Err(error) => {
            tracing::info!(connector = %connector.name, cause = %usher_telemetry::Chain(&error), "a logout was refused");
            app.failures().count("sign_in_fail", peer, now);
            return Ok(refused().into_response());
        }
    };
    let mut tx = app.store().begin().await?;
    if !sign_in::use_once(&mut tx, token.id, token.expires_at).await? {
        return Ok(refused().into_response());
    }
    let ended = match (&token.session, &token.subject) {
        (Some(session), _) => {
            sessions::of_logout(&mut tx, connector.id, &LoggedOut::Session(session)).await?
        }
        (None, Some(subject)) => match connectors::user(&mut tx, connector.id, subject).await? {
            Some(user) => sessions::of_logout(&mut tx, connector.id, &LoggedOut::User(user.id)).await?,
            None => Vec::new(),
        },
        (None, None) => Vec::new(),
    };
    for (session_id, user_id) in ended {
        sessions::end(&mut tx, session_id, now).await?;
        let reason = Code::new("provider_logout");
        let event = Event::SessionClose { session_id, user_id, reason };
        let actor = Actor::System;
        tx.audit(&Record { at: now, actor, client_address: Some(peer), event }).await?;
    }
    tx.commit().await?;
    Ok(StatusCode::OK.into_response())
}

/// What people read when their sign-in came to nothing: always what happened and what to do next.
fn say(app: &AppState, status: StatusCode, heading: &str, text: &str) -> Result<Response, PageError> {
    let message = Message { team: app.team().as_str(), heading, text, command: Some("usher login") };
    render(status, &message)
}

fn foreign(app: &AppState) -> Result<Response, PageError> {
    let text = "This answer does not belong to a sign-in that was begun in this browser, or was used before, or came too \
                late. Nobody was signed in. Start again in your terminal:";
    say(app, StatusCode::BAD_REQUEST, "This answer is not good", text)
}

fn no_such(app: &AppState) -> Result<Response, PageError> {
    let text = "Nobody signs in by this identity provider, or no longer. Start again in your terminal and choose another way:";
    say(app, StatusCode::NOT_FOUND, "Not in use", text)
}

fn not_provisioned(app: &AppState, connector: &Connector) -> Result<Response, PageError> {
    let name = &connector.name;
    let text = format!(
        "You are signed in at {name}, but nobody here has your identity. The join rule of connector `{name}` is `scim`: only \
         people whom {name} has provisioned get in. Ask an administrator to assign Usher to you at {name}, and to check that \
         SCIM's externalId is the claim `{}` of the sign-in. Then start again:",
        connector.settings.external_id_claim
    );
    say(app, StatusCode::FORBIDDEN, "You are not provisioned yet", &text)
}

fn disabled(app: &AppState, connector: &Connector) -> Result<Response, PageError> {
    let text = format!(
        "You are signed in at {}, but your user here is disabled. Ask an administrator to enable it, then start again:",
        connector.name
    );
    say(app, StatusCode::FORBIDDEN, "Your user is disabled", &text)
}

fn failed(app: &AppState, connector: &Connector, error: &ProviderError) -> Result<Response, PageError> {
    let name = &connector.name;
    tracing::info!(connector = %name, cause = %usher_telemetry::Chain(error), "sign-in by a provider failed");
    let (status, heading, text) = match error {
        ProviderError::Unavailable(_) => (
            StatusCode::BAD_GATEWAY,
            format!("{name} does not answer"),
            format!(
                "The identity provider {name} cannot be reached, so nobody can sign in by it just now. Sessions that are \
                 open go on to their end. Wait a minute and start again; if it lasts, tell an administrator:"
            ),
        ),
        ProviderError::Denied { error, description } => {
            let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
            let said = description
                .as_deref()
                .map_or_else(|| short(error), |text| format!("{}: {}", short(error), short(text)));
            (
                StatusCode::FORBIDDEN,
                format!("{name} refused"),
                format!(
                    "The identity provider said: {said}. Ask its administrator whether Usher is assigned to you, then \
                     start again:"
                ),
            )
        }
        ProviderError::Address(_)
        | ProviderError::Client(_)
        | ProviderError::Metadata(_)
        | ProviderError::Settings => (
            StatusCode::BAD_GATEWAY,
            format!("{name} is not set up well"),
            format!(
                "What connector `{name}` says about its identity provider is not usable. Ask an administrator to compare \
                 `usher connector show {name}` with the provider; the broker's log has the reason. Then start again:"
            ),
        ),
        ProviderError::Code(_) | ProviderError::Issuer | ProviderError::State | ProviderError::Token(_) => (
            StatusCode::BAD_REQUEST,
            "The answer was refused".to_owned(),
            format!(
                "What came back from {name} is not what it should be, so nobody was signed in. The broker's log has the \
                 reason. Start again; if it happens twice, tell an administrator:"
            ),
        ),
    };
    say(app, status, &heading, &text)
}
