//! Why somebody may, or may not, connect to a server: the decision's own reasons, for people. Decides nothing, and writes
//! nothing into the log.

use std::net::IpAddr;

use axum::{Router, extract::State, routing::get};
use usher_api::v1::{Explanation, ExplanationQuery, RoleExplained, Verdict};
use usher_identity::{AuthenticationMethod, UserRecord, UserStatus};
use usher_policy::{Asker, explain};
use usher_store::{Conn, connections, devices, projects, servers, users};
use usher_types::{DeviceId, DeviceName, Permission, UnixTime};

use crate::{
    AppState,
    admin::conditions,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Approved, Path, Query},
    request::RequestInfo,
};

pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/servers/{server}/access", get(own))
        .route("/v1/servers/{server}/access/{user}", get(of_user))
}

/// Of the caller, where and on what it is.
async fn own(
    State(app): State<AppState>,
    Path(server): Path<String>,
    Approved { user, info, body: () }: Approved,
) -> Result<Answer<Explanation>, ApiError> {
    let mut reader = app.store().read().await?;
    let caller = user.user();
    let found = users::by_id(&mut reader, caller.user_id()).await?.ok_or_else(ApiError::login_required)?;
    let hidden = || ApiError::not_found("server", &server);
    let project = servers::find(&mut reader, &server).await?.ok_or_else(hidden)?.project_id;
    if !caller.team_roles().permit(Permission::ReadTeam)
        && !projects::is_visible_to(&mut reader, project, found.id).await?
    {
        return Err(hidden());
    }
    let asked = Asked {
        user: found,
        device: Some((caller.device_id(), caller.device_name().clone())),
        signed_in: Some((caller.auth_time(), caller.amr().to_vec())),
        client: Some(info.client_address),
    };
    look(&mut reader, asked, &server, &info).await
}

/// Of anybody, for administrators.
async fn of_user(
    State(app): State<AppState>,
    Path((server, user)): Path<(String, String)>,
    Query(query): Query<ExplanationQuery>,
    Admin { info, .. }: Admin,
) -> Result<Answer<Explanation>, ApiError> {
    let mut reader = app.store().read().await?;
    let user = users::find(&mut reader, &user).await?.ok_or_else(|| ApiError::not_found("user", &user))?;
    look(&mut reader, Asked { user, device: None, signed_in: None, client: query.from }, &server, &info).await
}

struct Asked {
    user: UserRecord,
    device: Option<(DeviceId, DeviceName)>,
    signed_in: Option<(UnixTime, Vec<AuthenticationMethod>)>,
    client: Option<IpAddr>,
}

async fn look(
    reader: &mut Conn,
    asked: Asked,
    server: &str,
    info: &RequestInfo,
) -> Result<Answer<Explanation>, ApiError> {
    let hidden = || ApiError::not_found("server", server);
    let server = servers::find(reader, server).await?.ok_or_else(hidden)?;
    let facts = connections::facts(reader, asked.user.id, asked.device.as_ref().map(|(id, _)| *id), &server)
        .await?
        .ok_or_else(hidden)?;
    // Of others it is not known how they will have signed in: as well as one can.
    let supposed = [AuthenticationMethod::MultiFactor];
    let asker = Asker {
        user_id: asked.user.id,
        user_name: &asked.user.user_name,
        device: asked.device.as_ref().map(|(id, name)| (*id, name)),
        auth_time: asked.signed_in.as_ref().map_or(info.now, |(auth_time, _)| *auth_time),
        amr: asked.signed_in.as_ref().map_or(supposed.as_slice(), |(_, amr)| amr),
    };
    let told = explain(&asker, &facts, asked.client, info.now);
    let (mut reasons, mut next) = person(reader, &asked).await?;
    reasons.extend(told.reasons.iter().map(ToString::to_string));
    next = next.or_else(|| told.reasons.first().map(usher_policy::Reason::next));
    let asks = told.asks.filter(|_| reasons.is_empty());
    let roles = told.roles.into_iter().map(|role| RoleExplained {
        group: role.assignment.group_name.clone(),
        member: role.member,
        server_access: role.assignment.server_access,
        server_admin: role.assignment.server_admin,
        conditions: conditions::shown(&role.assignment.conditions),
        counts: role.member && role.unmet.is_none(),
    });
    Ok(Answer::ok(Explanation {
        user: asked.user.user_name,
        server: server.name,
        project: server.project,
        verdict: match &asks {
            _ if !reasons.is_empty() => Verdict::Deny,
            Some(asks) if !asks.asks_nothing() => Verdict::AllowAfterSignIn,
            Some(_) | None => Verdict::Allow,
        },
        reasons,
        next,
        login: facts.login,
        asks: conditions::shown_authentication(&asks.unwrap_or_default()),
        roles: roles.collect(),
    }))
}

/// What is in the way before policy is asked.
async fn person(reader: &mut Conn, asked: &Asked) -> Result<(Vec<String>, Option<String>), ApiError> {
    let name = &asked.user.user_name;
    match asked.user.status {
        UserStatus::Active => {}
        UserStatus::Disabled => {
            let next = format!("`usher user enable {name}` lets it sign in again");
            return Ok((vec![format!("user `{name}` is disabled")], Some(next)));
        }
    }
    if asked.device.is_none() && !devices::has_approved(reader, asked.user.id).await? {
        let next = "`usher device list` shows which devices wait for approval".to_owned();
        return Ok((vec![format!("user `{name}` has no approved device")], Some(next)));
    }
    Ok((Vec::new(), None))
}
