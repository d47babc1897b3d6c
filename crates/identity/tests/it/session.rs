//! Sessions: who is recognized, and who is not any more.

use std::time::Duration;

use usher_identity::{
    Arrival, AuthenticationError, DeviceRecord, DeviceState, OpenSessionError, SessionBinding, SessionRecord,
    SessionTerms, UserRecord, UserStatus, authenticate, dpop::VerifiedProof, open_session,
};
use usher_types::{DeviceId, Permission, SecretToken, TeamRole, TeamRoles, TokenId, TokenKind, UserId};

use crate::fixture::{NOW, TestLogin, alice, check, key, laptop, prove, request, session_token};

/// Everything that a request of a signed-in user consists of.
struct SignedIn {
    user: UserRecord,
    team_roles: TeamRoles,
    device: DeviceRecord,
    session: SessionRecord,
    token: SecretToken,
}

impl SignedIn {
    fn new() -> Self {
        let (user, token) = (alice(), session_token(1));
        let device = laptop(user.id, key(1).public().thumbprint());
        let session =
            open_session(TestLogin(user.id), &device, &token, SessionTerms::default(), Arrival::at(NOW))
                .unwrap();
        Self { user, team_roles: TeamRoles::default(), device, session, token }
    }

    fn proof(&self) -> VerifiedProof {
        let request = request(Some(&self.token));
        check(&prove(&key(1), &request), &request).unwrap()
    }

    fn authenticate(&self) -> Result<usher_identity::AuthenticatedUser, AuthenticationError> {
        authenticate(
            &self.user,
            &self.team_roles,
            &self.device,
            &self.session,
            &self.token,
            &self.proof(),
            Arrival::at(NOW),
        )
    }
}

#[track_caller]
fn refuses(change: impl FnOnce(&mut SignedIn), expected: AuthenticationError) {
    let mut signed_in = SignedIn::new();
    change(&mut signed_in);
    assert_eq!(signed_in.authenticate().unwrap_err(), expected);
}

#[test]
fn opens_for_the_user_that_signed_in() {
    let SignedIn { user, device, session, token, .. } = SignedIn::new();
    assert_eq!((session.user_id, session.device_id), (user.id, device.id));
    assert_eq!((session.token_id, session.token_hash), (token.id(), token.hash()));
    assert_eq!(session.expires_at, NOW.saturating_add(SessionTerms::default().lifetime));
    assert_eq!(session.amr.iter().map(ToString::to_string).collect::<Vec<_>>(), ["pwd", "otp"]);
}

#[test]
fn opens_nothing_on_a_foreign_or_revoked_device() {
    // Warpgate GHSA-868r-97g5-r9g4: any user could finish a login begun for another.
    let (mallory, token) = (UserId::new(NOW, [66; 10]), session_token(1));
    let device = laptop(alice().id, key(1).public().thumbprint());
    let refused =
        open_session(TestLogin(mallory), &device, &token, SessionTerms::default(), Arrival::at(NOW))
            .unwrap_err();
    assert_eq!(refused, OpenSessionError::ForeignDevice);

    let revoked = DeviceRecord { state: DeviceState::Revoked, ..device.clone() };
    let refused =
        open_session(TestLogin(alice().id), &revoked, &token, SessionTerms::default(), Arrival::at(NOW))
            .unwrap_err();
    assert_eq!(refused, OpenSessionError::DeviceRevoked);

    let enrollment = SecretToken::new(TokenKind::Enrollment, token.id(), [1; 32]);
    let refused =
        open_session(TestLogin(alice().id), &device, &enrollment, SessionTerms::default(), Arrival::at(NOW))
            .unwrap_err();
    assert_eq!(refused, OpenSessionError::TokenKind);
}

#[test]
fn recognizes_its_user_on_its_device() {
    let signed_in = SignedIn::new();
    let user = signed_in.authenticate().unwrap();
    assert_eq!(user.user_id(), signed_in.user.id);
    assert_eq!(user.device_id(), signed_in.device.id);
    assert_eq!(user.session_id(), signed_in.session.id);
    assert_eq!(user.unix_user_name().as_str(), "alice");
    for permission in Permission::ALL {
        let user = signed_in.authenticate().unwrap().on_approved_device().unwrap();
        let refused = user.with_permission(permission).unwrap_err().to_string();
        assert!(refused.contains("owner"), "{refused}");
    }
}

#[test]
fn refuses_another_secret_id_or_kind_of_token() {
    let other_secret =
        |s: &mut SignedIn| s.token = SecretToken::new(TokenKind::Session, s.token.id(), [7; 32]);
    refuses(other_secret, AuthenticationError::Token);
    let other_id = |s: &mut SignedIn| s.session.token_id = TokenId::new(NOW, [7; 10]);
    refuses(other_id, AuthenticationError::Token);
    let api_key = |s: &mut SignedIn| s.token = SecretToken::new(TokenKind::ApiKey, s.token.id(), [1; 32]);
    refuses(api_key, AuthenticationError::Token);
}

#[test]
fn refuses_a_stolen_token_with_another_key() {
    // Row 36 and section 3: a stolen session token cannot mint.
    let stolen = SignedIn::new();
    let request = request(Some(&stolen.token));
    let proof = check(&prove(&key(2), &request), &request).unwrap();
    let refused = authenticate(
        &stolen.user,
        &stolen.team_roles,
        &stolen.device,
        &stolen.session,
        &stolen.token,
        &proof,
        Arrival::at(NOW),
    );
    assert_eq!(refused.unwrap_err(), AuthenticationError::Proof);
}

#[test]
fn refuses_a_proof_that_was_made_without_the_token() {
    let signed_in = SignedIn::new();
    let request = request(None);
    let proof = check(&prove(&key(1), &request), &request).unwrap();
    let SignedIn { user, team_roles, device, session, token } = &signed_in;
    assert_eq!(
        authenticate(user, team_roles, device, session, token, &proof, Arrival::at(NOW)).unwrap_err(),
        AuthenticationError::Proof
    );
}

#[test]
fn refuses_rows_that_do_not_belong_together() {
    refuses(|s| s.user.id = UserId::new(NOW, [66; 10]), AuthenticationError::Token);
    refuses(|s| s.device.user_id = UserId::new(NOW, [66; 10]), AuthenticationError::Token);
    refuses(|s| s.session.device_id = DeviceId::new(NOW, [66; 10]), AuthenticationError::Token);
}

#[test]
fn refuses_what_has_ended() {
    refuses(|s| s.session.ended_at = Some(NOW), AuthenticationError::SessionEnded);
    refuses(|s| s.session.expires_at = NOW, AuthenticationError::SessionExpired);
    refuses(|s| s.user.status = UserStatus::Disabled, AuthenticationError::UserDisabled);
    refuses(|s| s.device.state = DeviceState::Revoked, AuthenticationError::DeviceRevoked);
}

#[test]
fn a_pending_device_is_recognized_but_not_approved() {
    let mut signed_in = SignedIn::new();
    signed_in.device.state = DeviceState::Pending;
    let user = signed_in.authenticate().unwrap();
    assert_eq!(user.device_state(), DeviceState::Pending);
    let refused = user.on_approved_device().unwrap_err();
    assert_eq!((refused.device_id(), refused.state()), (signed_in.device.id, DeviceState::Pending));
}

#[test]
fn has_the_permissions_of_its_roles_and_no_other() {
    let mut signed_in = SignedIn::new();
    for role in TeamRole::ALL {
        signed_in.team_roles = role.into();
        for permission in Permission::ALL {
            let user = signed_in.authenticate().unwrap().on_approved_device().unwrap();
            let permitted = user.with_permission(permission);
            assert_eq!(permitted.is_ok(), role.permits(permission), "{role} {permission:?}");
            if let Ok(permitted) = permitted {
                assert_eq!(permitted.user().user_id(), signed_in.user.id);
                assert_eq!(permitted.permission(), permission);
            }
        }
    }
}

#[test]
fn is_checked_again_on_the_rows_of_the_moment() {
    let before = SignedIn::new();
    let approved = before.authenticate().unwrap().on_approved_device().unwrap();
    let again = |change: fn(&mut SignedIn), now| {
        let mut rows = SignedIn::new();
        change(&mut rows);
        approved
            .check_again(&rows.user, &rows.team_roles, &rows.device, &rows.session, now)
            .map(|user| user.user().user_id())
    };
    assert_eq!(again(|_| (), NOW), Ok(before.user.id));
    let cases: [(fn(&mut SignedIn), _); 7] = [
        (|s| s.user.status = UserStatus::Disabled, AuthenticationError::UserDisabled),
        (|s| s.device.state = DeviceState::Revoked, AuthenticationError::DeviceRevoked),
        (|s| s.device.state = DeviceState::Pending, AuthenticationError::DeviceRevoked),
        (|s| s.device.jkt = key(2).public().thumbprint(), AuthenticationError::Proof),
        (|s| s.session.ended_at = Some(NOW), AuthenticationError::SessionEnded),
        (|s| s.session.token_id = TokenId::new(NOW, [7; 10]), AuthenticationError::Token),
        (|s| s.user.id = UserId::new(NOW, [66; 10]), AuthenticationError::Token),
    ];
    for (change, expected) in cases {
        assert_eq!(again(change, NOW), Err(expected));
    }
    let late = NOW.saturating_add(SessionTerms::default().lifetime + Duration::from_millis(1));
    assert_eq!(again(|_| (), late), Err(AuthenticationError::SessionExpired));
}

/// Signed in at [`NOW`] from one address, under these terms; asks `seconds` later from another address.
fn asks(terms: SessionTerms, opened: &str, seconds: u64, asking: &str) -> Result<(), AuthenticationError> {
    let mut signed_in = SignedIn::new();
    signed_in.session.terms = terms;
    signed_in.session.client_address = Some(opened.parse().unwrap());
    let SignedIn { user, team_roles, device, session, token } = &signed_in;
    let arrival = Arrival::at(NOW.saturating_add(Duration::from_secs(seconds))).from(asking.parse().unwrap());
    authenticate(user, team_roles, device, session, token, &signed_in.proof(), arrival).map(drop)
}

#[test]
fn a_session_that_is_bound_is_good_in_its_own_network_only() {
    let terms = SessionTerms { binding: SessionBinding::Network, ..SessionTerms::default() };
    for (opened, asking, good) in [
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7", "::ffff:192.0.2.7", true),
        ("192.0.2.7", "192.0.2.8", false),
        ("2001:db8:1:2::a", "2001:db8:1:2:ffff::b", true),
        ("2001:db8:1:2::a", "2001:db8:1:3::a", false),
        ("192.0.2.7", "2001:db8::1", false),
    ] {
        let expected = if good { Ok(()) } else { Err(AuthenticationError::OtherNetwork) };
        assert_eq!(asks(terms, opened, 1, asking), expected, "{opened} {asking}");
        assert_eq!(asks(SessionTerms::default(), opened, 1, asking), Ok(()), "nothing is bound");
    }
    // Nobody knows where it was opened, or where it is used.
    let mut signed_in = SignedIn::new();
    signed_in.session.terms = terms;
    assert_eq!(signed_in.authenticate().unwrap_err(), AuthenticationError::OtherNetwork);
}

#[test]
fn a_session_ends_when_it_rests_for_too_long_and_when_the_team_says_so() {
    let here = "192.0.2.7";
    let idle = SessionTerms { idle_limit: Some(Duration::from_secs(600)), ..SessionTerms::default() };
    assert_eq!(asks(idle, here, 600, here), Ok(()));
    assert_eq!(asks(idle, here, 601, here), Err(AuthenticationError::SessionIdle));
    // Opened for twelve hours; the team has made it one since.
    let short = SessionTerms { lifetime: Duration::from_secs(3600), ..SessionTerms::default() };
    assert_eq!(asks(short, here, 3599, here), Ok(()));
    assert_eq!(asks(short, here, 3600, here), Err(AuthenticationError::SessionExpired));
    // A longer one than it was opened for gives it nothing.
    let long = SessionTerms { lifetime: Duration::from_secs(25 * 3600), ..SessionTerms::default() };
    assert_eq!(asks(long, here, 12 * 3600, here), Err(AuthenticationError::SessionExpired));
}

#[test]
fn a_request_is_a_use_and_is_no_use_before_itself() {
    let signed_in = SignedIn::new();
    let later = NOW.saturating_add(Duration::from_secs(1000));
    let SignedIn { user, team_roles, device, session, token } = &signed_in;
    let approved =
        authenticate(user, team_roles, device, session, token, &signed_in.proof(), Arrival::at(later))
            .unwrap();
    let approved = approved.on_approved_device().unwrap();
    // Meanwhile this very request was written down as the last use, and an administrator has set a limit.
    let mut rows = SignedIn::new();
    rows.session.last_used_at = later;
    rows.session.terms.idle_limit = Some(Duration::from_secs(600));
    let again = approved.check_again(&rows.user, &rows.team_roles, &rows.device, &rows.session, later);
    assert_eq!(again.unwrap_err(), AuthenticationError::SessionIdle);
    // What is known besides the row counts when it is later.
    let used = Arrival { last_used_at: Some(later), ..Arrival::at(later) };
    rows.session.last_used_at = NOW;
    let SignedIn { user, team_roles, device, session, token } = &rows;
    assert!(authenticate(user, team_roles, device, session, token, &rows.proof(), used).is_ok());
}
