//! Signed tokens in compact form (RFC 7515), as far as they are looked at before or beside the library: which algorithms
//! there are, and what a token's payload says.

use data_encoding::BASE64URL_NOPAD;
use openidconnect::{
    JsonWebKey as _,
    core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::TokenError;

/// Longest token that is looked at.
const MAX_LENGTH: usize = 64 * 1024;
/// More keys than any provider has at once.
const MAX_KEYS: usize = 100;

/// Signatures by a key that the provider alone has; nothing with a shared secret, not `none`, nothing with SHA-1.
pub(super) const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
];

/// The header, as far as it matters.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    pub(super) alg: CoreJwsSigningAlgorithm,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
    #[serde(default)]
    pub(super) crit: Option<Value>,
}

/// A token in its parts. Nothing is verified yet.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) header: Header,
    pub(super) payload: Map<String, Value>,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(token: &'a str) -> Result<Self, TokenError> {
        let shape = |()| TokenError::Shape;
        if token.len() > MAX_LENGTH {
            return Err(TokenError::Shape);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Shape)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Shape)?;
        let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_error| ());
        let header: Header = serde_json::from_slice(&decode(header).map_err(shape)?)
            .map_err(|_error| TokenError::Algorithm)?;
        let payload =
            serde_json::from_slice(&decode(payload).map_err(shape)?).map_err(|_error| TokenError::Shape)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(TokenError::Algorithm);
        }
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        Ok(Self { header, payload, signed, signature: decode(signature).map_err(shape)? })
    }

    /// Whether one of these keys could have signed it: when not, there may be newer ones.
    pub(super) fn has_key(&self, keys: &CoreJsonWebKeySet) -> bool {
        self.key(keys).is_some()
    }

    /// The key that the token names, or the only one.
    fn key<'k>(&self, keys: &'k CoreJsonWebKeySet) -> Option<&'k CoreJsonWebKey> {
        let keys = keys.keys();
        let mut named = keys.iter().filter(|key| match &self.header.kid {
            Some(kid) => key.key_id().is_some_and(|id| id.as_str() == kid),
            None => true,
        });
        let first = named.next().filter(|_| keys.len() <= MAX_KEYS)?;
        named.next().is_none().then_some(first)
    }

    /// Verifies the signature.
    pub(super) fn verify(&self, keys: &CoreJsonWebKeySet) -> Result<(), TokenError> {
        let key = self.key(keys).ok_or(TokenError::Key)?;
        key.verify_signature(&self.header.alg, self.signed.as_bytes(), &self.signature)
            .map_err(|_error| TokenError::Signature)
    }

    /// What the signature is over.
    pub(super) fn signed(&self) -> &str {
        self.signed
    }

    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        self.payload.get(claim).and_then(Value::as_str)
    }

    /// A claim of seconds since 1970, not to be taken for missing when it is something else.
    pub(super) fn seconds(&self, claim: &'static str) -> Result<Option<i64>, TokenError> {
        let Some(value) = self.payload.get(claim) else { return Ok(None) };
        let whole = value.as_i64().filter(|seconds| (0..=MAX_SECONDS).contains(seconds));
        whole.map(Some).ok_or(TokenError::Claim(claim))
    }
}

/// The year 9999.
const MAX_SECONDS: i64 = 253_402_300_799;
