//! Time-based one-time codes (RFC 6238): SHA-1, six digits, 30 seconds, one step of tolerance to either side.
//!
//! Tells which step a code belongs to; that a step is used once is decided in the database, in the transaction that
//! records it.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use totp_rs::{Builder, Secret, Totp};
use usher_types::{TeamSlug, UnixTime, UserName};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const STEP_SECONDS: i64 = 30;
const DIGITS: usize = 6;

/// Bytes that are not a TOTP secret.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a TOTP secret has 20 bytes")]
pub struct TotpSecretError;

/// The secret that a person's authenticator shares with the broker. Cannot be printed; wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TotpSecret([u8; 20]);

impl TotpSecret {
    /// From 20 random bytes.
    #[must_use]
    pub fn new(random: [u8; 20]) -> Self {
        Self(random)
    }

    /// From what was sealed.
    ///
    /// # Errors
    /// [`TotpSecretError`] for another length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TotpSecretError> {
        bytes.try_into().map(Self).map_err(|_error| TotpSecretError)
    }

    /// The bytes, to be sealed.
    #[must_use]
    pub fn expose(&self) -> &[u8; 20] {
        &self.0
    }

    /// Base32 without padding: what a person types into an authenticator.
    #[must_use]
    pub fn to_base32(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32_NOPAD.encode(&self.0))
    }

    /// `otpauth://totp/...`: what a QR code holds.
    #[must_use]
    pub fn to_uri(&self, team: &TeamSlug, user_name: &UserName) -> Zeroizing<String> {
        // Slugs and user names need no escaping, and neither has a colon.
        Zeroizing::new(format!(
            "otpauth://totp/Usher%20{team}:{user_name}?secret={}&issuer=Usher%20{team}",
            *self.to_base32()
        ))
    }

    /// The code that is good at `now`.
    #[must_use]
    pub fn code_at(&self, now: UnixTime) -> String {
        self.code_of_step(step(now))
    }

    /// The step in -1, 0, +1 around `now` whose code `input` is; the latest one that fits.
    ///
    /// `input` may have spaces and hyphens, as authenticators show codes in groups.
    #[must_use]
    pub fn step_of(&self, input: &str, now: UnixTime) -> Option<i64> {
        let input = canonical(input)?;
        let current = step(now);
        let mut found = None;
        for candidate in [current.saturating_sub(1), current, current.saturating_add(1)] {
            if bool::from(self.code_of_step(candidate).as_bytes().ct_eq(input.as_bytes())) {
                found = Some(candidate);
            }
        }
        found
    }

    fn code_of_step(&self, step: i64) -> String {
        let seconds = u64::try_from(step.saturating_mul(STEP_SECONDS)).unwrap_or_default();
        self.totp().generate(seconds).to_string()
    }

    fn totp(&self) -> Totp {
        // Defaults of the builder: SHA-1, six digits, 30 seconds. The unchecked form because the checks are about the
        // label, which is made above.
        Builder::new().with_secret(Secret::new_stack(self.0)).build_noncompliant()
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret([secret])")
    }
}

fn step(now: UnixTime) -> i64 {
    now.as_secs().div_euclid(STEP_SECONDS)
}

/// Exactly six ASCII digits once spaces and hyphens are gone. One form only: a code that was used must not pass again
/// in another spelling.
fn canonical(input: &str) -> Option<Zeroizing<String>> {
    if input.len() > 32 {
        return None;
    }
    let digits: String = input.chars().filter(|c| !matches!(c, ' ' | '-' | '\u{a0}')).collect();
    let digits = Zeroizing::new(digits);
    (digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}
