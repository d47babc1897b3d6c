//! Devices: their owners see, rename and revoke them, administrators approve them as well.

use axum::{Router, extract::State, routing::get};
use usher_api::{
    ErrorCode,
    v1::{Device, DeviceState, Page, UpdateDevice},
};
use usher_audit::Event;
use usher_identity::DeviceRecord;
use usher_store::{Conn, devices, users};
use usher_types::{DeviceName, Permission, UserId};

use super::{Change, begin, begin_own};
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Approved, Path},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/devices", get(list))
        .route("/v1/devices/{device}", get(show).patch(update).delete(delete))
}

/// Finds a device by id; device names are their owners' business and not unique.
pub(super) async fn find(conn: &mut Conn, id: &str) -> Result<devices::Device, ApiError> {
    let found = match id.parse() {
        Ok(id) => devices::by_id(conn, id).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| ApiError::not_found("device", id))
}

fn shown(device: devices::Device) -> Device {
    let record = device.record;
    Device {
        id: record.id,
        user_name: device.user_name,
        name: record.name,
        state: match record.state {
            usher_identity::DeviceState::Approved => DeviceState::Approved,
            usher_identity::DeviceState::Pending => DeviceState::Pending,
            usher_identity::DeviceState::Revoked => DeviceState::Revoked,
        },
        created_at: record.created_at,
    }
}

async fn list(
    State(app): State<AppState>,
    Approved { user, .. }: Approved,
) -> Result<Answer<Page<Device>>, ApiError> {
    let mut reader = app.store().read().await?;
    let caller = user.user();
    let visible = if caller.team_roles().permit(Permission::ReadTeam) {
        devices::list(&mut reader).await?
    } else {
        devices::of_user(&mut reader, caller.user_id()).await?
    };
    Ok(Answer::ok(Page { items: visible.into_iter().map(shown).collect() }))
}

async fn show(
    State(app): State<AppState>,
    Path(id): Path<String>,
    Approved { user, .. }: Approved,
) -> Result<Answer<Device>, ApiError> {
    let mut reader = app.store().read().await?;
    let device = find(&mut reader, &id).await?;
    let caller = user.user();
    if !caller.team_roles().permit(Permission::ReadTeam) && device.record.user_id != caller.user_id() {
        return Err(ApiError::not_found("device", &id));
    }
    Ok(Answer::ok(shown(device)))
}

/// Nobody decides about the devices of who may do more: an approved one and a password is all that it takes to be them.
async fn refuse_above_owner(change: &mut Change, device: &devices::Device) -> Result<(), ApiError> {
    match users::by_id(&mut change.tx, device.record.user_id).await? {
        Some(owner) => change.refuse_above_user(&owner).await,
        None => Ok(()),
    }
}

async fn update(
    State(app): State<AppState>,
    Path(id): Path<String>,
    Approved { user, info, body }: Approved<UpdateDevice>,
) -> Result<Answer<Device>, ApiError> {
    let (mut change, user) = begin_own(&app, &user, info).await?;
    let mut device = find(&mut change.tx, &id).await?;
    let by = user.user().user_id();
    let own = device.record.user_id == by;
    if !own && !change.roles.permit(Permission::ReadTeam) {
        return Err(ApiError::not_found("device", &id));
    }
    // Nobody lets a device of its own in without the permission.
    if !own || body.state == Some(DeviceState::Approved) {
        let _permitted = user.with_permission(Permission::ManageUsers)?;
        refuse_above_owner(&mut change, &device).await?;
    }
    if let Some(name) = body.name {
        rename(&mut change, &mut device.record, name).await?;
    }
    match body.state {
        None => {}
        Some(DeviceState::Approved) => approve(&mut change, by, &mut device.record).await?,
        Some(DeviceState::Pending) => return Err(ApiError::invalid("state: use `approved` or `revoked`")),
        Some(DeviceState::Revoked) => revoke(&mut change, by, &mut device.record).await?,
    }
    change.commit().await?;
    Ok(Answer::ok(shown(device)))
}

async fn rename(change: &mut Change, device: &mut DeviceRecord, name: DeviceName) -> Result<(), ApiError> {
    if device.name == name {
        return Ok(());
    }
    devices::rename(&mut change.tx, device.id, &name).await?;
    let before = std::mem::replace(&mut device.name, name.clone());
    let (device_id, user_id) = (device.id, device.user_id);
    change.audit(Event::DeviceRename { device_id, user_id, device_name: name, before }).await?;
    Ok(())
}

async fn approve(change: &mut Change, by: UserId, device: &mut DeviceRecord) -> Result<(), ApiError> {
    devices::approve(&mut change.tx, device, Some(by), change.info.now).await?;
    if device.state != usher_identity::DeviceState::Approved {
        device.state = usher_identity::DeviceState::Approved;
        let (device_id, user_id) = (device.id, device.user_id);
        change.audit(Event::DeviceApprove { device_id, user_id, automatic: false }).await?;
    }
    Ok(())
}

async fn revoke(change: &mut Change, by: UserId, device: &mut DeviceRecord) -> Result<(), ApiError> {
    devices::revoke(&mut change.tx, device.id, Some(by), change.info.now).await?;
    if device.state != usher_identity::DeviceState::Revoked {
        device.state = usher_identity::DeviceState::Revoked;
        change.audit(Event::DeviceRevoke { device_id: device.id, user_id: device.user_id }).await?;
    }
    Ok(())
}

async fn delete(
    State(app): State<AppState>,
    Path(id): Path<String>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let device = find(&mut change.tx, &id).await?;
    refuse_above_owner(&mut change, &device).await?;
    let DeviceRecord { id: device_id, user_id, .. } = device.record;
    if !devices::delete(&mut change.tx, device_id).await? {
        return Err(ApiError::new(ErrorCode::InUse, format!("device `{device_id}` is in use"))
            .with_next("revoke the device first"));
    }
    change.audit(Event::DeviceDelete { device_id, user_id }).await?;
    change.commit().await?;
    Ok(Answer::empty())
}
