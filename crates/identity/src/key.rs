//! P-256 keys of devices, agents and the team's signers. Signs and names keys; how they are stored is the caller's
//! business.

use std::{fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;
use p256::{
    ecdsa::{Signature, SigningKey, signature::Signer as _, signature::Verifier as _},
    elliptic_curve::Generate as _,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding},
};
use rand_core::CryptoRng;
use thiserror::Error;
use usher_types::{Sha256, Thumbprint};
use zeroize::Zeroizing;

/// Why bytes or text are no key. Never repeats them.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Not an uncompressed point on P-256.
    #[error("this is not a P-256 public key: expected an uncompressed point of 65 bytes")]
    Public,
    /// Not a PKCS#8 P-256 private key in PEM.
    #[error("this is not a P-256 private key in PKCS#8 PEM")]
    Private,
}

/// A P-256 public key that is known to lie on the curve. As text: base64url of the uncompressed SEC1 point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey([u8; 65]);

impl PublicKey {
    /// Reads an uncompressed SEC1 point.
    ///
    /// # Errors
    /// [`KeyError::Public`] when it has another form or does not lie on the curve.
    pub fn from_sec1(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: [u8; 65] = bytes.try_into().map_err(|_error| KeyError::Public)?;
        p256::PublicKey::from_sec1_bytes(&bytes).map_err(|_error| KeyError::Public)?;
        Ok(Self(bytes))
    }

    /// From the coordinates of a JWK (RFC 7518 section 6.2.1).
    pub(crate) fn from_coordinates(x: &[u8; 32], y: &[u8; 32]) -> Result<Self, KeyError> {
        let mut bytes = [4_u8; 65];
        for (slot, byte) in bytes.iter_mut().skip(1).zip(x.iter().chain(y)) {
            *slot = *byte;
        }
        Self::from_sec1(&bytes)
    }

    /// The uncompressed SEC1 point: `0x04`, x, y.
    #[must_use]
    pub fn to_sec1(&self) -> [u8; 65] {
        self.0
    }

    /// The coordinates in base64url.
    pub(crate) fn coordinates(&self) -> (String, String) {
        let (_, point) = self.0.split_at(1);
        let (x, y) = point.split_at(32);
        (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y))
    }

    /// The key's name (RFC 7638 section 3).
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        let (x, y) = self.coordinates();
        Sha256::of(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes())
    }

    /// Whether `signature` (r and s, 32 bytes each) is this key's over the SHA-256 of `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let Ok(key) = p256::ecdsa::VerifyingKey::from_sec1_bytes(&self.0) else { return false };
        Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_sec1(&BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_error| KeyError::Public)?)
    }
}

/// A P-256 private key. Cannot be printed or cloned; its memory is wiped on drop.
///
/// ```compile_fail,E0277
/// fn print(key: &usher_identity::PrivateKey) -> String {
///     format!("{key}")
/// }
/// ```
pub struct PrivateKey {
    key: SigningKey,
    public: PublicKey,
}

impl PrivateKey {
    /// A fresh key.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self::new(SigningKey::generate_from_rng(rng))
    }

    fn new(key: SigningKey) -> Self {
        let mut public = [0_u8; 65];
        // An uncompressed point is always 65 bytes; a shorter source would leave an invalid key, never a wrong one.
        for (slot, byte) in public.iter_mut().zip(key.verifying_key().to_sec1_point(false).as_bytes()) {
            *slot = *byte;
        }
        Self { key, public: PublicKey(public) }
    }

    /// Reads what [`Self::to_pkcs8_pem`] wrote.
    ///
    /// # Errors
    /// [`KeyError::Private`] for anything but a P-256 key in PKCS#8 PEM.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_pem(pem).map(Self::new).map_err(|_error| KeyError::Private)
    }

    /// The key as PKCS#8 PEM, for a file with mode 0600.
    ///
    /// # Errors
    /// [`KeyError::Private`] when the key cannot be encoded.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        self.key.to_pkcs8_pem(LineEnding::LF).map_err(|_error| KeyError::Private)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs the SHA-256 of `message` (RFC 6979: no randomness needed): r and s, 32 bytes each.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature = self.key.sign(message);
        signature.to_bytes().into()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey([secret] of {})", self.public.thumbprint())
    }
}
