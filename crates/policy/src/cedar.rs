//! Policies that administrators write in Cedar, for the narrow rules that conditions on roles do not say. They only take
//! away: each is one `forbid`, so however it is written, nobody gets in by it. Roles alone give.
//!
//! A [`Draft`] is text that was checked against the [schema](POLICY_SCHEMA); with its names bound to ids it becomes a
//! [`Policy`], which is parsed once and kept. What stands for one project are [`Policies`]: of these, a decision
//! evaluates those whose scope can match, each alone, so that an answer names the policy that gave it. One that cannot be
//! evaluated forbids.

mod draft;
mod evaluate;
mod scope;

use std::{collections::BTreeSet, fmt, sync::Arc};

use cedar_policy::PolicySet;
use jiff::tz::TimeZone;
use usher_types::{GroupId, PolicyName, ProjectId};

pub use self::draft::{Bindings, Draft, LONGEST_POLICY, Named, PolicyError, UnboundError};
pub(crate) use self::evaluate::Question;
use self::scope::Scope;
use crate::AccessFacts;

/// What policies may look at, in Cedar's schema language.
pub const POLICY_SCHEMA: &str = include_str!("cedar/usher.cedarschema");

/// What a policy may forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// To get in.
    Connect,
    /// To forward ports on the server.
    Forward,
}

/// What a policy was made from; the same makes the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicySource {
    /// Its name.
    pub name: PolicyName,
    /// The project whose servers it is about; every server of the team without one.
    pub project: Option<ProjectId>,
    /// As the administrator wrote it.
    pub text: String,
    /// What the names in it mean.
    pub bindings: Bindings,
}

/// A policy that was parsed and is kept.
pub struct Policy {
    source: PolicySource,
    body: Option<Body>,
}

/// What can be evaluated.
struct Body {
    /// The one policy.
    set: PolicySet,
    scope: Scope,
    /// Every group that it names.
    groups: BTreeSet<GroupId>,
    zone: TimeZone,
    looks_at: LooksAt,
    reason: Option<String>,
    next: Option<String>,
}

/// What of the circumstances is dear to make, and whether a policy may look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LooksAt {
    client_address: bool,
    now: bool,
}

impl Policy {
    /// Parses what was checked when it was set. Text that this version cannot parse any more makes a policy that forbids
    /// everything in its project: nobody knows what it was to forbid.
    #[must_use]
    pub fn load(source: PolicySource) -> Self {
        let body = draft::Parsed::of(&source.text).ok().and_then(|parsed| parsed.body(&source.bindings).ok());
        Self { source, body }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &PolicyName {
        &self.source.name
    }

    /// What it was made from.
    #[must_use]
    pub fn source(&self) -> &PolicySource {
        &self.source
    }

    /// Whether it can be about servers of a project.
    fn concerns(&self, project: ProjectId) -> bool {
        self.source.project.is_none_or(|own| own == project)
            && self.body.as_ref().is_none_or(|body| body.scope.concerns(project))
    }

    /// Whether it can be about a user who asks for something on a server.
    fn can_match(&self, action: Action, facts: &AccessFacts) -> bool {
        // What cannot be read may have been about this.
        self.body.as_ref().is_none_or(|body| body.scope.can_match(action, facts))
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Policy {}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Policy").field(&self.source.name).finish()
    }
}

/// The policies that can be about servers of one project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    list: Vec<Arc<Policy>>,
    groups: Vec<GroupId>,
}

impl Policies {
    /// Those of `all` that can be about servers of `project`.
    #[must_use]
    pub fn of_project<'a>(project: ProjectId, all: impl IntoIterator<Item = &'a Arc<Policy>>) -> Self {
        let list: Vec<_> =
            all.into_iter().filter(|policy| policy.concerns(project)).map(Arc::clone).collect();
        let bodies = list.iter().filter_map(|policy| policy.body.as_ref());
        let groups: BTreeSet<_> = bodies.flat_map(|body| &body.groups).copied().collect();
        Self { list, groups: groups.into_iter().collect() }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Every group that one of them names: whether the user is a member decides.
    #[must_use]
    pub fn groups(&self) -> &[GroupId] {
        &self.groups
    }

    /// Them.
    #[must_use]
    pub fn all(&self) -> &[Arc<Policy>] {
        &self.list
    }
}
