//! The contents of every file the agent writes, from checked values only. Writes nothing.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use data_encoding::BASE64;
use usher_types::{HOP_LOGIN, Principal, ServerId, Sha256};

use crate::{
    account::{ADMIN_GROUP, MANAGED_GROUP, PortForwarding},
    state::HopEntry,
};

const HEADER: &str = "# Written by usher-agent, which overwrites changes.\n";

/// `permitopen` options on one line of a principals file; with thousands of them sshd stops reading.
const MAX_PERMITOPEN: usize = 16;

/// One person's principals file.
#[must_use]
pub fn principals(principal: &Principal) -> String {
    format!("{principal}\n")
}

/// The hop account's principals file: one line for each server behind the bastion, each good for that server only.
#[must_use]
pub fn hop_principals(bastion: ServerId, hops: &BTreeMap<ServerId, HopEntry>) -> String {
    let mut text = String::new();
    for (target, hop) in hops {
        let mut options = "restrict,port-forwarding".to_owned();
        // Without permitopen the line would allow forwarding to everywhere: no address, no line.
        let reachable: Vec<&IpAddr> =
            hop.addresses.iter().filter(|address| is_hop_address(address)).take(MAX_PERMITOPEN).collect();
        if reachable.is_empty() || hop.port == 0 {
            continue;
        }
        for address in reachable {
            let place = match address {
                IpAddr::V4(address) => format!("{address}:{}", hop.port),
                IpAddr::V6(address) => format!("[{address}]:{}", hop.port),
            };
            options.push_str(&format!(",permitopen=\"{place}\""));
        }
        text.push_str(&format!("{options} {}\n", Principal::hop(bastion, *target)));
    }
    text
}

/// The instance metadata service of AWS over IPv6, which is no link-local address.
const AWS_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Addresses that a bastion may be sent to. Loopback would be the bastion itself, link-local the cloud's metadata service.
fn is_hop_address(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_broadcast())
        }
        IpAddr::V6(address) => {
            let mapped = address.to_ipv4_mapped().is_some();
            !(mapped
                || address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_unspecified()
                || address.is_multicast()
                || *address == AWS_METADATA)
        }
    }
}

/// The `TrustedUserCAKeys` file, and how many of the keys had to be left out: sshd ignores every key behind a bad line.
#[must_use]
pub fn user_ca(keys: &[String]) -> (String, usize) {
    let good: Vec<String> = keys.iter().filter_map(|line| public_key(line)).collect();
    let bad = keys.len().saturating_sub(good.len());
    let mut text = HEADER.to_owned();
    for line in good {
        text.push_str(&line);
        text.push('\n');
    }
    (text, bad)
}

/// SHA-256 of an OpenSSH public key in wire format, as `ssh-keygen -l` shows it; `None` for a line that is left out of
/// the file.
#[must_use]
pub fn ca_digest(line: &str) -> Option<Sha256> {
    let good = public_key(line)?;
    let (_, key) = good.split_once(' ')?;
    Some(Sha256::of(&BASE64.decode(key.as_bytes()).ok()?))
}

/// The algorithm and key of an OpenSSH public key line, without its comment, when both fit together.
fn public_key(line: &str) -> Option<String> {
    let mut words = line.split(' ');
    let (algorithm, key) = (words.next()?, words.next()?);
    if !matches!(algorithm, "ssh-ed25519" | "ecdsa-sha2-nistp256") {
        return None;
    }
    let blob = BASE64.decode(key.as_bytes()).ok()?;
    let length = u32::try_from(algorithm.len()).ok()?.to_be_bytes();
    blob.strip_prefix(&length)?.strip_prefix(algorithm.as_bytes())?;
    Some(format!("{algorithm} {key}"))
}

/// The sudoers drop-in.
#[must_use]
pub fn sudoers() -> String {
    format!("{HEADER}%{ADMIN_GROUP} ALL=(ALL:ALL) NOPASSWD: ALL\n")
}

/// What the drop-in makes sshd do for every managed account, besides [`forwarding_effect`]: (keyword as `sshd -T` prints
/// it, value).
pub const MANAGED_EFFECT: &[(&str, &str)] = &[
    ("trustedusercakeys", "/etc/ssh/usher/user_ca.pub"),
    ("authorizedprincipalsfile", "/etc/ssh/usher/principals/%u"),
    ("authorizedprincipalscommand", "none"),
    ("authorizedkeysfile", "none"),
    ("authorizedkeyscommand", "none"),
    ("pubkeyauthentication", "yes"),
    ("passwordauthentication", "no"),
    ("kbdinteractiveauthentication", "no"),
    ("hostbasedauthentication", "no"),
    ("permituserrc", "no"),
    ("allowagentforwarding", "no"),
    ("permittunnel", "no"),
    ("x11forwarding", "no"),
];

/// What the drop-in makes sshd forward for managed accounts of people.
#[must_use]
pub fn forwarding_effect(forwarding: PortForwarding) -> (&'static str, &'static str) {
    ("allowtcpforwarding", allow_tcp_forwarding(forwarding))
}

fn allow_tcp_forwarding(forwarding: PortForwarding) -> &'static str {
    match forwarding {
        PortForwarding::All => "yes",
        PortForwarding::Local => "local",
    }
}

/// What it makes sshd do for the hop account besides.
pub const HOP_EFFECT: &[(&str, &str)] = &[
    ("allowtcpforwarding", "local"),
    ("allowstreamlocalforwarding", "no"),
    ("allowagentforwarding", "no"),
    ("gatewayports", "no"),
    ("permitlisten", "none"),
    ("permittty", "no"),
    ("permittunnel", "no"),
    ("x11forwarding", "no"),
    ("maxsessions", "0"),
    ("forcecommand", "/usr/sbin/nologin"),
];

/// The sshd drop-in. Among `Match` blocks the first value wins, so the hop account's own block comes first.
#[must_use]
pub fn sshd_drop_in(forwarding: PortForwarding) -> String {
    let allowed = allow_tcp_forwarding(forwarding);
    format!(
        "{HEADER}\
Match User {HOP_LOGIN}
    AllowTcpForwarding local
    AllowStreamLocalForwarding no
    AllowAgentForwarding no
    GatewayPorts no
    PermitListen none
    PermitTTY no
    PermitTunnel no
    X11Forwarding no
    MaxSessions 0
    ForceCommand /usr/sbin/nologin
Match Group {MANAGED_GROUP}
    TrustedUserCAKeys /etc/ssh/usher/user_ca.pub
    AuthorizedPrincipalsFile /etc/ssh/usher/principals/%u
    AuthorizedPrincipalsCommand none
    AuthorizedKeysFile none
    AuthorizedKeysCommand none
    PubkeyAuthentication yes
    AuthenticationMethods publickey
    PasswordAuthentication no
    KbdInteractiveAuthentication no
    GSSAPIAuthentication no
    HostbasedAuthentication no
    PermitUserRC no
    AllowAgentForwarding no
    PermitTunnel no
    X11Forwarding no
    AllowTcpForwarding {allowed}
    AllowStreamLocalForwarding local
"
    )
}
