//! The SSH wire encoding (RFC 4251 section 5), writing only. Reading is `ssh-key`'s, so that what is written here is read
//! back by somebody else's code before it leaves.

/// Appends SSH values to a byte vector.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    #[cfg(feature = "issue")]
    pub(crate) fn append_to(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    #[cfg(feature = "issue")]
    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// A length and the bytes.
    pub(crate) fn string(&mut self, bytes: &[u8]) {
        // A length that does not fit writes a value that no reader accepts; sizes are limited far below.
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(bytes);
    }

    /// A length and whatever `write` appends.
    pub(crate) fn nested(&mut self, write: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.u32(0);
        let body = self.0.len();
        write(self);
        let length = u32::try_from(self.0.len().saturating_sub(body)).unwrap_or(u32::MAX);
        if let Some(slot) = self.0.get_mut(start..body) {
            slot.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// A positive multiple-precision integer: no leading zero bytes but the one that keeps the sign bit clear.
    pub(crate) fn mpint(&mut self, big_endian: &[u8]) {
        let leading = big_endian.iter().take_while(|byte| **byte == 0).count();
        let digits = big_endian.get(leading..).unwrap_or_default();
        self.nested(|writer| {
            if digits.first().is_some_and(|byte| *byte >= 0x80) {
                writer.0.push(0);
            }
            writer.0.extend_from_slice(digits);
        });
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}
