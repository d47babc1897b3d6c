//! Groups' roles in projects.

use axum::{
    Router,
    extract::State,
    routing::{get, put},
};
use usher_api::v1::{Page, ProjectGroup, SetProjectGroup};
use usher_audit::{Event, RoleInProject};
use usher_store::{
    project_groups::{self, Role},
    project_users,
    project_users::Scope,
};
use usher_types::ProjectSlug;

use super::{begin, conditions, groups, projects};
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Path},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/projects/{project}/groups", get(list))
        .route("/v1/projects/{project}/groups/{group}", put(set).delete(remove))
}

fn shown(project: ProjectSlug, group: project_groups::ProjectGroup) -> ProjectGroup {
    ProjectGroup {
        project,
        group: group.group,
        server_access: group.server_access,
        server_admin: group.server_admin,
        unix_group_name: group.unix_group_name,
        unix_gid: group.unix_gid,
        conditions: conditions::shown(&group.conditions),
    }
}

async fn list(
    State(app): State<AppState>,
    Path(name): Path<String>,
    _caller: Admin,
) -> Result<Answer<Page<ProjectGroup>>, ApiError> {
    let mut reader = app.store().read().await?;
    let project = projects::find(&mut reader, &name).await?;
    let groups = project_groups::list(&mut reader, project.id).await?.into_iter();
    Ok(Answer::ok(Page { items: groups.map(|group| shown(project.slug.clone(), group)).collect() }))
}

async fn set(
    State(app): State<AppState>,
    Path((project, group)): Path<(String, String)>,
    Admin { admin: caller, info, body }: Admin<SetProjectGroup>,
) -> Result<Answer<ProjectGroup>, ApiError> {
    let role = match (body.server_access, body.server_admin) {
        (true, true) => Role::Admin,
        (true, false) => Role::User,
        (false, false) => Role::Member,
        (false, true) => {
            return Err(ApiError::invalid(
                "server_admin: needs server_access; nobody uses sudo without logging in",
            ));
        }
    };
    let conditions = conditions::parse(body.conditions)?;
    let mut change = begin(&app, &caller, info).await?;
    let now = change.info.now;
    let project = projects::find(&mut change.tx, &project).await?;
    let group = groups::find(&mut change.tx, &group).await?;
    let mut own = usher_store::groups::of_user(&mut change.tx, change.caller).await?.into_iter();
    if own.any(|own| own.id == group.id) {
        change.refuse_own_access()?;
    }
    let before = project_groups::list(&mut change.tx, project.id).await?;
    let before = before.into_iter().find(|before| before.group_id == group.id);
    let set = project_groups::set(&mut change.tx, project.id, &group, role, now).await?;
    let set = set.ok_or_else(|| ApiError::not_found("project", project.slug.as_str()))?;
    project_groups::set_conditions(&mut change.tx, project.id, group.id, &conditions).await?;
    let set = project_groups::ProjectGroup { conditions, ..set };
    project_users::allocate(&mut change.tx, Scope::Project(project.id), now).await?;
    change
        .audit(Event::ProjectGroupSet {
            project_id: project.id,
            group_id: group.id,
            server_access: set.server_access,
            server_admin: set.server_admin,
            before: before.map(|before| RoleInProject {
                server_access: before.server_access,
                server_admin: before.server_admin,
            }),
            conditions: conditions::audited(&set.conditions),
        })
        .await?;
    change.commit().await?;
    Ok(Answer::ok(shown(project.slug, set)))
}

async fn remove(
    State(app): State<AppState>,
    Path((project, group)): Path<(String, String)>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let now = change.info.now;
    let project = projects::find(&mut change.tx, &project).await?;
    let group = groups::find(&mut change.tx, &group).await?;
    if !project_groups::remove(&mut change.tx, project.id, group.id, now).await? {
        return Err(ApiError::not_found(
            &format!("group in project `{}`", project.slug),
            group.name.as_str(),
        ));
    }
    change.audit(Event::ProjectGroupRemove { project_id: project.id, group_id: group.id }).await?;
    change.commit().await?;
    Ok(Answer::empty())
}
