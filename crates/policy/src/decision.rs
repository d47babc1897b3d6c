//! What a decision says: allow with a grant, deny with every reason, or step up.

use std::{fmt, time::Duration};

use usher_types::{GroupName, LockReason, LoginName, ProjectSlug, UnixTime};

use crate::{Grant, Locked};

/// The answer to one request.
#[must_use]
#[derive(Debug)]
pub enum Decision {
    /// Yes; here is the proof.
    Allow(Grant),
    /// No, for these reasons.
    Deny(Denial),
    /// Only after the user has proved again who it is (RFC 9470).
    StepUp(StepUp),
}

/// Why access is denied: one reason at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    first: Reason,
    more: Vec<Reason>,
}

impl Denial {
    /// None when there is no reason to deny.
    pub(crate) fn of(reasons: Vec<Reason>) -> Option<Self> {
        let mut reasons = reasons.into_iter();
        reasons.next().map(|first| Self { first, more: reasons.collect() })
    }

    /// For a path that cannot be reached.
    pub(crate) fn inconsistent() -> Self {
        Self { first: Reason::Inconsistent, more: Vec::new() }
    }

    /// Every reason, the most important first.
    pub fn reasons(&self) -> impl Iterator<Item = &Reason> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// What to do about the most important reason.
    #[must_use]
    pub fn next(&self) -> String {
        self.first.next()
    }

    /// Whether the caller has no access to the server's project at all, so that it need not learn that the server
    /// exists.
    #[must_use]
    pub fn hides_server(&self) -> bool {
        self.reasons().any(|reason| matches!(reason, Reason::NoAccess { .. }))
    }
}

/// One reason to deny. `Display` is a sentence for the person, [`Reason::next`] what to do, [`Reason::code`] for
/// programs and the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The facts are another user's, or server and project do not belong together: a defect, never a permission.
    Inconsistent,
    /// The project's lifetime and clock skew make no certificate.
    Lifetime {
        /// The project.
        project: ProjectSlug,
    },
    /// An administrator locked the user, its device, the server or its project.
    Locked {
        /// Kind and name of what is locked.
        what: String,
        /// What is locked.
        on: Locked,
        /// The administrator's reason.
        reason: LockReason,
    },
    /// The user is in no group that may log in.
    NoAccess {
        /// The project.
        project: ProjectSlug,
        /// Groups that may log in.
        groups: Vec<GroupName>,
    },
    /// The user may log in but has no account in the project yet.
    NoAccount {
        /// The project.
        project: ProjectSlug,
    },
    /// The account asked for is not the user's own.
    OtherLogin {
        /// The account asked for.
        requested: LoginName,
        /// The user's own.
        own: Option<LoginName>,
    },
    /// The session ended since the request was authenticated.
    SessionExpired,
}

impl Reason {
    /// Stable, of `a-z` and `_`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Inconsistent => "inconsistent_facts",
            Self::Lifetime { .. } => "certificate_lifetime",
            Self::Locked { on: Locked::Device, .. } => "device_locked",
            Self::Locked { on: Locked::Project, .. } => "project_locked",
            Self::Locked { on: Locked::Server, .. } => "server_locked",
            Self::Locked { on: Locked::User, .. } => "user_locked",
            Self::NoAccess { .. } => "no_access",
            Self::NoAccount { .. } => "no_account",
            Self::OtherLogin { .. } => "other_login",
            Self::SessionExpired => "session_expired",
        }
    }

    /// What to do about it, one sentence.
    #[must_use]
    pub fn next(&self) -> String {
        match self {
            Self::Inconsistent => "try again; if it stays, report it as a defect of the broker".to_owned(),
            Self::Lifetime { project } => format!(
                "ask an administrator to give project `{project}` a certificate lifetime and clock skew of together at most 600 seconds"
            ),
            Self::Locked { what, .. } => {
                format!("ask an administrator; when the reason is gone, `usher unlock {what}` lifts the lock")
            }
            Self::NoAccess { project, groups } if groups.is_empty() => {
                format!("ask an administrator to give one of your groups access to project `{project}`")
            }
            Self::NoAccess { groups, .. } => format!("ask an administrator to add you to {}", one_of(groups)),
            Self::NoAccount { project } => {
                format!("ask an administrator to check your account in project `{project}`")
            }
            Self::OtherLogin { own: Some(own), .. } => format!("leave out the login, or use `{own}`"),
            Self::OtherLogin { own: None, .. } => "leave out the login".to_owned(),
            Self::SessionExpired => "sign in again".to_owned(),
        }
    }
}

/// At most this many groups are named; a longer list helps nobody.
const NAMED_GROUPS: usize = 5;

fn one_of(groups: &[GroupName]) -> String {
    let named: Vec<_> = groups.iter().take(NAMED_GROUPS).map(|name| format!("`{name}`")).collect();
    if named.len() == 1 {
        format!("group {}", named.concat())
    } else {
        format!("one of the groups {}", named.join(", "))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inconsistent => f.write_str("what is known about you and the server does not fit together"),
            Self::Lifetime { project } => {
                write!(f, "the certificate lifetime of project `{project}` is not possible")
            }
            Self::Locked { what, reason, .. } => write!(f, "{what} is locked: {reason}"),
            Self::NoAccess { project, .. } => {
                write!(f, "you are in no group that may log in on servers of project `{project}`")
            }
            Self::NoAccount { project } => write!(f, "you have no account in project `{project}` yet"),
            Self::OtherLogin { requested, .. } => {
                write!(f, "login `{requested}` is not yours; accounts are never shared")
            }
            Self::SessionExpired => f.write_str("your session has ended"),
        }
    }
}

/// The user must prove again who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepUp {
    max_age: Duration,
    auth_time: UnixTime,
}

impl StepUp {
    pub(crate) fn new(max_age: Duration, auth_time: UnixTime) -> Self {
        Self { max_age, auth_time }
    }

    /// How old the user's last proof may be: `max_age` of RFC 9470 section 4.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// When the user last proved who it is.
    #[must_use]
    pub fn auth_time(&self) -> UnixTime {
        self.auth_time
    }
}
