//! Who can reach whom.

use anyhow::{Context as _, Result, bail};

use super::super::stack::{Stack, TARGETS, text};
use crate::clock::{self, Stopwatch};

/// Probed from inside the client, also with a route through a bastion that a clever user might add.
pub(super) fn targets_are_out_of_reach(stack: &mut Stack) -> Result<String> {
    let (client, bastion) = (stack.client()?, stack.host("bastion-1")?);
    let mut seen = String::new();
    for (name, address) in TARGETS {
        // Otherwise the probe would prove nothing.
        bastion.cmd(["nc", "-z", "-w2", address, "22"]).read()?;
        let direct = client.run(["nc", "-zv", "-w2", address, "22"])?;
        seen = direct.fails()?.stderr.trim().to_owned();
        // A clever user's own route, through a bastion and through the broker.
        let gateways: &[&str] = if *name == "target-1" { &["10.77.1.21", "10.77.1.5"] } else { &[] };
        for gateway in gateways {
            client.cmd(["ip", "route", "add", "10.77.2.0/24", "via", gateway]).read()?;
            let routed = client.run(["nc", "-z", "-w1", address, "22"]);
            client.cmd(["ip", "route", "del", "10.77.2.0/24", "via", gateway]).read()?;
            if routed?.status == 0 {
                bail!("{name} is reachable through {gateway}, which must not forward");
            }
        }
    }
    Ok(seen)
}

fn time_connection(stack: &Stack) -> Result<u64> {
    let watch = Stopwatch::start();
    let name = stack.usher("alice", &["ssh", "target-1", "--", "id", "-un"])?.read()?;
    if name == "alice" { Ok(watch.ms()) } else { bail!("{name}") }
}

/// The power of one bastion goes: packets are lost, nothing is refused.
pub(super) fn bastion_dies(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    let mut detail = Vec::new();
    for bastion in ["bastion-1", "bastion-2"] {
        stack.lab.cut_power(bastion)?;
        // Several, because the preferred bastion changes from connection to connection.
        let times: Result<Vec<u64>> = (0..4).map(|_| time_connection(stack)).collect();
        stack.lab.power_on(bastion)?;
        stack.start_agent(bastion)?;
        let times = times.with_context(|| format!("without {bastion}"))?;
        if times.iter().any(|ms| *ms > 30_000) {
            bail!("without {bastion} it took {times:?} ms");
        }
        detail.push(format!("without {bastion} {times:?} ms"));
        let host = stack.host(bastion)?;
        clock::wait_for(&format!("the agent on {bastion}"), clock::PATIENCE, || {
            host.has("/etc/ssh/usher/principals/usher-hop").then_some(())
        })?;
    }
    stack.wait_until_applied(&["bastion-1", "bastion-2"])?;
    Ok(detail.join(", "))
}

/// Moves `target-2` behind `bastion-2`, and that behind `bastion-1`; puts everything back whatever happens.
pub(super) fn two_bastions_in_a_row(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    let went = through_both(stack);
    stack.admin(&["server", "set", "target-2", "--via", "edge"])?;
    stack.admin(&["server", "set", "bastion-2", "--bastion-group", "edge", "--via", "none"])?;
    wait_for_hops(stack, "bastion-1", &["target-1", "target-2"])?;
    went
}

fn through_both(stack: &Stack) -> Result<String> {
    stack.admin(&["server", "set", "bastion-2", "--bastion-group", "inner", "--via", "edge"])?;
    stack.admin(&["server", "set", "target-2", "--via", "inner"])?;
    wait_for_hops(stack, "bastion-1", &["bastion-2"])?;
    wait_for_hops(stack, "bastion-2", &["target-2"])?;
    let seen = stack.usher("alice", &["ssh", "target-2", "--", "id -un; echo $SSH_CONNECTION"])?.read()?;
    let (name, connection) = seen.split_once('\n').context("no second line")?;
    let from = connection.split(' ').next().unwrap_or_default();
    if name != "alice" || from != "10.77.2.22" {
        bail!("expected alice from bastion-2: {seen}");
    }
    // The first hop's certificate opens the second bastion and nothing behind it.
    let principals = stack.host("bastion-1")?.cmd(["cat", "/etc/ssh/usher/principals/usher-hop"]).read()?;
    if principals.contains("10.77.2.32:") {
        bail!("bastion-1 would forward to target-2 itself: {principals}");
    }
    Ok(format!("alice came to target-2 from {from}"))
}

/// Waits until a bastion's sshd would forward to these servers.
fn wait_for_hops(stack: &Stack, bastion: &str, servers: &[&str]) -> Result<()> {
    let host = stack.host(bastion)?;
    let ids = servers.iter().map(|name| text(&stack.server(name)?, "id")).collect::<Result<Vec<_>>>()?;
    clock::wait_for(&format!("{bastion} to forward to {servers:?}"), clock::PATIENCE, || {
        let principals = host.cmd(["cat", "/etc/ssh/usher/principals/usher-hop"]).read().ok()?;
        ids.iter().all(|id| principals.contains(&format!(".{id}"))).then_some(())
    })
}
