//! A policy's scope, compared in Rust before Cedar is asked: most policies are about somebody else.

use cedar_policy::{ActionConstraint, EntityUid, PrincipalConstraint, ResourceConstraint};
use usher_types::{GroupId, ProjectId, ServerId, UserId};

use super::Action;
use crate::AccessFacts;

/// What a policy's head says. Says yes where it is not sure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    connect: bool,
    forward: bool,
    who: Who,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum Who {
    Any,
    Group(GroupId),
    User(UserId),
}

#[derive(Clone, Copy, Debug)]
enum What {
    Any,
    Project(ProjectId),
    Server(ServerId),
}

impl Scope {
    /// Of a policy whose entities are named by ids.
    pub(super) fn of(policy: &cedar_policy::Policy) -> Self {
        let names = |name: &str, uid: &EntityUid| uid.id().unescaped() == name;
        let about = |name: &str| match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::In(actions) => actions.iter().any(|uid| names(name, uid)),
            ActionConstraint::Eq(uid) => names(name, &uid),
        };
        Self {
            connect: about("connect"),
            forward: about("forward"),
            who: match policy.principal_constraint() {
                PrincipalConstraint::Any | PrincipalConstraint::Is(_) => Who::Any,
                PrincipalConstraint::In(uid)
                | PrincipalConstraint::Eq(uid)
                | PrincipalConstraint::IsIn(_, uid) => {
                    let id = uid.id().unescaped();
                    match (id.parse().map(Who::User), id.parse().map(Who::Group)) {
                        (Ok(who), _) | (_, Ok(who)) => who,
                        (Err(_), Err(_)) => Who::Any,
                    }
                }
            },
            what: match policy.resource_constraint() {
                ResourceConstraint::Any | ResourceConstraint::Is(_) => What::Any,
                ResourceConstraint::In(uid)
                | ResourceConstraint::Eq(uid)
                | ResourceConstraint::IsIn(_, uid) => {
                    let id = uid.id().unescaped();
                    match (id.parse().map(What::Server), id.parse().map(What::Project)) {
                        (Ok(what), _) | (_, Ok(what)) => what,
                        (Err(_), Err(_)) => What::Any,
                    }
                }
            },
        }
    }

    /// Whether it can be about servers of a project.
    pub(super) fn concerns(&self, project: ProjectId) -> bool {
        match self.what {
            What::Any | What::Server(_) => true,
            What::Project(one) => one == project,
        }
    }

    /// Whether it can be about what is asked for.
    pub(super) fn can_match(&self, action: Action, facts: &AccessFacts) -> bool {
        let action = match action {
            Action::Connect => self.connect,
            Action::Forward => self.forward,
        };
        let who = match self.who {
            Who::Any => true,
            Who::Group(group) => facts.groups.contains(&group),
            Who::User(user) => facts.user_id == user,
        };
        let what = match self.what {
            What::Any => true,
            What::Project(project) => facts.server.project_id == project,
            What::Server(server) => facts.server.id == server,
        };
        action && who && what
    }
}
