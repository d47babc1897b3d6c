//! `/second-factor`: somebody signed in at an identity provider that did not say so much as a second factor, and a server
//! that the sign-in is for asks for one. A passkey or an authenticator that is registered here completes the login; who has
//! none registers one now, straight after the provider's fresh login. By itself it opens nothing.

use std::net::IpAddr;

use askama::Template;
use axum::{
    Form, Router,
    extract::{State, rejection::FormRejection},
    response::Response,
    routing::post,
};
use data_encoding::BASE64;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};
use usher_audit::{Actor, Event, Record};
use usher_identity::{AuthenticationMethod, Login as _, UserRecord, UserStatus};
use usher_keystore::{KeyLabel, Purpose};
use usher_policy::{Asker, explain};
use usher_sign_in::{
    Failures, FirstFactor, Refusal, SecondFactor, TotpSecret, VerifiedLogin,
    passkey::{Ceremony, RegisteredPasskey, Registration},
};
use usher_store::{
    Conn, ConnectorState, WriteTx, connections, connectors, passkeys, servers, sign_in, users,
};
use usher_types::{Sha256, UnixTime};
use zeroize::Zeroizing;

use super::{
    PageError, Peer,
    arrival::{self, Goal},
    authorize::{self, FAILURE_TIME},
    passkey::{self, Found, OptionsForm, no_options, options},
    render_with_script, sealed, set_up,
};
use crate::{AppState, error::ApiError, random};

const FORM: &str = "second-factor";
const USE_FORM: &str = "passkey-second-factor";
const REGISTER_FORM: &str = "passkey-second-factor-new";

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/second-factor", post(finish)).route("/second-factor/options", post(begin))
}

/// What the page brings back.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiting {
    first: FirstFactor,
    /// The page that the sign-in began with; leads to one arrival.
    page: Sha256,
    goal: Goal,
    /// Base64 of an authenticator's secret, for who has no second factor yet.
    totp: Option<Zeroizing<String>>,
}

/// What somebody has.
struct Factors {
    passkeys: bool,
    totp: bool,
}

impl Factors {
    async fn of(conn: &mut Conn, user: &UserRecord) -> Result<Self, PageError> {
        let passkeys = !passkeys::of_user(conn, user.id).await?.is_empty();
        Ok(Self { passkeys, totp: sign_in::has_totp(conn, user.id).await? })
    }

    fn none(&self) -> bool {
        !self.passkeys && !self.totp
    }
}

#[derive(Debug, Template)]
#[template(path = "second_factor.html")]
struct FactorPage<'a> {
    team: &'a str,
    user_name: &'a str,
    request: &'a str,
    /// The QR code and key of a new authenticator.
    new: Option<(&'a str, &'a str)>,
    passkeys: bool,
    totp: bool,
    problem: Option<&'a str>,
}

/// Whether the login lacks a second factor that a server on the sign-in's list asks for.
pub(super) async fn is_wanted(
    conn: &mut Conn,
    user: &UserRecord,
    login: &VerifiedLogin,
    goal: &Goal,
    now: UnixTime,
) -> Result<bool, PageError> {
    let strong = |method: &AuthenticationMethod| {
        matches!(method, AuthenticationMethod::HardwareKey | AuthenticationMethod::MultiFactor)
    };
    let Some(request) = goal.program() else { return Ok(false) };
    if login.amr().iter().any(strong) {
        return Ok(false);
    }
    let asker = Asker {
        user_id: user.id,
        user_name: &user.user_name,
        device: None,
        auth_time: login.auth_time(),
        amr: login.amr(),
    };
    for name in &request.servers {
        let Some(server) = servers::find(conn, name.as_str()).await? else { continue };
        let Some(facts) = connections::facts(conn, user.id, None, &server).await? else { continue };
        let asks = explain(&asker, &facts, None, now).asks;
        if asks.is_some_and(|asks| asks.second_factor) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The page, for a login that waits.
pub(super) async fn ask(
    app: &AppState,
    user: &UserRecord,
    login: VerifiedLogin,
    page: Sha256,
    goal: Goal,
    now: UnixTime,
) -> Result<Response, PageError> {
    let factors = Factors::of(&mut *app.store().read().await?, user).await?;
    let totp = match factors.none() {
        true => Some(Zeroizing::new(BASE64.encode(TotpSecret::new(random::bytes()?).expose()))),
        false => None,
    };
    let first = FirstFactor::of(login).ok_or_else(|| ApiError::internal("no provider was asked"))?;
    show(app, user, &factors, &Waiting { first, page, goal, totp }, None, now)
}

fn show(
    app: &AppState,
    user: &UserRecord,
    factors: &Factors,
    waiting: &Waiting,
    problem: Option<&str>,
    now: UnixTime,
) -> Result<Response, PageError> {
    let request = sealed::seal_for(app, FORM, waiting, passkey::LIFETIME, now)?;
    let new = match &waiting.totp {
        Some(secret) => {
            let secret = opened_secret(secret)?;
            let uri = secret.to_uri(app.team(), &user.user_name);
            Some((set_up::qr(&uri)?, set_up::groups_of_four(&secret.to_base32())))
        }
        None => None,
    };
    let page = FactorPage {
        team: app.team().as_str(),
        user_name: user.user_name.as_str(),
        request: &request,
        new: new.as_ref().map(|(qr, key)| (qr.as_str(), key.as_str())),
        passkeys: app.relying_party().is_some() && (new.is_some() || factors.passkeys),
        totp: new.is_some() || factors.totp,
        problem,
    };
    let status = if problem.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    render_with_script(app, status, &page)
}

fn opened_secret(text: &str) -> Result<TotpSecret, PageError> {
    let bytes = Zeroizing::new(BASE64.decode(text.as_bytes()).map_err(ApiError::internal)?);
    Ok(TotpSecret::from_bytes(&bytes).map_err(ApiError::internal)?)
}

/// Whose login waits, when it still may: the provider's people may have been disabled meanwhile.
async fn owner(conn: &mut Conn, waiting: &Waiting) -> Result<Option<UserRecord>, PageError> {
    let connector = connectors::by_id(conn, waiting.first.connector_id()).await?;
    if connector.is_none_or(|connector| connector.state != ConnectorState::Active) {
        return Ok(None);
    }
    let user = users::by_id(conn, waiting.first.user_id()).await?;
    Ok(user.filter(|user| user.status == UserStatus::Active))
}

async fn begin(
    State(app): State<AppState>,
    Peer(peer): Peer,
    form: Result<Form<OptionsForm>, FormRejection>,
) -> Result<Response, PageError> {
    let now = app.now();
    app.limits().sign_in_from(peer)?;
    let (Ok(Form(form)), Some(party)) = (form, app.relying_party()) else { return Ok(no_options()) };
    let Some(opened) = sealed::open::<Waiting>(&app, FORM, &form.request, now) else {
        return Ok(no_options());
    };
    let waiting = opened.content;
    let Some(user) = owner(&mut *app.store().read().await?, &waiting).await? else { return Ok(no_options()) };
    if waiting.totp.is_some() {
        let (todo, state) = party.register(user.id, &user.user_name, &[]).map_err(ApiError::internal)?;
        return options(&app, REGISTER_FORM, opened.hash, todo, state, now);
    }
    let (todo, state) = party.begin().map_err(ApiError::internal)?;
    options(&app, USE_FORM, opened.hash, todo, state, now)
}

#[derive(Deserialize)]
struct FactorForm {
    request: String,
    #[serde(default)]
    code: Zeroizing<String>,
    #[serde(default)]
    ceremony: String,
    #[serde(default)]
    credential: String,
}

/// What was shown, and what is to be stored with it.
enum Proved {
    NewPasskey(RegisteredPasskey),
    NewTotp { secret: TotpSecret, step: i64 },
    Passkey(Found),
    Totp { second: SecondFactor, step: i64 },
}

async fn finish(
    State(app): State<AppState>,
    Peer(peer): Peer,
    form: Result<Form<FactorForm>, FormRejection>,
) -> Result<Response, PageError> {
    let now = app.now();
    let answer_failure_at = Instant::now() + FAILURE_TIME;
    app.limits().sign_in_from(peer)?;
    let Ok(Form(form)) = form else { return authorize::too_old(&app) };
    let Some(opened) = sealed::open::<Waiting>(&app, FORM, &form.request, now) else {
        return authorize::too_old(&app);
    };
    let waiting = opened.content;
    let found = owner(&mut *app.store().read().await?, &waiting).await?;
    let Some(user) = found else { return authorize::too_old(&app) };
    let refusal = match prove(&app, &form, &waiting, &user, opened.hash, now).await? {
        Ok(proved) => match accept(&app, &waiting, &user, proved, peer, now).await? {
            Some(response) => return Ok(response),
            None => Refusal::CodeReused,
        },
        Err(refusal) => refusal,
    };
    authorize::record_failure(&app, Some(user.id), refusal, peer, now).await?;
    sleep_until(answer_failure_at).await;
    let factors = Factors::of(&mut *app.store().read().await?, &user).await?;
    show(
        &app,
        &user,
        &factors,
        &waiting,
        Some("That did not work. A code works once; after several failures sign-in pauses for a while."),
        now,
    )
}

async fn prove(
    app: &AppState,
    form: &FactorForm,
    waiting: &Waiting,
    user: &UserRecord,
    page: Sha256,
    now: UnixTime,
) -> Result<Result<Proved, Refusal>, PageError> {
    let wrong = Ok(Err(Refusal::PasskeyWrong));
    match (&waiting.totp, form.credential.is_empty(), app.relying_party()) {
        (Some(secret), true, _) => {
            let secret = opened_secret(secret)?;
            Ok(match secret.step_of(&form.code, now) {
                Some(step) => Ok(Proved::NewTotp { secret, step }),
                None => Err(Refusal::CodeWrong),
            })
        }
        (Some(_), false, Some(party)) => {
            let state =
                passkey::use_up::<Registration>(app, REGISTER_FORM, page, &form.ceremony, now).await?;
            let Some(state) = state else { return wrong };
            let registered = party.registered(&form.credential, &state);
            Ok(registered.map(Proved::NewPasskey).map_err(|_error| Refusal::PasskeyWrong))
        }
        (None, false, Some(party)) => {
            let state = passkey::use_up::<Ceremony>(app, USE_FORM, page, &form.ceremony, now).await?;
            let Some(state) = state else { return wrong };
            let found = passkey::look(app, party, state, &form.credential, now).await?;
            Ok(found.map(Proved::Passkey).map_err(|(_whose, refusal)| refusal))
        }
        (None, true, _) => code(app, form, user, now).await,
        (_, false, None) => wrong,
    }
}

/// Guesses are counted as those at sign-in are, before they are looked at.
async fn code(
    app: &AppState,
    form: &FactorForm,
    user: &UserRecord,
    now: UnixTime,
) -> Result<Result<Proved, Refusal>, PageError> {
    let mut tx = app.store().begin().await?;
    let Some(stored) = sign_in::credentials(&mut tx, &user.user_name).await? else {
        return Ok(Err(Refusal::UnknownUser));
    };
    let failures = Failures { count: stored.failed_attempts, locked_until: stored.locked_until };
    if failures.locked(now) {
        return Ok(Err(Refusal::Locked));
    }
    let after = failures.one_more(now);
    sign_in::record_failures(&mut tx, user.id, after.count, after.locked_until).await?;
    tx.commit().await?;
    let Some(sealed) = &stored.sealed_totp else { return Ok(Err(Refusal::NotSetUp)) };
    let label = KeyLabel::new(user.id.to_string(), Purpose::TotpSeed);
    let secret = app.keystore().open(&label, sealed).map_err(ApiError::internal)?;
    let secret = TotpSecret::from_bytes(&secret).map_err(ApiError::internal)?;
    let proved = SecondFactor::totp(user.id, &secret, stored.last_used_step, &form.code, now);
    Ok(proved.map(|(second, step)| Proved::Totp { second, step }).ok_or(Refusal::CodeWrong))
}

/// One transaction: the factor is used up or stored, and the login leads where it was for. None when it was too late.
async fn accept(
    app: &AppState,
    waiting: &Waiting,
    user: &UserRecord,
    proved: Proved,
    peer: IpAddr,
    now: UnixTime,
) -> Result<Option<Response>, PageError> {
    let mut tx = app.store().begin().await?;
    if owner(&mut tx, waiting).await?.is_none() {
        return Ok(None);
    }
    let Some(second) = settle(app, &mut tx, user, proved, peer, now).await? else { return Ok(None) };
    sign_in::forget_failures(&mut tx, user.id).await?;
    let Ok(login) = waiting.first.clone().complete(second) else { return Ok(None) };
    let arrival = arrival::arrive(app, &mut tx, login, waiting.page, &waiting.goal, peer, now).await?;
    let Some(arrival) = arrival else { return Ok(None) };
    tx.commit().await?;
    arrival.go().map(Some)
}

async fn settle(
    app: &AppState,
    tx: &mut WriteTx,
    user: &UserRecord,
    proved: Proved,
    peer: IpAddr,
    now: UnixTime,
) -> Result<Option<SecondFactor>, PageError> {
    match proved {
        Proved::Passkey(Found { id, verified, of_provider: _ }) => {
            let key = &verified.credential;
            let fresh = passkeys::used(tx, id, &key.credential, key.sign_count, now).await?;
            Ok(fresh.then(|| SecondFactor::passkey(&verified)))
        }
        Proved::Totp { second, step } => {
            Ok(sign_in::use_totp_step(tx, user.id, step).await?.then_some(second))
        }
        // SECURITY: only for somebody who has none. Who has one and lost it asks an administrator.
        Proved::NewPasskey(_) | Proved::NewTotp { .. } if !Factors::of(tx, user).await?.none() => Ok(None),
        Proved::NewPasskey(key) => {
            let second = SecondFactor::registered(user.id, &key);
            let added = passkey::add(tx, user.id, key.into_credential(), None, peer, now).await?;
            Ok(added.then_some(second))
        }
        Proved::NewTotp { secret, step } => {
            let label = KeyLabel::new(user.id.to_string(), Purpose::TotpSeed);
            let sealed = app.keystore().seal(&label, secret.expose()).map_err(ApiError::internal)?;
            let code = secret.code_at(now);
            let second = SecondFactor::totp(user.id, &secret, None, &code, now);
            sign_in::set_totp(tx, user.id, &sealed, step, now).await?;
            let actor = Actor::User { user_id: user.id, device_id: None, session_id: None };
            let event = Event::UserAuthenticator { user_id: user.id };
            tx.audit(&Record { at: now, actor, client_address: Some(peer), event }).await?;
            Ok(second.map(|(second, _step)| second))
        }
    }
}
