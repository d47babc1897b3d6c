//! The proof values: that somebody is signed in, on an approved device, with a permission. Only this crate makes
//! them, none can be cloned, and each is made from the one before.

use std::net::IpAddr;

use thiserror::Error;
use usher_types::{
    DeviceId, DeviceName, LoginName, Permission, SessionId, TeamRoles, Thumbprint, TokenId, UnixTime, UserId,
    UserName,
};

use crate::{
    Arrival, AuthenticationError, AuthenticationMethod, DeviceRecord, DeviceState, SessionRecord, UserRecord,
    session::check_rows,
};

/// A live session of an active user, on the device that holds the session's key. The device may still wait for
/// approval.
///
/// ```compile_fail,E0451
/// use usher_identity::{AuthenticatedUser, DeviceState};
/// // Only `authenticate` makes one, and nobody changes it.
/// fn forge(user: AuthenticatedUser) -> AuthenticatedUser {
///     AuthenticatedUser { device_state: DeviceState::Approved, ..user }
/// }
/// ```
///
/// ```compile_fail,E0599
/// fn twice(user: usher_identity::AuthenticatedUser) -> [usher_identity::AuthenticatedUser; 2] {
///     [user.clone(), user]
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct AuthenticatedUser {
    user_id: UserId,
    user_name: UserName,
    unix_user_name: LoginName,
    team_roles: TeamRoles,
    device_id: DeviceId,
    device_name: DeviceName,
    device_state: DeviceState,
    jkt: Thumbprint,
    session_id: SessionId,
    token_id: TokenId,
    auth_time: UnixTime,
    amr: Vec<AuthenticationMethod>,
    expires_at: UnixTime,
    client_address: Option<IpAddr>,
    last_used_at: Option<UnixTime>,
}

impl AuthenticatedUser {
    /// Rows must have been checked by `authenticate` or `check_rows`.
    pub(crate) fn new(
        user: &UserRecord,
        team_roles: &TeamRoles,
        device: &DeviceRecord,
        session: &SessionRecord,
        arrival: Arrival,
    ) -> Self {
        Self {
            user_id: user.id,
            user_name: user.user_name.clone(),
            unix_user_name: user.unix_user_name.clone(),
            team_roles: team_roles.clone(),
            device_id: device.id,
            device_name: device.name.clone(),
            device_state: device.state,
            jkt: device.jkt,
            session_id: session.id,
            token_id: session.token_id,
            auth_time: session.auth_time,
            amr: session.amr.clone(),
            expires_at: session.ends_at(),
            client_address: arrival.client_address,
            last_used_at: arrival.last_used_at,
        }
    }

    /// Who.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.user_id
    }

    /// Its name in the directory.
    #[must_use]
    pub fn user_name(&self) -> &UserName {
        &self.user_name
    }

    /// Its Unix account's name on servers.
    #[must_use]
    pub fn unix_user_name(&self) -> &LoginName {
        &self.unix_user_name
    }

    /// What it is in the team. To act on it, it must be on an approved device: [`ApprovedUser::with_permission`].
    #[must_use]
    pub fn team_roles(&self) -> &TeamRoles {
        &self.team_roles
    }

    /// On which device.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        self.device_id
    }

    /// What the owner calls the device.
    #[must_use]
    pub fn device_name(&self) -> &DeviceName {
        &self.device_name
    }

    /// Whether the device is approved or waits for it; never revoked.
    #[must_use]
    pub fn device_state(&self) -> DeviceState {
        self.device_state
    }

    /// Thumbprint of the device's key.
    #[must_use]
    pub fn jkt(&self) -> Thumbprint {
        self.jkt
    }

    /// In which session.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// The session token's id, which finds the session's row.
    #[must_use]
    pub fn token_id(&self) -> TokenId {
        self.token_id
    }

    /// When the user last proved who it is.
    #[must_use]
    pub fn auth_time(&self) -> UnixTime {
        self.auth_time
    }

    /// How.
    #[must_use]
    pub fn amr(&self) -> &[AuthenticationMethod] {
        &self.amr
    }

    /// When the session ends.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// The stronger proof, for everything but looking at oneself and signing out.
    ///
    /// # Errors
    /// [`DeviceNotApproved`] while an administrator has not approved the device.
    pub fn on_approved_device(self) -> Result<ApprovedUser, DeviceNotApproved> {
        match self.device_state {
            DeviceState::Approved => Ok(ApprovedUser(self)),
            DeviceState::Pending | DeviceState::Revoked => {
                Err(DeviceNotApproved { device_id: self.device_id, state: self.device_state })
            }
        }
    }
}

/// The device waits for approval, or was revoked.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("device {device_id} is not approved")]
pub struct DeviceNotApproved {
    device_id: DeviceId,
    state: DeviceState,
}

impl DeviceNotApproved {
    /// The device, for the administrator who is asked to approve it.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        self.device_id
    }

    /// Pending or revoked.
    #[must_use]
    pub fn state(&self) -> DeviceState {
        self.state
    }
}

/// A signed-in user on an approved device: whom policy decides about.
///
/// ```compile_fail,E0423
/// fn forge(user: usher_identity::AuthenticatedUser) -> usher_identity::ApprovedUser {
///     usher_identity::ApprovedUser(user)
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct ApprovedUser(AuthenticatedUser);

impl ApprovedUser {
    /// The weaker proof: who, on which device, in which session.
    pub fn user(&self) -> &AuthenticatedUser {
        &self.0
    }

    /// Looks at the rows again, as they are now: for a decision that is made again inside a transaction. The session
    /// and the device's key must be the same as before.
    ///
    /// # Errors
    /// [`AuthenticationError`], as [`crate::authenticate`] would say now; a device that is no longer approved counts
    /// as revoked.
    pub fn check_again(
        &self,
        user: &UserRecord,
        team_roles: &TeamRoles,
        device: &DeviceRecord,
        session: &SessionRecord,
        now: UnixTime,
    ) -> Result<Self, AuthenticationError> {
        let before = &self.0;
        if before.user_id != user.id || before.session_id != session.id || before.token_id != session.token_id
        {
            return Err(AuthenticationError::Token);
        }
        if before.device_id != device.id || before.jkt != device.jkt {
            return Err(AuthenticationError::Proof);
        }
        let arrival =
            Arrival { now, client_address: before.client_address, last_used_at: before.last_used_at };
        check_rows(user, device, session, arrival)?;
        AuthenticatedUser::new(user, team_roles, device, session, arrival)
            .on_approved_device()
            .map_err(|_error| AuthenticationError::DeviceRevoked)
    }

    /// The proof that administration asks for.
    ///
    /// # Errors
    /// [`NotPermitted`] when none of the user's roles in the team permits it.
    pub fn with_permission(self, permission: Permission) -> Result<PermittedUser, NotPermitted> {
        let roles = &self.0.team_roles;
        if roles.permit(permission) {
            Ok(PermittedUser { user: self, permission })
        } else {
            Err(NotPermitted { permission, roles: roles.clone() })
        }
    }
}

/// None of the user's roles in the team permits it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("this takes the team role {}; you are {roles}", one_of(*permission))]
pub struct NotPermitted {
    permission: Permission,
    roles: TeamRoles,
}

fn one_of(permission: Permission) -> String {
    let roles: Vec<String> = permission.roles().map(|role| role.to_string()).collect();
    roles.join(" or ")
}

/// Somebody with a permission in the team, signed in on an approved device.
///
/// ```compile_fail,E0451
/// use usher_identity::{ApprovedUser, PermittedUser};
/// fn forge(user: ApprovedUser) -> PermittedUser {
///     PermittedUser { user, permission: usher_types::Permission::ManageTeam }
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct PermittedUser {
    user: ApprovedUser,
    permission: Permission,
}

impl PermittedUser {
    /// The weaker proof.
    pub fn approved(&self) -> &ApprovedUser {
        &self.user
    }

    /// Who, on which device, in which session.
    pub fn user(&self) -> &AuthenticatedUser {
        self.user.user()
    }

    /// What it was asked for.
    #[must_use]
    pub fn permission(&self) -> Permission {
        self.permission
    }
}
