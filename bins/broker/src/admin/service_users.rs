//! Service users: users that are programs. Everything but making and listing them is as for people.

use axum::{Router, extract::State, routing::get};
use usher_api::v1::{CreateServiceUser, CreateUser, Page, User};
use usher_audit::Event;
use usher_store::service_users;
use usher_types::{TeamRole, UserId};

use super::{begin, users};
use crate::{AppState, answer::Answer, error::ApiError, extract::Admin, random};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/v1/service-users", get(list).post(create))
}

async fn list(State(app): State<AppState>, _caller: Admin) -> Result<Answer<Page<User>>, ApiError> {
    let mut reader = app.store().read().await?;
    let items = service_users::list(&mut reader).await?.into_iter().map(users::summary).collect();
    Ok(Answer::ok(Page { items }))
}

async fn create(
    State(app): State<AppState>,
    Admin { admin: caller, info, body }: Admin<CreateServiceUser>,
) -> Result<Answer<User>, ApiError> {
    let CreateServiceUser { user_name, display_name, unix_user_name } = body;
    let body = CreateUser { user_name, display_name, unix_user_name, team_role: TeamRole::Member };
    let user = users::new_user(body, UserId::new(info.now, random::bytes()?), info.now)?;
    let mut change = begin(&app, &caller, info).await?;
    service_users::create(&mut change.tx, &user).await?;
    change
        .audit(Event::ServiceUserCreate {
            user_id: user.id,
            user_name: user.user_name.clone(),
            unix_user_name: user.unix_user_name.clone(),
        })
        .await?;
    change.commit().await?;
    Ok(Answer::created(users::summary(user)))
}
