//! ES256 by aws-lc-rs: three times as fast as the portable implementation, and most of what a request costs.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use usher_identity::{PublicKey, dpop::Es256Verifier};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AwsLcVerifier;

impl Es256Verifier for AwsLcVerifier {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.to_sec1()).verify(message, signature).is_ok()
    }
}
