//! Header names and authentication schemes of the API.

/// Carries the proof of possession (RFC 9449 section 4).
pub const DPOP: &str = "dpop";
/// Carries the nonce for the next proof (RFC 9449 section 8).
pub const DPOP_NONCE: &str = "dpop-nonce";
/// Scheme of the `authorization` header that carries a session token (RFC 9449 section 7.1).
pub const DPOP_SCHEME: &str = "DPoP";
/// Names a request in answers and logs.
pub const REQUEST_ID: &str = "usher-request-id";
