//! Stateless nonces: an HMAC of the minute. Every broker of a team accepts every other's.

use std::{fmt, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use subtle::{Choice, ConstantTimeEq as _};
use usher_types::UnixTime;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// How long one nonce is given out; it is accepted during this slot and the next.
pub const NONCE_SLOT: Duration = Duration::from_secs(60);

/// A key that makes nonces: 32 random bytes, kept in the database and changed every hour.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct NonceKey([u8; 32]);

impl NonceKey {
    /// From 32 random bytes.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The bytes, for the database.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    fn nonce(&self, slot: i64) -> [u8; 32] {
        // HMAC pads a key to the hash's block with zeros (RFC 2104 section 2); doing so here makes it infallible.
        let mut block = Zeroizing::new([0_u8; 64]);
        for (slot, byte) in block.iter_mut().zip(&self.0) {
            *slot = *byte;
        }
        let mut mac = Hmac::<sha2::Sha256>::new((&*block).into());
        mac.update(b"usher-dpop-nonce-v1\0");
        mac.update(&slot.to_be_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceKey([secret])")
    }
}

/// The key that makes nonces now and the one before it.
#[derive(Clone, Debug)]
pub struct NonceKeys {
    current: NonceKey,
    previous: Option<NonceKey>,
}

impl NonceKeys {
    /// Both keys; `previous` is none before the first rotation.
    #[must_use]
    pub fn new(current: NonceKey, previous: Option<NonceKey>) -> Self {
        Self { current, previous }
    }

    /// The nonce to give out now.
    #[must_use]
    pub fn issue(&self, now: UnixTime) -> String {
        BASE64URL_NOPAD.encode(&self.current.nonce(slot(now)))
    }

    /// Whether `nonce` was given out in this slot or the one before, under either key.
    #[must_use]
    pub fn accepts(&self, nonce: &str, now: UnixTime) -> bool {
        let Ok(presented) = BASE64URL_NOPAD.decode(nonce.as_bytes()) else { return false };
        let slot = slot(now);
        let keys = std::iter::once(&self.current).chain(&self.previous);
        let mut found = Choice::from(0);
        for key in keys {
            for slot in [slot, slot.saturating_sub(1)] {
                found |= key.nonce(slot).as_slice().ct_eq(&presented);
            }
        }
        found.into()
    }
}

fn slot(now: UnixTime) -> i64 {
    let width = i64::try_from(NONCE_SLOT.as_millis()).unwrap_or(i64::MAX);
    now.as_millis().div_euclid(width)
}
