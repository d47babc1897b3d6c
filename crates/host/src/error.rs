//! Why something on the host could not be seen or done.

use thiserror::Error;

/// A failure on the host. Messages are one line and safe to report to the broker.
#[derive(Debug, Error)]
pub enum HostError {
    /// The same thing is done by another agent right now.
    #[error("another usher-agent holds `{0}`")]
    Busy(String),
    /// The host is not as the step expects it; the next pass plans again.
    #[error("{0}")]
    Changed(String),
    /// The operating system refused.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A record of the agent's cannot be read.
    #[error("`{path}` is not a valid record")]
    Record {
        /// Where it is.
        path: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A test of ours stopped it here.
    #[error("stopped for a test at {0:?}")]
    Stopped(crate::Stage),
    /// sshd or sudo would not do what the file says, so the file was taken back.
    #[error("{0}; the change was taken back")]
    TakenBack(String),
    /// A program ran too long and was ended.
    #[error("`{0}` did not end in time")]
    Timeout(&'static str),
    /// A program failed.
    #[error("`{tool}` failed: {message}")]
    Tool {
        /// Which.
        tool: &'static str,
        /// The last line that it wrote to its error output.
        message: String,
    },
    /// A program is not installed.
    #[error("`{0}` is not installed")]
    ToolMissing(&'static str),
    /// A file or directory could be changed by somebody else than root.
    #[error("`{path}` is not safe to use: {reason}")]
    Unsafe {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
}

impl HostError {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        |source| Self::Io { action, source }
    }

    pub(crate) fn sys(action: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let action = action.into();
        |errno| Self::Io { action, source: errno.into() }
    }

    pub(crate) fn not_safe(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unsafe { path: path.into(), reason: reason.into() }
    }
}
