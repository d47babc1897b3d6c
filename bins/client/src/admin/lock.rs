//! `usher lock`, `usher unlock`, `usher locks`: deny now, everywhere, and give back later.

use usher_api::v1::{Lock, SetLock};
use usher_types::{DeviceId, LockReason};

use super::{ProjectReference, ServerReference, UserReference, api, done, list, or_dash, project::text};
use crate::{
    cli::Context,
    exit::Failure,
    output::{self, Table},
};

/// What to lock.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum LockCommand {
    /// A device: no connections and no session from it
    Device {
        /// Its id, `dev_...`
        device: DeviceId,
        /// Why
        #[command(flatten)]
        reason: Reason,
    },
    /// A project: nobody gets onto its servers
    Project {
        /// Name or id
        project: ProjectReference,
        /// Why
        #[command(flatten)]
        reason: Reason,
    },
    /// A server: nobody gets in, nor through when it is a bastion
    Server {
        /// Name or id
        server: ServerReference,
        /// Why
        #[command(flatten)]
        reason: Reason,
    },
    /// A user: out everywhere, at once
    User {
        /// Name or id
        user: UserReference,
        /// Why
        #[command(flatten)]
        reason: Reason,
    },
}

/// Why.
#[derive(Clone, Debug, clap::Args)]
pub struct Reason {
    /// Why; whoever is denied reads it
    #[arg(long, value_name = "TEXT")]
    reason: LockReason,
}

/// What to unlock.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum UnlockCommand {
    /// A device
    Device {
        /// Its id, `dev_...`
        device: DeviceId,
    },
    /// A project
    Project {
        /// Name or id
        project: ProjectReference,
    },
    /// A server
    Server {
        /// Name or id
        server: ServerReference,
    },
    /// A user
    User {
        /// Name or id
        user: UserReference,
    },
}

/// Locks something.
///
/// # Errors
/// What the broker answered.
pub fn lock(context: &Context, command: LockCommand) -> Result<(), Failure> {
    let (kind, name, Reason { reason }) = match command {
        LockCommand::Device { device, reason } => ("device", device.to_string(), reason),
        LockCommand::Project { project, reason } => ("project", project.to_string(), reason),
        LockCommand::Server { server, reason } => ("server", server.to_string(), reason),
        LockCommand::User { user, reason } => ("user", user.to_string(), reason),
    };
    let lock: Lock = api(context)?.send("PUT", &format!("/v1/locks/{kind}/{name}"), &SetLock { reason })?;
    output::show(context.format, &lock, |lock| table(std::slice::from_ref(lock)))
}

/// Lifts a lock.
///
/// # Errors
/// What the broker answered.
pub fn unlock(context: &Context, command: UnlockCommand) -> Result<(), Failure> {
    let (kind, name) = match command {
        UnlockCommand::Device { device } => ("device", device.to_string()),
        UnlockCommand::Project { project } => ("project", project.to_string()),
        UnlockCommand::Server { server } => ("server", server.to_string()),
        UnlockCommand::User { user } => ("user", user.to_string()),
    };
    api(context)?.act("DELETE", &format!("/v1/locks/{kind}/{name}"))?;
    done(format_args!("unlocked {kind} `{name}`"))
}

/// Shows what is locked.
///
/// # Errors
/// What the broker answered.
pub fn locks(context: &Context) -> Result<(), Failure> {
    list(context, "/v1/locks", table)
}

fn table(locks: &[Lock]) -> String {
    let mut table = Table::new(&["kind", "name", "id", "since", "by", "reason"]);
    for lock in locks {
        table.row([
            text(&lock.kind),
            lock.name.clone(),
            lock.id.clone(),
            lock.created_at.to_string(),
            or_dash(lock.locked_by.as_ref()),
            lock.reason.to_string(),
        ]);
    }
    table.render()
}
