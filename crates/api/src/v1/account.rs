//! The caller: token exchange, session, team.

use serde::{Deserialize, Serialize};
use usher_types::{DeviceName, SessionId, Sha256, TeamSlug, UnixTime};
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
