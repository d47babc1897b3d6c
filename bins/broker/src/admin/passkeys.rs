//! Passkeys: their owners see, name and remove them, administrators see and remove them. They are registered on pages.

use axum::{
    Router,
    extract::State,
    routing::{delete, get, patch},
};
use usher_api::{
    ErrorCode,
    v1::{Page, Passkey, UpdatePasskey},
};
use usher_audit::Event;
use usher_store::{Conn, passkeys, sign_in};
use usher_types::{PasskeyId, UserId};

use super::{Change, begin, begin_own, users};
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Approved, Path},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/passkeys", get(list))
        .route("/v1/passkeys/{passkey}", patch(rename).delete(remove))
        .route("/v1/users/{user}/passkeys", get(list_of))
        .route("/v1/users/{user}/passkeys/{passkey}", delete(remove_of))
}

fn shown(passkey: passkeys::Passkey) -> Passkey {
    Passkey {
        id: passkey.id,
        name: passkey.name,
        created_at: passkey.created_at,
        last_used_at: passkey.last_used_at,
    }
}

async fn all(conn: &mut Conn, user: UserId) -> Result<Answer<Page<Passkey>>, ApiError> {
    let items = passkeys::of_user(conn, user).await?.into_iter().map(shown).collect();
    Ok(Answer::ok(Page { items }))
}

async fn find(conn: &mut Conn, user: UserId, id: &str) -> Result<passkeys::Passkey, ApiError> {
    let found = match id.parse::<PasskeyId>() {
        Ok(id) => passkeys::of_user(conn, user).await?.into_iter().find(|passkey| passkey.id == id),
        Err(_) => None,
    };
    found.ok_or_else(|| ApiError::not_found("passkey", id))
}

async fn list(
    State(app): State<AppState>,
    Approved { user, .. }: Approved,
) -> Result<Answer<Page<Passkey>>, ApiError> {
    let mut reader = app.store().read().await?;
    all(&mut reader, user.user().user_id()).await
}

async fn list_of(
    State(app): State<AppState>,
    Path(name): Path<String>,
    _caller: Admin,
) -> Result<Answer<Page<Passkey>>, ApiError> {
    let mut reader = app.store().read().await?;
    let user = users::find(&mut reader, &name).await?;
    all(&mut reader, user.id).await
}

async fn rename(
    State(app): State<AppState>,
    Path(id): Path<String>,
    Approved { user, info, body }: Approved<UpdatePasskey>,
) -> Result<Answer<Passkey>, ApiError> {
    let (mut change, caller) = begin_own(&app, &user, info).await?;
    let user_id = caller.user().user_id();
    let passkey = find(&mut change.tx, user_id, &id).await?;
    let (passkey_id, passkey_name, before) = (passkey.id, body.name, passkey.name.clone());
    if passkey_name != before {
        passkeys::rename(&mut change.tx, user_id, passkey_id, &passkey_name).await?;
        let event = Event::PasskeyRename { passkey_id, user_id, passkey_name: passkey_name.clone(), before };
        change.audit(event).await?;
    }
    change.commit().await?;
    Ok(Answer::ok(shown(passkeys::Passkey { name: passkey_name, ..passkey })))
}

/// An owner keeps a way to sign in; an administrator, who can make another one, need not leave any.
async fn remove(
    State(app): State<AppState>,
    Path(id): Path<String>,
    Approved { user, info, body: () }: Approved,
) -> Result<Answer<()>, ApiError> {
    let (mut change, caller) = begin_own(&app, &user, info).await?;
    let user_id = caller.user().user_id();
    let passkey = find(&mut change.tx, user_id, &id).await?;
    let others = passkeys::of_user(&mut change.tx, user_id).await?.len() > 1;
    if !others && !sign_in::has_totp(&mut change.tx, user_id).await? {
        let text = format!("passkey `{}` is the only second factor that you have", passkey.id);
        return Err(ApiError::new(ErrorCode::InUse, text).with_next("register another one first"));
    }
    take_away(&mut change, passkey).await?;
    change.commit().await?;
    Ok(Answer::empty())
}

async fn remove_of(
    State(app): State<AppState>,
    Path((name, id)): Path<(String, String)>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let user = users::find(&mut change.tx, &name).await?;
    change.refuse_above_user(&user).await?;
    let passkey = find(&mut change.tx, user.id, &id).await?;
    take_away(&mut change, passkey).await?;
    change.commit().await?;
    Ok(Answer::empty())
}

async fn take_away(change: &mut Change, passkey: passkeys::Passkey) -> Result<(), ApiError> {
    passkeys::remove(&mut change.tx, passkey.user_id, passkey.id).await?;
    let (passkey_id, user_id, passkey_name) = (passkey.id, passkey.user_id, passkey.name);
    change.audit(Event::PasskeyRemove { passkey_id, user_id, passkey_name }).await?;
    Ok(())
}
