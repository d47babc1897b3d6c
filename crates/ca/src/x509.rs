//! X.509 certificates of a project: for people ([`ClientAuthorization`]) and for the listeners of agents
//! ([`ServerAuthorization`]), both signed by the project's own authority ([`CaCertificate`]).
//!
//! Made like SSH certificates: `prepare_client` or `prepare_server` consumes an authorization and gives bytes to sign,
//! a signature over them gives a certificate, after everything has been read back and compared. What a requester writes
//! into its certificate signing request counts for nothing but the key, and the key only because it signed the request:
//! see [`ProvenKey`].
//!
//! Checking ([`verify_client_at`], [`verify_server_at`]) and looking ([`inspect()`]) exist without the feature `issue`.
//! One level only: an authority signs leaves, and there are no intermediate authorities.

mod algorithm;
mod authority;
mod authorization;
mod csr;
#[cfg(feature = "issue")]
mod der;
mod identity;
mod inspect;
#[cfg(feature = "issue")]
mod issue;
mod names;
#[cfg(feature = "issue")]
mod prepare;
mod read;
#[cfg(feature = "issue")]
mod seal;
mod verify;

pub use authority::{CaCertificate, CaCertificateError};
pub use authorization::{ClientAuthorization, ServerAuthorization};
pub use csr::{CsrError, CsrToBeSigned, ProvenKey};
pub use identity::{ClientIdentity, ParseIdentityError, ServerIdentity};
pub use inspect::{InspectError, Inspection, inspect};
pub use names::{CommonName, NameError, UserPrincipalName};
pub use verify::{VerifiedClient, VerifiedServer, VerifyError, verify_client_at, verify_server_at};
#[cfg(feature = "issue")]
pub use {
    issue::{IssueError, issue_client, issue_server, self_sign},
    prepare::{
        AuthorityToBeSigned, PrepareError, ToBeSigned, prepare_authority, prepare_client, prepare_server,
    },
    seal::{Certificate, SealError},
};

use std::time::Duration;

/// The longest life of a server's certificate.
pub const SERVER_MAX: Duration = Duration::from_secs(31 * 24 * 60 * 60);
/// The longest life of an authority's certificate.
pub const AUTHORITY_MAX: Duration = Duration::from_secs(21 * 366 * 24 * 60 * 60);
