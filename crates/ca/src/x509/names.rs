//! Names that certificates carry, each of a narrow grammar: they end up in logs and in other programs' access lists.

use std::{fmt, str::FromStr};

use thiserror::Error;
use x509_cert::{
    der::{Tag, Tagged as _, asn1::ObjectIdentifier},
    name::Name,
};

pub(super) const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Why a text is no such name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a {kind}: {rule}")]
pub struct NameError {
    kind: &'static str,
    rule: &'static str,
}

/// What an authority is called: 1 to 64 letters, digits, spaces and `-._`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommonName(String);

impl CommonName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CommonName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b" -._".contains(&byte);
        if (1..=64).contains(&text.len()) && text.trim() == text && text.bytes().all(good) {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError {
            kind: "common name",
            rule: "use 1 to 64 letters, digits, spaces, dots, underscores and hyphens",
        })
    }
}

impl fmt::Display for CommonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a domain controller or key distribution center knows a person by: `alice@EXAMPLE.COM`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserPrincipalName(String);

impl UserPrincipalName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserPrincipalName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |part: &str, max: usize| {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            part.len() <= max
                && part.bytes().all(good)
                && part.split('.').all(|label| {
                    label.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
                })
        };
        match text.split_once('@') {
            Some((user, domain)) if part(user, 64) && part(domain, 128) => Ok(Self(text.to_owned())),
            Some(_) | None => Err(NameError {
                kind: "user principal name",
                rule: "use `user@DOMAIN` of letters, digits, dots, underscores and hyphens",
            }),
        }
    }
}

impl fmt::Display for UserPrincipalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text of a name that is a common name and nothing else.
pub(super) fn common_name(name: &Name) -> Option<&str> {
    let (mut sets, mut attributes) = (name.iter_rdn(), name.iter());
    let (Some(_set), None, Some(only), None) =
        (sets.next(), sets.next(), attributes.next(), attributes.next())
    else {
        return None;
    };
    if only.oid != COMMON_NAME || only.value.tag() != Tag::Utf8String {
        return None;
    }
    std::str::from_utf8(only.value.value()).ok()
}
