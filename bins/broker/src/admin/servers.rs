//! Servers: who may see them, and where they stand among the routes.

use axum::{Router, extract::State, routing::get};
use usher_api::v1::{AccountConflict, Address, Page, Server, ServerRole, ServerState, UpdateServer};
use usher_audit::{Event, Role, ServerPlace};
use usher_enrollment::{Placement, Topology};
use usher_store::{Conn, servers, tokens};
use usher_types::{Label, Permission, ServerId, UnixTime};

use super::{begin, projects};
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Approved, Path},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/servers", get(list))
        .route("/v1/servers/{server}", get(show).patch(update).delete(delete))
}

/// Finds a server by name or id.
pub(super) async fn find(conn: &mut Conn, name: &str) -> Result<servers::Server, ApiError> {
    servers::find(conn, name).await?.ok_or_else(|| ApiError::not_found("server", name))
}

pub(super) fn role(placement: &Placement) -> ServerRole {
    match placement.role() {
        usher_enrollment::ServerRole::Bastion => ServerRole::Bastion,
        usher_enrollment::ServerRole::Target => ServerRole::Target,
    }
}

pub(crate) fn audited(placement: &Placement) -> ServerPlace {
    ServerPlace {
        role: match placement.role() {
            usher_enrollment::ServerRole::Bastion => Role::Bastion,
            usher_enrollment::ServerRole::Target => Role::Target,
        },
        bastion_group: placement.bastion_group().cloned(),
        via: placement.via().cloned(),
    }
}

pub(super) fn placement(
    role: ServerRole,
    bastion_group: Option<Label>,
    via: Option<Label>,
) -> Result<Placement, ApiError> {
    let role = match role {
        ServerRole::Bastion => usher_enrollment::ServerRole::Bastion,
        ServerRole::Target => usher_enrollment::ServerRole::Target,
    };
    Ok(Placement::new(role, bastion_group, via)?)
}

/// Checks the rules about hops with `new` in place: against all servers (`moved` at its new place) and all tokens that
/// can still make some.
pub(super) async fn check_topology(
    conn: &mut Conn,
    new: &Placement,
    moved: Option<ServerId>,
    now: UnixTime,
) -> Result<(), ApiError> {
    let mut placements = servers::placements_but_for(conn, moved).await?;
    placements.insert(new.clone());
    let live =
        tokens::list(conn).await?.into_iter().map(|token| token.terms).filter(|terms| {
            terms.revoked_at.is_none() && terms.uses < terms.max_uses && now < terms.expires_at
        });
    placements.extend(live.map(|terms| terms.placement));
    Topology::of(&placements)?;
    Ok(())
}

fn shown(server: servers::Server, now: UnixTime) -> Server {
    let state = if server.is_healthy(now) { ServerState::Healthy } else { ServerState::Silent };
    let addresses = server.facts.addresses.iter();
    let conflicts = server.conflicts.into_iter();
    Server {
        id: server.id,
        name: server.name,
        project: server.project,
        role: role(&server.placement),
        bastion_group: server.placement.bastion_group().cloned(),
        via: server.placement.via().cloned(),
        labels: server.labels,
        ssh_port: server.facts.ssh_port,
        addresses: addresses.map(|at| Address { ip: at.ip(), port: at.port() }).collect(),
        host_keys: server.facts.host_keys,
        state,
        applied_generation: server.applied_generation,
        conflicts: conflicts
            .map(|conflict| AccountConflict {
                kind: conflict.kind,
                name: conflict.name,
                reason: conflict.reason,
            })
            .collect(),
        enrolled_at: server.enrolled_at,
        last_seen_at: server.last_seen_at,
    }
}

async fn list(
    State(app): State<AppState>,
    Approved { user, info, body: () }: Approved,
) -> Result<Answer<Page<Server>>, ApiError> {
    let mut reader = app.store().read().await?;
    let caller = user.user();
    let visible = if caller.team_roles().permit(Permission::ReadTeam) {
        servers::list(&mut reader).await?
    } else {
        servers::list_visible_to(&mut reader, caller.user_id()).await?
    };
    Ok(Answer::ok(Page { items: visible.into_iter().map(|server| shown(server, info.now)).collect() }))
}

async fn show(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Approved { user, info, body: () }: Approved,
) -> Result<Answer<Server>, ApiError> {
    let mut reader = app.store().read().await?;
    let server = find(&mut reader, &name).await?;
    if !projects::may_see(&mut reader, &user, server.project_id).await? {
        return Err(ApiError::not_found("server", &name));
    }
    Ok(Answer::ok(shown(server, info.now)))
}

/// A new label, none for `""`, the old one when absent.
fn label(field: &str, wanted: Option<&str>, before: Option<&Label>) -> Result<Option<Label>, ApiError> {
    match wanted {
        None => Ok(before.cloned()),
        Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|error| ApiError::invalid(format!("{field}: {error}"))),
    }
}

async fn update(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { admin: caller, info, body }: Admin<UpdateServer>,
) -> Result<Answer<Server>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let now = change.info.now;
    let mut server = find(&mut change.tx, &name).await?;
    let before = &server.placement;
    let after = placement(
        body.role.unwrap_or_else(|| role(before)),
        label("bastion_group", body.bastion_group.as_deref(), before.bastion_group())?,
        label("via", body.via.as_deref(), before.via())?,
    )?;
    if after != *before {
        check_topology(&mut change.tx, &after, Some(server.id), now).await?;
        servers::set_placement(&mut change.tx, server.id, &after).await?;
        let before = Some(audited(&server.placement));
        let ServerPlace { role, bastion_group, via } = audited(&after);
        change.audit(Event::ServerUpdate { server_id: server.id, role, bastion_group, via, before }).await?;
        server.placement = after;
    }
    if let Some(port) = body.ssh_port {
        if port == 0 {
            return Err(ApiError::invalid("ssh_port: port 0 is no port"));
        }
        servers::set_port(&mut change.tx, &server, port).await?;
        change.audit(Event::ServerPort { server_id: server.id, port }).await?;
        server.facts.ssh_port = Some(port);
    }
    change.commit().await?;
    Ok(Answer::ok(shown(server, now)))
}

async fn delete(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let server = find(&mut change.tx, &name).await?;
    servers::remove(&mut change.tx, server.id).await?;
    change
        .audit(Event::ServerDelete {
            server_id: server.id,
            server_name: server.name,
            project_id: server.project_id,
        })
        .await?;
    change.commit().await?;
    Ok(Answer::empty())
}
