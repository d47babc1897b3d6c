//! `/set-up`: with a one-time code a person chooses a password and a second factor, an authenticator or a passkey. Nothing is
//! stored before both are proved; the code is used up in the same transaction.

use askama::Template;
use axum::{
    Form, Router,
    extract::{State, rejection::FormRejection},
    response::Response,
    routing::{get, post},
};
use data_encoding::BASE64;
use http::StatusCode;
use qrcodegen::{QrCode, QrCodeEcc};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};
use usher_audit::{Actor, Event, Record};
use usher_identity::UserStatus;
use usher_keystore::{KeyLabel, Purpose};
use usher_sign_in::{
    Failures, NewPassword, PasswordHash, RecoveryCode, SetUpCode, TotpSecret,
    passkey::{Registration, StoredCredential},
};
use usher_store::sign_in;
use usher_types::{Sha256, UnixTime, UserId, UserName};
use zeroize::Zeroizing;

use super::{
    PageError, Peer, account,
    authorize::{FAILURE_TIME, HASHING},
    headers::Script,
    passkey::{self, OptionsForm, no_options, options},
    recovery, render, render_with_script, sealed,
};
use crate::{AppState, error::ApiError, random};

const FORM: &str = "set-up";
const PASSKEY_FORM: &str = "passkey-set-up";

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/set-up", get(show).post(begin))
        .route("/set-up/finish", post(finish))
        .route("/passkey/set-up/options", post(passkey_options))
}

#[derive(Debug, Template)]
#[template(path = "set_up.html")]
struct CodePage<'a> {
    team: &'a str,
    failed: bool,
}

#[derive(Debug, Template)]
#[template(path = "set_up_finish.html")]
struct FinishPage<'a> {
    team: &'a str,
    user_name: &'a str,
    request: &'a str,
    secret: &'a str,
    qr: &'a str,
    problem: Option<&'a str>,
    keeps_password: bool,
    /// Whether there can be passkeys at this address.
    passkeys: bool,
}

/// What the second page brings back.
#[derive(Serialize, Deserialize)]
struct Begun {
    code_hash: Sha256,
    user_id: UserId,
    user_name: UserName,
    /// Whether the password that was there stays, and is asked for.
    keeps_password: bool,
    /// Base64 of the second factor that the page shows.
    totp: Zeroizing<String>,
}

async fn show(State(app): State<AppState>) -> Result<Response, PageError> {
    code_page(&app, StatusCode::OK, false)
}

fn bad_code(app: &AppState) -> Result<Response, PageError> {
    code_page(app, StatusCode::UNAUTHORIZED, true)
}

fn code_page(app: &AppState, status: StatusCode, failed: bool) -> Result<Response, PageError> {
    let mut response = render(status, &CodePage { team: app.team().as_str(), failed })?;
    response.extensions_mut().insert(Script);
    Ok(response)
}

#[derive(Deserialize)]
struct CodeForm {
    code: Zeroizing<String>,
}

async fn begin(
    State(app): State<AppState>,
    Peer(peer): Peer,
    form: Result<Form<CodeForm>, FormRejection>,
) -> Result<Response, PageError> {
    let now = app.now();
    app.limits().sign_in_from(peer)?;
    let Ok(Form(form)) = form else { return bad_code(&app) };
    let Ok(code) = form.code.parse::<SetUpCode>() else { return bad_code(&app) };
    let mut reader = app.store().read().await?;
    let owner = sign_in::set_up_owner(&mut reader, code.hash()).await?;
    let good = owner.filter(|owner| owner.status == UserStatus::Active && now < owner.expires_at);
    let Some(owner) = good else {
        app.failures().count("set_up_code", peer, now);
        return bad_code(&app);
    };
    let secret = TotpSecret::new(random::bytes()?);
    let begun = Begun {
        code_hash: code.hash(),
        user_id: owner.user_id,
        user_name: owner.user_name,
        keeps_password: owner.password_hash.is_some(),
        totp: Zeroizing::new(BASE64.encode(secret.expose())),
    };
    finish_page(&app, &begun, &secret, None, now)
}

fn finish_page(
    app: &AppState,
    begun: &Begun,
    secret: &TotpSecret,
    problem: Option<&str>,
    now: UnixTime,
) -> Result<Response, PageError> {
    let request = sealed::seal(app, FORM, begun, now)?;
    let uri = secret.to_uri(app.team(), &begun.user_name);
    let shown = groups_of_four(&secret.to_base32());
    let page = FinishPage {
        team: app.team().as_str(),
        user_name: begun.user_name.as_str(),
        request: &request,
        secret: &shown,
        qr: &qr(&uri)?,
        problem,
        keeps_password: begun.keeps_password,
        passkeys: app.relying_party().is_some(),
    };
    render_with_script(
        app,
        if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK },
        &page,
    )
}

/// Authenticators ignore the spaces; people need them.
pub(super) fn groups_of_four(secret: &str) -> Zeroizing<String> {
    let mut shown = Zeroizing::new(String::with_capacity(secret.len() * 2));
    for (index, character) in secret.chars().enumerate() {
        if index > 0 && index % 4 == 0 {
            shown.push(' ');
        }
        shown.push(character);
    }
    shown
}

/// A QR code as inline SVG: one path, a square for each dark module.
pub(super) fn qr(text: &str) -> Result<Zeroizing<String>, ApiError> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).map_err(ApiError::internal)?;
    let mut path = Zeroizing::new(String::new());
    for y in 0..code.size() {
        for x in 0..code.size() {
            if code.get_module(x, y) {
                path.push_str(&format!("M{x} {y}h1v1h-1z"));
            }
        }
    }
    let size = code.size();
    Ok(Zeroizing::new(format!(
        "<svg viewBox=\"0 0 {size} {size}\" role=\"img\" aria-label=\"QR code of the key below\" shape-rendering=\"crispEdges\">\
         <path fill=\"#000\" d=\"{}\"/></svg>",
        *path
    )))
}

#[derive(Deserialize)]
struct FinishForm {
    request: String,
    password: Zeroizing<String>,
    #[serde(default)]
    password_again: Zeroizing<String>,
    #[serde(default)]
    totp: Zeroizing<String>,
    #[serde(default)]
    ceremony: String,
    #[serde(default)]
    credential: String,
}

/// The second factor that was proved.
enum Factor {
    Totp { secret: TotpSecret, step: i64 },
    Passkey(StoredCredential),
}

async fn passkey_options(
    State(app): State<AppState>,
    Peer(peer): Peer,
    form: Result<Form<OptionsForm>, FormRejection>,
) -> Result<Response, PageError> {
    let now = app.now();
    app.limits().sign_in_from(peer)?;
    let (Ok(Form(form)), Some(party)) = (form, app.relying_party()) else { return Ok(no_options()) };
    let Some(opened) = sealed::open::<Begun>(&app, FORM, &form.request, now) else { return Ok(no_options()) };
    let begun = opened.content;
    let (todo, registration) =
        party.register(begun.user_id, &begun.user_name, &[]).map_err(ApiError::internal)?;
    options(&app, PASSKEY_FORM, opened.hash, todo, registration, now)
}

/// The second factor that the form proves, or why it proves none.
async fn proved(
    app: &AppState,
    form: &FinishForm,
    page: Sha256,
    secret: &TotpSecret,
    now: UnixTime,
) -> Result<Result<Factor, &'static str>, PageError> {
    if form.credential.is_empty() {
        return Ok(match secret.step_of(&form.totp, now) {
            Some(step) => Ok(Factor::Totp { secret: secret.clone(), step }),
            None => {
                Err("the code is not the one that the authenticator shows now; check the time of your phone")
            }
        });
    }
    let again = "the passkey was not registered; try again";
    let Some(party) = app.relying_party() else { return Ok(Err(again)) };
    let registration = passkey::use_up::<Registration>(app, PASSKEY_FORM, page, &form.ceremony, now).await?;
    let Some(registration) = registration else { return Ok(Err(again)) };
    Ok(match party.registered(&form.credential, &registration) {
        Ok(key) => Ok(Factor::Passkey(key.into_credential())),
        Err(error) => {
            tracing::info!(cause = %usher_telemetry::Chain(&error), "a passkey was not registered");
            Err(again)
        }
    })
}

async fn finish(
    State(app): State<AppState>,
    Peer(peer): Peer,
    form: Result<Form<FinishForm>, FormRejection>,
) -> Result<Response, PageError> {
    let now = app.now();
    let answer_failure_at = Instant::now() + FAILURE_TIME;
    app.limits().sign_in_from(peer)?;
    let Ok(Form(form)) = form else { return bad_code(&app) };
    let Some(opened) = sealed::open::<Begun>(&app, FORM, &form.request, now) else { return bad_code(&app) };
    let begun = opened.content;
    let bytes = Zeroizing::new(BASE64.decode(begun.totp.as_bytes()).map_err(ApiError::internal)?);
    let secret = TotpSecret::from_bytes(&bytes).map_err(ApiError::internal)?;
    let again = |problem: &str| finish_page(&app, &begun, &secret, Some(problem), now);
    let password = match begun.keeps_password {
        true => None,
        false => match chosen(&form, &begun.user_name) {
            Ok(password) => Some(password),
            Err(problem) => return again(&problem),
        },
    };
    let factor = match proved(&app, &form, opened.hash, &secret, now).await? {
        Ok(factor) => factor,
        Err(problem) => return again(problem),
    };
    let hash = match password {
        Some(password) => Some(account::hash(password).await?),
        None if stayed(&app, &begun, form.password, now).await? => None,
        None => {
            sleep_until(answer_failure_at).await;
            return again("this is not the password that you had");
        }
    };
    let next = match factor {
        Factor::Totp { .. } => "The first sign-in needs the next code that your authenticator shows.",
        Factor::Passkey(_) => "Your passkey is all that you need there.",
    };
    let Some(codes) = store(&app, &begun, factor, hash.as_ref(), peer, now).await? else {
        return bad_code(&app);
    };
    recovery::show(&app, "You are set up", next, &codes, recovery::Next::Terminal)
}

/// The password that was chosen, or why it cannot be.
fn chosen(form: &FinishForm, user_name: &UserName) -> Result<NewPassword, String> {
    if *form.password != *form.password_again {
        return Err("the two passwords differ".to_owned());
    }
    NewPassword::parse(&form.password, user_name).map_err(|rule| rule.to_string())
}

/// Whether it is the password that stayed. Guesses count as those at sign-in do.
async fn stayed(
    app: &AppState,
    begun: &Begun,
    password: Zeroizing<String>,
    now: UnixTime,
) -> Result<bool, PageError> {
    app.limits().sign_in_as(begun.user_name.as_str())?;
    let mut tx = app.store().begin().await?;
    let Some(stored) = sign_in::credentials(&mut tx, &begun.user_name).await? else { return Ok(false) };
    let failures = Failures { count: stored.failed_attempts, locked_until: stored.locked_until };
    if failures.locked(now) {
        return Ok(false);
    }
    let after = failures.one_more(now);
    sign_in::record_failures(&mut tx, stored.user_id, after.count, after.locked_until).await?;
    tx.commit().await?;
    let Some(hash) = stored.password_hash else { return Ok(false) };
    let hash: PasswordHash = hash.parse().map_err(ApiError::internal)?;
    let _turn = HASHING.acquire().await.map_err(ApiError::internal)?;
    let matches = tokio::task::spawn_blocking(move || hash.matches(&password));
    Ok(matches.await.map_err(ApiError::internal)?)
}

/// Everything at once, or nothing when the code was used, replaced or taken back meanwhile.
async fn store(
    app: &AppState,
    begun: &Begun,
    factor: Factor,
    hash: Option<&PasswordHash>,
    peer: std::net::IpAddr,
    now: UnixTime,
) -> Result<Option<Vec<RecoveryCode>>, PageError> {
    let mut tx = app.store().begin().await?;
    if !sign_in::use_set_up_code(&mut tx, begun.code_hash, now).await? {
        return Ok(None);
    }
    if let Some(hash) = hash {
        sign_in::set_password(&mut tx, begun.user_id, hash.as_str(), now).await?;
    }
    match factor {
        Factor::Totp { secret, step } => {
            let label = KeyLabel::new(begun.user_id.to_string(), Purpose::TotpSeed);
            let sealed = app.keystore().seal(&label, secret.expose()).map_err(ApiError::internal)?;
            sign_in::set_totp(&mut tx, begun.user_id, &sealed, step, now).await?;
        }
        Factor::Passkey(credential) => {
            if !passkey::add(&mut tx, begun.user_id, credential, None, peer, now).await? {
                return Ok(None);
            }
        }
    }
    let codes = recovery::renew(&mut tx, begun.user_id).await?;
    sign_in::forget_failures(&mut tx, begun.user_id).await?;
    tx.audit(&Record {
        at: now,
        actor: Actor::User { user_id: begun.user_id, device_id: None, session_id: None },
        client_address: Some(peer),
        event: Event::UserSetUp { user_id: begun.user_id },
    })
    .await?;
    tx.commit().await?;
    Ok(Some(codes))
}
