//! Who asks, as far as decisions look at it. Plain data, and no proof of anything: [`authorize`](crate::authorize) takes
//! it out of one, [`suppose`](crate::suppose) lets it be supposed.

use usher_identity::{AuthenticatedUser, AuthenticationMethod};
use usher_types::{DeviceId, DeviceName, UnixTime, UserId, UserName};

use crate::conditions;

/// Somebody who asks for a connection.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Who.
    pub user_id: UserId,
    /// Its name.
    pub user_name: &'a UserName,
    /// On which device; without one, nothing is known of it.
    pub device: Option<(DeviceId, &'a DeviceName)>,
    /// When the user last proved who it is.
    pub auth_time: UnixTime,
    /// How.
    pub amr: &'a [AuthenticationMethod],
}

impl<'a> Asker<'a> {
    /// Whom a session belongs to.
    #[must_use]
    pub fn of(user: &'a AuthenticatedUser) -> Self {
        Self {
            user_id: user.user_id(),
            user_name: user.user_name(),
            device: Some((user.device_id(), user.device_name())),
            auth_time: user.auth_time(),
            amr: user.amr(),
        }
    }

    /// Whether the last proof had more than one factor.
    #[must_use]
    pub fn has_second_factor(&self) -> bool {
        conditions::has_second_factor(self.amr)
    }
}
