//! Codes that people copy from paper or a message: Crockford base32 in groups of five, read as people type them.

use std::fmt;

use rand_core::CryptoRng;
use usher_types::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const GROUP: usize = 5;

/// Five random bits a digit. Cannot be printed by accident; wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct TypedCode<const LENGTH: usize>([u8; LENGTH]);

impl<const LENGTH: usize> TypedCode<LENGTH> {
    pub(crate) fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut random = Zeroizing::new([0_u8; LENGTH]);
        rng.fill_bytes(random.as_mut_slice());
        let mut code = [0_u8; LENGTH];
        for (slot, byte) in code.iter_mut().zip(random.iter()) {
            *slot = DIGITS.get(usize::from(byte & 31)).copied().unwrap_or(b'0');
        }
        Self(code)
    }

    /// `XXXXX-XXXXX-...`.
    pub(crate) fn reveal(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(LENGTH.saturating_mul(2)));
        for (index, byte) in self.0.iter().enumerate() {
            if index > 0 && index % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(*byte));
        }
        text
    }

    pub(crate) fn hash(&self, domain: &[u8]) -> Sha256 {
        Sha256::of_parts(&[domain, &self.0])
    }

    /// Reads what a person typed: any case, spaces and hyphens anywhere, and the letters that look like digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > 64 {
            return None;
        }
        let mut code = Zeroizing::new(Vec::with_capacity(LENGTH));
        for character in text.chars().filter(|c| !matches!(c, ' ' | '-' | '\u{a0}')) {
            let digit = match character.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let byte = u8::try_from(digit).ok().filter(|byte| DIGITS.contains(byte))?;
            code.push(byte);
        }
        code.as_slice().try_into().ok().map(Self)
    }
}

impl<const LENGTH: usize> fmt::Debug for TypedCode<LENGTH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TypedCode([secret])")
    }
}
