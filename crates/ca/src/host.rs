//! Certificates of hosts: which names one may be for, and who says so.
//!
//! The product pins host keys and does not need them; embedders do.

use std::{fmt, net::IpAddr, str::FromStr};

use thiserror::Error;
use usher_types::{Label, Period};

/// Proof that a host may have one certificate, and everything that the certificate will say.
pub trait HostAuthorization {
    /// The names and addresses that the host is reached by.
    fn principals(&self) -> HostPrincipals;

    /// What the certificate is called in logs.
    fn key_id(&self) -> Label;

    /// When it is valid; at most [`HostCertificate::MAX`](crate::HostCertificate::MAX), and must contain the time of
    /// signing.
    fn period(&self) -> Period;
}

/// A DNS name in lower case, or an IP address. Never a pattern: `*` would make a certificate good for every host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPrincipal(String);

/// The text names no host.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a host: expected a DNS name in lower case, or an IP address")]
pub struct ParseHostPrincipalError;

impl FromStr for HostPrincipal {
    type Err = ParseHostPrincipalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<IpAddr>() {
            // One form for each address: clients compare text.
            return if address.to_string() == text {
                Ok(Self(text.to_owned()))
            } else {
                Err(ParseHostPrincipalError)
            };
        }
        let label = |label: &str| {
            let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            (1..=63).contains(&label.len())
                && label.bytes().all(inside)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // A name of digits alone would be an address to somebody.
        let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if text.len() <= 253 && !numeric && text.split('.').all(label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseHostPrincipalError)
        }
    }
}

impl fmt::Display for HostPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The names of one host: one at least, because a certificate without any is good for every host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPrincipals {
    first: HostPrincipal,
    more: Vec<HostPrincipal>,
}

impl HostPrincipals {
    /// One name.
    #[must_use]
    pub fn one(first: HostPrincipal) -> Self {
        Self { first, more: Vec::new() }
    }

    /// One more name.
    #[must_use]
    pub fn and(mut self, other: HostPrincipal) -> Self {
        self.more.push(other);
        self
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &HostPrincipal> {
        std::iter::once(&self.first).chain(&self.more)
    }
}
