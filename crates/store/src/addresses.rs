//! Which of the addresses that a host reports are taken over. Root on a host can report whatever it likes, and bastions
//! open what they are told: so addresses lie in the project's networks, the port of sshd stays as it was first reported, and of the servers behind one bastion
//! group each address belongs to the first that has it. That an address is the host's own, nobody can know here.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use usher_enrollment::Placement;
use usher_types::{Cidr, Label, ProjectId, ServerId, UnixTime};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    row::{Columns, statements},
    servers::{Conflict, HostFacts},
};

/// A server that has not reported for this long loses its addresses to one that reports them now: reboots are shorter,
/// and machines that are gone for good must not keep theirs.
pub const HELD_FOR: Duration = Duration::from_secs(3600);

/// The kind of conflict that is found here, and by no agent.
pub const CONFLICT: &str = "address";

statements! {
    NETWORKS = "SELECT network FROM project_networks WHERE project_id = $1 ORDER BY network";
    NETWORKS_OF_SERVER = "SELECT n.network FROM project_networks n JOIN servers s ON s.project_id = n.project_id
        WHERE s.id = $1";
    FORGET_NETWORKS = "DELETE FROM project_networks WHERE project_id = $1";
    REMEMBER_NETWORK = "INSERT INTO project_networks (project_id, network) VALUES ($1, $2)";
    OF_SERVER = "SELECT address FROM server_addresses WHERE server_id = $1";
    HELD = "SELECT s.id FROM server_addresses a JOIN servers s ON s.id = a.server_id
        WHERE a.address = $1 AND a.server_id <> $2 AND (s.via = $3 OR s.bastion_group = $3)
            AND COALESCE(s.last_seen_at, s.enrolled_at) > $4 LIMIT 1";
    OF_PROJECT = "SELECT a.address, a.server_id FROM server_addresses a JOIN servers s ON s.id = a.server_id
        WHERE s.project_id = $1";
    FORGET_ONE = "DELETE FROM server_addresses WHERE address = $1 AND server_id = $2";
    FORGET = "DELETE FROM server_addresses WHERE server_id = $1";
    // Whoever else has it and may have it is not behind the same bastions, or has been silent for too long.
    TAKE_OVER = "DELETE FROM server_addresses WHERE address = $1 AND server_id IN
        (SELECT id FROM servers WHERE via = $2 OR bastion_group = $2)";
    REMEMBER = "INSERT INTO server_addresses (address, server_id) VALUES ($1, $2)";
}

/// Where servers of a project may have addresses; anywhere when there is none.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn networks(conn: &mut Conn, project: ProjectId) -> Result<Vec<Cidr>, StoreError> {
    let rows = query(NETWORKS).bind(project.to_string()).fetch_all(conn).await?;
    rows.iter().map(|row| row.parse("network")).collect()
}

/// Says where servers of a project may have addresses. What one has elsewhere it loses with its next report.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn set_networks(
    tx: &mut WriteTx,
    project: ProjectId,
    networks: &BTreeSet<Cidr>,
) -> Result<(), StoreError> {
    let project = project.to_string();
    query(FORGET_NETWORKS).bind(&project).execute(tx).await?;
    for network in networks {
        query(REMEMBER_NETWORK).bind(&project).bind(network.to_string()).execute(tx).await?;
    }
    for row in query(OF_PROJECT).bind(&project).fetch_all(tx).await? {
        let address: SocketAddr = row.parse("address")?;
        if !is_inside(networks, address) {
            let server = row.text("server_id")?;
            query(FORGET_ONE).bind(address.to_string()).bind(server).execute(tx).await?;
        }
    }
    Ok(())
}

/// What a report, or joining, did to a server's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressChange {
    /// What it had.
    pub before: Vec<SocketAddr>,
    /// What it has.
    pub after: Vec<SocketAddr>,
    /// What it reported and did not get.
    pub refused: Vec<SocketAddr>,
}

/// What was not taken over, and why.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) conflicts: Vec<Conflict>,
}

/// Makes of what a host reports what is taken over: drops addresses from `facts`, sets its port. Gives the rest.
/// `accepted`: what was taken over before; `None` for a server that has just joined.
pub(crate) async fn settle(
    tx: &mut WriteTx,
    server: ServerId,
    placement: &Placement,
    accepted: Option<&HostFacts>,
    facts: &mut HostFacts,
    now: UnixTime,
) -> Result<Refused, StoreError> {
    let port = accepted.and_then(|before| before.ssh_port);
    let reported = facts.addresses.first().map(SocketAddr::port);
    facts.ssh_port = port.or(reported);
    if let (Some(accepted), Some(port), Some(reported)) = (accepted, port, reported)
        && port != reported
    {
        let addresses = std::mem::replace(&mut facts.addresses, accepted.addresses.clone());
        let conflict = Conflict {
            kind: CONFLICT.to_owned(),
            name: reported.to_string(),
            reason: format!(
                "the host reports SSH port {reported}, accepted is {port}; its new addresses are not used until \
                 `usher server set NAME --port {reported}`"
            ),
        };
        return Ok(Refused { addresses, conflicts: vec![conflict] });
    }
    let id = server.to_string();
    let rows = query(OF_SERVER).bind(&id).fetch_all(tx).await?;
    let held: BTreeSet<SocketAddr> = rows.iter().map(|row| row.parse("address")).collect::<Result<_, _>>()?;
    if held == facts.addresses.iter().copied().collect() {
        return Ok(Refused::default());
    }
    let mut refused = outside(tx, &id, facts).await?;
    if let Some(via) = placement.via() {
        let mut free = Vec::with_capacity(facts.addresses.len());
        for address in &facts.addresses {
            if is_held(tx, &id, *address, via, now).await? {
                refused.addresses.push(*address);
                refused.conflicts.push(Conflict {
                    kind: CONFLICT.to_owned(),
                    name: address.to_string(),
                    reason: format!(
                        "another server behind bastion group `{via}` has this address, so bastions do not open it \
                         for this one; remove the server that does not have it any more"
                    ),
                });
            } else {
                query(TAKE_OVER).bind(address.to_string()).bind(via.as_str()).execute(tx).await?;
                free.push(*address);
            }
        }
        facts.addresses = free;
    }
    query(FORGET).bind(&id).execute(tx).await?;
    for address in &facts.addresses {
        query(REMEMBER).bind(address.to_string()).bind(&id).execute(tx).await?;
    }
    Ok(refused)
}

fn is_inside(networks: &BTreeSet<Cidr>, address: SocketAddr) -> bool {
    networks.is_empty() || networks.iter().any(|network| network.contains(address.ip()))
}

/// Drops addresses that lie in none of the project's networks.
async fn outside(tx: &mut WriteTx, server: &str, facts: &mut HostFacts) -> Result<Refused, StoreError> {
    let rows = query(NETWORKS_OF_SERVER).bind(server).fetch_all(tx).await?;
    let networks: BTreeSet<Cidr> = rows.iter().map(|row| row.parse("network")).collect::<Result<_, _>>()?;
    let mut refused = Refused::default();
    facts.addresses.retain(|address| {
        let inside = is_inside(&networks, *address);
        if !inside {
            refused.addresses.push(*address);
            refused.conflicts.push(Conflict {
                kind: CONFLICT.to_owned(),
                name: address.to_string(),
                reason: "this address is in none of the project's networks (`usher project show`)".to_owned(),
            });
        }
        inside
    });
    Ok(refused)
}

async fn is_held(
    tx: &mut WriteTx,
    server: &str,
    address: SocketAddr,
    via: &Label,
    now: UnixTime,
) -> Result<bool, StoreError> {
    let held = query(HELD)
        .bind(address.to_string())
        .bind(server)
        .bind(via.as_str())
        .bind(now.saturating_sub(HELD_FOR).as_millis());
    Ok(held.fetch_optional(tx).await?.is_some())
}
