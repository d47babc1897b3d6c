//! Locks: an administrator denies now, everywhere, and gives back later. What a lock means is `usher-policy`'s and the
//! agents' to say; this module sets and lifts.

use axum::{Router, extract::State, routing::get};
use usher_api::{
    ErrorCode,
    v1::{Lock, LockKind, Page, SetLock},
};
use usher_audit::{Code, Event};
use usher_identity::ApprovedUser;
use usher_store::{
    Conn,
    locks::{self, SetLockError, Standing, Target},
};
use usher_types::Label;

use super::{Change, begin, devices, projects, servers, users};
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Path},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/locks", get(list))
        .route("/v1/locks/{kind}/{name}", axum::routing::put(set).delete(clear))
}

/// Finds what is to be locked, by name or id; devices by id.
async fn target(conn: &mut Conn, kind: LockKind, name: &str) -> Result<Target, ApiError> {
    Ok(match kind {
        LockKind::Device => Target::Device(devices::find(conn, name).await?.record.id),
        LockKind::Project => Target::Project(projects::find(conn, name).await?.id),
        LockKind::Server => Target::Server(servers::find(conn, name).await?.id),
        LockKind::User => Target::User(users::find(conn, name).await?.id),
    })
}

fn shown(lock: locks::Lock) -> Lock {
    Lock {
        kind: match lock.kind {
            usher_store::LockKind::Device => LockKind::Device,
            usher_store::LockKind::Project => LockKind::Project,
            usher_store::LockKind::Server => LockKind::Server,
            usher_store::LockKind::User => LockKind::User,
        },
        id: lock.target,
        name: lock.name,
        reason: lock.reason,
        locked_by: lock.locked_by,
        created_at: lock.created_at,
    }
}

async fn list(
    State(app): State<AppState>,
    Admin { body: (), .. }: Admin,
) -> Result<Answer<Page<Lock>>, ApiError> {
    let mut reader = app.store().read().await?;
    let items = locks::list(&mut reader).await?.into_iter().map(shown).collect();
    Ok(Answer::ok(Page { items }))
}

/// Nobody locks out who may do more.
async fn refuse_above(change: &mut Change, target: Target) -> Result<(), ApiError> {
    let user = match target {
        Target::Device(id) => {
            usher_store::devices::by_id(&mut change.tx, id).await?.map(|it| it.record.user_id)
        }
        Target::User(id) => Some(id),
        Target::Project(_) | Target::Server(_) => None,
    };
    let Some(user) = user else { return Ok(()) };
    match usher_store::users::by_id(&mut change.tx, user).await? {
        Some(user) => change.refuse_above_user(&user).await,
        None => Ok(()),
    }
}

/// As the audit log names it.
fn named(target: Target) -> Result<(Code, Label), ApiError> {
    Ok((Code::new(target.kind().as_str()), target.id().parse().map_err(ApiError::internal)?))
}

async fn set(
    State(app): State<AppState>,
    Path((kind, name)): Path<(LockKind, String)>,
    Admin { admin: caller, info, body }: Admin<SetLock>,
) -> Result<Answer<Lock>, ApiError> {
    let by = caller.user().user_id();
    let mut change = begin(&app, &caller, info).await?;
    let target = target(&mut change.tx, kind, &name).await?;
    refuse_above(&mut change, target).await?;
    let now = change.info.now;
    if locks::set(&mut change.tx, target, &body.reason, by, now).await? {
        let (kind, target) = named(target)?;
        change.audit(Event::LockCreate { kind, target, reason: body.reason }).await?;
    }
    let (kind, id) = (target.kind(), target.id());
    let mut all = locks::list(&mut change.tx).await?.into_iter();
    let lock = all.find(|lock| lock.kind == kind && lock.target == id);
    let lock = lock.ok_or_else(|| ApiError::internal("a lock that was set is not there"))?;
    change.commit().await?;
    Ok(Answer::ok(shown(lock)))
}

async fn clear(
    State(app): State<AppState>,
    Path((kind, name)): Path<(LockKind, String)>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let target = target(&mut change.tx, kind, &name).await?;
    refuse_above(&mut change, target).await?;
    if !locks::clear(&mut change.tx, target).await? {
        return Err(ApiError::new(ErrorCode::NotFound, format!("{} `{name}` is not locked", target.kind()))
            .with_next("`usher locks` shows what is"));
    }
    let (kind, target) = named(target)?;
    change.audit(Event::LockDelete { kind, target }).await?;
    change.commit().await?;
    Ok(Answer::empty())
}

/// Refuses a caller who is locked, or calls from a device that is. Asking for a connection is not refused here: policy
/// denies that, and the denial is written down.
pub(crate) async fn refuse_locked(conn: &mut Conn, caller: &ApprovedUser) -> Result<(), ApiError> {
    let user = caller.user();
    let locks = locks::of_caller(conn, user.user_id(), user.device_id()).await?;
    if locks.is_empty() {
        return Ok(());
    }
    let reason = |(kind, reason): &Standing| match kind {
        usher_store::LockKind::Device => format!("device {} is locked: {reason}", user.device_id()),
        kind => format!("{kind} {} is locked: {reason}", user.user_name()),
    };
    Err(ApiError::new(ErrorCode::Locked, "an administrator has locked you out for now")
        .with_reasons(locks.iter().map(reason).collect())
        .with_next("ask an administrator to lift the lock"))
}

impl From<SetLockError> for ApiError {
    fn from(error: SetLockError) -> Self {
        match error {
            SetLockError::LastOwner => Self::new(ErrorCode::InUse, error.to_string())
                .with_next("make another user an owner first, and approve a device of theirs"),
            SetLockError::Store(source) => source.into(),
        }
    }
}
