//! Public keys: of the person's side ([`SubjectKey`]) and of the certificate authority ([`CaPublicKey`]).
//!
//! Both hold a key of an allowed algorithm and nothing else: no RSA, no security keys, no certificates.

use std::{fmt, str::FromStr};

use data_encoding::{BASE64, BASE64_NOPAD};
use ed25519_dalek::VerifyingKey as Ed25519Key;
use p256::ecdsa::VerifyingKey as P256Key;
use signature::Verifier as _;
use ssh_key::public::{EcdsaPublicKey, KeyData};
use thiserror::Error;
use usher_types::Sha256;

use crate::{
    Signature,
    signature::{ECDSA_P256, ED25519, Value},
    wire::Writer,
};

/// A longest line of an allowed algorithm is a third of this.
const MAX_LINE: usize = 512;

/// Why a line is no key that is accepted here.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ParseKeyError {
    /// Well-formed, but not one of the allowed algorithms.
    #[error("the key's algorithm is not accepted here")]
    Algorithm,
    /// Not `algorithm base64 [comment]`.
    #[error("expected an OpenSSH public key such as `ssh-ed25519 AAAA...`")]
    Form,
    /// Not a point of the curve, or one that anybody can sign for.
    #[error("the key is not a valid public key")]
    Point,
}

fn parse(line: &str) -> Result<KeyData, ParseKeyError> {
    let (algorithm, rest) = line.split_once(' ').ok_or(ParseKeyError::Form)?;
    // Every key's encoding begins with the length of its algorithm's name.
    if ![ED25519, ECDSA_P256].contains(&algorithm) && rest.starts_with("AAAA") {
        return Err(ParseKeyError::Algorithm);
    }
    // One line only: a second one would end up in files of one key per line.
    if line.len() > MAX_LINE || line.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(ParseKeyError::Form);
    }
    let key = ssh_key::PublicKey::from_openssh(line).map_err(|_error| ParseKeyError::Form)?;
    Ok(key.key_data().clone())
}

/// The Ed25519 key that a certificate is for, made for one connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectKey([u8; 32]);

impl SubjectKey {
    /// Reads `ssh-ed25519 AAAA... [comment]`; the comment is dropped.
    ///
    /// # Errors
    /// [`ParseKeyError`] for anything but a usable Ed25519 key.
    pub fn parse(line: &str) -> Result<Self, ParseKeyError> {
        let key = parse(line)?;
        Self::from_bytes(key.ed25519().ok_or(ParseKeyError::Algorithm)?.0)
    }

    /// From the 32 bytes of RFC 8032.
    ///
    /// # Errors
    /// [`ParseKeyError::Point`] for a key of small order: a signature of anybody would be good for it.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, ParseKeyError> {
        if has_small_order(&bytes) { Err(ParseKeyError::Point) } else { Ok(Self(bytes)) }
    }

    /// The 32 bytes of RFC 8032.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// `ssh-ed25519 AAAA...`.
    #[must_use]
    pub fn to_openssh(&self) -> String {
        CaPublicKey(Kind::Ed25519(self.0)).to_openssh()
    }

    /// Names the key as `ssh-keygen -l` does.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        CaPublicKey(Kind::Ed25519(self.0)).fingerprint()
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_openssh())
    }
}

/// The encodings, canonical or not, of the eight points of small order, without the sign bit. A table, because
/// decompressing the point would cost as much as signing the certificate; a key that is no point at all harms only its
/// sender.
fn has_small_order(bytes: &[u8; 32]) -> bool {
    const ZERO: [u8; 32] = [0; 32];
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let [low, middle @ .., high] = *bytes;
    let unsigned = high & 0x7f;
    let zero_or_one = low <= 1 && middle == [0; 30] && unsigned == 0;
    // p - 1, p and p + 1, with p = 2^255 - 19.
    let around_p = (0xec..=0xee).contains(&low) && middle == [0xff; 30] && unsigned == 0x7f;
    let mut masked = *bytes;
    if let Some(last) = masked.last_mut() {
        *last = unsigned;
    }
    zero_or_one || around_p || masked == ZERO || ORDER_8.contains(&masked)
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    EcdsaP256([u8; 65]),
    Ed25519([u8; 32]),
}

/// A certificate authority's public key, compared byte for byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaPublicKey(Kind);

impl CaPublicKey {
    /// Reads a line as in `TrustedUserCAKeys`; the comment is dropped.
    ///
    /// # Errors
    /// [`ParseKeyError`] for anything but a valid Ed25519 or P-256 key.
    pub fn parse(line: &str) -> Result<Self, ParseKeyError> {
        Self::from_key_data(&parse(line)?)
    }

    pub(crate) fn from_key_data(data: &KeyData) -> Result<Self, ParseKeyError> {
        if let Some(key) = data.ed25519() {
            return Self::ed25519(key.0);
        }
        match data.ecdsa() {
            Some(EcdsaPublicKey::NistP256(point)) => Self::ecdsa_p256(point.as_bytes()),
            Some(EcdsaPublicKey::NistP384(_) | EcdsaPublicKey::NistP521(_)) | None => {
                Err(ParseKeyError::Algorithm)
            }
        }
    }

    /// An Ed25519 key from the 32 bytes of RFC 8032.
    ///
    /// # Errors
    /// [`ParseKeyError::Point`].
    pub fn ed25519(bytes: [u8; 32]) -> Result<Self, ParseKeyError> {
        let key = Ed25519Key::from_bytes(&bytes).map_err(|_error| ParseKeyError::Point)?;
        if key.is_weak() { Err(ParseKeyError::Point) } else { Ok(Self(Kind::Ed25519(bytes))) }
    }

    /// A P-256 key from an uncompressed SEC1 point, the only form that OpenSSH takes.
    ///
    /// # Errors
    /// [`ParseKeyError::Point`].
    pub fn ecdsa_p256(point: &[u8]) -> Result<Self, ParseKeyError> {
        let bytes: [u8; 65] = point.try_into().map_err(|_error| ParseKeyError::Point)?;
        P256Key::from_sec1_bytes(&bytes).map_err(|_error| ParseKeyError::Point)?;
        Ok(Self(Kind::EcdsaP256(bytes)))
    }

    /// `ssh-ed25519` or `ecdsa-sha2-nistp256`: name of the key's and of its signatures' algorithm.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self.0 {
            Kind::EcdsaP256(_) => ECDSA_P256,
            Kind::Ed25519(_) => ED25519,
        }
    }

    /// The line for `TrustedUserCAKeys`, without a comment.
    #[must_use]
    pub fn to_openssh(&self) -> String {
        format!("{} {}", self.algorithm(), BASE64.encode(&self.to_blob()))
    }

    /// Names the key as `ssh-keygen -l` does: `SHA256:...`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", BASE64_NOPAD.encode(Sha256::of(&self.to_blob()).as_bytes()))
    }

    /// Checks that this key made `signature` over `message`.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        match (self.0, signature.value()) {
            (Kind::EcdsaP256(point), Value::EcdsaP256(value)) => {
                let key = P256Key::from_sec1_bytes(&point).map_err(|_error| BadSignature)?;
                let value = p256::ecdsa::Signature::from_slice(value).map_err(|_error| BadSignature)?;
                key.verify(message, &value).map_err(|_error| BadSignature)
            }
            (Kind::Ed25519(bytes), Value::Ed25519(value)) => {
                let key = Ed25519Key::from_bytes(&bytes).map_err(|_error| BadSignature)?;
                let value = ed25519_dalek::Signature::from_bytes(value);
                key.verify_strict(message, &value).map_err(|_error| BadSignature)
            }
            (Kind::EcdsaP256(_), Value::Ed25519(_)) | (Kind::Ed25519(_), Value::EcdsaP256(_)) => {
                Err(BadSignature)
            }
        }
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.0
    }

    /// Whether `data` is this key, byte for byte; a point in another encoding is not.
    pub(crate) fn is(&self, data: &KeyData) -> bool {
        match &self.0 {
            Kind::EcdsaP256(point) => data.ecdsa().is_some_and(|key| key.as_sec1_bytes() == point),
            Kind::Ed25519(bytes) => data.ed25519().is_some_and(|key| key.0 == *bytes),
        }
    }

    /// The key in the encoding of RFC 4253 section 6.6.
    pub(crate) fn to_blob(self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(128);
        writer.string(self.algorithm().as_bytes());
        match &self.0 {
            Kind::EcdsaP256(point) => {
                writer.string(b"nistp256");
                writer.string(point);
            }
            Kind::Ed25519(bytes) => writer.string(bytes),
        }
        writer.finish()
    }
}

/// The signature is not this key's over this message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the signature is not of this key over this message")]
pub struct BadSignature;

impl fmt::Display for CaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_openssh())
    }
}

impl fmt::Debug for CaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CaPublicKey {
    type Err = ParseKeyError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        Self::parse(line)
    }
}
