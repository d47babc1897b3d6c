//! Random bytes for everything the broker makes up: ids, secrets, nonces.

use getrandom::SysRng;
use rand_core::UnwrapErr;

use crate::error::ApiError;

/// The system's random source for code that wants a `CryptoRng`. Ends the request's task when the system has no random
/// bytes; there is no safe way on from there.
pub(crate) fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// `N` random bytes; none when the system has none.
pub(crate) fn try_bytes<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0_u8; N];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(bytes)
}

/// `N` random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], ApiError> {
    try_bytes().ok_or_else(|| ApiError::internal("the system gave no random bytes"))
}
