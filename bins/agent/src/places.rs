//! Where everything is. Nothing here can be configured: two agents on one host would fight over its accounts.

/// Parent of the agent's state.
pub(crate) const VAR_LIB: &str = "/var/lib";
/// The agent's state below it.
pub(crate) const STATE: &str = "usher-agent";
/// The same, whole.
pub(crate) const STATE_PATH: &str = "/var/lib/usher-agent";
/// What only root may read or change.
pub(crate) const ROOT: &str = "/var/lib/usher-agent/root";
/// The agent's private key, in the state directory; the network process's own.
pub(crate) const KEY: &str = "agent.key";
/// Where and as what this host is enrolled; public, but root's.
pub(crate) const ENROLLMENT: &str = "enrollment.json";
/// The last state that was verified, in the root-only directory.
pub(crate) const SIGNED_STATE: &str = "state.json";
/// Parent of what is gone after a boot.
pub(crate) const RUN: &str = "/run";
/// Below it.
pub(crate) const RUNTIME: &str = "usher-agent";
/// The status file below that.
pub(crate) const STATUS: &str = "status.json";
/// The same, whole.
pub(crate) const STATUS_PATH: &str = "/run/usher-agent/status.json";
/// Configuration, unless another file is named.
pub(crate) const CONFIG: &str = "/etc/usher/agent.toml";
