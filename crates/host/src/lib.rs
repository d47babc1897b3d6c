//! Linux adapter: accounts, homes, sudoers, sshd; the only place where Usher starts other programs as root.
//!
//! Implements [`usher_account_lifecycle::Host`]. Programs are started by absolute path with a cleared environment and an
//! argument list, never through a shell, and are ended after a timeout. Files are reached through directory descriptors that
//! were opened without following symbolic links, and replaced atomically. What a tool reports is not believed: the account
//! files are read again.
//!
//! It decides nothing: which step is right is the planner's business.
//!
//! ```no_run
//! use usher_account_lifecycle::{Desired, Limits, reconcile};
//! use usher_host::LinuxHost;
//! use usher_types::UnixTime;
//!
//! let mut host = LinuxHost::open("/var/lib/usher-agent/root", &["root".to_owned()], || UnixTime::from_secs(0))?;
//! let outcome = reconcile(&mut host, &Desired::default(), &Limits::default())?;
//! assert!(outcome.is_complete());
//! # Ok::<(), usher_host::HostError>(())
//! ```
#![forbid(unsafe_code)]

mod account;
mod account_files;
mod clock;
mod directory;
mod error;
mod exec;
mod facts;
mod file;
mod home;
mod host;
mod ids;
mod jobs;
mod observe;
mod process;
mod record;
mod sessions;
mod spawn;
mod sshd;
mod sudo;

pub use account::ServiceUser;
pub use account_files::{AccountFiles, GroupLine, UserLine};
pub use error::HostError;
pub use facts::{Facts, ListenAddress, facts};
pub use file::{SecureDirectory, StoredFile};
pub use host::{Checkpoint, LinuxHost, Stage};
pub use observe::{Survey, survey};
pub use record::RootStore;
pub use spawn::{Unprivileged, spawn_unprivileged};
