//! A signed-in user, made through the checks of `identity`, and facts that allow.

use std::{net::IpAddr, sync::LazyLock, time::Duration};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use usher_identity::{
    ApprovedUser, Arrival, AuthenticationMethod, DeviceRecord, DeviceState, Login, PrivateKey, SessionTerms,
    UserRecord, UserStatus, authenticate,
    dpop::{Jti, NonceKey, NonceKeys, PortableVerifier, ProofRequest, make, verify},
    open_session,
};
use usher_policy::{
    AccessFacts, AccessRequest, Assignment, Decision, Denial, Grant, PortForwarding, ProjectFacts, Purpose,
    ServerFacts, authorize,
};
use usher_types::{
    ConnectionId, DeviceId, GroupId, ProjectId, SecretToken, ServerId, TeamRole, TokenId, TokenKind,
    UnixTime, UserId,
};

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_790_000_000);

pub(crate) fn user_id(seed: u8) -> UserId {
    UserId::new(NOW, [seed; 10])
}

pub(crate) fn group_id(seed: u8) -> GroupId {
    GroupId::new(NOW, [seed; 10])
}

pub(crate) fn server_id(seed: u8) -> ServerId {
    ServerId::new(NOW, [seed; 10])
}

pub(crate) fn project_id(seed: u8) -> ProjectId {
    ProjectId::new(NOW, [seed; 10])
}

pub(crate) fn connection_id() -> ConnectionId {
    ConnectionId::new(NOW, [7; 10])
}

pub(crate) fn device_id() -> DeviceId {
    DeviceId::new(NOW, [5; 10])
}

pub(crate) const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

struct SignedInUser(UserId, UnixTime, Vec<AuthenticationMethod>);

impl Login for SignedInUser {
    fn user_id(&self) -> UserId {
        self.0
    }

    fn auth_time(&self) -> UnixTime {
        self.1
    }

    fn amr(&self) -> &[AuthenticationMethod] {
        &self.2
    }
}

/// User 1, called alice, on an approved device.
static ALICE: LazyLock<ApprovedUser> = LazyLock::new(|| alice(NOW, vec![AuthenticationMethod::MultiFactor]));

/// The same, who proved who she is at `auth_time`.
pub(crate) fn alice(auth_time: UnixTime, amr: Vec<AuthenticationMethod>) -> ApprovedUser {
    let user = UserRecord {
        id: user_id(1),
        user_name: "alice".parse().unwrap(),
        display_name: "Alice".parse().unwrap(),
        unix_user_name: "alice".parse().unwrap(),
        status: UserStatus::Active,
        // Administering the team gives no access to servers.
        team_role: TeamRole::Owner,
        connector_id: None,
        created_at: NOW,
    };
    let key = PrivateKey::generate(&mut ChaCha20Rng::from_seed([1; 32]));
    let device = DeviceRecord {
        id: device_id(),
        user_id: user.id,
        name: "laptop".parse().unwrap(),
        jkt: key.public().thumbprint(),
        state: DeviceState::Approved,
        created_at: NOW,
    };
    let token = SecretToken::new(TokenKind::Session, TokenId::new(NOW, [6; 10]), [6; 32]);
    let session = open_session(
        SignedInUser(user.id, auth_time, amr),
        &device,
        &token,
        SessionTerms::default(),
        Arrival::at(NOW),
    )
    .unwrap();
    let nonces = NonceKeys::new(NonceKey::new([8; 32]), None);
    let request =
        ProofRequest { method: "GET", htu: "https://b/v1/me", query: "", body: b"", token: Some(&token) };
    let proof = make(&key, &request, Jti::new([1; 16]), Some(&nonces.issue(NOW)), NOW);
    let proof = verify(&proof, &request, &nonces, NOW, &PortableVerifier).unwrap();
    authenticate(&user, &user.team_role.into(), &device, &session, &token, &proof, Arrival::at(NOW))
        .unwrap()
        .on_approved_device()
        .unwrap()
}

pub(crate) fn assignment(seed: u8, name: &str, access: bool, admin: bool) -> Assignment {
    Assignment {
        group_id: group_id(seed),
        group_name: name.parse().unwrap(),
        server_access: access,
        server_admin: admin,
        conditions: Default::default(),
    }
}

/// Alice is in group 1, which may log in on server 1 of project 1.
pub(crate) fn facts() -> AccessFacts {
    AccessFacts {
        user_id: user_id(1),
        login: Some("alice".parse().unwrap()),
        groups: [group_id(1)].into(),
        server: ServerFacts {
            id: server_id(1),
            name: "web-1".parse().unwrap(),
            project_id: project_id(1),
            labels: Default::default(),
        },
        project: ProjectFacts {
            id: project_id(1),
            slug: "shop".parse().unwrap(),
            certificate_lifetime: Duration::from_secs(180),
            clock_skew: Duration::from_secs(60),
            port_forwarding: PortForwarding::Local,
            authentication: Default::default(),
        },
        assignments: vec![assignment(1, "operators", true, false), assignment(2, "auditors", false, false)],
        policies: Default::default(),
        named_at: None,
        locks: Vec::new(),
    }
}

pub(crate) fn request(login: Option<&str>, purpose: Purpose) -> AccessRequest {
    AccessRequest { login: login.map(|login| login.parse().unwrap()), purpose }
}

/// The decision about anybody.
pub(crate) fn decide_for(
    user: &ApprovedUser,
    facts: &AccessFacts,
    client: Option<IpAddr>,
    now: UnixTime,
) -> Decision {
    authorize(user, &request(None, Purpose::Command), facts, connection_id(), client, now)
}

pub(crate) fn decide_at(request: &AccessRequest, facts: &AccessFacts, now: UnixTime) -> Decision {
    authorize(&ALICE, request, facts, connection_id(), Some(CLIENT), now)
}

pub(crate) fn decide(request: &AccessRequest, facts: &AccessFacts) -> Decision {
    decide_at(request, facts, NOW)
}

#[track_caller]
pub(crate) fn allowed(facts: &AccessFacts) -> Grant {
    grant(decide(&request(None, Purpose::Command), facts))
}

#[track_caller]
pub(crate) fn grant(decision: Decision) -> Grant {
    match decision {
        Decision::Allow(grant) => grant,
        Decision::Deny(denial) => panic!("denied: {denial:?}"),
        Decision::StepUp(step_up) => panic!("step up: {step_up:?}"),
    }
}

#[track_caller]
pub(crate) fn denial(decision: Decision) -> Denial {
    match decision {
        Decision::Allow(grant) => panic!("allowed: {grant:?}"),
        Decision::Deny(denial) => denial,
        Decision::StepUp(step_up) => panic!("step up: {step_up:?}"),
    }
}

pub(crate) fn codes(denial: &Denial) -> Vec<&'static str> {
    denial.reasons().map(usher_policy::Reason::code).collect()
}
