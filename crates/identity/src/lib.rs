//! Users, devices, proofs of possession and sessions: who is asking.
//!
//! Everything here is pure: rows, times and random bytes are arguments, and nothing does I/O. The result of the checks
//! is a chain of proof values that only this crate can make: [`dpop::VerifiedProof`] (the caller holds a key, for
//! exactly this request), [`AuthenticatedUser`] (a live session of an active user on the device with that key),
//! [`ApprovedUser`] (and the device is approved), [`PermittedUser`] (and has a permission in the team).
//!
//! ```
//! use usher_identity::{PrivateKey, dpop};
//! use usher_types::UnixTime;
//! # use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
//! # let mut rng = ChaCha20Rng::from_seed([7; 32]);
//!
//! let now = UnixTime::from_secs(1_790_000_000);
//! let nonces = dpop::NonceKeys::new(dpop::NonceKey::new([1; 32]), None);
//! let device = PrivateKey::generate(&mut rng);
//! let request = dpop::ProofRequest {
//!     method: "POST",
//!     htu: "https://broker.example:8443/v1/connections",
//!     query: "",
//!     body: br#"{"server":"web-1"}"#,
//!     token: None,
//! };
//! let proof = dpop::make(&device, &request, dpop::Jti::new([9; 16]), Some(&nonces.issue(now)), now);
//!
//! let verified = dpop::verify(&proof, &request, &nonces, now, &dpop::PortableVerifier)?;
//! assert_eq!(verified.jkt(), device.public().thumbprint());
//!
//! // The same proof with another body is worth nothing.
//! let other = dpop::ProofRequest { body: br#"{"server":"web-2"}"#, ..request };
//! assert!(dpop::verify(&proof, &other, &nonces, now, &dpop::PortableVerifier).is_err());
//! # Ok::<(), dpop::ProofError>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

mod authenticated;
pub mod dpop;
mod key;
pub mod naming;
pub mod pkce;
mod record;
pub mod scim;
mod session;
pub mod workload;

pub use authenticated::{ApprovedUser, AuthenticatedUser, DeviceNotApproved, NotPermitted, PermittedUser};
pub use key::{KeyError, PrivateKey, PublicKey};
pub use record::{
    AuthenticationMethod, DeviceRecord, DeviceState, GroupsFault, ParseGroupsFaultError, ParseMethodError,
    ProviderLogin, SessionBinding, SessionRecord, SessionTerms, UserRecord, UserStatus,
};
pub use session::{Arrival, AuthenticationError, Login, OpenSessionError, authenticate, open_session};
