//! What events about service users are made of. Add fields that may be absent at the end; never change what is there.

use serde::{Deserialize, Serialize};
use usher_types::{TokenId, TrustId, UnixTime};

use crate::Reported;

/// A key that another one takes the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplacedKey {
    /// The key.
    pub token_id: TokenId,
    /// When it ends now.
    pub expires_at: UnixTime,
}

/// By what a service user's session began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum ServiceCredential {
    /// An API key.
    ApiKey {
        /// The key.
        token_id: TokenId,
    },
    /// A workload's identity token.
    Workload {
        /// The trust that it fits.
        trust_id: TrustId,
        /// Who the workload is, in its issuer's words.
        subject: Reported,
    },
}
