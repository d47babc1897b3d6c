//! `usher known-hosts`: what `ssh` runs as its `KnownHostsCommand`. Prints exactly the keys that the server itself
//! reported, under the name that was asked for; nothing for a name that is not ours, and `ssh` then refuses.

use std::path::Path;

use crate::{
    exit::Failure,
    output,
    ssh_agent::control::{Answer, ControlClient, Request, unexpected},
};

/// Answers for one name; `control` is the background process's control socket.
///
/// # Errors
/// When the background process cannot be asked.
pub fn run(control: &Path, name: &str) -> Result<(), Failure> {
    let Some(mut agent) = ControlClient::connect(control)? else { return Ok(()) };
    let Answer::HostKeys { keys } = agent.ask(&Request::KnownHosts { host: bare(name).to_owned() })? else {
        return Err(unexpected());
    };
    let lines: String = keys.iter().map(|key| format!("{name} {key}\n")).collect();
    output::print(&lines)
}

/// `[web-1]:2222`, as ssh writes a name with a port, without the port.
fn bare(name: &str) -> &str {
    name.strip_prefix('[').and_then(|rest| rest.split_once("]:")).map_or(name, |(name, _)| name)
}
