//! One-time codes that an administrator hands to a new person: 20 characters of Crockford base32 in four groups.

use std::{fmt, str::FromStr, time::Duration};

use rand_core::CryptoRng;
use thiserror::Error;
use usher_types::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 20;
const GROUP: usize = 5;

/// How long a set-up code works.
pub const SET_UP_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A set-up code: 100 random bits, so a fast hash of it may be stored. Cannot be printed by accident; wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SetUpCode([u8; LENGTH]);

/// Text that is not a set-up code. Never repeats it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a set-up code has 20 letters and digits, such as 7QK3M-...")]
pub struct ParseSetUpCodeError;

impl SetUpCode {
    /// A fresh code.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut random = Zeroizing::new([0_u8; LENGTH]);
        rng.fill_bytes(random.as_mut_slice());
        let mut code = [0_u8; LENGTH];
        for (slot, byte) in code.iter_mut().zip(random.iter()) {
            *slot = DIGITS.get(usize::from(byte & 31)).copied().unwrap_or(b'0');
        }
        Self(code)
    }

    /// The text for its owner: `XXXXX-XXXXX-XXXXX-XXXXX`.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(LENGTH.saturating_add(3)));
        for (index, byte) in self.0.iter().enumerate() {
            if index > 0 && index % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(*byte));
        }
        text
    }

    /// What is stored.
    #[must_use]
    pub fn hash(&self) -> Sha256 {
        Sha256::of_parts(&[b"usher-set-up-code\0", &self.0])
    }
}

impl fmt::Debug for SetUpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetUpCode([secret])")
    }
}

impl FromStr for SetUpCode {
    type Err = ParseSetUpCodeError;

    /// Reads what a person typed: any case, spaces and hyphens anywhere, and the letters that look like digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > 64 {
            return Err(ParseSetUpCodeError);
        }
        let mut code = Zeroizing::new(Vec::with_capacity(LENGTH));
        for character in text.chars().filter(|c| !matches!(c, ' ' | '-' | '\u{a0}')) {
            let digit = match character.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let byte = u8::try_from(digit).map_err(|_error| ParseSetUpCodeError)?;
            if !DIGITS.contains(&byte) {
                return Err(ParseSetUpCodeError);
            }
            code.push(byte);
        }
        code.as_slice().try_into().map(Self).map_err(|_error| ParseSetUpCodeError)
    }
}
