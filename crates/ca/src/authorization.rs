//! The port through which somebody else says "yes": what a certificate may contain comes from here and nowhere else.
//!
//! This module decides nothing. In the product the implementors are the grants of the policy crate; embedders bring
//! their own.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use thiserror::Error;
use usher_types::{DeviceId, KeyId, Principal, UserId, ValidityWindow};

/// Proof that somebody may have one certificate, and everything that the certificate will say.
///
/// An implementor should be a type with a private constructor in the module that made the decision, without `Clone`,
/// because signing consumes it by value.
pub trait Authorization {
    /// The one principal.
    fn principal(&self) -> Principal;

    /// What sshd writes to its log.
    fn key_id(&self) -> KeyId;

    /// When the certificate is valid; must contain the time of signing.
    fn window(&self) -> ValidityWindow;

    /// Whether a terminal may be asked for; not unless an implementor says so.
    fn permit_pty(&self) -> bool {
        false
    }

    /// Whether ports may be forwarded; not unless an implementor says so.
    fn permit_port_forwarding(&self) -> bool {
        false
    }

    /// Where the connection must come from, as the server sees it.
    fn source_addresses(&self) -> SourceAddresses;

    /// Who, for the extension `user@usher.internal`.
    fn user_id(&self) -> UserId;

    /// From which device, for the extension `device@usher.internal`.
    fn device_id(&self) -> DeviceId;

    /// Which address asked, for the extension `client-address@usher.internal`; informative, nothing enforces it.
    fn client_address(&self) -> Option<IpAddr> {
        None
    }
}

/// Networks that a certificate may be used from: the critical option `source-address`.
///
/// "From anywhere" is a call of its own, so that an empty list can never turn into it. Networks are kept in canonical
/// form, because sshd refuses a certificate with host bits, spaces or repeated entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceAddresses(Option<BTreeSet<IpNet>>);

/// Why a list of networks was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SourceAddressError {
    /// No network at all; it would otherwise mean "from nowhere" or, worse, "from anywhere".
    #[error("a list of source addresses cannot be empty")]
    Empty,
    /// More than [`SourceAddresses::MAX`].
    #[error("a certificate carries at most {} source addresses", SourceAddresses::MAX)]
    TooMany,
}

impl SourceAddresses {
    /// The most networks in one certificate.
    pub const MAX: usize = 32;

    /// No restriction.
    #[must_use]
    pub fn any() -> Self {
        Self(None)
    }

    /// Only these networks.
    ///
    /// # Errors
    /// [`SourceAddressError`] when there is none, or too many.
    pub fn only(networks: impl IntoIterator<Item = IpNet>) -> Result<Self, SourceAddressError> {
        let networks: BTreeSet<IpNet> = networks.into_iter().map(canonical).collect();
        if networks.is_empty() {
            return Err(SourceAddressError::Empty);
        }
        if networks.len() > Self::MAX {
            return Err(SourceAddressError::TooMany);
        }
        Ok(Self(Some(networks)))
    }

    /// Only these hosts, for example the addresses of the last bastion.
    ///
    /// # Errors
    /// [`SourceAddressError`] when there is none, or too many.
    pub fn hosts(addresses: &[IpAddr]) -> Result<Self, SourceAddressError> {
        Self::only(addresses.iter().map(|address| IpNet::from(*address)))
    }

    /// Whether there is no restriction.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a connection from `address` is inside.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.as_ref().is_none_or(|networks| networks.iter().any(|network| network.contains(&address)))
    }

    /// The value of the critical option, `None` for no restriction. A single host is written without its length, as
    /// `ssh-keygen` users write it.
    pub(crate) fn option_value(&self) -> Option<String> {
        let networks = self.0.as_ref()?;
        let written = networks.iter().map(|network| {
            if network.prefix_len() == network.max_prefix_len() {
                network.addr().to_string()
            } else {
                network.to_string()
            }
        });
        Some(written.collect::<Vec<_>>().join(","))
    }

    /// Reads the value of the critical option; only what [`SourceAddresses::option_value`] writes.
    pub(crate) fn from_option_value(text: &str) -> Option<Self> {
        let mut networks = Vec::new();
        for entry in text.split(',') {
            let host = entry.parse::<IpAddr>().ok().map(IpNet::from);
            networks.push(host.or_else(|| entry.parse::<IpNet>().ok())?);
        }
        let read = Self::only(networks).ok()?;
        (read.option_value().as_deref() == Some(text)).then_some(read)
    }
}

/// Host bits cleared; an IPv4 network written as IPv6 becomes IPv4, which is how sshd sees the peer.
fn canonical(network: IpNet) -> IpNet {
    let network = network.trunc();
    let mapped = match network {
        IpNet::V4(_) => None,
        IpNet::V6(v6) => v6
            .addr()
            .to_ipv4_mapped()
            .zip(v6.prefix_len().checked_sub(96))
            .and_then(|(address, length)| IpNet::new(IpAddr::V4(address), length).ok()),
    };
    mapped.unwrap_or(network)
}
