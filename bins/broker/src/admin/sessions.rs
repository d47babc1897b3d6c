//! Sessions that are open: people see and end their own, who manages users everybody's. And what the team asks of them all.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    routing::{delete, get},
};
use usher_api::v1::{Page, Session, SessionBinding, TeamSettings, UpdateTeamSettings};
use usher_audit::{Code, Event, SessionRules};
use usher_identity::SessionTerms;
use usher_store::{named_proofs, sessions, team, users};
use usher_types::{Permission, SessionId};

use super::{begin, begin_own};
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Approved, Path},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/sessions", get(list))
        .route("/v1/sessions/{session}", delete(revoke))
        .route("/v1/team/settings", get(settings).patch(update))
}

async fn list(
    State(app): State<AppState>,
    Approved { user, info, body: () }: Approved,
) -> Result<Answer<Page<Session>>, ApiError> {
    let caller = user.user();
    let of = (!caller.team_roles().permit(Permission::ReadTeam)).then(|| caller.user_id());
    let mut reader = app.store().read().await?;
    let open = sessions::open(&mut reader, of, info.now).await?;
    let shown = |session: sessions::Session| {
        let record = session.record;
        Session {
            id: record.id,
            user_name: session.user_name,
            device_id: record.device_id,
            device_name: session.device_name,
            current: record.id == caller.session_id(),
            created_at: record.created_at,
            auth_time: record.auth_time,
            amr: record.amr.iter().map(ToString::to_string).collect(),
            last_used_at: record.last_used_at,
            expires_at: record.ends_at(),
            client_address: record.client_address,
        }
    };
    Ok(Answer::ok(Page { items: open.into_iter().map(shown).collect() }))
}

async fn revoke(
    State(app): State<AppState>,
    Path(id): Path<String>,
    Approved { user, info, body: () }: Approved,
) -> Result<Answer<()>, ApiError> {
    let (mut change, caller) = begin_own(&app, &user, info).await?;
    let unknown = || ApiError::not_found("session", &id);
    let session_id: SessionId = id.parse().map_err(|_error| unknown())?;
    let session = sessions::by_id(&mut change.tx, session_id).await?.ok_or_else(unknown)?.record;
    if session.user_id != caller.user().user_id() {
        if !change.roles.permit(Permission::ReadTeam) {
            return Err(unknown());
        }
        let _permitted = caller.with_permission(Permission::ManageUsers)?;
        if let Some(owner) = users::by_id(&mut change.tx, session.user_id).await? {
            change.refuse_above_user(&owner).await?;
        }
    }
    let now = change.info.now;
    if !sessions::end(&mut change.tx, session_id, now).await? {
        return Err(unknown());
    }
    // As after signing out: a proof that was given on the device is not the next session's.
    named_proofs::forget_device(&mut change.tx, session.device_id).await?;
    let reason = Code::new("revoked");
    change.audit(Event::SessionClose { session_id, user_id: session.user_id, reason }).await?;
    change.commit().await?;
    Ok(Answer::empty())
}

async fn settings(State(app): State<AppState>, _caller: Admin) -> Result<Answer<TeamSettings>, ApiError> {
    let mut reader = app.store().read().await?;
    Ok(Answer::ok(shown(&team::session_terms(&mut reader).await?)))
}

async fn update(
    State(app): State<AppState>,
    Admin { admin: caller, info, body }: Admin<UpdateTeamSettings>,
) -> Result<Answer<TeamSettings>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let before = team::session_terms(&mut change.tx).await?;
    let after = changed(before, &body)?;
    if after != before {
        team::set_session_terms(&mut change.tx, after).await?;
        change.audit(Event::TeamUpdate { sessions: audited(&after), before: audited(&before) }).await?;
    }
    change.commit().await?;
    Ok(Answer::ok(shown(&after)))
}

fn changed(before: SessionTerms, body: &UpdateTeamSettings) -> Result<SessionTerms, ApiError> {
    let mut terms = before;
    if let Some(seconds) = body.session_lifetime_seconds {
        let (shortest, longest) = SessionTerms::LIFETIMES;
        terms.lifetime = Duration::from_secs(seconds.into());
        if !(shortest..=longest).contains(&terms.lifetime) {
            return Err(ApiError::invalid(format!(
                "session_lifetime_seconds: from {} to {}",
                shortest.as_secs(),
                longest.as_secs()
            )));
        }
    }
    if let Some(seconds) = body.session_idle_seconds {
        let shortest = SessionTerms::SHORTEST_IDLE_LIMIT;
        terms.idle_limit = (seconds != 0).then(|| Duration::from_secs(seconds.into()));
        let longest = SessionTerms::LIFETIMES.1;
        if terms.idle_limit.is_some_and(|limit| !(shortest..=longest).contains(&limit)) {
            return Err(ApiError::invalid(format!(
                "session_idle_seconds: from {} to {}, or 0 for no limit",
                shortest.as_secs(),
                longest.as_secs()
            )));
        }
    }
    if let Some(binding) = body.session_binding {
        terms.binding = match binding {
            SessionBinding::Network => usher_identity::SessionBinding::Network,
            SessionBinding::None => usher_identity::SessionBinding::None,
        };
    }
    Ok(terms)
}

/// Never more than a day and an hour.
fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn shown(terms: &SessionTerms) -> TeamSettings {
    TeamSettings {
        session_lifetime_seconds: seconds(terms.lifetime),
        session_idle_seconds: terms.idle_limit.map(seconds),
        session_binding: match terms.binding {
            usher_identity::SessionBinding::Network => SessionBinding::Network,
            usher_identity::SessionBinding::None => SessionBinding::None,
        },
    }
}

fn audited(terms: &SessionTerms) -> SessionRules {
    SessionRules {
        lifetime_seconds: seconds(terms.lifetime),
        idle_seconds: terms.idle_limit.map(seconds),
        bound: terms.binding == usher_identity::SessionBinding::Network,
    }
}
