//! Users and their set-up codes.

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use usher_api::v1::{
    CreateUser, CreatedUser, Page, SecondFactorReset, SetUpCode, UpdateUser, User, UserStatus,
};
use usher_audit::{Event, UserProperties};
use usher_identity::UserRecord;
use usher_sign_in::SET_UP_LIFETIME;
use usher_store::{
    Conn, groups, project_users,
    project_users::Scope,
    service_users, sessions,
    sign_in::{self, Reset},
    team_roles,
    users::{self, UserChange},
};
use usher_types::{UnixTime, UserId};

use super::{Change, begin};
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Path},
    random,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/users", get(list).post(create))
        .route("/v1/users/{user}", get(show).patch(update).delete(delete))
        .route("/v1/users/{user}/set-up-code", post(set_up_code))
        .route("/v1/users/{user}/second-factor/reset", post(reset_second_factor))
}

/// Finds a user by name or id.
pub(super) async fn find(conn: &mut Conn, name: &str) -> Result<UserRecord, ApiError> {
    users::find(conn, name).await?.ok_or_else(|| ApiError::not_found("user", name))
}

fn status(status: usher_identity::UserStatus) -> UserStatus {
    match status {
        usher_identity::UserStatus::Active => UserStatus::Active,
        usher_identity::UserStatus::Disabled => UserStatus::Disabled,
    }
}

pub(super) fn summary(user: UserRecord) -> User {
    User {
        id: user.id,
        user_name: user.user_name,
        display_name: user.display_name,
        unix_user_name: user.unix_user_name,
        status: status(user.status),
        team_role: user.team_role,
        team_roles: Vec::new(),
        groups: Vec::new(),
        created_at: user.created_at,
    }
}

async fn with_groups(conn: &mut Conn, user: UserRecord) -> Result<User, ApiError> {
    let groups = groups::names_of_user(conn, user.id).await?;
    let team_roles = team_roles::of_user(conn, user.id).await?.iter().collect();
    Ok(User { groups, team_roles, ..summary(user) })
}

async fn list(State(app): State<AppState>, _caller: Admin) -> Result<Answer<Page<User>>, ApiError> {
    let mut reader = app.store().read().await?;
    let items = users::list(&mut reader).await?.into_iter().map(summary).collect();
    Ok(Answer::ok(Page { items }))
}

async fn show(
    State(app): State<AppState>,
    Path(name): Path<String>,
    _caller: Admin,
) -> Result<Answer<User>, ApiError> {
    let mut reader = app.store().read().await?;
    let user = find(&mut reader, &name).await?;
    Ok(Answer::ok(with_groups(&mut reader, user).await?))
}

async fn create(
    State(app): State<AppState>,
    Admin { admin: caller, info, body }: Admin<CreateUser>,
) -> Result<Answer<CreatedUser>, ApiError> {
    let user = new_user(body, UserId::new(info.now, random::bytes()?), info.now)?;
    let mut change = begin(&app, &caller, info).await?;
    change.refuse_above(&user.team_role.into(), "the new user")?;
    users::create(&mut change.tx, &user).await?;
    change
        .audit(Event::UserCreate {
            user_id: user.id,
            user_name: user.user_name.clone(),
            unix_user_name: user.unix_user_name.clone(),
            team_role: user.team_role,
            connector_id: None,
        })
        .await?;
    let set_up = new_code(&app, &mut change, user.id, Reset::Everything).await?;
    change.commit().await?;
    Ok(Answer::created(CreatedUser { user: summary(user), set_up }).shown_once())
}

pub(super) fn new_user(body: CreateUser, id: UserId, now: UnixTime) -> Result<UserRecord, ApiError> {
    let name = body.user_name.as_str();
    let display_name = match body.display_name {
        Some(display_name) => display_name,
        None => name.parse().map_err(|error| ApiError::invalid(format!("display_name: {error}")))?,
    };
    let unix_user_name = match body.unix_user_name {
        Some(unix_user_name) => unix_user_name,
        None => name.parse().map_err(|error| {
            ApiError::invalid(format!("unix_user_name: {error}")).with_next(
                "name a Unix user name: `unix_user_name`, or `--unix-user-name` of `usher user create`",
            )
        })?,
    };
    Ok(UserRecord {
        id,
        display_name,
        unix_user_name,
        status: usher_identity::UserStatus::Active,
        team_role: body.team_role,
        connector_id: None,
        created_at: now,
        user_name: body.user_name,
    })
}

/// Makes a set-up code in the change's transaction; what the user signed in with before ends, as far as `reset` says.
async fn new_code(
    app: &AppState,
    change: &mut Change,
    user: UserId,
    reset: Reset,
) -> Result<SetUpCode, ApiError> {
    let code = usher_sign_in::SetUpCode::generate(&mut random::rng());
    let now = change.info.now;
    let expires_at = now.saturating_add(SET_UP_LIFETIME);
    sign_in::new_set_up_code(&mut change.tx, user, reset, code.hash(), now, expires_at).await?;
    if reset == Reset::SecondFactor {
        change.audit(Event::UserSecondFactorReset { user_id: user }).await?;
    }
    change.audit(Event::UserSetUpCode { user_id: user, expires_at }).await?;
    Ok(SetUpCode::new(app.origin(), &code.reveal(), expires_at))
}

async fn set_up_code(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<CreatedUser>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let user = find(&mut change.tx, &name).await?;
    change.refuse_above_user(&user).await?;
    refuse_disabled(&user)?;
    refuse_service_user(&mut change, &user).await?;
    if user.connector_id.is_some() {
        let refused =
            format!("user `{}` signs in by an identity provider and has no password here", user.user_name);
        return Err(ApiError::invalid(refused).with_next("reset what they forgot at the provider"));
    }
    let set_up = new_code(&app, &mut change, user.id, Reset::Everything).await?;
    let user = with_groups(&mut change.tx, user).await?;
    change.commit().await?;
    Ok(Answer::ok(CreatedUser { user, set_up }).shown_once())
}

/// For somebody who lost what they had. The password stays, and set-up asks for it; people of an identity provider register
/// something new when they are next asked for it.
async fn reset_second_factor(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<SecondFactorReset>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let user = find(&mut change.tx, &name).await?;
    change.refuse_above_user(&user).await?;
    let user_id = user.id;
    let set_up = match user.connector_id {
        None => {
            refuse_disabled(&user)?;
            refuse_service_user(&mut change, &user).await?;
            Some(new_code(&app, &mut change, user_id, Reset::SecondFactor).await?)
        }
        Some(_) => {
            let now = change.info.now;
            sign_in::forget_second_factor(&mut change.tx, user_id).await?;
            sessions::end_of_user(&mut change.tx, user_id, now).await?;
            change.audit(Event::UserSecondFactorReset { user_id }).await?;
            None
        }
    };
    let user = with_groups(&mut change.tx, user).await?;
    change.commit().await?;
    Ok(Answer::ok(SecondFactorReset { user, set_up }).shown_once())
}

/// A program has no password, and nothing that could become one.
async fn refuse_service_user(change: &mut Change, user: &UserRecord) -> Result<(), ApiError> {
    if !service_users::is_one(&mut change.tx, user.id).await? {
        return Ok(());
    }
    let refused = format!("user `{}` is a service user and has no password", user.user_name);
    Err(ApiError::invalid(refused).with_next("give it an API key: `usher api-key create`"))
}

fn refuse_disabled(user: &UserRecord) -> Result<(), ApiError> {
    if user.status == usher_identity::UserStatus::Active {
        return Ok(());
    }
    let text = format!("user `{}` is disabled", user.user_name);
    Err(ApiError::invalid(text).with_next("enable the user first"))
}

async fn update(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { admin: caller, info, body }: Admin<UpdateUser>,
) -> Result<Answer<User>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let now = change.info.now;
    let before = find(&mut change.tx, &name).await?;
    change.refuse_above_user(&before).await?;
    if let Some(role) = body.team_role {
        change.refuse_above(&role.into(), format_args!("user `{}` then", before.user_name))?;
    }
    let wanted = UserChange {
        status: body.status.map(|status| match status {
            UserStatus::Active => usher_identity::UserStatus::Active,
            UserStatus::Disabled => usher_identity::UserStatus::Disabled,
        }),
        display_name: body.display_name,
        team_role: body.team_role,
    };
    let after = users::update(&mut change.tx, &before, &wanted, now).await?;
    if before.status != after.status && after.status == usher_identity::UserStatus::Active {
        // Groups may have got access while the user was disabled.
        project_users::allocate(&mut change.tx, Scope::User(after.id), now).await?;
    }
    for event in events(&before, &after) {
        change.audit(event).await?;
    }
    let user = with_groups(&mut change.tx, after).await?;
    change.commit().await?;
    Ok(Answer::ok(user))
}

/// What a change is called in the audit log.
fn events(before: &UserRecord, after: &UserRecord) -> Vec<Event> {
    let user_id = after.id;
    let mut events = Vec::new();
    if before.status != after.status {
        events.push(match after.status {
            usher_identity::UserStatus::Active => Event::UserEnable { user_id },
            usher_identity::UserStatus::Disabled => Event::UserDisable { user_id },
        });
    }
    let display_name = (before.display_name != after.display_name).then(|| after.display_name.clone());
    let team_role = (before.team_role != after.team_role).then_some(after.team_role);
    if display_name.is_some() || team_role.is_some() {
        let before = UserProperties {
            display_name: display_name.as_ref().map(|_new| before.display_name.clone()),
            team_role: team_role.map(|_new| before.team_role),
        };
        events.push(Event::UserUpdate { user_id, display_name, team_role, before: Some(before) });
    }
    events
}

async fn delete(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let user = find(&mut change.tx, &name).await?;
    change.refuse_above_user(&user).await?;
    users::delete(&mut change.tx, &user).await?;
    change.audit(Event::UserDelete { user_id: user.id, user_name: user.user_name }).await?;
    change.commit().await?;
    Ok(Answer::empty())
}
