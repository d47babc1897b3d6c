//! `usher device`: client installations and their approval.

use usher_api::v1::{Device, DeviceState, UpdateDevice};
use usher_types::{DeviceId, DeviceName};

use super::{api, done, fields, list, project::text};
use crate::{
    cli::Context,
    exit::Failure,
    output::{self, Table},
};

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum DeviceCommand {
    /// Let a device get certificates
    Approve {
        /// Its id
        device: DeviceId,
    },
    /// Delete a revoked device
    Delete {
        /// Its id
        device: DeviceId,
    },
    /// Your devices; all of them for an administrator
    List,
    /// Call a device something else
    Rename {
        /// Its id
        device: DeviceId,
        /// What it is to be called
        name: DeviceName,
    },
    /// Take a device out of use for good
    Revoke {
        /// Its id
        device: DeviceId,
    },
    /// One device
    Show {
        /// Its id
        device: DeviceId,
    },
}

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn run(context: &Context, command: &DeviceCommand) -> Result<(), Failure> {
    match command {
        DeviceCommand::Approve { device } => {
            let state = Some(DeviceState::Approved);
            update(context, *device, &UpdateDevice { state, name: None })
        }
        DeviceCommand::Delete { device } => {
            api(context)?.act("DELETE", &format!("/v1/devices/{device}"))?;
            done(format_args!("deleted device `{device}`"))
        }
        DeviceCommand::List => list(context, "/v1/devices", |devices: &[Device]| {
            let mut table = Table::new(&["id", "user", "name", "state", "created"]);
            for device in devices {
                table.row([
                    device.id.to_string(),
                    device.user_name.to_string(),
                    device.name.to_string(),
                    text(&device.state),
                    device.created_at.to_string(),
                ]);
            }
            table.render()
        }),
        DeviceCommand::Rename { device, name } => {
            update(context, *device, &UpdateDevice { state: None, name: Some(name.clone()) })
        }
        DeviceCommand::Revoke { device } => {
            let state = Some(DeviceState::Revoked);
            update(context, *device, &UpdateDevice { state, name: None })
        }
        DeviceCommand::Show { device } => {
            let device: Device = api(context)?.get(&format!("/v1/devices/{device}"))?;
            output::show(context.format, &device, show)
        }
    }
}

fn update(context: &Context, device: DeviceId, change: &UpdateDevice) -> Result<(), Failure> {
    let device: Device = api(context)?.send("PATCH", &format!("/v1/devices/{device}"), change)?;
    output::show(context.format, &device, show)
}

fn show(device: &Device) -> String {
    fields([
        ("id", device.id.to_string()),
        ("user", device.user_name.to_string()),
        ("name", device.name.to_string()),
        ("state", text(&device.state)),
        ("created", device.created_at.to_string()),
    ])
}
