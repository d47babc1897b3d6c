//! What hosts say about themselves, checked before anybody else sees it. A host is trusted with its own addresses and
//! keys only as far as they cannot point a person's client or a bastion at something that is no other host.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use usher_api::v1::{Address, HostFacts};
use usher_audit::Event;
use usher_store::{addresses::AddressChange, servers};
use usher_types::ServerId;

use super::host_key::{self, HostKeyError};
use crate::error::ApiError;

/// All of a bastion's addresses must fit into a certificate's `source-address`.
const MAX_ADDRESSES: usize = 16;
const MAX_HOST_KEYS: usize = 8;
const MAX_TEXT: usize = 256;

/// The instance metadata service's IPv6 address on AWS; its IPv4 address is link-local.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Checks what a host says about itself.
pub(crate) fn parse(facts: &HostFacts) -> Result<servers::HostFacts, ApiError> {
    Ok(servers::HostFacts {
        addresses: addresses(&facts.addresses)?,
        host_keys: host_keys(&facts.host_keys)?,
        os: text(&facts.os),
        sshd_version: text(&facts.sshd_version),
        ssh_port: None,
    })
}

/// For the audit log.
pub(crate) fn changed(server_id: ServerId, change: AddressChange) -> Event {
    let AddressChange { before, after, refused } = change;
    Event::ServerAddresses { server_id, before, after, refused }
}

/// In the order they came, each once.
fn addresses(given: &[Address]) -> Result<Vec<SocketAddr>, ApiError> {
    if given.is_empty() || given.len() > MAX_ADDRESSES {
        return Err(ApiError::invalid(format!("facts.addresses: give 1 to {MAX_ADDRESSES} addresses")));
    }
    let mut addresses = Vec::with_capacity(given.len());
    for Address { ip, port } in given {
        let ip = ip.to_canonical();
        if *port == 0 {
            return Err(ApiError::invalid("facts.addresses: port 0 is no port"));
        }
        if !is_reachable(ip) {
            return Err(ApiError::invalid(format!(
                "facts.addresses: `{ip}` cannot be another host's address (loopback, link-local, multicast, metadata)"
            )));
        }
        let address = SocketAddr::new(ip, *port);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Whether an address can be that of one other host.
fn is_reachable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.octets().first() == Some(&0))
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unicast_link_local()
                || ip.is_multicast()
                || ip == METADATA_V6)
        }
    }
}

fn host_keys(given: &[String]) -> Result<Vec<String>, ApiError> {
    if given.is_empty() || given.len() > MAX_HOST_KEYS {
        return Err(ApiError::invalid(format!("facts.host_keys: give 1 to {MAX_HOST_KEYS} host keys")));
    }
    // Sorted, so that another order is not another set of keys.
    let mut keys = BTreeSet::new();
    let mut last = None;
    for line in given {
        match host_key::parse(line) {
            Ok(key) => {
                keys.insert(key);
            }
            // A host may have more keys than clients should accept; it is reached by the others.
            Err(error @ (HostKeyError::Algorithm | HostKeyError::Size)) => last = Some(error),
            Err(error @ HostKeyError::Form) => return Err(bad_host_key(error)),
        }
    }
    match last {
        Some(error) if keys.is_empty() => Err(bad_host_key(error)),
        Some(_) | None => Ok(keys.into_iter().collect()),
    }
}

fn bad_host_key(error: HostKeyError) -> ApiError {
    ApiError::invalid(format!("facts.host_keys: {error}"))
}

/// Text for lists and logs, made short and printable: nothing depends on it, and a host with an odd one must not count
/// as silent for that.
pub(super) fn text(given: &str) -> String {
    given.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use usher_api::v1::Address;

    fn addresses(given: &[(&str, u16)]) -> Result<Vec<String>, String> {
        let given: Vec<_> =
            given.iter().map(|(ip, port)| Address { ip: ip.parse().unwrap(), port: *port }).collect();
        super::addresses(&given)
            .map(|good| good.iter().map(ToString::to_string).collect())
            .map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn keeps_the_order_and_drops_repetitions() {
        let given = [("10.0.0.9", 22), ("2001:db8::1", 22), ("::ffff:10.0.0.9", 22)];
        assert_eq!(addresses(&given).unwrap(), ["10.0.0.9:22", "[2001:db8::1]:22"]);
    }

    #[test]
    fn refuses_addresses_that_are_no_other_host() {
        for bad in [
            "127.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
        ] {
            assert!(addresses(&[("10.0.0.9", 22), (bad, 22)]).is_err(), "{bad}");
        }
        assert!(addresses(&[]).is_err());
        assert!(addresses(&[("10.0.0.9", 0)]).is_err());
        assert!(addresses(&[("10.0.0.9", 22); 17]).is_err());
    }
}
