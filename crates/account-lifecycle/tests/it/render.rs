//! File contents.

use std::collections::{BTreeMap, BTreeSet};

use usher_account_lifecycle::{
    account::PortForwarding,
    render::{hop_principals, sshd_drop_in, sudoers, user_ca},
    state::HopEntry,
};

use crate::fixtures::{CA, server_id};

fn hop(addresses: &[&str], port: u16) -> HopEntry {
    HopEntry {
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect::<BTreeSet<_>>(),
        port,
    }
}

#[test]
fn a_hop_line_opens_one_server_only() {
    let (bastion, target) = (server_id(1), server_id(2));
    let text = hop_principals(bastion, &BTreeMap::from([(target, hop(&["10.0.0.5", "fd00::5"], 2222))]));
    let options = "restrict,port-forwarding,permitopen=\"10.0.0.5:2222\",permitopen=\"[fd00::5]:2222\"";
    assert_eq!(text, format!("{options} usher-hop@{bastion}.{target}\n"));
}

#[test]
fn a_hop_never_leads_to_the_bastion_itself_or_to_metadata() {
    let bad = ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "fe80::1", "::ffff:127.0.0.1"];
    let hops = BTreeMap::from([
        (server_id(2), hop(&bad, 22)),
        (server_id(3), hop(&[], 22)),
        (server_id(4), hop(&["10.0.0.1"], 0)),
    ]);
    assert_eq!(hop_principals(server_id(1), &hops), "", "a line without permitopen would open everything");
}

#[test]
fn bad_ca_lines_are_left_out_and_counted() {
    let bad = [
        "",
        "garbage",
        "ssh-ed25519",
        "ssh-ed25519 !!!",
        "ssh-rsa AAAAB3NzaC1yc2E=",
        "ssh-ed25519-cert-v01@openssh.com AAAA",
        "ecdsa-sha2-nistp256 AAAAC3NzaC1lZDI1NTE5AAAAIGZ2Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFy",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5\nssh-rsa AAAA",
    ];
    let mut lines: Vec<String> = bad.iter().map(ToString::to_string).collect();
    lines.insert(3, format!("{CA} a comment"));
    let (text, left_out) = user_ca(&lines);
    assert_eq!(left_out, bad.len());
    assert_eq!(text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>(), [CA]);
}

#[test]
fn drop_ins_speak_of_our_groups_only() {
    let text = sshd_drop_in(PortForwarding::Local);
    let global = text.lines().take_while(|line| !line.starts_with("Match")).all(|line| line.starts_with('#'));
    assert!(global, "a setting outside a Match block would be about everybody");
    let blocks: Vec<_> = text.lines().filter(|line| line.starts_with("Match")).collect();
    assert_eq!(blocks, ["Match User usher-hop", "Match Group usher-managed"]);
    let rules: Vec<_> =
        sudoers().lines().filter(|line| !line.starts_with('#')).map(ToOwned::to_owned).collect();
    assert_eq!(rules, ["%usher-admin ALL=(ALL:ALL) NOPASSWD: ALL"]);
}
