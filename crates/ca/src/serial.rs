//! Serial numbers of certificates.

use std::{fmt, num::NonZeroU64};

/// A certificate's serial: never zero (a revocation list cannot name it), and at most 63 bits, so that every database
/// stores it as a signed integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(NonZeroU64);

impl Serial {
    /// A serial read from somewhere; `None` for zero and for more than 63 bits.
    #[must_use]
    pub fn new(value: u64) -> Option<Self> {
        let value = NonZeroU64::new(value)?;
        i64::try_from(value.get()).ok().map(|_fits| Self(value))
    }

    /// A random one.
    #[cfg(feature = "issue")]
    pub(crate) fn random(rng: &mut impl rand_core::CryptoRng) -> Self {
        loop {
            if let Some(serial) = Self::new(rng.next_u64() >> 1) {
                return serial;
            }
        }
    }

    /// For the wire.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// For a database.
    #[must_use]
    pub fn as_i64(self) -> i64 {
        // INVARIANT: `new` has seen that it fits.
        i64::try_from(self.0.get()).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
