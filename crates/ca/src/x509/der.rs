//! DER (X.690), writing only. Reading is `x509-cert`'s, so that what is written here is read back by somebody else's code
//! before it leaves.

use x509_cert::der::{Encode, Result, asn1::ObjectIdentifier};

pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const UTF8_STRING: u8 = 0x0c;
const BOOLEAN: u8 = 0x01;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// The tag `[number]` of something primitive, instead of its own.
pub(super) const fn implicit(number: u8) -> u8 {
    0x80 | number
}

/// The tag `[number]` of something constructed, or around something else.
pub(super) const fn explicit(number: u8) -> u8 {
    0xa0 | number
}

/// Appends DER values to a byte vector.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// A tag, the length, and the bytes.
    pub(super) fn value(&mut self, tag: u8, bytes: &[u8]) {
        self.nested(tag, |writer| writer.encoded(bytes));
    }

    /// A tag, the length, and whatever `write` appends.
    pub(super) fn nested(&mut self, tag: u8, write: impl FnOnce(&mut Self)) {
        self.0.push(tag);
        let body = self.0.len();
        write(self);
        // The fewest bytes that hold the length: one below 128, or their number and the bytes.
        let length = self.0.len().saturating_sub(body).to_be_bytes();
        let leading = length.iter().take_while(|byte| **byte == 0).count();
        let digits = length.get(leading..).unwrap_or_default();
        match digits {
            [] => self.0.push(0),
            [short @ 0..0x80] => self.0.insert(body, *short),
            long => {
                // Eight at the most.
                let count = u8::try_from(long.len()).unwrap_or(u8::MAX) | 0x80;
                self.0.splice(body..body, std::iter::once(count).chain(long.iter().copied()));
            }
        }
    }

    /// Something that is DER already.
    pub(super) fn encoded(&mut self, der: &[u8]) {
        self.0.extend_from_slice(der);
    }

    /// A value that knows its own encoding.
    pub(super) fn encode(&mut self, value: &impl Encode) -> Result<()> {
        value.encode_to_vec(&mut self.0).map(|_length| ())
    }

    pub(super) fn oid(&mut self, oid: &ObjectIdentifier) {
        self.value(OBJECT_IDENTIFIER, oid.as_bytes());
    }

    /// `TRUE`. `FALSE` is never written: wherever it could stand, it is the default.
    pub(super) fn yes(&mut self) {
        self.value(BOOLEAN, &[0xff]);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}
