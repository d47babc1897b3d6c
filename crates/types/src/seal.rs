//! Names the key that sealed a secret. Knows the first bytes of a sealed secret, not what is in it.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// First byte of a sealed secret that names its seal key.
const NAMED: u8 = 2;

/// Eight bytes that follow from a seal key and say nothing about it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealKeyId([u8; 8]);

impl SealKeyId {
    /// The id with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// How a secret begins that this key sealed.
    #[must_use]
    pub fn head(self) -> [u8; 9] {
        let mut head = [NAMED; 9];
        let (_, rest) = head.split_at_mut(1);
        rest.copy_from_slice(&self.0);
        head
    }

    /// The key that sealed this; `None` for a secret of the first version, which does not say.
    #[must_use]
    pub fn of_sealed(sealed: &[u8]) -> Option<Self> {
        let (first, rest) = sealed.split_first()?;
        let id = rest.first_chunk()?;
        (*first == NAMED).then_some(Self(*id))
    }
}

impl fmt::Display for SealKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SealKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no id of a seal key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("expected 16 hexadecimal digits")]
pub struct ParseSealKeyIdError;

impl FromStr for SealKeyId {
    type Err = ParseSealKeyIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = u64::from_str_radix(text, 16).map_err(|_error| ParseSealKeyIdError)?;
        if is_hex { Ok(Self(number.to_be_bytes())) } else { Err(ParseSealKeyIdError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_text_and_from_a_sealed_secret() {
        let id = SealKeyId::new([0, 1, 2, 3, 4, 5, 6, 0xff]);
        assert_eq!(id.to_string(), "00010203040506ff");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(SealKeyId::of_sealed(&[&id.head()[..], b"rest"].concat()), Some(id));
        for bad in ["", "00010203040506f", "00010203040506FF", "+0010203040506ff"] {
            assert_eq!(bad.parse::<SealKeyId>(), Err(ParseSealKeyIdError), "{bad}");
        }
        assert_eq!(SealKeyId::of_sealed(&[2, 0, 0]), None);
        assert_eq!(SealKeyId::of_sealed(&[1; 40]), None);
    }
}
