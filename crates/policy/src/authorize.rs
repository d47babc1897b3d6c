//! The decision. Reads top to bottom: collect every reason to deny, then what is missing, then derive the grant.

use std::net::IpAddr;

use usher_identity::ApprovedUser;
use usher_types::{ConnectionId, KeyId, PeriodError, UnixTime, ValidityWindow};

use crate::{
    AccessFacts, AccessRequest, Asker, Assignment, Authentication, Capabilities, Decision, Denial, Grant,
    Locked, PortForwarding, Purpose, Reason, StepUp,
    cedar::{Action, Question},
};

/// Decides whether `user` may connect to the server of `facts`, now.
///
/// Total and deterministic. `connection_id` names the connection that is made if the answer is yes; `client_address` is
/// recorded in certificates, and decides where a condition names networks.
///
/// Roles add up: what one of them allows is allowed. So a role that asks for more, such as a fresh second factor, asks only
/// those who have no other that does without. Policies take away from what the roles allow.
pub fn authorize(
    user: &ApprovedUser,
    request: &AccessRequest,
    facts: &AccessFacts,
    connection_id: ConnectionId,
    client_address: Option<IpAddr>,
    now: UnixTime,
) -> Decision {
    let user = user.user();
    let expired = (now >= user.expires_at()).then_some(Reason::SessionExpired);
    let capabilities = match decide(&Asker::of(user), request, facts, client_address, now, expired) {
        Decision::Allow(capabilities) => capabilities,
        Decision::Deny(denial) => return Decision::Deny(denial),
        Decision::StepUp(step_up) => return Decision::StepUp(step_up),
    };
    // It was possible a moment ago; written so that a slip denies.
    let Ok(window) = window(facts, now) else { return Decision::Deny(Denial::inconsistent()) };
    Decision::Allow(Grant {
        user_id: user.user_id(),
        device_id: user.device_id(),
        connection_id,
        key_id: KeyId::new(&facts.project.slug, &capabilities.login, user.device_id(), connection_id),
        capabilities,
        window,
        client_address,
    })
}

/// What [`authorize`] would say if `asker` asked: the same decision, with nothing that anything could be signed by.
pub fn suppose(
    asker: &Asker<'_>,
    request: &AccessRequest,
    facts: &AccessFacts,
    client_address: Option<IpAddr>,
    now: UnixTime,
) -> Decision<Capabilities> {
    decide(asker, request, facts, client_address, now, None)
}

fn decide(
    asker: &Asker<'_>,
    request: &AccessRequest,
    facts: &AccessFacts,
    client: Option<IpAddr>,
    now: UnixTime,
    expired: Option<Reason>,
) -> Decision<Capabilities> {
    let project = &facts.project;
    let question = Question { asker, facts, purpose: request.purpose, client, now };
    let mut reasons = Vec::new();
    if facts.user_id != asker.user_id {
        reasons.push(Reason::Inconsistent);
    }
    reasons.extend(expired);
    reasons.extend(standing_reasons(&question));
    if let Some(requested) = &request.login
        && Some(requested) != facts.login.as_ref()
    {
        reasons.push(Reason::OtherLogin { requested: requested.clone(), own: facts.login.clone() });
    }
    if let Some(denial) = Denial::of(reasons) {
        return Decision::Deny(denial);
    }
    // It is there, or a reason was found above; written so that a slip denies.
    let Some(login) = &facts.login else { return Decision::Deny(Denial::inconsistent()) };
    let open = || open(facts, client, now);
    let wanted = |assignment: &Assignment| project.authentication.and(&assignment.conditions.authentication);
    let met = || open().filter(|assignment| wanted(assignment).is_met(asker, facts.named_at, now));
    if met().next().is_none() {
        // The least that is asked; one role at least is open.
        return match least_asked(facts, client, now) {
            Some(least) => Decision::StepUp(StepUp::new(least, facts.server.name.clone())),
            None => Decision::Deny(Denial::inconsistent()),
        };
    }
    let forwarding = match project.port_forwarding {
        PortForwarding::All | PortForwarding::Local => {
            facts.policies.forbid(Action::Forward, &question).is_empty()
        }
        PortForwarding::Off => false,
    };
    Decision::Allow(Capabilities {
        project_id: project.id,
        server_id: facts.server.id,
        login: login.clone(),
        server_admin: met().any(|assignment| assignment.server_admin),
        permit_pty: match request.purpose {
            Purpose::Command => false,
            Purpose::Interactive => true,
        },
        permit_port_forwarding: forwarding,
        certificate_lifetime: project.certificate_lifetime,
        clock_skew: project.clock_skew,
    })
}

/// Every reason to deny that does not depend on what else is asked for: what also explains the decision to people.
pub(crate) fn standing_reasons(question: &Question<'_>) -> Vec<Reason> {
    let Question { asker, facts, client, now, .. } = *question;
    let user_name = asker.user_name;
    let project = &facts.project;
    let mut reasons = Vec::new();
    if facts.server.project_id != project.id {
        reasons.push(Reason::Inconsistent);
    }
    reasons.extend(facts.locks.iter().map(|lock| Reason::Locked {
        // As `usher unlock` takes it.
        what: match (lock.on, asker.device) {
            (Locked::Device, Some((device, _))) => format!("device {device}"),
            (Locked::Device, None) => "device".to_owned(),
            (Locked::Project, _) => format!("project {}", project.slug),
            (Locked::Server, _) => format!("server {}", facts.server.name),
            (Locked::User, _) => format!("user {user_name}"),
        },
        on: lock.on,
        reason: lock.reason.clone(),
    }));
    let mut mine =
        facts.assignments.iter().filter(|assignment| gives_access_to_member(assignment, facts)).peekable();
    if mine.peek().is_none() {
        reasons.push(Reason::NoAccess { project: project.slug.clone(), groups: groups_with_access(facts) });
    } else {
        if open(facts, client, now).next().is_none() {
            reasons.extend(mine.filter_map(|assignment| {
                let unmet = assignment.conditions.unmet(&facts.server.labels, client, now)?;
                Some(Reason::NotNow { group: assignment.group_name.clone(), unmet, client })
            }));
        }
        if facts.login.is_none() {
            reasons.push(Reason::NoAccount { project: project.slug.clone() });
        }
        // Whoever has no role here learns of no policy.
        reasons.extend(facts.policies.forbid(Action::Connect, question));
    }
    if window(facts, now).is_err() {
        reasons.push(Reason::Lifetime { project: project.slug.clone() });
    }
    reasons
}

/// The user's roles that count for a client there, now.
pub(crate) fn open(
    facts: &AccessFacts,
    client: Option<IpAddr>,
    now: UnixTime,
) -> impl Iterator<Item = &Assignment> {
    facts.assignments.iter().filter(move |assignment| {
        gives_access_to_member(assignment, facts)
            && assignment.conditions.unmet(&facts.server.labels, client, now).is_none()
    })
}

/// What the least demanding of those roles asks of the user's sign-in; `None` without one.
pub(crate) fn least_asked(
    facts: &AccessFacts,
    client: Option<IpAddr>,
    now: UnixTime,
) -> Option<Authentication> {
    let wanted = |one: &Assignment| facts.project.authentication.and(&one.conditions.authentication);
    open(facts, client, now).map(wanted).min_by_key(Authentication::burden)
}

fn window(facts: &AccessFacts, now: UnixTime) -> Result<ValidityWindow, PeriodError> {
    ValidityWindow::around(now, facts.project.clock_skew, facts.project.certificate_lifetime)
}

/// By id, never by name: `ops` and `ops-prod` have nothing to do with each other.
pub(crate) fn gives_access_to_member(assignment: &Assignment, facts: &AccessFacts) -> bool {
    assignment.server_access && facts.groups.contains(&assignment.group_id)
}

fn groups_with_access(facts: &AccessFacts) -> Vec<usher_types::GroupName> {
    let with_access = facts.assignments.iter().filter(|assignment| assignment.server_access);
    with_access.map(|assignment| assignment.group_name.clone()).collect()
}
