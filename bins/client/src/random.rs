//! Randomness from the operating system, as bytes and as the few shapes the client needs.

use data_encoding::BASE64URL_NOPAD;

use crate::exit::Failure;

/// `N` random bytes.
///
/// # Errors
/// When the system has no randomness to give.
pub fn bytes<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes).map_err(|error| Failure::other(format!("no randomness: {error}")))?;
    Ok(bytes)
}

/// 32 random bytes as 43 characters of base64url.
///
/// # Errors
/// As [`bytes`].
pub fn text() -> Result<String, Failure> {
    Ok(BASE64URL_NOPAD.encode(&bytes::<32>()?))
}

/// Something between half of `millis` and the whole, so that many that failed together do not come back together.
#[must_use]
pub fn jitter(millis: u64) -> std::time::Duration {
    let random = bytes::<2>().map_or(0, |bytes| u64::from(u16::from_be_bytes(bytes)));
    let half = millis / 2;
    std::time::Duration::from_millis(half + random % half.max(1))
}
