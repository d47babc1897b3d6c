//! Proof Key for Code Exchange (RFC 7636), method S256 only: `plain` cannot be expressed.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use thiserror::Error;
use usher_types::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Text that is not a code verifier. Never repeats it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a code verifier is 43 to 128 characters of A-Z a-z 0-9 - . _ ~")]
pub struct CodeVerifierError;

/// The secret that the client keeps until it exchanges the code. Cannot be printed; wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct CodeVerifier(String);

impl CodeVerifier {
    /// A verifier of 32 random bytes (RFC 7636 section 4.1).
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(BASE64URL_NOPAD.encode(&random))
    }

    /// Reads what a client sent.
    ///
    /// # Errors
    /// [`CodeVerifierError`] when it is too short, too long or has other characters.
    pub fn parse(text: &str) -> Result<Self, CodeVerifierError> {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if (43..=128).contains(&text.len()) && text.bytes().all(unreserved) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CodeVerifierError)
        }
    }

    /// What goes into the authorization request: base64url of the SHA-256.
    #[must_use]
    pub fn challenge(&self) -> Sha256 {
        Sha256::of(self.0.as_bytes())
    }

    /// Whether this is the verifier of `challenge`; constant time.
    #[must_use]
    pub fn matches(&self, challenge: &Sha256) -> bool {
        self.challenge() == *challenge
    }

    /// The text, for the token request.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CodeVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeVerifier([secret])")
    }
}
