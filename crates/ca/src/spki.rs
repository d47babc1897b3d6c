//! Public keys as X.509 and key management services write them: `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7).
//!
//! One key has one encoding here: a compressed point, curve parameters spelled out or anything behind the key is refused.

use x509_cert::{
    der::{Decode as _, asn1::ObjectIdentifier},
    spki::SubjectPublicKeyInfoRef,
};

use crate::{CaPublicKey, ParseKeyError, key::Kind};

/// id-ecPublicKey (RFC 5480 section 2.1.1).
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// id-Ed25519 (RFC 8410 section 3).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// secp256r1 (RFC 5480 section 2.1.1.1).
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// Everything before the point of a P-256 key.
const P256_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Everything before the 32 bytes of an Ed25519 key.
const ED25519_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl CaPublicKey {
    /// Reads a DER `SubjectPublicKeyInfo`, as key management services return it.
    ///
    /// # Errors
    /// [`ParseKeyError`] for anything but the one encoding of a valid Ed25519 or P-256 key.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, ParseKeyError> {
        if let Some(point) = der.strip_prefix(&P256_HEAD) {
            return Self::ecdsa_p256(point);
        }
        if let Some(bytes) = der.strip_prefix(&ED25519_HEAD) {
            return Self::ed25519(bytes.try_into().map_err(|_error| ParseKeyError::Form)?);
        }
        // Refused either way; this is for the message.
        let read = SubjectPublicKeyInfoRef::from_der(der).map_err(|_error| ParseKeyError::Form)?;
        let curve = read.algorithm.parameters_oid().ok();
        if read.algorithm.oid == ED25519 || (read.algorithm.oid == EC_PUBLIC_KEY && curve == Some(P256)) {
            return Err(ParseKeyError::Form);
        }
        Err(ParseKeyError::Algorithm)
    }

    /// The key as a DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn to_spki_der(&self) -> Vec<u8> {
        match self.kind() {
            Kind::EcdsaP256(point) => [P256_HEAD.as_slice(), point].concat(),
            Kind::Ed25519(bytes) => [ED25519_HEAD.as_slice(), bytes].concat(),
        }
    }
}
