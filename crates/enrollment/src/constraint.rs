//! What a token may be restricted to: names and networks.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use thiserror::Error;
use usher_types::HostName;

/// Names that a token may be used for: one exact name, or a prefix followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    literal: String,
    wildcard: Wildcard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wildcard {
    Absent,
    Trailing,
}

/// Text that is not a name pattern.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("a name pattern is a server name, or the beginning of one followed by `*`")]
pub struct ParsePatternError;

impl NamePattern {
    /// Whether `name` may be claimed.
    #[must_use]
    pub fn matches(&self, name: &HostName) -> bool {
        match self.wildcard {
            Wildcard::Absent => name.as_str() == self.literal,
            Wildcard::Trailing => name.as_str().starts_with(&self.literal),
        }
    }
}

impl FromStr for NamePattern {
    type Err = ParsePatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(prefix) = text.strip_suffix('*') else {
            let name: HostName = text.parse().map_err(|_error| ParsePatternError)?;
            return Ok(Self { literal: name.into(), wildcard: Wildcard::Absent });
        };
        // A prefix is good when some name begins with it; `web-` is not a name itself, `web-0` is.
        let example = format!("{prefix}0a");
        let _: HostName = example.parse().map_err(|_error| ParsePatternError)?;
        Ok(Self { literal: prefix.to_owned(), wildcard: Wildcard::Trailing })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wildcard {
            Wildcard::Absent => f.write_str(&self.literal),
            Wildcard::Trailing => write!(f, "{}*", self.literal),
        }
    }
}

/// A network that a token may be used from, or that servers may have addresses in. Host bits are cleared; a single address is its own network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr(IpNet);

/// Text that is not a network.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("expected a network such as 10.0.0.0/16 or 2001:db8::/32")]
pub struct ParseCidrError;

impl Cidr {
    /// Whether `address` is inside. An IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`) is an IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Its first address.
    #[must_use]
    pub fn network(&self) -> IpAddr {
        self.0.network()
    }

    /// How many bits of it all its addresses share.
    #[must_use]
    pub fn prefix_length(&self) -> u8 {
        self.0.prefix_len()
    }
}

impl FromStr for Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse::<IpNet>().map_err(|_error| ParseCidrError)?,
        };
        // Compared with canonical addresses only, so such a network could never match.
        if matches!(network, IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some()) {
            return Err(ParseCidrError);
        }
        Ok(Self(network.trunc()))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
