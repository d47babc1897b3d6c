//! The one shape of every error answer, and the stable codes in it.

use serde::{Deserialize, Serialize};
use usher_types::HostName;
use utoipa::ToSchema;

use crate::v1::Authentication;

/// Body of every answer with a 4xx or 5xx status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorResponse {
    /// What went wrong.
    pub error: ErrorBody,
}

/// What went wrong, for programs (`code`) and for people (`message`, `reasons`, `next`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// Stable; new codes may appear.
    pub code: ErrorCode,
    /// One sentence.
    pub message: String,
    /// Why access was denied, one sentence each; empty for other errors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// With `insufficient_user_authentication`: what to sign in again for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<Box<StepUp>>,
}

/// What to sign in again for (RFC 9470).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepUp {
    /// The server that asks.
    pub server: HostName,
    /// What it asks.
    pub authentication: Authentication,
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal;)*) => {
        /// Stable error codes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
            /// A code that this build does not know.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl ErrorCode {
            /// Every code with its text and status.
            pub const ALL: &'static [(Self, &'static str, u16)] = &[$((Self::$name, $text, $status),)*];

            /// As in JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* Self::Unknown => "unknown" }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* Self::Unknown => 500 }
            }
        }
    };
}

error_codes! {
    /// Policy says no; `reasons` say why.
    AccessDenied = "access_denied", 403;
    /// The secret shown once by this request was shown already.
    AlreadyDone = "already_done", 409;
    /// The name is taken.
    AlreadyExists = "already_exists", 409;
    /// The body is larger than the endpoint takes.
    BodyTooLarge = "body_too_large", 413;
    /// The device waits for an administrator's approval.
    DevicePending = "device_pending_approval", 403;
    /// The device was revoked.
    DeviceRevoked = "device_revoked", 403;
    /// The caller's role does not allow this.
    Forbidden = "forbidden", 403;
    /// A fresh second factor is wanted (RFC 9470).
    InsufficientUserAuthentication = "insufficient_user_authentication", 401;
    /// The broker failed; nothing was changed.
    Internal = "internal", 500;
    /// The authorization code is wrong, used, expired or bound to another key.
    InvalidGrant = "invalid_grant", 400;
    /// The proof of possession is wrong.
    InvalidProof = "invalid_dpop_proof", 401;
    /// Malformed JSON, unknown field, wrong type or bad value.
    InvalidRequest = "invalid_request", 400;
    /// No session, or it has ended: sign in.
    LoginRequired = "login_required", 401;
    /// The signing key's custody denies the broker access to it; whoever runs the broker has to do something.
    KeyDenied = "key_denied", 503;
    /// The signing key was disabled in its custody, or waits for its deletion there.
    KeyDisabled = "key_disabled", 503;
    /// The signing key is not in its custody any more.
    KeyMissing = "key_missing", 503;
    /// The custody has no keys of the wanted kind.
    KeyNotOffered = "key_not_offered", 400;
    /// What the signing key's custody answered is wrong; it was not used.
    KeyWrong = "key_wrong", 503;
    /// The caller, or the device it calls from, is locked; `reasons` say why.
    Locked = "locked", 403;
    /// The method does not exist on this path.
    MethodNotAllowed = "method_not_allowed", 405;
    /// No such thing, or none that the caller may see.
    NotFound = "not_found", 404;
    /// Still in use by something else.
    InUse = "in_use", 409;
    /// No bastion of the server's group is up.
    NoRoute = "no_route", 409;
    /// The same request id came with another content.
    RequestReused = "request_reused", 409;
    /// The enrollment token is unknown, used up, expired or not for this host.
    TokenRefused = "token_refused", 401;
    /// Too many requests; `retry-after` says when.
    TooManyRequests = "too_many_requests", 429;
    /// Something the broker depends on is down; try again.
    Unavailable = "unavailable", 503;
    /// The body is not JSON.
    UnsupportedMediaType = "unsupported_media_type", 415;
    /// Make the proof again with the nonce of this answer (RFC 9449 section 8).
    UseDpopNonce = "use_dpop_nonce", 401;
    /// The user is disabled.
    UserDisabled = "user_disabled", 403;
}
