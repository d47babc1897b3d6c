//! How keys and signatures are named and written in X.509 (RFC 5480, RFC 5758, RFC 8410).

use x509_cert::{
    der::{
        Decode as _, ErrorKind, Result as DerResult,
        asn1::{BitString, ObjectIdentifier},
    },
    spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned},
};

use crate::{CaPublicKey, Signature, key::Kind, signature::Value};

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The one algorithm that a key signs with. No parameters: both standards forbid them.
pub(super) fn algorithm_of(key: &CaPublicKey) -> AlgorithmIdentifierOwned {
    let oid = match key.kind() {
        Kind::EcdsaP256(_) => ECDSA_WITH_SHA256,
        Kind::Ed25519(_) => ED25519,
    };
    AlgorithmIdentifierOwned { oid, parameters: None }
}

pub(super) fn spki_of(key: &CaPublicKey) -> DerResult<SubjectPublicKeyInfoOwned> {
    SubjectPublicKeyInfoOwned::from_der(&key.to_spki_der())
}

pub(super) fn to_bit_string(signature: &Signature) -> DerResult<BitString> {
    match signature.value() {
        Value::EcdsaP256(bytes) => {
            let value = p256::ecdsa::Signature::from_slice(bytes).map_err(|_error| ErrorKind::Failed)?;
            BitString::from_bytes(value.to_der().as_bytes())
        }
        Value::Ed25519(bytes) => BitString::from_bytes(bytes),
    }
}

/// A signature as `key` would have made it; `None` for any other algorithm or form.
pub(super) fn from_bit_string(
    key: &CaPublicKey,
    algorithm: &AlgorithmIdentifierOwned,
    signature: &BitString,
) -> Option<Signature> {
    if *algorithm != algorithm_of(key) {
        return None;
    }
    let bytes = signature.as_bytes()?;
    match key.kind() {
        Kind::EcdsaP256(_) => Signature::ecdsa_p256_from_der(bytes).ok(),
        Kind::Ed25519(_) => bytes.try_into().ok().map(Signature::ed25519),
    }
}
