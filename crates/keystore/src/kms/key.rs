//! A key inside KMS: its public half here, its signatures from there, each verified before it is used.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use aws_sdk_kms::{
    primitives::Blob,
    types::{MessageType, SigningAlgorithmSpec},
};
use usher_ca::CaPublicKey;

use super::{Kms, KmsError};
use crate::Algorithm;

/// KMS takes no longer message unhashed.
const LONGEST: usize = 4096;
pub(super) fn signing_algorithm(algorithm: Algorithm) -> SigningAlgorithmSpec {
    match algorithm {
        Algorithm::EcdsaP256 => SigningAlgorithmSpec::EcdsaSha256,
        // Not the pre-hashed variant: that is another signature algorithm.
        Algorithm::Ed25519 => SigningAlgorithmSpec::Ed25519Sha512,
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct KmsKey {
    kms: Kms,
    arn: String,
    share: String,
    algorithm: Algorithm,
    public: CaPublicKey,
    public_bytes: Vec<u8>,
    calls: Arc<Calls>,
}

/// How often a key in KMS was asked for a signature by this process, and how often it gave one. KMS counts somewhere
/// between the two: a request that was never answered may have been executed; one that was refused was not.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) sent: AtomicU64,
    pub(crate) made: AtomicU64,
}

impl KmsKey {
    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    pub(super) fn new(kms: Kms, arn: &str, share: &str, spki: &[u8]) -> Result<Self, KmsError> {
        let public = CaPublicKey::from_spki_der(spki).map_err(|_error| KmsError::BadAnswer)?;
        // The key's own encoding is the end of its only SPKI.
        let (algorithm, bytes) = match public.algorithm() {
            "ssh-ed25519" => (Algorithm::Ed25519, spki.last_chunk::<32>().map(<[u8; 32]>::as_slice)),
            _ => (Algorithm::EcdsaP256, spki.last_chunk::<65>().map(<[u8; 65]>::as_slice)),
        };
        Ok(Self {
            kms,
            arn: arn.to_owned(),
            share: share.to_owned(),
            algorithm,
            public,
            public_bytes: bytes.ok_or(KmsError::BadAnswer)?.to_vec(),
            calls: Arc::default(),
        })
    }

    pub(crate) fn arn(&self) -> &str {
        &self.arn
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn public_key(&self) -> CaPublicKey {
        self.public
    }

    pub(crate) fn public_key_bytes(&self) -> &[u8] {
        &self.public_bytes
    }

    /// Has KMS sign; 64 bytes either way.
    pub(crate) async fn sign(&self, message: &[u8]) -> Result<[u8; 64], KmsError> {
        if message.len() > LONGEST {
            return Err(KmsError::TooLong);
        }
        let answer = self
            .kms
            .call(&self.share, || async {
                // Before it is sent: it may be given up at any moment.
                self.calls.sent.fetch_add(1, Ordering::Relaxed);
                let request = self.kms.0.client.sign().key_id(&self.arn).message(Blob::new(message));
                let request = request.message_type(MessageType::Raw);
                let answer = request.signing_algorithm(signing_algorithm(self.algorithm)).send().await;
                if answer.as_ref().is_err_and(|error| !KmsError::of(error).is_open()) {
                    self.calls.sent.fetch_sub(1, Ordering::Relaxed);
                }
                answer
            })
            .await?;
        self.calls.made.fetch_add(1, Ordering::Relaxed);
        let signature = answer.signature().ok_or(KmsError::BadAnswer)?.as_ref();
        self.verified(message, signature).inspect_err(|_error| {
            tracing::error!(arn = self.arn, "the key management service returned a wrong signature");
        })
    }

    /// SECURITY: nothing that KMS returned is released before it was verified in exactly the form it is released in.
    fn verified(&self, message: &[u8], signature: &[u8]) -> Result<[u8; 64], KmsError> {
        let wrong = |_error| KmsError::WrongSignature;
        let (bytes, checked): ([u8; 64], _) = match self.algorithm {
            Algorithm::EcdsaP256 => {
                // RFC 3279 section 2.2.3.
                let value =
                    p256::ecdsa::Signature::from_der(signature).map_err(|_error| KmsError::WrongSignature)?;
                let bytes = value.to_bytes().into();
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.public_bytes);
                (bytes, key.verify(message, &bytes))
            }
            Algorithm::Ed25519 => {
                let bytes = signature.try_into().map_err(|_error| KmsError::WrongSignature)?;
                let key = UnparsedPublicKey::new(&ED25519, &self.public_bytes);
                (bytes, key.verify(message, &bytes))
            }
        };
        checked.map_err(wrong)?;
        Ok(bytes)
    }
}
