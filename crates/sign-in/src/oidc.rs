//! The relying party of OpenID Connect (Core 1.0, Discovery 1.0, Back-Channel Logout 1.0) with PKCE (RFC 7636) and the
//! issuer in answers (RFC 9207). It says who somebody is at a provider; who that is here is the caller's to know, and so
//! are the browser's cookie and the rule that a state works once.
//!
//! A provider is a stranger on the network: its addresses are checked before they are connected to, its answers are short
//! and come in time, redirects are not followed.

mod address;
mod http;
mod id_token;
mod jws;
mod logout;
mod provider;
mod workload;

pub use address::{AddressRefused, check_address, check_url};
pub use http::HttpError;
pub use id_token::{GroupsClaim, ProviderIdentity, TokenError};
pub use logout::{LogoutToken, issuer_of};
pub use provider::{Begun, Callback, ExternalIdFrom, Pending, Provider, ProviderError, ProviderSettings};
pub use workload::{Issuer, Mismatch, TrustTerms, WorkloadError, WorkloadToken};

use std::time::Duration;

/// How far a provider's clock may be off.
const TOLERANCE: Duration = Duration::from_secs(60);
