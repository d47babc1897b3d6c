//! One-time codes that an administrator hands to a new person: 20 characters of Crockford base32 in four groups.

use std::{str::FromStr, time::Duration};

use rand_core::CryptoRng;
use thiserror::Error;
use usher_types::Sha256;
use zeroize::Zeroizing;

use crate::typed_code::TypedCode;

/// How long a set-up code works.
pub const SET_UP_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A set-up code: 100 random bits, so a fast hash of it may be stored. Cannot be printed by accident; wiped on drop.
#[derive(Clone, Debug)]
pub struct SetUpCode(TypedCode<20>);

/// Text that is not a set-up code. Never repeats it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a set-up code has 20 letters and digits, such as 7QK3M-...")]
pub struct ParseSetUpCodeError;

impl SetUpCode {
    /// A fresh code.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(TypedCode::generate(rng))
    }

    /// The text for its owner: `XXXXX-XXXXX-XXXXX-XXXXX`.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        self.0.reveal()
    }

    /// What is stored.
    #[must_use]
    pub fn hash(&self) -> Sha256 {
        self.0.hash(b"usher-set-up-code\0")
    }
}

impl FromStr for SetUpCode {
    type Err = ParseSetUpCodeError;

    /// Reads what a person typed: any case, spaces and hyphens anywhere, and the letters that look like digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        TypedCode::parse(text).map(Self).ok_or(ParseSetUpCodeError)
    }
}
