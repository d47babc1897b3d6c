//! How a server becomes known: enrollment tokens, their redemption, names, and the rules for routes.
//!
//! Both halves live here: what an administrator copies and an agent reads ([`PastedToken`]), and what the broker
//! decides when it is presented ([`redeem`]). The outcome is an [`EnrolledServer`], which only this crate can make.
//! Pure: the rows come in, nothing is looked up and nothing is stored.
//!
//! ```
//! use usher_enrollment::PastedToken;
//! use usher_types::{SecretToken, TokenId, TokenKind, UnixTime};
//!
//! let id = TokenId::new(UnixTime::from_secs(1_790_000_000), [1; 10]);
//! let secret = SecretToken::new(TokenKind::Enrollment, id, [2; 32]);
//! let pasted = PastedToken::new("https://broker.example:8443", None, secret)?;
//!
//! let text = pasted.reveal();
//! assert!(text.starts_with("ut1_"));
//! let read = PastedToken::parse(&text)?;
//! assert_eq!(read.url(), "https://broker.example:8443");
//! assert_eq!(format!("{read:?}").contains(text.as_str()), false);
//! # Ok::<(), usher_enrollment::PastedTokenError>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

mod constraint;
mod enrolled;
mod listener;
mod name;
mod pasted;
mod placement;
mod redeem;
mod topology;

pub use constraint::{NamePattern, ParsePatternError};
pub use enrolled::EnrolledServer;
pub use listener::{EnrolledAgent, ListenerGrant, NotItsKey, ServerRecord};
pub use name::{MAX_NAME_ATTEMPTS, NamesExhausted, allocate_name};
pub use pasted::{PastedToken, PastedTokenError};
pub use placement::{Placement, PlacementError, ServerRole};
pub use redeem::{
    Admission, Claim, PriorEnrollment, REPEAT_WINDOW, Redemption, Refusal, RefusalReason, TokenTerms, redeem,
};
pub use topology::{MAX_HOPS, Topology, TopologyError};
