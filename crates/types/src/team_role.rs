//! Team roles, and what each permits. Which role somebody has is a row's business; nothing here is proof of it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

/// What somebody is in the team. A role is given to a user, or to a group and so to its members; roles add up.
///
/// | | read | read the log | access | servers | projects | users | team |
/// |---|---|---|---|---|---|---|---|
/// | owner | yes | yes | yes | yes | yes | yes | yes |
/// | admin | yes | yes | yes | yes | yes | yes | |
/// | auditor | yes | yes | | | | | |
/// | access-manager | yes | | yes | | | | |
/// | member | | | | | | | |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TeamRole {
    /// Says who gets access to what that is there.
    AccessManager,
    /// Everything but the team itself: its identity providers, its own keys, its owners.
    Admin,
    /// Sees everything, changes nothing.
    Auditor,
    /// Uses what it has access to.
    #[default]
    Member,
    /// Everything.
    Owner,
}

/// One kind of administration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Groups and their members, roles in projects, locks.
    ManageAccess,
    /// Projects and their keys.
    ManageProjects,
    /// Servers and enrollment tokens.
    ManageServers,
    /// Identity providers and their tokens, the team's keys, roles of groups.
    ManageTeam,
    /// Users, their devices and what they sign in with.
    ManageUsers,
    /// The audit log.
    ReadAudit,
    /// Everything else that is there, without secrets.
    ReadTeam,
}

impl TeamRole {
    /// All, the mightiest first.
    pub const ALL: [Self; 5] = [Self::Owner, Self::Admin, Self::AccessManager, Self::Auditor, Self::Member];

    /// As in the API and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessManager => "access-manager",
            Self::Admin => "admin",
            Self::Auditor => "auditor",
            Self::Member => "member",
            Self::Owner => "owner",
        }
    }

    /// Whether whoever has the role may do it.
    #[must_use]
    pub const fn permits(self, permission: Permission) -> bool {
        use Permission::{
            ManageAccess, ManageProjects, ManageServers, ManageTeam, ManageUsers, ReadAudit, ReadTeam,
        };
        match self {
            Self::Owner => true,
            Self::Admin => match permission {
                ManageAccess | ManageProjects | ManageServers | ManageUsers | ReadAudit | ReadTeam => true,
                ManageTeam => false,
            },
            Self::AccessManager => match permission {
                ManageAccess | ReadTeam => true,
                ManageProjects | ManageServers | ManageTeam | ManageUsers | ReadAudit => false,
            },
            Self::Auditor => match permission {
                ReadAudit | ReadTeam => true,
                ManageAccess | ManageProjects | ManageServers | ManageTeam | ManageUsers => false,
            },
            Self::Member => false,
        }
    }
}

impl fmt::Display for TeamRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that is no team role.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("expected one of owner, admin, access-manager, auditor, member")]
pub struct ParseTeamRoleError;

impl FromStr for TeamRole {
    type Err = ParseTeamRoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(ParseTeamRoleError)
    }
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ManageAccess,
        Self::ManageProjects,
        Self::ManageServers,
        Self::ManageTeam,
        Self::ManageUsers,
        Self::ReadAudit,
        Self::ReadTeam,
    ];

    /// The roles that permit it, the mightiest first.
    pub fn roles(self) -> impl Iterator<Item = TeamRole> {
        TeamRole::ALL.into_iter().filter(move |role| role.permits(self))
    }
}

/// All roles of somebody: its own and those of its groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TeamRoles(Vec<TeamRole>);

impl TeamRoles {
    /// Whether one of them permits it.
    #[must_use]
    pub fn permit(&self, permission: Permission) -> bool {
        self.0.iter().any(|role| role.permits(permission))
    }

    /// Whether they permit all that `others` do: nobody gives, takes or stands above what they do not hold.
    #[must_use]
    pub fn cover(&self, others: &Self) -> bool {
        Permission::ALL.into_iter().all(|permission| !others.permit(permission) || self.permit(permission))
    }

    /// Each of them once, the mightiest first. Never empty: everybody is a member.
    pub fn iter(&self) -> impl Iterator<Item = TeamRole> {
        let member = TeamRole::Member;
        TeamRole::ALL.into_iter().filter(move |role| self.0.contains(role) || *role == member)
    }
}

impl FromIterator<TeamRole> for TeamRoles {
    fn from_iter<T: IntoIterator<Item = TeamRole>>(roles: T) -> Self {
        Self(roles.into_iter().collect())
    }
}

impl From<TeamRole> for TeamRoles {
    fn from(role: TeamRole) -> Self {
        Self(vec![role])
    }
}

/// The mightiest of them, or several where none covers the others.
impl fmt::Display for TeamRoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut covered = Self::default();
        for role in self.iter() {
            if covered.0.is_empty() {
                write!(f, "{role}")?;
            } else if !covered.cover(&role.into()) {
                write!(f, ", {role}")?;
            }
            covered.0.push(role);
        }
        Ok(())
    }
}
