//! Which addresses of a provider are connected to: public ones, and private ones that the connector names. Names are
//! resolved once, and the address that was checked is the one that is connected to.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;
use url::{Host, Url};

/// Why an address is not connected to.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AddressRefused {
    /// The name has no address.
    #[error("`{0}` has no address")]
    NoAddress(String),
    /// The address is not a public one, and the connector does not name it.
    #[error(
        "the address {0} is private: name its network in `private_networks` of the connector if that is meant"
    )]
    Private(IpAddr),
    /// Neither `https`, nor `http` to this very machine.
    #[error("the address must begin with `https://`")]
    Scheme,
    /// It is no plain URL of a host.
    #[error("the address must be a URL with a host, without user, password and fragment")]
    Shape,
}

/// Whether this address may be connected to.
///
/// # Errors
/// [`AddressRefused::Private`] when it is not a public one and in none of the networks.
pub fn check_address(address: IpAddr, private_networks: &[IpNet]) -> Result<(), AddressRefused> {
    let address = address.to_canonical();
    let public = match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    };
    if public || private_networks.iter().any(|network| network.contains(&address)) {
        Ok(())
    } else {
        Err(AddressRefused::Private(address))
    }
}

/// Everything of the special-purpose registry (RFC 6890) that a provider cannot be at.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 31, 196)
            | (192, 52, 193)
            | (192, 88, 99)
            | (192, 168, _)
            | (192, 175, 48)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !special
}

/// Global unicast only, and nothing that carries an IPv4 address inside.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let global = first & 0xe000 == 0x2000;
    let special =
        matches!((first, second), (0x2001, 0..=0x01ff | 0x0db8) | (0x2002, _) | (0x3fff, 0..=0x0fff));
    global && !special
}

/// Whether this URL may be asked, as far as it says itself: a name's addresses are checked when it is resolved.
///
/// # Errors
/// [`AddressRefused`].
pub fn check_url(url: &Url, private_networks: &[IpNet]) -> Result<(), AddressRefused> {
    literal(url)?.map_or(Ok(()), |address| check_address(address, private_networks))
}

/// Whether a browser may be sent to this URL; where that can reach is the browser's business.
pub(super) fn check_page(url: &Url) -> Result<(), AddressRefused> {
    literal(url).map(drop)
}

/// The address that the URL names instead of a name; everything else about it is as it should be.
fn literal(url: &Url) -> Result<Option<IpAddr>, AddressRefused> {
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let host = url.host().filter(|_| plain).ok_or(AddressRefused::Shape)?;
    let literal = match host {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address).to_canonical()),
        Host::Domain(_) => None,
    };
    // A provider on this very machine needs no TLS: nobody else hears it.
    let here = literal.is_some_and(|address| address.is_loopback());
    match (url.scheme(), here) {
        ("https", _) | ("http", true) => Ok(literal),
        _ => Err(AddressRefused::Scheme),
    }
}

/// Resolves names for connections: what it gives away was checked.
#[derive(Debug)]
pub(super) struct CheckedResolver(pub(super) Arc<[IpNet]>);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let private_networks = Arc::clone(&self.0);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if found.is_empty() {
                return Err(AddressRefused::NoAddress(name.as_str().to_owned()).into());
            }
            // One bad address is enough: who answers with both kinds is up to something.
            for address in &found {
                check_address(address.ip(), &private_networks)?;
            }
            Ok::<Addrs, Box<dyn std::error::Error + Send + Sync>>(Box::new(found.into_iter()))
        })
    }
}
