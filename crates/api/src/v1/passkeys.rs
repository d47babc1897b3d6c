//! Second factors of people. They are registered and used on the broker's pages, not here.

use serde::{Deserialize, Serialize};
use usher_types::{DisplayName, PasskeyId, UnixTime};
use utoipa::ToSchema;

use super::{SetUpCode, User};

/// A key with which a person signs in at a browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passkey {
    /// Its id.
    pub id: PasskeyId,
    /// What its owner calls it.
    pub name: DisplayName,
    /// When it was registered.
    pub created_at: UnixTime,
    /// When its owner last signed in with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<UnixTime>,
}

/// `PATCH /v1/passkeys/{passkey}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdatePasskey {
    /// What to call it.
    pub name: DisplayName,
}

/// Answer to `POST /v1/users/{user}/second-factor/reset`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecondFactorReset {
    /// The user, who has no second factor now.
    pub user: User,
    /// Where and with what it makes new ones; shown once. Absent for people of an identity provider, who do so when they are
    /// next asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_up: Option<SetUpCode>,
}
