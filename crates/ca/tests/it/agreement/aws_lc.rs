//! Authorities whose keys are aws-lc's, as the broker's are; and what aws-lc thinks of a signature.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair as _, UnparsedPublicKey,
    },
};
use ssh_encoding::Encode as _;
use usher_ca::{CaPublicKey, LocalKey, SignError, Signature};

use crate::forge::{Forged, string, text_of};

pub(super) enum Authority {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Authority {
    pub(super) fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    pub(super) fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// Signs whatever it is given.
    pub(super) fn certify(&self, forged: &Forged) -> String {
        text_of(&self.certify_bytes(forged.unsigned(&self.public_key())))
    }

    pub(super) fn certify_bytes(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let signature = self.raw(&bytes);
        let encoded = match self {
            Self::Ed25519(_) => ssh_key::Signature::new(ssh_key::Algorithm::Ed25519, signature),
            Self::P256(_) => {
                ssh_key::Signature::try_from(p256::ecdsa::Signature::from_slice(&signature).unwrap())
            }
        };
        string(&mut bytes, &encoded.unwrap().encode_vec().unwrap());
        bytes
    }

    fn raw(&self, message: &[u8]) -> [u8; 64] {
        let signature = match self {
            Self::Ed25519(pair) => pair.sign(message),
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message).unwrap(),
        };
        signature.as_ref().try_into().unwrap()
    }
}

impl LocalKey for Authority {
    fn public_key(&self) -> CaPublicKey {
        match self {
            Self::Ed25519(pair) => CaPublicKey::ed25519(pair.public_key().as_ref().try_into().unwrap()),
            Self::P256(pair) => CaPublicKey::ecdsa_p256(pair.public_key().as_ref()),
        }
        .unwrap()
    }

    fn sign_now(&self, message: &[u8]) -> Result<Signature, SignError> {
        Ok(match self {
            Self::Ed25519(_) => Signature::ed25519(self.raw(message)),
            Self::P256(_) => Signature::ecdsa_p256(&self.raw(message)).unwrap(),
        })
    }
}

/// Whether `signature` is good, by a key as it stands in SSH's encoding: 32 bytes, or a point.
pub(super) fn verifies(key: &[u8], message: &[u8], signature: &[u8; 64]) -> bool {
    if key.len() == 32 {
        UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
    } else {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message, signature).is_ok()
    }
}
