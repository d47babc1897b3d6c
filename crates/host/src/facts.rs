//! What a host says about itself to the broker: addresses, sshd's port and host keys, versions. Read only.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use crate::{
    HostError,
    sshd::{Effective, listen_addresses, version},
};

/// Interfaces whose addresses other hosts do not reach, or reach on every host alike.
const VIRTUAL: [&str; 11] =
    ["lo", "docker", "br-", "virbr", "cni", "flannel", "cali", "lxcbr", "lxdbr", "podman", "cilium"];

/// More are not useful to anybody.
const MAX_ADDRESSES: usize = 8;

/// Where sshd can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenAddress {
    /// IP address.
    pub ip: IpAddr,
    /// TCP port.
    pub port: u16,
}

/// What a host says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Where sshd can be reached, most useful first.
    pub addresses: Vec<ListenAddress>,
    /// Public host keys, without comments.
    pub host_keys: Vec<String>,
    /// `PRETTY_NAME` of os-release.
    pub os: String,
    /// What `ssh -V` says.
    pub sshd_version: String,
}

/// Collects the facts. `preferred` addresses, when there are any, are reported instead of the host's own.
///
/// # Errors
/// [`HostError`] when sshd does not say how it is configured.
pub fn facts(preferred: &[IpAddr]) -> Result<Facts, HostError> {
    let settings = Effective::global()?;
    let listening = listen_addresses(&settings);
    let candidates = if preferred.is_empty() { own_addresses() } else { preferred.to_vec() };
    let forced = !preferred.is_empty();
    let mut addresses: Vec<ListenAddress> = Vec::new();
    for ip in candidates {
        let port = listening.iter().find(|listen| serves(listen, ip)).map(SocketAddr::port);
        // An address in front of the host (a NAT) is nothing sshd knows of; its port is the first it listens on.
        let port = port.or_else(|| listening.first().map(SocketAddr::port).filter(|_| forced));
        addresses.extend(port.map(|port| ListenAddress { ip, port }));
    }
    addresses.truncate(MAX_ADDRESSES);
    let key_files = settings.iter().filter(|(key, _)| key == "hostkey").map(|(_, value)| value.as_str());
    Ok(Facts {
        addresses,
        host_keys: key_files.filter_map(public_key).collect(),
        os: os_name(),
        sshd_version: version(),
    })
}

fn serves(listen: &SocketAddr, ip: IpAddr) -> bool {
    listen.ip() == ip || (listen.ip().is_unspecified() && listen.is_ipv4() == ip.is_ipv4())
}

/// The public half of a host key file.
fn public_key(path: &str) -> Option<String> {
    let text = fs::read_to_string(format!("{path}.pub")).ok()?;
    let mut words = text.split_whitespace();
    let (algorithm, key) = (words.next()?, words.next()?);
    let known = algorithm.starts_with("ssh-") || algorithm.starts_with("ecdsa-sha2-");
    known.then(|| format!("{algorithm} {key}"))
}

fn os_name() -> String {
    let text = fs::read_to_string("/etc/os-release").or_else(|_| fs::read_to_string("/usr/lib/os-release"));
    let text = text.unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "unknown".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// Unicast addresses of this host: the default route's first, then IPv4, then IPv6.
fn own_addresses() -> Vec<IpAddr> {
    let v4 = ipv4_addresses(&read("/proc/net/fib_trie"), &read("/proc/net/route"));
    let v6 = ipv6_addresses(&read("/proc/net/if_inet6"));
    let all: BTreeSet<IpAddr> =
        v4.iter().copied().map(IpAddr::from).chain(v6.iter().copied().map(IpAddr::from)).collect();
    let preferred = [towards("192.0.2.1:9"), towards("[2001:db8::1]:9")].into_iter().flatten();
    let mut ordered: Vec<IpAddr> = preferred.filter(|ip| all.contains(ip)).collect();
    for ip in v4.into_iter().map(IpAddr::from).chain(v6.into_iter().map(IpAddr::from)) {
        if !ordered.contains(&ip) {
            ordered.push(ip);
        }
    }
    ordered
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The address that packets to far away would leave from. Connecting a datagram socket sends nothing.
fn towards(far: &str) -> Option<IpAddr> {
    let local = if far.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(local).ok()?;
    socket.connect(far).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn is_virtual(interface: &str) -> bool {
    VIRTUAL.iter().any(|prefix| interface.starts_with(prefix))
}

/// Local IPv4 addresses from the routing trie, without those of virtual interfaces.
fn ipv4_addresses(trie: &str, routes: &str) -> Vec<Ipv4Addr> {
    let mut found = BTreeSet::new();
    let mut last: Option<Ipv4Addr> = None;
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line.starts_with("/32 host LOCAL")
            && let Some(address) = last
        {
            found.insert(address);
        }
    }
    let subnets = subnets(routes);
    let reachable = |address: &Ipv4Addr| {
        let interface =
            subnets.iter().filter(|subnet| subnet.contains(*address)).max_by_key(|subnet| subnet.mask);
        !(address.is_loopback()
            || address.is_link_local()
            || address.is_unspecified()
            || address.is_multicast())
            && interface.is_none_or(|subnet| !is_virtual(&subnet.interface))
    };
    found.into_iter().filter(reachable).collect()
}

struct Subnet {
    interface: String,
    network: u32,
    mask: u32,
}

impl Subnet {
    fn contains(&self, address: Ipv4Addr) -> bool {
        self.mask != 0 && u32::from(address) & self.mask == self.network
    }
}

/// `/proc/net/route`: little-endian hexadecimal.
fn subnets(routes: &str) -> Vec<Subnet> {
    let subnet = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| u32::from_str_radix(fields.get(index)?, 16).ok().map(u32::swap_bytes);
        Some(Subnet { interface: (*fields.first()?).to_owned(), network: number(1)?, mask: number(7)? })
    };
    routes.lines().skip(1).filter_map(subnet).collect()
}

/// `/proc/net/if_inet6`: address, index, prefix length, scope, flags, interface; all hexadecimal.
fn ipv6_addresses(table: &str) -> Vec<Ipv6Addr> {
    const GLOBAL: &str = "00";
    const TEMPORARY_DEPRECATED_TENTATIVE: u32 = 0x01 | 0x20 | 0x40;
    let address = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(fields.get(4)?, 16).ok()?;
        let usable = fields.get(3) == Some(&GLOBAL) && flags & TEMPORARY_DEPRECATED_TENTATIVE == 0;
        if !usable || is_virtual(fields.get(5)?) {
            return None;
        }
        u128::from_str_radix(fields.first()?, 16).ok().map(Ipv6Addr::from)
    };
    let mut found: Vec<Ipv6Addr> = table.lines().filter_map(address).collect();
    // Unique local addresses (RFC 4193) behind global ones.
    found.sort_by_key(|address| (address.is_unique_local(), *address));
    found
}

#[cfg(test)]
mod tests {
    use super::{ipv4_addresses, ipv6_addresses};

    const TRIE: &str = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 127.0.0.1\n        \
                        /32 host LOCAL\n     |-- 10.0.0.5\n        /32 host LOCAL\n     |-- 10.0.0.255\n        \
                        /32 link BROADCAST\n     |-- 172.17.0.1\n        /32 host LOCAL\n     |-- 169.254.3.4\n        \
                        /32 host LOCAL\n";
    const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                          eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\n\
                          eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n\
                          docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\n";

    #[test]
    fn only_addresses_that_others_reach_are_reported() {
        assert_eq!(ipv4_addresses(TRIE, ROUTES), ["10.0.0.5".parse::<std::net::Ipv4Addr>().unwrap()]);
        let table = "fd000000000000000000000000000001 02 40 00 80 eth0\n\
                     20010db8000000000000000000000005 02 40 00 80 eth0\n\
                     20010db8000000000000000000000006 02 40 00 01 eth0\n\
                     fe800000000000000000000000000001 02 40 20 80 eth0\n\
                     00000000000000000000000000000001 01 80 10 80 lo\n";
        let found: Vec<String> = ipv6_addresses(table).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["2001:db8::5", "fd00::1"]);
    }
}
