//! `/passkey/...`: the two halves of a ceremony. A script asks what to do ([`options`]), a form brings the answer.
//!
//! What a ceremony must remember is sealed and goes through the browser: it is good for five minutes, for the page that it
//! was begun on, and once, whatever comes of it. Whose key it is the answer says; nobody types a name.

use std::{net::IpAddr, time::Duration};

use axum::{
    Form, Json, Router,
    extract::{State, rejection::FormRejection},
    response::{IntoResponse, Response},
    routing::post,
};
use http::StatusCode;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep_until};
use usher_audit::{Actor, Event, Record};
use usher_identity::UserStatus;
use usher_sign_in::{
    Refusal,
    passkey::{BrowserOptions, Ceremony, PasskeyError, RelyingParty, StoredCredential, VerifiedPasskey},
};
use usher_store::{WriteTx, passkeys, sign_in};
use usher_types::{DisplayName, PasskeyId, Sha256, UnixTime, UserId};

use super::{
    PageError, Peer,
    arrival::{self, Arrival, Goal},
    authorize::{self, FAILURE_TIME, Problem, Refused},
    sealed,
};
use crate::{AppState, error::ApiError, random};

/// How long a person may take to unlock a key.
pub(super) const LIFETIME: Duration = Duration::from_secs(5 * 60);
const FORM: &str = "passkey-sign-in";

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/passkey/sign-in/options", post(begin)).route("/passkey/sign-in", post(finish))
}

/// What a script is told.
#[derive(Serialize)]
struct Begun {
    options: BrowserOptions,
    ceremony: String,
}

/// What a ceremony remembers.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    /// The page on which it was begun.
    page: Sha256,
    state: T,
}

#[derive(Deserialize)]
pub(super) struct OptionsForm {
    pub(super) request: String,
}

/// Gives a script what to do and what to bring back, for the form `form` on the page `page`.
pub(super) fn options(
    app: &AppState,
    form: &str,
    page: Sha256,
    options: BrowserOptions,
    state: impl Serialize,
    now: UnixTime,
) -> Result<Response, PageError> {
    let ceremony = sealed::seal_for(app, form, &Kept { page, state }, LIFETIME, now)?;
    Ok(Json(Begun { options, ceremony }).into_response())
}

/// What a script is told when there is nothing to do.
pub(super) fn no_options() -> Response {
    StatusCode::BAD_REQUEST.into_response()
}

/// Uses up a ceremony of this form and page; `None` when it is another's, too old, or was used before.
pub(super) async fn use_up<T: DeserializeOwned>(
    app: &AppState,
    form: &str,
    page: Sha256,
    ceremony: &str,
    now: UnixTime,
) -> Result<Option<T>, PageError> {
    let Some(opened) = sealed::open::<Kept<T>>(app, form, ceremony, now) else { return Ok(None) };
    if opened.content.page != page {
        return Ok(None);
    }
    let mut tx = app.store().begin().await?;
    let first = sign_in::use_once(&mut tx, opened.hash, now.saturating_add(LIFETIME)).await?;
    tx.commit().await?;
    Ok(first.then_some(opened.content.state))
}

async fn begin(
    State(app): State<AppState>,
    Peer(peer): Peer,
    form: Result<Form<OptionsForm>, FormRejection>,
) -> Result<Response, PageError> {
    let now = app.now();
    app.limits().sign_in_from(peer)?;
    let (Ok(Form(form)), Some(party)) = (form, app.relying_party()) else { return Ok(no_options()) };
    let Some(opened) = sealed::open::<Goal>(&app, authorize::FORM, &form.request, now) else {
        return Ok(no_options());
    };
    let (todo, ceremony) = party.begin().map_err(ApiError::internal)?;
    options(&app, FORM, opened.hash, todo, ceremony, now)
}

#[derive(Deserialize)]
struct SignInForm {
    request: String,
    ceremony: String,
    credential: String,
}

async fn finish(
    State(app): State<AppState>,
    Peer(peer): Peer,
    form: Result<Form<SignInForm>, FormRejection>,
) -> Result<Response, PageError> {
    let now = app.now();
    let answer_failure_at = Instant::now() + FAILURE_TIME;
    app.limits().sign_in_from(peer)?;
    let (Ok(Form(form)), Some(party)) = (form, app.relying_party()) else {
        return authorize::too_old(&app);
    };
    let Some(opened) = sealed::open::<Goal>(&app, authorize::FORM, &form.request, now) else {
        return authorize::too_old(&app);
    };
    let outcome = match use_up(&app, FORM, opened.hash, &form.ceremony, now).await? {
        Some(ceremony) => match look(&app, party, ceremony, &form.credential, now).await? {
            // SECURITY: whoever has an identity provider signs in there, and leaving it is the end. A key of theirs is a
            // second factor, and opens nothing by itself.
            Ok(found) if found.of_provider => Err((None, Refusal::PasskeyWrong)),
            Ok(found) => accept(&app, found, opened.hash, &opened.content, peer, now).await?,
            Err(refused) => Err(refused),
        },
        None => Err((None, Refusal::PasskeyWrong)),
    };
    match outcome {
        Ok(arrival) => arrival.go(),
        Err(refused) => {
            refuse(&app, refused, peer, now).await?;
            sleep_until(answer_failure_at).await;
            authorize::page(&app, &opened.content, "", Some(Problem::Passkey)).await
        }
    }
}

/// A key that answered, and the row it is stored in.
pub(super) struct Found {
    pub(super) id: PasskeyId,
    pub(super) verified: VerifiedPasskey,
    /// Whether its owner belongs to an identity provider.
    pub(super) of_provider: bool,
}

/// Finds the key of an answer and checks the one against the other. Changes nothing yet.
pub(super) async fn look(
    app: &AppState,
    party: &RelyingParty,
    ceremony: Ceremony,
    credential: &str,
    now: UnixTime,
) -> Result<Result<Found, Refused>, PageError> {
    let Ok(answer) = party.read(credential) else { return Ok(Err((None, Refusal::PasskeyWrong))) };
    let row = passkeys::by_credential(&mut *app.store().read().await?, &answer.credential_id()).await?;
    let Some(row) = row else { return Ok(Err((None, Refusal::PasskeyWrong))) };
    let (id, owner, status, of_provider) = (row.id, row.user_id, row.owner, row.of_provider);
    Ok(match party.verify(&answer, ceremony, owner, &credential_of(row), now) {
        Ok(_) if status == UserStatus::Disabled => Err((Some(owner), Refusal::Disabled)),
        Ok(verified) => Ok(Found { id, verified, of_provider }),
        // Only its owner, or who copied it, comes this far: the signature is good.
        Err(PasskeyError::Counter) => Err((Some(owner), Refusal::PasskeyCounter)),
        Err(error @ (PasskeyError::Form | PasskeyError::Owner | PasskeyError::Refused(_))) => {
            tracing::info!(passkey = %id, cause = %usher_telemetry::Chain(&error), "a passkey was refused");
            // Anybody can name somebody's key: counted, and not a row of the log each.
            Err((None, Refusal::PasskeyWrong))
        }
    })
}

/// One transaction: the key's count moves on, and the sign-in leads where it was for.
async fn accept(
    app: &AppState,
    found: Found,
    page: Sha256,
    goal: &Goal,
    peer: IpAddr,
    now: UnixTime,
) -> Result<Result<Arrival, Refused>, PageError> {
    use usher_identity::Login as _;
    let Found { id, verified: VerifiedPasskey { login, credential }, of_provider: _ } = found;
    let user_id = login.user_id();
    let mut tx = app.store().begin().await?;
    if !passkeys::used(&mut tx, id, &credential.credential, credential.sign_count, now).await? {
        return Ok(Err((Some(user_id), Refusal::PasskeyCounter)));
    }
    let Some(arrival) = arrival::arrive(app, &mut tx, login, page, goal, peer, now).await? else {
        return Ok(Err((None, Refusal::PasskeyWrong)));
    };
    tx.commit().await?;
    Ok(Ok(arrival))
}

async fn refuse(app: &AppState, refused: Refused, peer: IpAddr, now: UnixTime) -> Result<(), PageError> {
    let (user_id, refusal) = refused;
    authorize::record_failure(app, user_id, refusal, peer, now).await
}

/// Stores a key that was registered, under a name that its owner may change; false when somebody has it already.
pub(super) async fn add(
    tx: &mut WriteTx,
    user_id: UserId,
    credential: StoredCredential,
    name: Option<DisplayName>,
    peer: IpAddr,
    now: UnixTime,
) -> Result<bool, PageError> {
    let name = match name {
        Some(name) => name,
        None => "Passkey 1".parse().map_err(ApiError::internal)?,
    };
    let passkey = passkeys::Passkey {
        id: PasskeyId::new(now, random::bytes()?),
        user_id,
        credential_id: credential.credential_id,
        credential: credential.credential,
        sign_count: credential.sign_count,
        name,
        created_at: now,
        last_used_at: None,
        owner: UserStatus::Active,
        of_provider: false,
    };
    if !passkeys::add(tx, &passkey).await? {
        return Ok(false);
    }
    let event = Event::PasskeyRegister { passkey_id: passkey.id, user_id, passkey_name: passkey.name };
    let actor = Actor::User { user_id, device_id: None, session_id: None };
    tx.audit(&Record { at: now, actor, client_address: Some(peer), event }).await?;
    Ok(true)
}

/// A row as the ceremonies know it.
pub(super) fn credential_of(row: passkeys::Passkey) -> StoredCredential {
    StoredCredential {
        credential_id: row.credential_id,
        credential: row.credential,
        sign_count: row.sign_count,
    }
}
