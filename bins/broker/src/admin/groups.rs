//! Groups and their members.

use axum::{
    Router,
    extract::State,
    routing::{get, put},
};
use usher_api::v1::{CreateGroup, Group, Page, SetTeamRole};
use usher_audit::Event;
use usher_store::{Conn, groups, project_users, project_users::Scope, team_roles};
use usher_types::{GroupId, TeamRole, UserName};

use super::{Change, begin, users};
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Path},
    random,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/groups", get(list).post(create))
        .route("/v1/groups/{group}", get(show).delete(delete))
        .route("/v1/groups/{group}/members/{user}", put(add_member).delete(remove_member))
        .route("/v1/groups/{group}/team-role", put(set_team_role))
}

/// Finds a group by name or id.
pub(super) async fn find(conn: &mut Conn, name: &str) -> Result<groups::Group, ApiError> {
    groups::find(conn, name).await?.ok_or_else(|| ApiError::not_found("group", name))
}

fn shown(group: groups::Group, team_role: TeamRole, members: Vec<UserName>) -> Group {
    Group { id: group.id, name: group.name, team_role, members, created_at: group.created_at }
}

/// As answers show it.
async fn with_members(conn: &mut Conn, group: groups::Group) -> Result<Group, ApiError> {
    let members = groups::members(conn, group.id).await?;
    let team_role = team_roles::of_group(conn, group.id).await?;
    Ok(shown(group, team_role, members))
}

async fn list(State(app): State<AppState>, _caller: Admin) -> Result<Answer<Page<Group>>, ApiError> {
    let mut reader = app.store().read().await?;
    let mut members = groups::all_members(&mut reader).await?;
    let roles = team_roles::of_groups(&mut reader).await?;
    let groups = groups::list(&mut reader).await?.into_iter();
    let items = groups.map(|group| {
        let members = members.remove(&group.id).unwrap_or_default();
        let team_role = roles.get(&group.id).copied().unwrap_or_default();
        shown(group, team_role, members)
    });
    Ok(Answer::ok(Page { items: items.collect() }))
}

async fn show(
    State(app): State<AppState>,
    Path(name): Path<String>,
    _caller: Admin,
) -> Result<Answer<Group>, ApiError> {
    let mut reader = app.store().read().await?;
    let group = find(&mut reader, &name).await?;
    Ok(Answer::ok(with_members(&mut reader, group).await?))
}

async fn create(
    State(app): State<AppState>,
    Admin { admin: caller, info, body }: Admin<CreateGroup>,
) -> Result<Answer<Group>, ApiError> {
    let group = groups::Group::local(GroupId::new(info.now, random::bytes()?), body.name, info.now);
    let mut change = begin(&app, &caller, info).await?;
    groups::create(&mut change.tx, &group).await?;
    change
        .audit(Event::GroupCreate { group_id: group.id, group_name: group.name.clone(), connector_id: None })
        .await?;
    change.commit().await?;
    Ok(Answer::created(shown(group, TeamRole::Member, Vec::new())))
}

async fn delete(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let group = find(&mut change.tx, &name).await?;
    refuse_above_group(&mut change, &group).await?;
    groups::delete(&mut change.tx, &group).await?;
    change.audit(Event::GroupDelete { group_id: group.id, group_name: group.name }).await?;
    change.commit().await?;
    Ok(Answer::empty())
}

async fn add_member(
    State(app): State<AppState>,
    Path((group, user)): Path<(String, String)>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let group = find(&mut change.tx, &group).await?;
    let user = users::find(&mut change.tx, &user).await?;
    refuse_above_group(&mut change, &group).await?;
    if user.id == change.caller {
        change.refuse_own_access()?;
    }
    if group.connector_id.is_some() {
        let refused = format!("the members of group `{}` come from its identity provider", group.name);
        return Err(
            ApiError::invalid(refused).with_next("add the user to the group there, or use another group")
        );
    }
    let now = change.info.now;
    if groups::add_member(&mut change.tx, group.id, user.id, now).await? {
        project_users::allocate(&mut change.tx, Scope::User(user.id), now).await?;
        change.audit(Event::GroupAddMember { group_id: group.id, user_id: user.id }).await?;
    }
    change.commit().await?;
    Ok(Answer::empty())
}

async fn remove_member(
    State(app): State<AppState>,
    Path((group, user)): Path<(String, String)>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let group = find(&mut change.tx, &group).await?;
    let user = users::find(&mut change.tx, &user).await?;
    refuse_above_group(&mut change, &group).await?;
    if !groups::remove_member(&mut change.tx, group.id, user.id).await? {
        return Err(ApiError::not_found(
            &format!("member of group `{}`", group.name),
            user.user_name.as_str(),
        ));
    }
    change.audit(Event::GroupRemoveMember { group_id: group.id, user_id: user.id }).await?;
    change.commit().await?;
    Ok(Answer::empty())
}

/// Whoever may not give a role does not say either who is in a group that has it.
async fn refuse_above_group(change: &mut Change, group: &groups::Group) -> Result<(), ApiError> {
    let role = team_roles::of_group(&mut change.tx, group.id).await?;
    change.refuse_above(&role.into(), format_args!("group `{}`", group.name))
}

async fn set_team_role(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { admin: caller, info, body }: Admin<SetTeamRole>,
) -> Result<Answer<Group>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let group = find(&mut change.tx, &name).await?;
    let before = team_roles::of_group(&mut change.tx, group.id).await?;
    let team_role = body.team_role;
    for role in [before, team_role] {
        change.refuse_above(&role.into(), format_args!("group `{}`", group.name))?;
    }
    if before != team_role {
        team_roles::set(&mut change.tx, group.id, team_role).await?;
        let (group_id, group_name) = (group.id, group.name.clone());
        change.audit(Event::GroupTeamRole { group_id, group_name, team_role, before }).await?;
    }
    let group = with_members(&mut change.tx, group).await?;
    change.commit().await?;
    Ok(Answer::ok(group))
}
