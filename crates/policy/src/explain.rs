//! What would be decided about a user and a server, and what stands behind it: for people who ask why. No proof of anything,
//! and no way to a certificate; looks through the same eyes as [`authorize`](crate::authorize).

use std::net::IpAddr;

use usher_types::UnixTime;

use crate::{
    AccessFacts, Asker, Assignment, Authentication, Purpose, Reason, Unmet,
    authorize::{least_asked, standing_reasons},
    cedar::Question,
};

/// The answer to "may this user, and why".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Why not; the user may connect when there is none, after signing in as [`Self::asks`] says.
    pub reasons: Vec<Reason>,
    /// What the least demanding of the roles that count asks of the user's sign-in.
    pub asks: Option<Authentication>,
    /// Every group of the server's project.
    pub roles: Vec<RoleExplained>,
}

/// One group's part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleExplained {
    /// The role.
    pub assignment: Assignment,
    /// Whether the user is a member.
    pub member: bool,
    /// Why the role does not count here and now.
    pub unmet: Option<Unmet>,
}

/// Explains what [`authorize`](crate::authorize) says about somebody who wants a terminal on the server of `facts`, from
/// `client`. What roles ask of the sign-in is told, not compared with that of `asker`; policies look at it. Locks on a device
/// are those in `facts`.
#[must_use]
pub fn explain(asker: &Asker<'_>, facts: &AccessFacts, client: Option<IpAddr>, now: UnixTime) -> Explanation {
    let question = Question { asker, facts, purpose: Purpose::Interactive, client, now };
    let unmet = |assignment: &Assignment| assignment.conditions.unmet(&facts.server.labels, client, now);
    let roles: Vec<_> = facts
        .assignments
        .iter()
        .map(|assignment| RoleExplained {
            assignment: assignment.clone(),
            member: facts.groups.contains(&assignment.group_id),
            unmet: unmet(assignment),
        })
        .collect();
    Explanation { reasons: standing_reasons(&question), asks: least_asked(facts, client, now), roles }
}
