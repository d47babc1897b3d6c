//! The status file that the helper writes and `usher-agent status` shows.

use std::path::Path;

use serde::{Deserialize, Serialize};
use usher_host::SecureDirectory;
use usher_types::UnixTime;

use crate::{
    clock,
    engine::Pass,
    enrollment::Enrollment,
    exit::Failure,
    message::BrokerState,
    output::{self, Format, clean},
    places,
};

/// Older than this, nobody is writing it any more.
const STALE_AFTER: std::time::Duration = std::time::Duration::from_secs(120);

/// What the helper knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Format of this file.
    pub(crate) v: u32,
    /// When it was written.
    pub(crate) at: UnixTime,
    /// Process id of the helper.
    pub(crate) helper_pid: u32,
    /// Process id of the network process, while there is one.
    pub(crate) network_pid: Option<u32>,
    /// How the broker is doing.
    pub(crate) broker: BrokerState,
    /// Since when.
    pub(crate) broker_since: UnixTime,
    /// Generation of the project document that is held.
    pub(crate) generation: u64,
    /// Generation of the server document that is held.
    pub(crate) server_generation: u64,
    /// Why the broker's last offer was refused.
    pub(crate) refused: Option<String>,
    /// What the last pass found.
    pub(crate) last_pass: Pass,
}

/// Writes the file. It is for people: a failure is no reason to stop working.
pub(crate) fn write(status: &Status) {
    let written = serde_json::to_vec_pretty(status).map_err(|error| error.to_string()).and_then(|bytes| {
        let directory = SecureDirectory::make(Path::new(places::RUN), places::RUNTIME, 0o755);
        let written = directory.and_then(|directory| directory.write(places::STATUS, &bytes, 0o644, (0, 0)));
        written.map_err(|error| error.to_string())
    });
    if let Err(reason) = written {
        tracing::warn!(reason, "the status file cannot be written");
    }
}

#[derive(Serialize)]
struct Shown {
    v: u32,
    enrollment: Enrollment,
    running: bool,
    status: Option<Status>,
}

/// `usher-agent status`.
pub(crate) fn show(format: Format) -> Result<(), Failure> {
    let enrollment = Enrollment::load()?;
    let status = std::fs::read(places::STATUS_PATH).ok();
    let status: Option<Status> = status.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let fresh = |status: &Status| clock::now().since(status.at) < STALE_AFTER;
    let alive = |status: &Status| Path::new(&format!("/proc/{}", status.helper_pid)).exists();
    let running = status.as_ref().is_some_and(|status| fresh(status) && alive(status));
    match format {
        Format::Json => output::json(&Shown { v: 1, enrollment, running, status }),
        Format::Text => output::print(&text(&enrollment, running, status.as_ref())),
    }
}

fn text(enrollment: &Enrollment, running: bool, status: Option<&Status>) -> String {
    let mut lines = vec![
        format!("server     {} ({})", enrollment.name, enrollment.server_id),
        format!("project    {} of team {}", enrollment.project, enrollment.team),
        format!("broker     {}", clean(&enrollment.url)),
        format!("agent      {}", if running { "running" } else { "not running" }),
    ];
    if let Some(status) = status {
        let since = status.broker_since;
        lines.push(match &status.broker {
            BrokerState::Reachable => format!("connected  since {since}"),
            BrokerState::Removed { reason } => {
                format!(
                    "removed    the broker does not know this server any more: {}; accounts stay as they are",
                    clean(reason)
                )
            }
            BrokerState::Unknown => "connected  not yet".to_owned(),
            BrokerState::Unreachable { reason } => format!("connected  no, since {since}: {}", clean(reason)),
        });
        let pass = &status.last_pass;
        lines.push(format!(
            "state      generation {} and {}, applied {} and {}",
            status.generation,
            status.server_generation,
            pass.applied_generation,
            pass.applied_server_generation
        ));
        lines.push(format!("accounts   {}", pass.accounts));
        lines.extend(status.refused.iter().map(|reason| format!("refused    {}", clean(reason))));
        for failed in &pass.failed {
            lines.push(format!("failed     {}: {}", clean(&failed.step), clean(&failed.reason)));
        }
        for conflict in &pass.conflicts {
            lines.push(format!(
                "conflict   {} {}: {}",
                conflict.kind,
                clean(&conflict.name),
                clean(&conflict.reason)
            ));
        }
        if !pass.held.is_empty() {
            lines.push(format!(
                "held       {} accounts have lost all access but are not deleted, because that is more than a fifth; \
                 set mass_deletion = \"allow\" in {} to delete them",
                pass.held.len(),
                places::CONFIG
            ));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}
