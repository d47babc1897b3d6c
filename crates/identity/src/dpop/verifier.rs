//! Who computes: the port for ES256 verification and the portable implementation.

use crate::PublicKey;

/// Verifies ES256 signatures (RFC 7518 section 3.4).
pub trait Es256Verifier {
    /// Whether `signature` (r and s, 32 bytes each) is `key`'s over the SHA-256 of `message`.
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> bool;
}

/// Pure Rust; for clients, tests and as the second opinion of a faster one.
#[derive(Clone, Copy, Debug, Default)]
pub struct PortableVerifier;

impl Es256Verifier for PortableVerifier {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
        key.verifies(message, signature)
    }
}
