//! The JWT form of a proof: compact serialization (RFC 7515 section 3.1) of exactly the members that we use. Anything
//! else, `crit` included, is refused instead of ignored.

use std::borrow::Cow;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use usher_types::{Sha256, UnixTime};

use super::{Expected, Jti, ProofError, ProofRequest};
use crate::{PrivateKey, PublicKey};

const TYPE: &str = "dpop+jwt";
const ALGORITHM: &str = "ES256";
const KEY_TYPE: &str = "EC";
const CURVE: &str = "P-256";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    #[serde(borrow)]
    typ: Cow<'a, str>,
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    jwk: Jwk<'a>,
}

/// A public key; a private member (`d`) is an unknown field.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwk<'a> {
    #[serde(borrow)]
    kty: Cow<'a, str>,
    #[serde(borrow)]
    crv: Cow<'a, str>,
    #[serde(borrow)]
    x: Cow<'a, str>,
    #[serde(borrow)]
    y: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims<'a> {
    #[serde(borrow)]
    pub(super) htm: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) htu: Cow<'a, str>,
    pub(super) qsh: Sha256,
    pub(super) bsh: Sha256,
    pub(super) iat: i64,
    #[serde(borrow)]
    pub(super) jti: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ath: Option<Sha256>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) nonce: Option<Cow<'a, str>>,
}

pub(super) fn encode(
    key: &PrivateKey,
    expected: &Expected,
    request: &ProofRequest<'_>,
    jti: Jti,
    nonce: Option<&str>,
    now: UnixTime,
) -> String {
    let (x, y) = key.public().coordinates();
    let header = Header {
        typ: TYPE.into(),
        alg: ALGORITHM.into(),
        jwk: Jwk { kty: KEY_TYPE.into(), crv: CURVE.into(), x: x.into(), y: y.into() },
    };
    let claims = Claims {
        htm: request.method.into(),
        htu: request.htu.into(),
        qsh: expected.qsh,
        bsh: expected.bsh,
        iat: now.as_secs(),
        jti: jti.to_string().into(),
        ath: expected.ath,
        nonce: nonce.map(Cow::from),
    };
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = BASE64URL_NOPAD.encode(&key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// INVARIANT: strings and numbers under string keys always serialize; were it otherwise, the empty part would be
/// refused by every verifier.
fn part(value: &impl Serialize) -> String {
    BASE64URL_NOPAD.encode(&serde_json::to_vec(value).unwrap_or_default())
}

/// A proof taken apart; nothing in it is verified yet.
pub(super) struct Parts<'a> {
    signed: &'a str,
    header: Vec<u8>,
    claims: Vec<u8>,
    signature: [u8; 64],
}

impl<'a> Parts<'a> {
    pub(super) fn split(proof: &'a str) -> Result<Self, ProofError> {
        let (signed, signature) = proof.rsplit_once('.').ok_or(ProofError::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(ProofError::Form)?;
        Ok(Self { signed, header: bytes(header)?, claims: bytes(claims)?, signature: fixed(signature)? })
    }

    /// The key in the header, after everything else in the header was found right.
    pub(super) fn key(&self) -> Result<PublicKey, ProofError> {
        let header: Header<'_> = object(&self.header)?;
        let jwk = header.jwk;
        let known = header.typ == TYPE && header.alg == ALGORITHM && jwk.kty == KEY_TYPE && jwk.crv == CURVE;
        if !known {
            return Err(ProofError::Header);
        }
        PublicKey::from_coordinates(&fixed(&jwk.x)?, &fixed(&jwk.y)?).map_err(|_error| ProofError::Header)
    }

    pub(super) fn claims(&self) -> Result<Claims<'_>, ProofError> {
        object(&self.claims)
    }

    /// What the signature is over.
    pub(super) fn signed(&self) -> &[u8] {
        self.signed.as_bytes()
    }

    pub(super) fn signature(&self) -> &[u8; 64] {
        &self.signature
    }
}

/// A derived `Deserialize` would take an array for a struct; a JWT part is an object.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, ProofError> {
    if json.first() != Some(&b'{') {
        return Err(ProofError::Form);
    }
    serde_json::from_slice(json).map_err(|_error| ProofError::Form)
}

/// Canonical base64url only: no padding, no stray bits, no white space.
fn bytes(text: &str) -> Result<Vec<u8>, ProofError> {
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_error| ProofError::Form)
}

fn fixed<const N: usize>(text: &str) -> Result<[u8; N], ProofError> {
    bytes(text)?.try_into().map_err(|_error| ProofError::Form)
}
