//! Names that making and checking certificates share, and the limit on what is read.

pub(crate) const SOURCE_ADDRESS: &str = "source-address";

pub(crate) const PERMIT_PORT_FORWARDING: &str = "permit-port-forwarding";
pub(crate) const PERMIT_PTY: &str = "permit-pty";

/// A certificate in text form longer than this is not looked at: nested keys are read recursively.
pub(crate) const MAX_TEXT: usize = 16 * 1024;
