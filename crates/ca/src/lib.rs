//! OpenSSH user certificates, and X.509 certificates ([`x509`]): what they may say, making them, checking them.
//!
//! A certificate is made in two halves, so that the key may live anywhere: [`prepare`] turns an [`Authorization`] into
//! [`ToBeSigned`], a signature over its bytes turns that into a [`Certificate`]. Every certificate has exactly one
//! principal, a window of at most ten minutes, a random non-zero serial, and no critical option or extension beyond
//! the profile. Each is read back and compared with its authorization before it is released.
//!
//! [`verify_at`] checks a certificate, [`inspect()`] shows one. Both exist without the feature `issue`; a program built
//! without it cannot make certificates.
//!
//! Nothing here reads a clock, a random source, a file or a socket: they are arguments.
//!
//! # Example
//!
//! Bring your own authorization, and a key of your own:
//!
//! ```
//! # #[cfg(feature = "issue")] {
//! use std::{net::IpAddr, time::Duration};
//!
//! use usher_ca::{Authorization, CheckedKey, PortableEd25519, Signer, SourceAddresses, SubjectKey};
//! use usher_types::{ConnectionId, DeviceId, KeyId, Principal, ServerId, UnixTime, UserId, ValidityWindow};
//!
//! /// Whatever made the decision; its constructor belongs there and nowhere else.
//! struct OnCall {
//!     server: ServerId,
//!     now: UnixTime,
//! }
//!
//! impl Authorization for OnCall {
//!     fn principal(&self) -> Principal {
//!         Principal::login(&"alice".parse().unwrap(), self.server)
//!     }
//!     fn key_id(&self) -> KeyId {
//!         let connection = ConnectionId::new(self.now, [3; 10]);
//!         KeyId::new(&"payments".parse().unwrap(), &"alice".parse().unwrap(), self.device_id(), connection)
//!     }
//!     fn window(&self) -> ValidityWindow {
//!         ValidityWindow::around(self.now, Duration::from_secs(60), Duration::from_secs(180)).unwrap()
//!     }
//!     fn permit_pty(&self) -> bool {
//!         true
//!     }
//!     fn permit_port_forwarding(&self) -> bool {
//!         false
//!     }
//!     fn source_addresses(&self) -> SourceAddresses {
//!         SourceAddresses::any()
//!     }
//!     fn user_id(&self) -> UserId {
//!         UserId::new(self.now, [1; 10])
//!     }
//!     fn device_id(&self) -> DeviceId {
//!         DeviceId::new(self.now, [2; 10])
//!     }
//!     fn client_address(&self) -> Option<IpAddr> {
//!         None
//!     }
//! }
//!
//! let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
//! let now = UnixTime::from_secs(1_800_000_000);
//! let server = ServerId::new(now, [7; 10]);
//! let authority = CheckedKey::check(PortableEd25519::generate(&mut rng))?;
//! let subject =
//!     SubjectKey::parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti")?;
//!
//! let prepared =
//!     usher_ca::prepare(OnCall { server, now }, &subject, &authority.public_key(), now, &mut rng)?;
//! let certificate = prepared.sign_with(&authority)?;
//!
//! let verified = usher_ca::verify_at(&certificate.to_openssh(), &[authority.public_key()], now)?;
//! assert_eq!(verified.principal().to_string(), format!("alice@{server}"));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

mod authorization;
#[cfg(feature = "issue")]
mod host;
mod inspect;
mod key;
#[cfg(feature = "issue")]
mod portable;
#[cfg(feature = "issue")]
mod prepare;
mod profile;
#[cfg(feature = "issue")]
mod seal;
mod serial;
mod signature;
#[cfg(feature = "issue")]
mod signer;
mod spki;
mod verify;
mod wire;
pub mod x509;

pub use authorization::{Authorization, SourceAddressError, SourceAddresses};
pub use inspect::{InspectError, Inspection, inspect};
pub use key::{BadSignature, CaPublicKey, ParseKeyError, SubjectKey};
pub use serial::Serial;
pub use signature::{Signature, SignatureForm};
pub use verify::{VerifiedCertificate, VerifyError, verify_at};
#[cfg(feature = "issue")]
pub use {
    host::{HostAuthorization, HostPrincipal, HostPrincipals, ParseHostPrincipalError},
    portable::{PortableEd25519, PortableP256},
    prepare::{HostToBeSigned, PrepareError, ToBeSigned, prepare, prepare_host},
    seal::{Certificate, HostCertificate, SealError},
    signer::{CheckKeyError, CheckedKey, IssueError, LocalKey, SignError, Signer, issue, issue_host},
};
