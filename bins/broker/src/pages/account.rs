//! `/account`: people of the broker's own directory look after what they sign in with: passkeys, recovery codes, password.
//! Open for ten minutes after a sign-in in this browser, to nothing else, and over at once when somebody resets or disables
//! them. People of an identity provider do that there.

use std::net::IpAddr;

use askama::Template;
use axum::{
    Form, Router,
    extract::{State, rejection::FormRejection},
    response::Response,
    routing::{get, post},
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use usher_audit::{Actor, Event, Record};
use usher_identity::UserRecord;
use usher_sign_in::{FEW_RECOVERY_CODES, NewPassword, PasswordHash, passkey::Registration};
use usher_store::{WriteTx, page_sessions, passkeys, sign_in, users};
use usher_types::{DisplayName, PasskeyId, Sha256, UnixTime};
use zeroize::Zeroizing;

use super::{
    Message, PageError, Peer,
    arrival::{self, Goal},
    authorize::{self, HASHING},
    passkey::{self, no_options, options},
    recovery, render, render_with_script,
};
use crate::{AppState, error::ApiError, random};

const PASSKEY_FORM: &str = "passkey-account";

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/account", get(show))
        .route("/account/passkeys/options", post(passkey_options))
        .route("/account/passkeys", post(add_passkey))
        .route("/account/passkeys/remove", post(remove_passkey))
        .route("/account/recovery-codes", post(renew_codes))
        .route("/account/password", post(change_password))
        .route("/account/leave", post(leave))
}

#[derive(Debug, Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    team: &'a str,
    user_name: &'a str,
    passkeys: &'a [passkeys::Passkey],
    passkeys_possible: bool,
    codes_left: u32,
    few: bool,
    done: Option<&'a str>,
    problem: Option<&'a str>,
}

/// Whose page it is, as it is now.
struct Owner {
    user: UserRecord,
    session: Sha256,
}

impl Owner {
    /// Reads it, in the transaction in which something is to be changed.
    async fn find(
        conn: &mut usher_store::Conn,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Result<Option<Self>, PageError> {
        let Some(session) = arrival::page_session(headers) else { return Ok(None) };
        let Some(id) = page_sessions::user(conn, session, now).await? else { return Ok(None) };
        let user = users::by_id(conn, id).await?;
        Ok(user.map(|user| Self { user, session }))
    }

    async fn audit(
        &self,
        tx: &mut WriteTx,
        peer: IpAddr,
        now: UnixTime,
        event: Event,
    ) -> Result<(), PageError> {
        let actor = Actor::User { user_id: self.user.id, device_id: None, session_id: None };
        tx.audit(&Record { at: now, actor, client_address: Some(peer), event }).await?;
        Ok(())
    }
}

/// What the page says about the last thing that was tried on it.
#[derive(Clone, Copy)]
enum Said<'a> {
    Nothing,
    Done(&'a str),
    Problem(&'a str),
}

async fn show(State(app): State<AppState>, headers: HeaderMap) -> Result<Response, PageError> {
    let now = app.now();
    let owner = Owner::find(&mut *app.store().read().await?, &headers, now).await?;
    match owner {
        Some(owner) => page(&app, &owner, Said::Nothing).await,
        None => authorize::page(&app, &Goal::Account, "", None).await,
    }
}

async fn page(app: &AppState, owner: &Owner, said: Said<'_>) -> Result<Response, PageError> {
    let mut reader = app.store().read().await?;
    let keys = passkeys::of_user(&mut reader, owner.user.id).await?;
    let codes_left = sign_in::recovery_codes_left(&mut reader, owner.user.id).await?;
    let (status, done, problem) = match said {
        Said::Nothing => (StatusCode::OK, None, None),
        Said::Done(text) => (StatusCode::OK, Some(text), None),
        Said::Problem(text) => (StatusCode::UNPROCESSABLE_ENTITY, None, Some(text)),
    };
    let page = AccountPage {
        team: app.team().as_str(),
        user_name: owner.user.user_name.as_str(),
        passkeys: &keys,
        passkeys_possible: app.relying_party().is_some(),
        codes_left,
        few: codes_left <= FEW_RECOVERY_CODES,
        done,
        problem,
    };
    render_with_script(app, status, &page)
}

/// The page is closed: who comes too late signs in again.
async fn closed(app: &AppState) -> Result<Response, PageError> {
    let mut response = authorize::page(app, &Goal::Account, "", None).await?;
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    Ok(response)
}

async fn passkey_options(
    State(app): State<AppState>,
    Peer(peer): Peer,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let now = app.now();
    app.limits().sign_in_from(peer)?;
    let mut reader = app.store().read().await?;
    let owner = Owner::find(&mut reader, &headers, now).await?;
    let (Some(owner), Some(party)) = (owner, app.relying_party()) else { return Ok(no_options()) };
    let known = passkeys::of_user(&mut reader, owner.user.id).await?;
    let known: Vec<_> = known.into_iter().map(passkey::credential_of).collect();
    let (todo, registration) =
        party.register(owner.user.id, &owner.user.user_name, &known).map_err(ApiError::internal)?;
    options(&app, PASSKEY_FORM, owner.session, todo, registration, now)
}

#[derive(Deserialize)]
struct PasskeyForm {
    ceremony: String,
    credential: String,
    name: String,
}

async fn add_passkey(
    State(app): State<AppState>,
    Peer(peer): Peer,
    headers: HeaderMap,
    form: Result<Form<PasskeyForm>, FormRejection>,
) -> Result<Response, PageError> {
    let now = app.now();
    let owner = Owner::find(&mut *app.store().read().await?, &headers, now).await?;
    let (Some(owner), Ok(Form(form))) = (owner, form) else { return closed(&app).await };
    let Ok(name) = form.name.trim().parse::<DisplayName>() else {
        let rule = "a name has 1 to 64 characters, no control characters, colon, comma or backslash";
        return page(&app, &owner, Said::Problem(rule)).await;
    };
    let again = Said::Problem("the passkey was not registered; try again");
    let registration =
        passkey::use_up::<Registration>(&app, PASSKEY_FORM, owner.session, &form.ceremony, now).await?;
    let (Some(registration), Some(party)) = (registration, app.relying_party()) else {
        return page(&app, &owner, again).await;
    };
    let Ok(registered) = party.registered(&form.credential, &registration) else {
        return page(&app, &owner, again).await;
    };
    let mut tx = app.store().begin().await?;
    let Some(owner) = Owner::find(&mut tx, &headers, now).await? else { return closed(&app).await };
    if !passkey::add(&mut tx, owner.user.id, registered.into_credential(), Some(name), peer, now).await? {
        drop(tx);
        return page(&app, &owner, again).await;
    }
    tx.commit().await?;
    page(&app, &owner, Said::Done("The passkey was added.")).await
}

#[derive(Deserialize)]
struct RemoveForm {
    passkey: PasskeyId,
}

async fn remove_passkey(
    State(app): State<AppState>,
    Peer(peer): Peer,
    headers: HeaderMap,
    form: Result<Form<RemoveForm>, FormRejection>,
) -> Result<Response, PageError> {
    let now = app.now();
    let mut tx = app.store().begin().await?;
    let owner = Owner::find(&mut tx, &headers, now).await?;
    let (Some(owner), Ok(Form(form))) = (owner, form) else { return closed(&app).await };
    let user_id = owner.user.id;
    let keys = passkeys::of_user(&mut tx, user_id).await?;
    let last = keys.len() == 1 && !sign_in::has_totp(&mut tx, user_id).await?;
    let Some(key) = keys.into_iter().find(|key| key.id == form.passkey) else {
        drop(tx);
        return page(&app, &owner, Said::Problem("you have no such passkey")).await;
    };
    if last {
        drop(tx);
        let text = "it is the only second factor that you have; add another one first";
        return page(&app, &owner, Said::Problem(text)).await;
    }
    passkeys::remove(&mut tx, user_id, key.id).await?;
    let event = Event::PasskeyRemove { passkey_id: key.id, user_id, passkey_name: key.name };
    owner.audit(&mut tx, peer, now, event).await?;
    tx.commit().await?;
    page(&app, &owner, Said::Done("The passkey was removed.")).await
}

async fn renew_codes(
    State(app): State<AppState>,
    Peer(peer): Peer,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let now = app.now();
    let mut tx = app.store().begin().await?;
    let Some(owner) = Owner::find(&mut tx, &headers, now).await? else { return closed(&app).await };
    let codes = recovery::renew(&mut tx, owner.user.id).await?;
    owner.audit(&mut tx, peer, now, Event::RecoveryCodesRenew { user_id: owner.user.id }).await?;
    tx.commit().await?;
    let text = "The codes that you had before are worth nothing any more.";
    recovery::show(&app, "New recovery codes", text, &codes, recovery::Next::Account)
}

#[derive(Deserialize)]
struct PasswordForm {
    password: Zeroizing<String>,
    password_again: Zeroizing<String>,
}

async fn change_password(
    State(app): State<AppState>,
    Peer(peer): Peer,
    headers: HeaderMap,
    form: Result<Form<PasswordForm>, FormRejection>,
) -> Result<Response, PageError> {
    let now = app.now();
    app.limits().sign_in_from(peer)?;
    let owner = Owner::find(&mut *app.store().read().await?, &headers, now).await?;
    let (Some(owner), Ok(Form(form))) = (owner, form) else { return closed(&app).await };
    if *form.password != *form.password_again {
        return page(&app, &owner, Said::Problem("the two passwords differ")).await;
    }
    let password = match NewPassword::parse(&form.password, &owner.user.user_name) {
        Ok(password) => password,
        Err(rule) => return page(&app, &owner, Said::Problem(&rule.to_string())).await,
    };
    let hash = hash(password).await?;
    let mut tx = app.store().begin().await?;
    let Some(owner) = Owner::find(&mut tx, &headers, now).await? else { return closed(&app).await };
    sign_in::set_password(&mut tx, owner.user.id, hash.as_str(), now).await?;
    owner.audit(&mut tx, peer, now, Event::UserPassword { user_id: owner.user.id }).await?;
    tx.commit().await?;
    page(&app, &owner, Said::Done("The password was changed.")).await
}

/// Hashes a new password, in its turn.
pub(super) async fn hash(password: NewPassword) -> Result<PasswordHash, PageError> {
    let salt = random::bytes()?;
    let _turn = HASHING.acquire().await.map_err(ApiError::internal)?;
    let hashed = tokio::task::spawn_blocking(move || PasswordHash::of(&password, salt));
    Ok(hashed.await.map_err(ApiError::internal)?.map_err(ApiError::internal)?)
}

async fn leave(State(app): State<AppState>, headers: HeaderMap) -> Result<Response, PageError> {
    if let Some(session) = arrival::page_session(&headers) {
        let mut tx = app.store().begin().await?;
        page_sessions::end(&mut tx, session).await?;
        tx.commit().await?;
    }
    let message = Message {
        team: app.team().as_str(),
        heading: "Closed",
        text: "Nobody can change anything here without signing in again.",
        command: None,
    };
    let mut response = render(StatusCode::OK, &message)?;
    arrival::forget_cookie(&mut response)?;
    Ok(response)
}
