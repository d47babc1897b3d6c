//! Opening sessions and recognizing them again.

use std::net::IpAddr;

use thiserror::Error;
use usher_types::{SecretToken, SessionId, Sha256, TeamRoles, TokenKind, UnixTime, UserId};

use crate::{
    AuthenticatedUser, AuthenticationMethod, DeviceRecord, DeviceState, ProviderLogin, SessionRecord,
    SessionTerms, UserRecord, UserStatus, dpop::VerifiedProof,
};

/// When and from where a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub now: UnixTime,
    /// From where, when that is known.
    pub client_address: Option<IpAddr>,
    /// When the session was used before, if something later is known than its row says.
    pub last_used_at: Option<UnixTime>,
}

impl Arrival {
    /// At `now`, from nobody knows where.
    #[must_use]
    pub fn at(now: UnixTime) -> Self {
        Self { now, client_address: None, last_used_at: None }
    }

    /// The same, from `client`.
    #[must_use]
    pub fn from(self, client: IpAddr) -> Self {
        Self { client_address: Some(client), ..self }
    }
}

/// Evidence that a user has just signed in. A session is opened for nothing else.
///
/// In the product `sign_in::VerifiedLogin` is the only implementor; an embedder brings its own sign-in.
pub trait Login {
    /// Who signed in.
    fn user_id(&self) -> UserId;
    /// When.
    fn auth_time(&self) -> UnixTime;
    /// How.
    fn amr(&self) -> &[AuthenticationMethod];
    /// What the identity provider said; none when none was asked.
    fn provider(&self) -> Option<&ProviderLogin> {
        None
    }
}

/// Why a session cannot be opened.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum OpenSessionError {
    /// The device was revoked.
    #[error("the device was revoked")]
    DeviceRevoked,
    /// The device belongs to somebody else.
    #[error("the device belongs to another user")]
    ForeignDevice,
    /// The token is not a session token.
    #[error("the token is not a session token")]
    TokenKind,
}

/// Opens a session as `terms` have it for the user that `login` names, on its device.
///
/// `device` must be the row of the key whose proof came with the sign-in. The session's id follows from the token's,
/// so there is nothing more to draw.
///
/// # Errors
/// [`OpenSessionError`] when the device is revoked or another user's, or the token is of another kind.
#[expect(clippy::needless_pass_by_value, reason = "a login opens one session; it is used up here")]
pub fn open_session(
    login: impl Login,
    device: &DeviceRecord,
    token: &SecretToken,
    terms: SessionTerms,
    arrival: Arrival,
) -> Result<SessionRecord, OpenSessionError> {
    if device.user_id != login.user_id() {
        return Err(OpenSessionError::ForeignDevice);
    }
    if device.state == DeviceState::Revoked {
        return Err(OpenSessionError::DeviceRevoked);
    }
    if token.kind() != TokenKind::Session {
        return Err(OpenSessionError::TokenKind);
    }
    let mut random = [0_u8; 10];
    for (slot, byte) in random.iter_mut().zip(Sha256::of(token.id().to_string().as_bytes()).as_bytes()) {
        *slot = *byte;
    }
    let now = arrival.now;
    Ok(SessionRecord {
        id: SessionId::new(now, random),
        token_id: token.id(),
        token_hash: token.hash(),
        user_id: login.user_id(),
        device_id: device.id,
        auth_time: login.auth_time(),
        amr: login.amr().to_vec(),
        created_at: now,
        expires_at: now.saturating_add(terms.lifetime),
        ended_at: None,
        provider: login.provider().cloned(),
        client_address: arrival.client_address,
        last_used_at: now,
        terms,
    })
}

/// Why a request is not a signed-in user's.
///
/// The first four want a new sign-in and are told apart for the audit log only, as a thief may be asking; the next two
/// want one as well, and are told to whoever holds the device's key; the last two are final.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AuthenticationError {
    /// The token is not the session's, or the rows do not belong together.
    #[error("the session token is not valid")]
    Token,
    /// The proof is another key's than the device's, or was not made for this token.
    #[error("the session belongs to another device")]
    Proof,
    /// The session was ended.
    #[error("the session was ended")]
    SessionEnded,
    /// The session's time is over.
    #[error("the session has expired")]
    SessionExpired,
    /// The session was not used for longer than the team allows.
    #[error("the session was not used for too long")]
    SessionIdle,
    /// The session is bound to the network it was opened from, and the request came from another one.
    #[error("the session was opened from another network")]
    OtherNetwork,
    /// The user is disabled.
    #[error("the user is disabled")]
    UserDisabled,
    /// The device was revoked.
    #[error("the device was revoked")]
    DeviceRevoked,
}

/// Recognizes a signed-in user: the token is the session's, the session is live, the proof is the device key's and was
/// made for this token, the user is active and the device not revoked.
///
/// Rows are found by the token's id, `team_roles` are all that the user has; `proof` comes from [`crate::dpop::verify`] of the same request.
///
/// # Errors
/// [`AuthenticationError`] for the first check that fails.
pub fn authenticate(
    user: &UserRecord,
    team_roles: &TeamRoles,
    device: &DeviceRecord,
    session: &SessionRecord,
    token: &SecretToken,
    proof: &VerifiedProof,
    arrival: Arrival,
) -> Result<AuthenticatedUser, AuthenticationError> {
    let token_matches = token.kind() == TokenKind::Session
        && token.id() == session.token_id
        && token.hash() == session.token_hash;
    if !token_matches {
        return Err(AuthenticationError::Token);
    }
    if !proof.is_for(token) || proof.jkt() != device.jkt {
        return Err(AuthenticationError::Proof);
    }
    let arrival = Arrival { last_used_at: arrival.last_used_at.max(Some(session.last_used_at)), ..arrival };
    check_rows(user, device, session, arrival)?;
    Ok(AuthenticatedUser::new(user, team_roles, device, session, arrival))
}

/// What must hold at every moment of a request, also when it is decided again inside a transaction: then the use before
/// is the one before this request, whatever the row says by now.
pub(crate) fn check_rows(
    user: &UserRecord,
    device: &DeviceRecord,
    session: &SessionRecord,
    arrival: Arrival,
) -> Result<(), AuthenticationError> {
    if session.user_id != user.id || session.device_id != device.id || device.user_id != user.id {
        return Err(AuthenticationError::Token);
    }
    if session.ended_at.is_some() {
        return Err(AuthenticationError::SessionEnded);
    }
    if arrival.now >= session.ends_at() {
        return Err(AuthenticationError::SessionExpired);
    }
    if session.is_idle(arrival.last_used_at.unwrap_or(session.last_used_at), arrival.now) {
        return Err(AuthenticationError::SessionIdle);
    }
    if !session.is_for(arrival.client_address) {
        return Err(AuthenticationError::OtherNetwork);
    }
    match user.status {
        UserStatus::Active => {}
        UserStatus::Disabled => return Err(AuthenticationError::UserDisabled),
    }
    match device.state {
        DeviceState::Approved | DeviceState::Pending => Ok(()),
        DeviceState::Revoked => Err(AuthenticationError::DeviceRevoked),
    }
}
