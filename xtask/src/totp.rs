//! The second factor of test persons (RFC 6238: SHA-1, 30 s, six digits), step by step rather than by the clock: a code
//! is accepted once, so whoever signs in twice within a step must know which codes are still good.

use anyhow::{Context as _, Result};
use totp_rs::{Algorithm, Builder};

const PERIOD: i64 = 30;

/// The step that a time falls into.
pub(crate) fn step_at(unix_seconds: i64) -> i64 {
    unix_seconds.div_euclid(PERIOD)
}

/// The code of a step, from the secret as it was shown (base32).
///
/// # Errors
/// When the text is no secret.
pub(crate) fn code(secret: &str, step: i64) -> Result<String> {
    let bytes = data_encoding::BASE32_NOPAD
        .decode(secret.to_ascii_uppercase().trim_end_matches('=').as_bytes())
        .context("the TOTP secret is not base32")?;
    let totp = Builder::new().with_algorithm(Algorithm::SHA1).with_secret(bytes).build_noncompliant();
    let time = u64::try_from(step * PERIOD).context("a step before 1970")?;
    Ok(totp.generate(time).to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn agrees_with_rfc_6238() {
        // Appendix B, the last six of eight digits: T = 59 s is step 1.
        let secret = data_encoding::BASE32_NOPAD.encode(b"12345678901234567890");
        assert_eq!(super::code(&secret, super::step_at(59)).unwrap(), "287082");
    }
}
