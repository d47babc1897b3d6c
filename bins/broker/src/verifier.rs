//! ES256 by aws-lc-rs: three times as fast as the portable implementation, and most of what a request costs. Keys that
//! were right once are kept parsed, which is a tenth of that.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use usher_identity::{PublicKey, dpop::Es256Verifier};

use crate::hot::remember;

/// Verifies, and remembers keys: those whose holders have signed with them.
#[derive(Debug, Default)]
pub(crate) struct AwsLcVerifier(RwLock<BTreeMap<[u8; 65], Arc<ParsedPublicKey>>>);

impl AwsLcVerifier {
    fn known(&self, key: &[u8; 65]) -> Option<Arc<ParsedPublicKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).map(Arc::clone)
    }
}

impl Es256Verifier for AwsLcVerifier {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
        let bytes = key.to_sec1();
        if let Some(known) = self.known(&bytes) {
            return known.verify_sig(message, signature).is_ok();
        }
        let Ok(parsed) = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes) else { return false };
        let right = parsed.verify_sig(message, signature).is_ok();
        if right {
            remember(&mut self.0.write().unwrap_or_else(PoisonError::into_inner), bytes, Arc::new(parsed));
        }
        right
    }
}
