//! Passwords: rules for new ones (NIST SP 800-63B section 5.1.1.2: length, no composition) and their Argon2id hashes.

use std::{fmt, str::FromStr, sync::LazyLock};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc},
};
use thiserror::Error;
use usher_types::UserName;
use zeroize::Zeroizing;

const MIN_CHARACTERS: usize = 12;
const MAX_CHARACTERS: usize = 256;

/// Why a new password is refused. Never repeats it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PasswordRule {
    /// Control characters cannot be typed again reliably.
    #[error("a password cannot have control characters")]
    Control,
    /// Longer than 256 characters.
    #[error("a password can have at most 256 characters")]
    TooLong,
    /// Shorter than 12 characters.
    #[error("a password needs at least 12 characters")]
    TooShort,
    /// One character over and over.
    #[error("this password is too easy to guess")]
    Trivial,
    /// The user name, or it repeated.
    #[error("a password cannot be made of the user name")]
    UserName,
}

/// A password that satisfies the rules and has been chosen by its owner.
pub struct NewPassword(Zeroizing<String>);

impl NewPassword {
    /// Checks the rules.
    ///
    /// # Errors
    /// [`PasswordRule`] that is broken.
    pub fn parse(text: &str, user_name: &UserName) -> Result<Self, PasswordRule> {
        let characters = text.chars().count();
        if text.chars().any(char::is_control) {
            return Err(PasswordRule::Control);
        }
        if characters < MIN_CHARACTERS {
            return Err(PasswordRule::TooShort);
        }
        if characters > MAX_CHARACTERS {
            return Err(PasswordRule::TooLong);
        }
        let folded = Zeroizing::new(text.to_lowercase());
        if folded.replace(user_name.as_str(), "").chars().all(|c| !c.is_alphanumeric()) {
            return Err(PasswordRule::UserName);
        }
        let first = folded.chars().next();
        if folded.chars().all(|character| Some(character) == first) {
            return Err(PasswordRule::Trivial);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword([secret])")
    }
}

/// The password could not be hashed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the password could not be hashed")]
pub struct HashPasswordError;

/// Text that is not a password hash.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("expected an Argon2id hash in PHC form")]
pub struct PasswordHashError;

/// An Argon2id hash in PHC form, parameters included: `$argon2id$v=19$m=19456,t=2,p=1$...`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Hashes a new password. Takes tens of milliseconds and 19 MiB: not on a thread that serves others.
    ///
    /// # Errors
    /// [`HashPasswordError`] when memory is short.
    pub fn of(password: &NewPassword, salt: [u8; 16]) -> Result<Self, HashPasswordError> {
        hash(password.0.as_bytes(), salt)
    }

    /// As stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `password` is the one; always the full work.
    #[must_use]
    pub fn matches(&self, password: &str) -> bool {
        phc::PasswordHash::new(&self.0)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    }
}

fn hash(password: &[u8], salt: [u8; 16]) -> Result<PasswordHash, HashPasswordError> {
    let hash =
        Argon2::default().hash_password_with_salt(password, &salt).map_err(|_error| HashPasswordError)?;
    Ok(PasswordHash(hash.to_string()))
}

/// What is compared when there is no user or no password: nobody's password, at everybody's price.
pub(crate) fn nobody() -> &'static PasswordHash {
    static NOBODY: LazyLock<PasswordHash> =
        LazyLock::new(|| hash(b"", [0; 16]).unwrap_or_else(|_error| PasswordHash(String::new())));
    &NOBODY
}

impl FromStr for PasswordHash {
    type Err = PasswordHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hash = phc::PasswordHash::new(text).map_err(|_error| PasswordHashError)?;
        if hash.algorithm.as_str() == "argon2id" { Ok(Self(text.to_owned())) } else { Err(PasswordHashError) }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::{NewPassword, PasswordHash, nobody};

    fn cost(hash: &PasswordHash) -> Vec<&str> {
        hash.as_str().split('$').take(4).collect()
    }

    /// Threat 55: an unknown user must cost what a known one costs, so what is compared for nobody must be as dear.
    #[test]
    fn nobodys_password_costs_what_everybodys_costs() {
        let password = NewPassword::parse("correct horse battery", &"alice".parse().unwrap()).unwrap();
        let real = PasswordHash::of(&password, [1; 16]).unwrap();
        assert_eq!(cost(nobody()), cost(&real));
        assert_eq!(nobody().as_str().parse::<PasswordHash>().as_ref(), Ok(nobody()));
        assert!(!nobody().matches("correct horse battery"));
    }
}
