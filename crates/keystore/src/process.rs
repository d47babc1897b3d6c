//! Keeps the process's memory out of core dumps and away from other processes of the same user.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use thiserror::Error;

/// The system refused to protect the process.
#[derive(Debug, Error)]
#[error("cannot keep this process's memory out of core dumps")]
pub struct ProtectError(#[source] std::io::Error);

/// Makes the process non-dumpable: no core file, no `ptrace` and no `/proc/PID/mem` for its own user.
///
/// # Errors
/// [`ProtectError`] when the kernel refuses.
pub fn forbid_core_dumps() -> Result<(), ProtectError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| ProtectError(error.into()))?;
    // Lowering a limit is always allowed; the second lock holds where suid_dumpable = 2.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(|error| ProtectError(error.into()))
}
