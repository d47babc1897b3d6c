//! The audit log: what can be said in it, the exact bytes, and the hash chain that shows when somebody changed them.
//!
//! [`encode`] turns a [`Record`] into the bytes that are stored and hashed; nobody ever encodes them a second time. Each
//! process start is a writer with a chain of its own ([`Head::append`]); signed [`Checkpoint`]s kept elsewhere show that
//! a log was cut. No field of any event can hold a secret: there are ids, checked names, digests, times, numbers and
//! [`Code`]s, and no free text.
//!
//! ```
//! use usher_audit::{Actor, ChainRow, Event, Head, Record, WriterId, encode, verify_chain};
//! use usher_types::{UnixTime, UserId};
//!
//! let now = UnixTime::from_secs(1_790_000_000);
//! let user_id = UserId::new(now, [1; 10]);
//! let record = Record { at: now, actor: Actor::Operator, client_address: None, event: Event::UserDisable { user_id } };
//!
//! let start = Head::genesis(WriterId::new(now, [2; 10]));
//! let bytes = encode(&record)?;
//! let head = start.append(&bytes);
//! let row = ChainRow { writer: head.writer, sequence: head.sequence, hash: head.hash, bytes };
//! assert!(verify_chain([row.clone()]).is_ok());
//!
//! let mut edited = row;
//! edited.bytes = encode(&Record { actor: Actor::System, ..record })?;
//! assert!(verify_chain([edited]).is_err());
//! # Ok::<(), usher_audit::EncodeError>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

mod chain;
mod checkpoint;
mod event;
mod record;
mod text;

pub use chain::{
    ChainFault, ChainRow, ChainVerifier, Head, Heads, ParseWriterError, WriterId, chain_hash, verify_chain,
    verify_chain_against,
};
pub use checkpoint::{
    Checkpoint, CheckpointError, MAX_CHECKPOINT_LENGTH, SignedCheckpoint, checkpoint_sign_input,
    verify_checkpoints,
};
pub use event::{Event, ForwardingRule, IssuedCertificate, Role, SessionPurpose};
pub use record::{Actor, DecodeError, EncodeError, MAX_RECORD_LENGTH, Record, decode, encode};
pub use text::{Code, ParseSerialError, Serial};
