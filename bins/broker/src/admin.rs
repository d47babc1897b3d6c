//! Administration: users, groups, projects, tokens, devices, servers, the audit log.
//!
//! Every change runs in one transaction with its audit row, begun by [`begin`], which looks again whether the caller
//! still administers the team: the check of the request's session was made before it waited for the writer's turn.

mod audit;
pub(crate) mod conditions;
mod connectors;
mod devices;
mod fault;
mod groups;
mod keys;
pub(crate) mod locks;
mod project_groups;
mod projects;
mod scim_tokens;
mod servers;
mod tokens;
mod users;

use axum::Router;
use usher_audit::{Actor, Event, Record};
use usher_identity::{AuthenticationError, TeamAdmin};
use usher_store::{StoreError, WriteTx, sessions};

pub(crate) use self::servers::audited;
use crate::{AppState, error::ApiError, request::RequestInfo};

/// The routes of this module; the guard of each comes from `usher_api::v1::ENDPOINTS`.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .merge(audit::routes())
        .merge(connectors::routes())
        .merge(devices::routes())
        .merge(groups::routes())
        .merge(keys::routes())
        .merge(locks::routes())
        .merge(project_groups::routes())
        .merge(projects::routes())
        .merge(scim_tokens::routes())
        .merge(servers::routes())
        .merge(tokens::routes())
        .merge(users::routes())
}

/// A change by an administrator: the transaction, and in whose name it is written down.
struct Change {
    tx: WriteTx,
    actor: Actor,
    info: RequestInfo,
}

/// Begins a change. The caller's session, device and role are read again inside the transaction.
async fn begin(app: &AppState, admin: &TeamAdmin, info: RequestInfo) -> Result<Change, ApiError> {
    let mut tx = app.store().begin().await?;
    let token = admin.user().token_id();
    let rows = sessions::caller(&mut tx, token).await?.ok_or(AuthenticationError::SessionEnded)?;
    let approved = admin.approved();
    locks::refuse_locked(&mut tx, approved).await?;
    let admin = approved.check_again(&rows.user, &rows.device, &rows.session, info.now)?.into_team_admin()?;
    let caller = admin.user();
    let actor = Actor::User {
        user_id: caller.user_id(),
        device_id: Some(caller.device_id()),
        session_id: Some(caller.session_id()),
    };
    Ok(Change { tx, actor, info })
}

impl Change {
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
