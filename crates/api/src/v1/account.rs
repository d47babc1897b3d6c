//! The caller: token exchange, session, team.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use usher_types::{DeviceId, DeviceName, SessionId, Sha256, TeamSlug, UnixTime, UserName};
use utoipa::ToSchema;

use super::{Device, User};

/// `GET /v1/team`, for everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Team {
    /// The team's slug; host names end in `.<team>.usher`.
    pub team: TeamSlug,
    /// The broker's version.
    pub version: String,
    /// SHA-256 of the SPKI of each root that the broker's certificate may come from, now or soon; empty when it is an
    /// operator's own certificate. A client that is pinned, and has checked this answer's sender, takes these instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Sha256>,
}

/// `POST /v1/token`: the authorization code for a session (RFC 6749 section 4.1.3 with PKCE, RFC 7636), in JSON. The
/// proof's key becomes the device's key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The code from the redirect.
    pub code: String,
    /// The PKCE verifier.
    pub code_verifier: String,
    /// Exactly the redirect URI of the authorization request.
    pub redirect_uri: String,
    /// What the owner calls the device.
    pub device_name: DeviceName,
}

impl std::fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRequest").field("device_name", &self.device_name).finish_non_exhaustive()
    }
}

/// Answer to [`TokenRequest`]. The token is shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenResponse {
    /// `us1_...`; useless without the device's key.
    pub session_token: String,
    /// The session.
    pub session: SessionInfo,
    /// The device, perhaps waiting for approval.
    pub device: Device,
    /// Who signed in.
    pub user: User,
}

impl std::fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenResponse").field("session", &self.session).finish_non_exhaustive()
    }
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// When the user signed in.
    pub auth_time: UnixTime,
    /// How (RFC 8176): `pwd`, `otp`, `mfa`.
    pub amr: Vec<String>,
    /// When it ends.
    pub expires_at: UnixTime,
}

/// `GET /v1/sessions`: a session that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub user_name: UserName,
    /// The device it is on.
    pub device_id: DeviceId,
    /// What the owner calls the device.
    pub device_name: DeviceName,
    /// Whether it is the one that asks.
    pub current: bool,
    /// When it was opened.
    pub created_at: UnixTime,
    /// When the user signed in.
    pub auth_time: UnixTime,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// When it was used last, to a minute.
    pub last_used_at: UnixTime,
    /// When it ends by itself.
    pub expires_at: UnixTime,
    /// Where it was opened from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client_address: Option<IpAddr>,
}

/// Where sessions may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SessionBinding {
    /// Only in the network it was opened from: the same IPv4 address, or the same /64 of IPv6.
    Network,
    /// Everywhere.
    None,
}

/// `GET /v1/team/settings`: what the team asks of its sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TeamSettings {
    /// How long a session lasts.
    pub session_lifetime_seconds: u32,
    /// How long a session may rest; as long as it lasts when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_idle_seconds: Option<u32>,
    /// Where a session may be used.
    pub session_binding: SessionBinding,
}

/// `PATCH /v1/team/settings`. Holds for sessions that there are as well; makes none of them longer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateTeamSettings {
    /// From one hour to twenty-five.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_lifetime_seconds: Option<u32>,
    /// Five minutes at least; 0 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_idle_seconds: Option<u32>,
    /// Where a session may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_binding: Option<SessionBinding>,
}

/// `GET /v1/me`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// The team.
    pub team: TeamSlug,
    /// Who.
    pub user: User,
    /// On which device.
    pub device: Device,
    /// In which session.
    pub session: SessionInfo,
    /// How many recovery codes are left; absent for people of an identity provider and for programs, who have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_codes_left: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::TokenRequest;

    #[test]
    fn a_code_and_its_verifier_are_not_printed() {
        let request = TokenRequest {
            code: "the-code".to_owned(),
            code_verifier: "the-verifier".to_owned(),
            redirect_uri: "http://127.0.0.1:49152/callback".to_owned(),
            device_name: "laptop".parse().unwrap(),
        };
        let shown = format!("{request:?}");
        assert!(shown.contains("laptop") && !shown.contains("the-"), "{shown}");
    }
}
