//! Administration: users, groups, projects, tokens, devices, sessions, servers, the audit log.
//!
//! Every change runs in one transaction with its audit row, begun by [`begin`], which looks again whether the caller
//! still has the permission: the check of the request's session was made before it waited for the writer's turn. Nobody
//! gives, takes or overrules a role in the team that they do not hold themselves.

mod api_keys;
mod audit;
pub(crate) mod conditions;
mod connectors;
mod devices;
mod fault;
mod groups;
mod keys;
pub(crate) mod locks;
mod passkeys;
pub(crate) mod policies;
mod project_groups;
mod projects;
mod scim_tokens;
mod servers;
mod service_users;
mod sessions;
mod tokens;
mod trusts;
mod users;

use axum::Router;
use usher_api::ErrorCode;
use usher_audit::{Actor, Event, Record};
use usher_identity::{ApprovedUser, AuthenticationError, PermittedUser, UserRecord};
use usher_store::{StoreError, WriteTx, team_roles};
use usher_types::{Permission, TeamRoles, UserId};

pub(crate) use self::servers::audited;
use crate::{AppState, error::ApiError, request::RequestInfo};

/// The routes of this module; the guard of each comes from `usher_api::v1::ENDPOINTS`.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .merge(api_keys::routes())
        .merge(audit::routes())
        .merge(connectors::routes())
        .merge(devices::routes())
        .merge(groups::routes())
        .merge(keys::routes())
        .merge(locks::routes())
        .merge(passkeys::routes())
        .merge(policies::routes())
        .merge(project_groups::routes())
        .merge(projects::routes())
        .merge(scim_tokens::routes())
        .merge(servers::routes())
        .merge(sessions::routes())
        .merge(service_users::routes())
        .merge(tokens::routes())
        .merge(trusts::routes())
        .merge(users::routes())
}

/// A change by an administrator: the transaction, and in whose name it is written down.
struct Change {
    tx: WriteTx,
    actor: Actor,
    caller: UserId,
    roles: TeamRoles,
    info: RequestInfo,
}

/// Begins a change. The caller's session, device and role are read again inside the transaction.
async fn begin(app: &AppState, admin: &PermittedUser, info: RequestInfo) -> Result<Change, ApiError> {
    let (change, caller) = begin_own(app, admin.approved(), info).await?;
    let _admin = caller.with_permission(admin.permission())?;
    Ok(change)
}

/// The same for what is a user's own.
async fn begin_own(
    app: &AppState,
    caller: &ApprovedUser,
    info: RequestInfo,
) -> Result<(Change, ApprovedUser), ApiError> {
    let mut tx = app.store().begin().await?;
    let token = caller.user().token_id();
    let rows =
        usher_store::sessions::caller(&mut tx, token).await?.ok_or(AuthenticationError::SessionEnded)?;
    locks::refuse_locked(&mut tx, caller).await?;
    let caller = caller.check_again(&rows.user, &rows.team_roles, &rows.device, &rows.session, info.now)?;
    let user = caller.user();
    let user_id = user.user_id();
    let actor =
        Actor::User { user_id, device_id: Some(user.device_id()), session_id: Some(user.session_id()) };
    Ok((Change { tx, actor, caller: user_id, roles: rows.team_roles, info }, caller))
}

impl Change {
    /// Refuses to deal with roles that the caller does not hold. `whose` begins the sentence.
    fn refuse_above(&self, roles: &TeamRoles, whose: impl std::fmt::Display) -> Result<(), ApiError> {
        if self.roles.cover(roles) {
            return Ok(());
        }
        let refused = format!("{whose} has the team role {roles}, which you do not have");
        Err(ApiError::new(ErrorCode::Forbidden, refused).with_next("ask somebody who has it"))
    }

    /// Refuses to deal with a user who may do what the caller may not.
    async fn refuse_above_user(&mut self, user: &UserRecord) -> Result<(), ApiError> {
        let roles = team_roles::of_user(&mut self.tx, user.id).await?;
        self.refuse_above(&roles, format_args!("user `{}`", user.user_name))
    }

    /// Whoever gives access to others, and could not make another user to the same end, gives none to themselves.
    fn refuse_own_access(&self) -> Result<(), ApiError> {
        if self.roles.permit(Permission::ManageUsers) {
            return Ok(());
        }
        let refused = format!("with the team role {} you give access to others, not to yourself", self.roles);
        Err(ApiError::new(ErrorCode::Forbidden, refused).with_next("ask another access manager"))
    }

    /// Writes an event down, in the change's transaction.
    async fn audit(&mut self, event: Event) -> Result<(), StoreError> {
        let record = Record {
            at: self.info.now,
            actor: self.actor.clone(),
            client_address: Some(self.info.client_address),
            event,
        };
        self.tx.audit(&record).await
    }

    /// Makes it so.
    async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await
    }
}
