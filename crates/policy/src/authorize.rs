//! The decision. Reads top to bottom: collect every reason to deny, then what is missing, then derive the grant.

use std::net::IpAddr;

use usher_identity::ApprovedUser;
use usher_types::{ConnectionId, KeyId, UnixTime, ValidityWindow};

use crate::{
    AccessFacts, AccessRequest, Assignment, Authentication, Capabilities, Decision, Denial, Grant, Locked,
    PortForwarding, Purpose, Reason, StepUp,
};

/// Decides whether `user` may connect to the server of `facts`, now.
///
/// Total and deterministic. `connection_id` names the connection that is made if the answer is yes; `client_address` is
/// recorded in certificates, and decides where a condition names networks.
///
/// Roles add up: what one of them allows is allowed. So a role that asks for more, such as a fresh second factor, asks only
/// those who have no other that does without.
pub fn authorize(
    user: &ApprovedUser,
    request: &AccessRequest,
    facts: &AccessFacts,
    connection_id: ConnectionId,
    client_address: Option<IpAddr>,
    now: UnixTime,
) -> Decision {
    let user = user.user();
    let project = &facts.project;
    let mut reasons = Vec::new();

    if facts.user_id != user.user_id() || facts.server.project_id != project.id {
        reasons.push(Reason::Inconsistent);
    }
    reasons.extend(facts.locks.iter().map(|lock| Reason::Locked {
        // As `usher unlock` takes it.
        what: match lock.on {
            Locked::Device => format!("device {}", user.device_id()),
            Locked::Project => format!("project {}", project.slug),
            Locked::Server => format!("server {}", facts.server.name),
            Locked::User => format!("user {}", user.user_name()),
        },
        on: lock.on,
        reason: lock.reason.clone(),
    }));
    if now >= user.expires_at() {
        reasons.push(Reason::SessionExpired);
    }
    let mine = || facts.assignments.iter().filter(|assignment| gives_access_to_member(assignment, facts));
    let unmet =
        |assignment: &Assignment| assignment.conditions.unmet(&facts.server.labels, client_address, now);
    let open = || mine().filter(|assignment| unmet(assignment).is_none());
    let has_access = mine().next().is_some();
    if !has_access {
        reasons.push(Reason::NoAccess { project: project.slug.clone(), groups: groups_with_access(facts) });
    } else if open().next().is_none() {
        reasons.extend(mine().filter_map(|assignment| {
            let unmet = unmet(assignment)?;
            Some(Reason::NotNow { group: assignment.group_name.clone(), unmet, client: client_address })
        }));
    }
    if has_access && facts.login.is_none() {
        reasons.push(Reason::NoAccount { project: project.slug.clone() });
    }
    if let Some(requested) = &request.login
        && Some(requested) != facts.login.as_ref()
    {
        reasons.push(Reason::OtherLogin { requested: requested.clone(), own: facts.login.clone() });
    }
    let window = ValidityWindow::around(now, project.clock_skew, project.certificate_lifetime);
    if window.is_err() {
        reasons.push(Reason::Lifetime { project: project.slug.clone() });
    }

    if let Some(denial) = Denial::of(reasons) {
        return Decision::Deny(denial);
    }
    // Both are there, or a reason was found above; written so that a slip denies.
    let (Some(login), Ok(window)) = (&facts.login, window) else {
        return Decision::Deny(Denial::inconsistent());
    };
    let wanted = |assignment: &Assignment| project.authentication.and(&assignment.conditions.authentication);
    let met = || open().filter(|assignment| wanted(assignment).is_met(user, facts.named_at, now));
    if met().next().is_none() {
        // The least that is asked; one role at least is open.
        return match open().map(wanted).min_by_key(Authentication::burden) {
            Some(least) => Decision::StepUp(StepUp::new(least, facts.server.name.clone())),
            None => Decision::Deny(Denial::inconsistent()),
        };
    }

    Decision::Allow(Grant {
        capabilities: Capabilities {
            project_id: project.id,
            server_id: facts.server.id,
            login: login.clone(),
            server_admin: met().any(|assignment| assignment.server_admin),
            permit_pty: match request.purpose {
                Purpose::Command => false,
                Purpose::Interactive => true,
            },
            permit_port_forwarding: match project.port_forwarding {
                PortForwarding::All | PortForwarding::Local => true,
                PortForwarding::Off => false,
            },
            certificate_lifetime: project.certificate_lifetime,
            clock_skew: project.clock_skew,
        },
        user_id: user.user_id(),
        device_id: user.device_id(),
        connection_id,
        key_id: KeyId::new(&project.slug, login, user.device_id(), connection_id),
        window,
        client_address,
    })
}

/// By id, never by name: `ops` and `ops-prod` have nothing to do with each other.
fn gives_access_to_member(assignment: &Assignment, facts: &AccessFacts) -> bool {
    assignment.server_access && facts.groups.contains(&assignment.group_id)
}

fn groups_with_access(facts: &AccessFacts) -> Vec<usher_types::GroupName> {
    let with_access = facts.assignments.iter().filter(|assignment| assignment.server_access);
    with_access.map(|assignment| assignment.group_name.clone()).collect()
}
