//! The seal key and what it encrypts: AES-256-GCM with the place of the secret as associated data. Each sealed secret
//! names the key that sealed it.
//!
//! Does not know what a secret is for beyond its [`Purpose`]; does not keep ciphertexts.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use thiserror::Error;
use usher_types::SealKeyId;
use zeroize::Zeroizing;

pub(crate) const KEY_LENGTH: usize = 32;
/// Of secrets that do not name their key: read, never written.
const FIRST_VERSION: u8 = 1;
const VERSION: u8 = 2;
const DOMAIN: &[u8] = b"usher-seal\0";

/// What a sealed secret is for; part of what the seal protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Signs heads of the audit log.
    Audit,
    /// The broker's secret at an identity provider.
    ClientSecret,
    /// What a page hands to the browser and gets back.
    Page,
    /// A project's SSH user CA.
    SshUserCa,
    /// Signs desired state.
    State,
    /// The team's TLS root.
    TlsRoot,
    /// A person's second factor.
    TotpSeed,
    /// A project's X.509 CA.
    X509Ca,
}

impl Purpose {
    /// As it is bound into the seal and may be stored; never changes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::ClientSecret => "client-secret",
            Self::Page => "page",
            Self::SshUserCa => "ssh-user-ca",
            Self::State => "state",
            Self::TlsRoot => "tls-root",
            Self::TotpSeed => "totp-seed",
            Self::X509Ca => "x509-ca",
        }
    }
}

/// Where a secret belongs: its id in the database and its purpose. A sealed secret opens only under its own label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyLabel {
    id: String,
    purpose: Purpose,
}

impl KeyLabel {
    /// The label of the secret with this id.
    #[must_use]
    pub fn new(id: impl Into<String>, purpose: Purpose) -> Self {
        Self { id: id.into(), purpose }
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The purpose.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Unambiguous: the purpose has no NUL and the id is last.
    fn associated_data(&self, version: u8) -> Vec<u8> {
        let mut data = Vec::with_capacity(DOMAIN.len().saturating_add(self.id.len()).saturating_add(24));
        data.extend_from_slice(DOMAIN);
        data.push(version);
        data.extend_from_slice(self.purpose.as_str().as_bytes());
        data.push(0);
        data.extend_from_slice(self.id.as_bytes());
        data
    }
}

/// Why something could not be sealed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("could not seal the secret")]
pub struct SealError;

/// Why a sealed secret did not open: damaged, moved to another place, or sealed by another key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "the sealed secret does not open: it is damaged, belongs elsewhere or was sealed by another seal key"
)]
pub struct OpenError;

/// The key that protects all others.
pub struct SealKey {
    id: SealKeyId,
    cipher: LessSafeKey,
    derivation: hmac::Key,
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealKey({})", self.id)
    }
}

impl SealKey {
    pub(crate) fn new(key: &[u8; KEY_LENGTH]) -> Result<Self, SealError> {
        let cipher = UnboundKey::new(&AES_256_GCM, key).map_err(|_error| SealError)?;
        let derivation = hmac::Key::new(hmac::HMAC_SHA256, key);
        let id = hmac::sign(&derivation, b"usher-seal-id\0");
        let id = SealKeyId::new(*id.as_ref().first_chunk().ok_or(SealError)?);
        Ok(Self { id, cipher: LessSafeKey::new(cipher), derivation })
    }

    /// Its name, in everything that it seals.
    #[must_use]
    pub fn id(&self) -> SealKeyId {
        self.id
    }

    /// A secret that follows from this key and the purpose: HMAC-SHA256, whose output says nothing about the key.
    #[must_use]
    pub fn derive(&self, purpose: Purpose) -> Zeroizing<[u8; 32]> {
        let mut context = hmac::Context::with_key(&self.derivation);
        context.update(b"usher-derive\0");
        context.update(purpose.as_str().as_bytes());
        let mut secret = Zeroizing::new([0_u8; 32]);
        for (slot, byte) in secret.iter_mut().zip(context.sign().as_ref()) {
            *slot = *byte;
        }
        secret
    }

    /// Encrypts `secret` for this label: version, nonce, ciphertext and tag in one.
    ///
    /// # Errors
    /// [`SealError`] when the system gives no random bytes.
    pub fn seal(&self, label: &KeyLabel, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0_u8; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_error| SealError)?;
        let mut buffer = Zeroizing::new(secret.to_vec());
        let tag = self
            .cipher
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(label.associated_data(VERSION)),
                buffer.as_mut_slice(),
            )
            .map_err(|_error| SealError)?;
        let mut sealed = Vec::with_capacity(buffer.len().saturating_add(9 + NONCE_LEN + 16));
        sealed.extend_from_slice(&self.id.head());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&buffer);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Decrypts what [`SealKey::seal`] made for the same label.
    ///
    /// # Errors
    /// [`OpenError`]; on purpose it does not say which of its causes it was.
    pub fn open(&self, label: &KeyLabel, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (version, rest) = match (SealKeyId::of_sealed(sealed), sealed.split_first()) {
            (Some(id), _) if id == self.id => (VERSION, sealed.split_at_checked(9).ok_or(OpenError)?.1),
            (None, Some((&FIRST_VERSION, rest))) => (FIRST_VERSION, rest),
            _ => return Err(OpenError),
        };
        let (nonce, ciphertext) = rest.split_at_checked(NONCE_LEN).ok_or(OpenError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_error| OpenError)?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let plain = self
            .cipher
            .open_in_place(nonce, Aad::from(label.associated_data(version)), buffer.as_mut_slice())
            .map_err(|_error| OpenError)?;
        Ok(Zeroizing::new(plain.to_vec()))
    }
}
