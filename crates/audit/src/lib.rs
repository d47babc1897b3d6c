//! The audit log: what can be said in it, the exact bytes, and the hash chain that shows when somebody changed them.
//!
//! [`encode`] turns a [`Record`] into the bytes that are stored and hashed; nobody ever encodes them a second time. Each
//! process start is a writer with a chain of its own ([`Head::append`]); signed [`Checkpoint`]s kept elsewhere show that
//! a log was cut. [`LogVerifier`] checks a log and names every row that was removed, changed, moved, repeated, forked or
//! cut off; [`Line`] is how rows and checkpoints look outside the database. No field of any event can hold a secret:
//! there are ids, checked names, digests, times, numbers and [`Code`]s, and no free text.
//!
//! ```
//! use usher_audit::{Actor, Event, Head, Record, WriterId, encode, verify_chain};
//! use usher_types::{UnixTime, UserId};
//!
//! let now = UnixTime::from_secs(1_790_000_000);
//! let user_id = UserId::new(now, [1; 10]);
//! let record = Record { at: now, actor: Actor::Operator, client_address: None, event: Event::UserDisable { user_id } };
//!
//! let start = Head::genesis(WriterId::new(now, [2; 10]));
//! let row = start.row(1, encode(&record)?);
//! assert!(verify_chain([&row]).is_good());
//!
//! let mut edited = row;
//! edited.bytes = encode(&Record { actor: Actor::System, ..record })?;
//! let report = verify_chain([&edited]);
//! assert_eq!(report.faults[0].to_string(), format!("row 1 of writer {}: changed, at position 1", edited.writer));
//! # Ok::<(), usher_audit::EncodeError>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

mod chain;
mod checkpoint;
mod event;
mod export;
mod fault;
mod parts;
mod record;
mod service;
mod text;
mod verify;

pub use chain::{ChainRow, Head, ParseWriterError, WriterId, chain_hash};
pub use checkpoint::{
    Checkpoint, CheckpointError, MAX_CHECKPOINT_LENGTH, SignedCheckpoint, checkpoint_sign_input, thumbprint,
};
pub use event::Event;
pub use export::{Line, LineError, MAX_LINE_LENGTH};
pub use fault::{CheckpointFault, Fault, MAX_FAULTS, Report, RowFault, Witness};
pub use parts::{
    CertificateKind, ConnectorProperties, ForwardingRule, IssuedCertificate, KeyCount, Network,
    ProjectSettings, Role, RoleConditions, RoleInProject, ServerPlace, SessionPurpose, SessionRules,
    UserProperties, WantedAuthentication,
};
pub use record::{Actor, DecodeError, EncodeError, MAX_RECORD_LENGTH, Record, decode, encode};
pub use service::{ReplacedKey, ServiceCredential};
pub use text::{
    Code, Day, KeyId, KeyPlace, ParseDayError, ParseKeyIdError, ParseKeyPlaceError, ParseRestrictionError,
    ParseSerialError, Reported, Restriction, Serial,
};
pub use verify::{LogVerifier, Trust, verify_chain};
