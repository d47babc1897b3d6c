//! Network namespaces, bridges and veth pairs, by `ip`. All bridges live in one extra namespace without addresses, so
//! the machine's own namespace has neither a leg in nor a route to the laboratory.

use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::HostSpec;
use crate::{clock, process::Cmd};

/// State of a host's cables.
#[derive(Clone, Copy, Debug)]
pub(super) enum Links {
    /// Pulled out.
    Down,
    /// Plugged in.
    Up,
}

/// A tmpfs of its own for everything that hosts write: fast, gone with one unmount, never inside the lower layer.
pub(super) fn mount_private_tmpfs(dir: &Path) -> Result<()> {
    mount("usher-lab", dir, "tmpfs", MountFlags::empty(), Some(c"mode=700,size=75%"))
        .with_context(|| format!("cannot mount a tmpfs on {}", dir.display()))?;
    mount_change(dir, MountPropagationFlags::PRIVATE)?;
    Ok(())
}

fn ip(args: &[&str]) -> Result<()> {
    Cmd::new(["ip"]).args(args).read().map(drop)
}

fn switch_name(prefix: &str) -> String {
    format!("{prefix}-sw")
}

/// The namespace that holds the bridges.
pub(super) fn switch(prefix: &str, networks: &[&str]) -> Result<()> {
    let switch = switch_name(prefix);
    ip(&["netns", "add", &switch])?;
    ip(&["-n", &switch, "link", "set", "lo", "up"])?;
    for network in networks {
        let bridge = format!("br-{network}");
        ip(&["-n", &switch, "link", "add", &bridge, "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", &bridge, "up"])?;
    }
    Ok(())
}

/// A namespace with a leg in each of the host's networks; returns its name.
pub(super) fn attach(prefix: &str, spec: &HostSpec) -> Result<String> {
    let (netns, switch) = (format!("{prefix}-{}", spec.name), switch_name(prefix));
    ip(&["netns", "add", &netns])?;
    ip(&["-n", &netns, "link", "set", "lo", "up"])?;
    for (index, (network, address)) in spec.legs.iter().enumerate() {
        let (device, port) = (format!("eth{index}"), port(spec.name, index));
        ip(&[
            "link", "add", &device, "netns", &netns, "type", "veth", "peer", "name", &port, "netns", &switch,
        ])?;
        ip(&["-n", &switch, "link", "set", &port, "master", &format!("br-{network}"), "up"])?;
        ip(&["-n", &netns, "addr", "add", address, "dev", &device])?;
        ip(&["-n", &netns, "link", "set", &device, "up"])?;
    }
    Ok(netns)
}

/// Device names hold 15 characters.
fn port(host: &str, index: usize) -> String {
    format!("v{index}-{}", host.chars().take(12).collect::<String>())
}

/// Plugs a host's cables in or out, at the switch.
pub(super) fn set_links(prefix: &str, host: &str, links: Links) -> Result<()> {
    let switch = switch_name(prefix);
    let state = match links {
        Links::Down => "down",
        Links::Up => "up",
    };
    for index in 0..2 {
        let port = port(host, index);
        if Cmd::new(["ip", "-n", &switch, "link", "show", &port]).output()?.status == 0 {
            ip(&["-n", &switch, "link", "set", &port, state])?;
        }
    }
    Ok(())
}

/// Deletes every network namespace of a laboratory.
pub(super) fn remove(prefix: &str) -> Result<()> {
    let start = format!("{prefix}-");
    let names = || -> Result<Vec<String>> {
        let list = Cmd::new(["ip", "netns", "list"]).read()?;
        Ok(list
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| name.starts_with(&start))
            .map(str::to_owned)
            .collect())
    };
    for name in names()? {
        ip(&["netns", "del", &name])?;
    }
    clock::wait_for_end("the network namespaces to go", clock::PATIENCE, || {
        names().is_ok_and(|names| names.is_empty())
    })
}
