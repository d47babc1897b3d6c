//! Who may reach what: [`authorize`] turns a signed-in user, a request and the facts into a [`Decision`].
//!
//! Default deny. The decision is a total, pure function: facts come in as plain data, nothing is looked up. An allow
//! carries a [`Grant`], the only way to a certificate: this crate alone can make one, it cannot be cloned, and what it
//! permits was derived from the facts. A request can ask for less than the facts allow, never for more: there is no
//! field in it that could name another account, another server, a longer life or an option.
//!
//! A denial is not an error. It says every reason at once, and for each what to do next.
//!
//! ```
//! use usher_policy::{AccessFacts, Assignment, Authentication, PortForwarding, ProjectFacts, ServerFacts};
//! use usher_types::{GroupId, ProjectId, ServerId, UnixTime, UserId};
//! # fn facts(now: UnixTime) -> Result<AccessFacts, Box<dyn std::error::Error>> {
//! let project_id = ProjectId::new(now, [1; 10]);
//! let operators = GroupId::new(now, [2; 10]);
//! let facts = AccessFacts {
//!     user_id: UserId::new(now, [3; 10]),
//!     login: Some("alice".parse()?),
//!     groups: [operators].into(),
//!     server: ServerFacts {
//!         id: ServerId::new(now, [4; 10]),
//!         name: "web-1".parse()?,
//!         project_id,
//!         labels: Default::default(),
//!     },
//!     project: ProjectFacts {
//!         id: project_id,
//!         slug: "shop".parse()?,
//!         certificate_lifetime: std::time::Duration::from_secs(180),
//!         clock_skew: std::time::Duration::from_secs(60),
//!         port_forwarding: PortForwarding::Local,
//!         authentication: Authentication::default(),
//!     },
//!     assignments: vec![Assignment {
//!         group_id: operators,
//!         group_name: "operators".parse()?,
//!         server_access: true,
//!         server_admin: false,
//!         conditions: Default::default(),
//!     }],
//!     policies: Default::default(),
//!     named_at: None,
//!     locks: Vec::new(),
//! };
//! // `authorize(&approved_user, &request, &facts, connection_id, client_address, now)` decides.
//! # Ok(facts)
//! # }
//! # assert!(facts(UnixTime::from_secs(1_790_000_000)).is_ok());
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

mod asker;
mod authorize;
mod cedar;
mod compare;
mod conditions;
mod decision;
mod explain;
mod facts;
mod grant;
mod hours;
mod snapshot;

pub use asker::Asker;
pub use authorize::{authorize, suppose};
pub use cedar::{
    Bindings, Draft, LONGEST_POLICY, Named, POLICY_SCHEMA, Policies, Policy, PolicyError, PolicySource,
    UnboundError,
};
pub use compare::{Circumstances, Difference, Person, Reach, Rules, TooManyCircumstances, compare};
pub use conditions::{Authentication, Conditions, LONGEST_MAX_AGE, Unmet};
pub use decision::{Decision, Denial, Reason, StepUp};
pub use explain::{Explanation, RoleExplained, explain};
pub use facts::{
    AccessFacts, AccessRequest, Assignment, Lock, Locked, PortForwarding, ProjectFacts, Purpose, ServerFacts,
};
pub use grant::{Capabilities, ClientGrant, Grant, LegGrant};
pub use hours::{Hours, ParseHoursError};
pub use snapshot::{Found, Member, Snapshot, SnapshotBuilder};
