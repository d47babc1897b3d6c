//! Users, groups and devices.

use serde::{Deserialize, Serialize};
use usher_types::{
    DeviceId, DeviceName, DisplayName, GroupId, GroupName, LoginName, TeamRole, UnixTime, UserId, UserName,
};
use utoipa::ToSchema;

/// Whether a user may do anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UserStatus {
    /// May sign in.
    Active,
    /// May do nothing; accounts are taken away.
    Disabled,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Its name in the directory.
    pub user_name: UserName,
    /// What people call it.
    pub display_name: DisplayName,
    /// Its Unix account's name on servers.
    pub unix_user_name: LoginName,
    /// Whether it may do anything.
    pub status: UserStatus,
    /// Its own role in the team.
    pub team_role: TeamRole,
    /// Its roles in the team, its own and those of its groups, the mightiest first; only in answers about one user.
    #[serde(default)]
    pub team_roles: Vec<TeamRole>,
    /// Groups it is in, by name; only in answers about one user.
    #[serde(default)]
    pub groups: Vec<GroupName>,
    /// When it was created.
    pub created_at: UnixTime,
}

/// `POST /v1/users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// Name in the directory; unique.
    pub user_name: UserName,
    /// What people call it; the user name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<DisplayName>,
    /// Unix account name; derived from the user name when absent (an error when that is no valid login name).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix_user_name: Option<LoginName>,
    /// Its role in the team.
    #[serde(default)]
    pub team_role: TeamRole,
}

/// Answer to [`CreateUser`] and to `POST /v1/users/{user}/set-up-code`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedUser {
    /// The user.
    pub user: User,
    /// Where and with what it sets its password and second factor; shown once.
    pub set_up: SetUpCode,
}

/// A one-time code for the set-up page.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetUpCode {
    /// The page.
    pub url: String,
    /// The code to type there.
    pub code: String,
    /// The page with the code behind `#`, which browsers tell nobody: an invitation in one line.
    #[serde(default)]
    pub link: String,
    /// When it stops working.
    pub expires_at: UnixTime,
}

impl SetUpCode {
    /// For the broker at `origin`.
    #[must_use]
    pub fn new(origin: &str, code: &str, expires_at: UnixTime) -> Self {
        let url = format!("{}/set-up", origin.trim_end_matches('/'));
        Self { link: format!("{url}#{code}"), url, code: code.to_owned(), expires_at }
    }
}

impl std::fmt::Debug for SetUpCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetUpCode").field("url", &self.url).finish_non_exhaustive()
    }
}

/// `PATCH /v1/users/{user}`; absent fields stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateUser {
    /// Enable or disable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<UserStatus>,
    /// New display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<DisplayName>,
    /// New role in the team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_role: Option<TeamRole>,
}

/// A group of users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Its name.
    pub name: GroupName,
    /// The role in the team that its members have.
    #[serde(default)]
    pub team_role: TeamRole,
    /// Its members, by user name.
    #[serde(default)]
    pub members: Vec<UserName>,
    /// When it was created.
    pub created_at: UnixTime,
}

/// `POST /v1/groups`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateGroup {
    /// Its name; unique.
    pub name: GroupName,
}

/// `PUT /v1/groups/{group}/team-role`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetTeamRole {
    /// What the members of the group are in the team; `member` takes a role away.
    pub team_role: TeamRole,
}

/// Whether a device may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceState {
    /// An administrator (or the bootstrap rule) approved it.
    Approved,
    /// Waits for approval; gets no certificate.
    Pending,
    /// Taken out of use for good.
    Revoked,
}

/// A client installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Whose it is.
    pub user_name: UserName,
    /// What its owner calls it.
    pub name: DeviceName,
    /// Whether it may be used.
    pub state: DeviceState,
    /// When it first signed in.
    pub created_at: UnixTime,
}

/// `PATCH /v1/devices/{id}`; absent fields stay. Owners rename and revoke, administrators approve as well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateDevice {
    /// `approved` or `revoked`; `pending` is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<DeviceState>,
    /// What it is to be called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<DeviceName>,
}
