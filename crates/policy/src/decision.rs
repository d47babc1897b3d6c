//! What a decision says: allow with a grant, deny with every reason, or step up.

use std::{fmt, net::IpAddr};

use usher_types::{GroupName, HostName, LockReason, LoginName, PolicyName, ProjectSlug};

use crate::{Authentication, Grant, Locked, Unmet};

/// The answer to one request. What an allow carries is the proof, or what it would prove.
#[must_use]
#[derive(Debug)]
pub enum Decision<Allowed = Grant> {
    /// Yes; here is the proof.
    Allow(Allowed),
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
    /// The group's role does not count on this server, from this network or at this hour.
    NotNow {
        /// The group.
        group: GroupName,
        /// What is in the way.
        unmet: Unmet,
        /// Where the caller is.
        client: Option<IpAddr>,
    },
    /// The account asked for is not the user's own.
    OtherLogin {
        /// The account asked for.
        requested: LoginName,
        /// The user's own.
        own: Option<LoginName>,
    },
    /// A policy forbids it.
    Policy {
        /// Its name.
        name: PolicyName,
        /// Why, in the administrator's words.
        says: Option<String>,
        /// What to do about it, in the same.
        advises: Option<String>,
    },
    /// Whether a policy forbids it cannot be told.
    PolicyFailed {
        /// Its name.
        name: PolicyName,
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
            Self::NotNow { unmet: Unmet::Hours(_), .. } => "outside_hours",
            Self::NotNow { unmet: Unmet::Labels(_), .. } => "labels",
            Self::NotNow { unmet: Unmet::Networks(_), .. } => "outside_networks",
            Self::OtherLogin { .. } => "other_login",
            Self::Policy { .. } => "policy",
            Self::PolicyFailed { .. } => "policy_failed",
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
            Self::NotNow { unmet: Unmet::Hours(hours), .. } => format!("come back at {hours}"),
            Self::NotNow { unmet: Unmet::Labels(_), .. } => {
                "ask an administrator for access to this server".to_owned()
            }
            Self::NotNow { unmet: Unmet::Networks(_), .. } => {
                "connect from one of these networks, for example through the company's VPN".to_owned()
            }
            Self::OtherLogin { own: Some(own), .. } => format!("leave out the login, or use `{own}`"),
            Self::OtherLogin { own: None, .. } => "leave out the login".to_owned(),
            Self::Policy { advises: Some(advice), .. } => advice.clone(),
            Self::Policy { name, advises: None, .. } => format!("ask an administrator about policy `{name}`"),
            Self::PolicyFailed { name } => {
                format!("ask an administrator to look at policy `{name}`: `usher policy show {name}`")
            }
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
            Self::NotNow { group, unmet, client } => not_now(f, group, unmet, *client),
            Self::OtherLogin { requested, .. } => {
                write!(f, "login `{requested}` is not yours; accounts are never shared")
            }
            Self::Policy { name, says: Some(reason), .. } => {
                write!(f, "policy `{name}` forbids it: {reason}")
            }
            Self::Policy { name, says: None, .. } => write!(f, "policy `{name}` forbids it"),
            Self::PolicyFailed { name } => {
                write!(f, "whether policy `{name}` forbids it cannot be told, so it counts as forbidden")
            }
            Self::SessionExpired => f.write_str("your session has ended"),
        }
    }
}

fn not_now(
    f: &mut fmt::Formatter<'_>,
    group: &GroupName,
    unmet: &Unmet,
    client: Option<IpAddr>,
) -> fmt::Result {
    write!(f, "group `{group}` gives access ")?;
    match unmet {
        Unmet::Hours(hours) => write!(f, "at {hours} only"),
        Unmet::Labels(labels) => {
            let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            write!(f, "to servers with {} only", labels.join(", "))
        }
        Unmet::Networks(networks) => {
            let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
            write!(f, "from {} only", networks.join(", "))?;
            client.map_or(Ok(()), |client| write!(f, ", and you come from {client}"))
        }
    }
}

/// The user must prove again who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUp {
    wanted: Authentication,
    server: HostName,
}

impl StepUp {
    pub(crate) fn new(wanted: Authentication, server: HostName) -> Self {
        Self { wanted, server }
    }

    /// What the last proof lacks is among this.
    #[must_use]
    pub fn wanted(&self) -> &Authentication {
        &self.wanted
    }

    /// The server that was asked for.
    #[must_use]
    pub fn server(&self) -> &HostName {
        &self.server
    }
}

/// A sentence for the person.
impl fmt::Display for StepUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, server } = self;
        write!(f, "`{server}` wants you to sign in")?;
        if wanted.second_factor {
            f.write_str(" with a second factor")?;
        }
        if wanted.named_server {
            f.write_str(" for it by name")?;
        }
        match wanted.max_age_seconds {
            Some(age) if age < 120 => write!(f, ", at most {age} seconds ago"),
            Some(age) => write!(f, ", at most {} minutes ago", age.div_euclid(60)),
            None => Ok(()),
        }
    }
}
