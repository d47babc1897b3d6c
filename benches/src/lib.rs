//! What the benches share: one user, one server, one request, ready to be decided, signed and proved. Measures nothing
//! itself.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a bench that cannot start should fail loudly"
)]

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use getrandom::SysRng;
use mimalloc::MiMalloc;
use rand_core::UnwrapErr;
use usher_ca::{
    CheckedKey, LocalKey as _, PortableP256, Signer, SourceAddresses, SubjectKey,
    x509::{CaCertificate, CsrToBeSigned, ProvenKey, prepare_authority},
};
use usher_identity::{
    ApprovedUser, Arrival, AuthenticationMethod, DeviceRecord, DeviceState, Login, PrivateKey, PublicKey,
    SessionTerms, UserRecord, UserStatus, authenticate,
    dpop::{self, Es256Verifier, Jti, NonceKey, NonceKeys, ProofRequest},
    open_session,
};
use usher_policy::{
    AccessFacts, AccessRequest, Assignment, Authentication, Bindings, ClientGrant, Conditions, Decision,
    Draft, Grant, LegGrant, Person, Policies, Policy, PolicySource, PortForwarding, ProjectFacts, Purpose,
    Rules, ServerFacts, Snapshot, SnapshotBuilder, authorize,
};
use usher_testkit::{NOW, fixture, rng};
use usher_types::{
    GroupId, Label, Period, ProjectId, SecretToken, ServerId, TeamRole, TokenKind, UnixTime, UserId,
};

/// What is measured allocates as it does in the broker.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What that many of a hundred took at most, in milliseconds; `sorted` is.
#[must_use]
pub fn percentile_ms(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
}

/// A count, to be divided.
#[must_use]
pub fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// The system's randomness.
#[must_use]
pub fn system_rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// Verifies with the broker's library.
#[derive(Clone, Copy, Debug)]
pub struct AwsLcVerifier;

impl Es256Verifier for AwsLcVerifier {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.to_sec1()).verify(message, signature).is_ok()
    }
}

/// A request with its proof, as it arrives.
#[derive(Debug)]
pub struct Proved {
    /// The `dpop` header.
    pub proof: String,
    /// The broker's nonce keys.
    pub nonces: NonceKeys,
    /// The session token.
    pub token: SecretToken,
    /// The device's key.
    pub key: PrivateKey,
    body: &'static [u8],
}

impl Proved {
    /// `POST /v1/connections` with a session token.
    #[must_use]
    pub fn new() -> Self {
        let key = PrivateKey::generate(&mut rng(1));
        let nonces = NonceKeys::new(NonceKey::new([1; 32]), None);
        let token = SecretToken::new(TokenKind::Session, fixture::token(1), [7; 32]);
        let body = br#"{"server":"web-1","purpose":"interactive","keys":["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti"]}"#;
        let mut proved = Self { proof: String::new(), nonces, token, key, body };
        proved.proof = dpop::make(
            &proved.key,
            &proved.request(),
            Jti::new([9; 16]),
            Some(&proved.nonces.issue(NOW)),
            NOW,
        );
        proved
    }

    /// What the proof is for.
    #[must_use]
    pub fn request(&self) -> ProofRequest<'_> {
        ProofRequest {
            method: "POST",
            htu: "https://broker.example:8443/v1/connections",
            query: "",
            body: self.body,
            token: Some(&self.token),
        }
    }
}

impl Default for Proved {
    fn default() -> Self {
        Self::new()
    }
}

struct SignedIn;

impl Login for SignedIn {
    fn user_id(&self) -> UserId {
        fixture::user(1)
    }

    fn auth_time(&self) -> UnixTime {
        NOW
    }

    fn amr(&self) -> &[AuthenticationMethod] {
        &[AuthenticationMethod::MultiFactor]
    }
}

/// A user on an approved device.
pub fn user() -> ApprovedUser {
    let proved = Proved::new();
    let proof = dpop::verify(&proved.proof, &proved.request(), &proved.nonces, NOW, &AwsLcVerifier).unwrap();
    let user = UserRecord {
        id: fixture::user(1),
        user_name: "alice".parse().unwrap(),
        display_name: "Alice".parse().unwrap(),
        unix_user_name: "alice".parse().unwrap(),
        status: UserStatus::Active,
        team_role: TeamRole::Member,
        connector_id: None,
        created_at: NOW,
    };
    let device = DeviceRecord {
        id: fixture::device(1),
        user_id: user.id,
        name: "laptop".parse().unwrap(),
        jkt: proved.key.public().thumbprint(),
        state: DeviceState::Approved,
        created_at: NOW,
    };
    let session =
        open_session(SignedIn, &device, &proved.token, SessionTerms::default(), Arrival::at(NOW)).unwrap();
    authenticate(&user, &user.team_role.into(), &device, &session, &proved.token, &proof, Arrival::at(NOW))
        .unwrap()
        .on_approved_device()
        .unwrap()
}

/// A user of twenty groups asks for a server of a project with twenty groups; the last one lets it in.
#[must_use]
pub fn facts() -> AccessFacts {
    AccessFacts {
        user_id: fixture::user(1),
        login: Some("alice".parse().unwrap()),
        groups: (100..120).map(fixture::group).collect(),
        server: ServerFacts {
            id: fixture::server(1),
            name: "web-1".parse().unwrap(),
            project_id: fixture::project(1),
            labels: Default::default(),
        },
        project: ProjectFacts {
            id: fixture::project(1),
            slug: "payments".parse().unwrap(),
            certificate_lifetime: Duration::from_secs(180),
            clock_skew: Duration::from_secs(60),
            port_forwarding: PortForwarding::Local,
            authentication: Default::default(),
        },
        assignments: (81..=100)
            .map(|number| Assignment {
                group_id: fixture::group(number),
                group_name: format!("group-{number}").parse().unwrap(),
                server_access: true,
                server_admin: false,
                conditions: Default::default(),
            })
            .collect(),
        policies: Default::default(),
        named_at: None,
        locks: Vec::new(),
    }
}

/// The same, where five roles of the user count under every kind of condition there is; the last one lets it in.
#[must_use]
pub fn conditional_facts() -> AccessFacts {
    let mut facts = facts();
    let labels: BTreeMap<Label, Label> = [("env", "prod"), ("role", "web")]
        .map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap()))
        .into();
    facts.server.labels = Arc::new(labels.clone());
    let conditions = |network: &str| Conditions {
        labels: labels.clone(),
        networks: vec!["10.0.0.0/8".parse().unwrap(), network.parse().unwrap()],
        hours: Some("daily 00:00-24:00 Europe/Vienna".parse().unwrap()),
        authentication: Authentication {
            max_age_seconds: Some(900),
            second_factor: true,
            named_server: false,
        },
    };
    let (elsewhere, here) = (Arc::new(conditions("198.51.100.0/24")), Arc::new(conditions("192.0.2.0/24")));
    let theirs: Vec<_> = facts.assignments.iter().rev().take(5).map(|role| role.group_id).collect();
    facts.groups.extend(theirs.iter().copied());
    for assignment in &mut facts.assignments {
        let last = theirs.first() == Some(&assignment.group_id);
        assignment.conditions = Arc::clone(if last { &here } else { &elsewhere });
    }
    facts
}

/// Twenty groups of a user, sorted.
#[must_use]
pub fn groups() -> Vec<GroupId> {
    (100..120).map(fixture::group).collect()
}

/// The name of a server of [`large_snapshot`].
#[must_use]
pub fn server_name(number: usize) -> String {
    format!("server-{number:06}.eu-central-1.example")
}

/// The access rules of a team with a hundred servers in each of so many projects; one of the twenty groups of each has
/// [`groups`] among its members.
#[must_use]
pub fn large_snapshot(projects: usize) -> Snapshot {
    large_builder(projects).finish()
}

fn numbered(number: usize) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn project_of(number: usize) -> ProjectId {
    ProjectId::new(NOW, numbered(number))
}

fn large_builder(projects: usize) -> SnapshotBuilder {
    let facts = facts();
    let mut builder = SnapshotBuilder::new();
    for number in 0..projects {
        let project = project_of(number);
        let slug = format!("project-{number}").parse().unwrap();
        builder.project(ProjectFacts { id: project, slug, ..facts.project.clone() });
        for assignment in &facts.assignments {
            builder.assignment(project, assignment.clone());
        }
        for server in number * 100..number * 100 + 100 {
            builder.server(ServerId::new(NOW, numbered(server)), &server_name(server), project);
        }
    }
    builder
}

/// What the user asks for.
#[must_use]
pub fn request() -> AccessRequest {
    AccessRequest { login: None, purpose: Purpose::Interactive }
}

/// Where it asks from.
#[must_use]
pub fn client_address() -> Option<IpAddr> {
    Some(IpAddr::from([192, 0, 2, 7]))
}

/// The decision about [`facts`], which is yes.
pub fn grant() -> Grant {
    match authorize(&user(), &request(), &facts(), fixture::connection(1), client_address(), NOW) {
        Decision::Allow(grant) => grant,
        other => panic!("denied: {other:?}"),
    }
}

/// What lets one certificate be signed.
pub fn leg(grant: &Grant) -> LegGrant {
    grant.target(SourceAddresses::any())
}

/// The key that certificates are for.
#[must_use]
pub fn subject() -> SubjectKey {
    SubjectKey::parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti")
        .unwrap()
}

/// What lets one X.509 client certificate be signed.
pub fn client(grant: &Grant) -> ClientGrant {
    grant.client("acme".parse().unwrap(), None)
}

/// The key that X.509 certificates are for.
#[must_use]
pub fn proven() -> ProvenKey {
    let key = PortableP256::generate(&mut rng(3));
    let request = CsrToBeSigned::new(key.public_key()).unwrap();
    let signature = key.sign_now(request.bytes()).unwrap();
    ProvenKey::from_csr_der(&request.seal(&signature).unwrap()).unwrap()
}

/// The certificate of the authority whose key this is.
#[must_use]
pub fn x509_authority(key: &CheckedKey) -> CaCertificate {
    let decade = Period::around(NOW, Duration::from_secs(3600), Duration::from_secs(3650 * 86400)).unwrap();
    let name = "Usher CA of payments".parse().unwrap();
    let prepared = prepare_authority(&name, &Signer::public_key(key), decade, NOW, &mut rng(4)).unwrap();
    prepared.sign_with(key).unwrap()
}

/// The rules of [`large_snapshot`], and two hundred policies: twenty about people in groups that the user is not in, for the
/// whole team, and the others each about a project. The first project has five that can be about the user, and look at
/// everything there is; one of them is about forwarding.
#[must_use]
pub fn snapshot_with_policies(projects: usize) -> Snapshot {
    let mut builder = large_builder(projects);
    let five = [
        r#"forbid (principal, action == Action::"connect", resource)
            when { resource.hasTag("env") && resource.getTag("env") == "frozen" && context.purpose == "interactive" };"#,
        r#"forbid (principal in Group::"mine", action == Action::"connect", resource)
            when { context.client_address.isInRange(ip("10.0.0.0/8")) };"#,
        r#"@time_zone("Europe/Vienna") forbid (principal, action == Action::"connect", resource)
            when { context.hour < 6 && ["sat", "sun"].contains(context.weekday) };"#,
        r#"forbid (principal, action == Action::"connect", resource)
            when { context.auth_age_seconds > 3600 || !context.second_factor };"#,
        r#"forbid (principal, action == Action::"forward", resource)
            when { context.now > datetime("2030-01-01T00:00:00Z") };"#,
    ];
    for (number, text) in five.into_iter().enumerate() {
        builder.policy(policy(&format!("first-{number}"), Some(project_of(0)), text));
    }
    let theirs = r#"forbid (principal in Group::"theirs", action, resource) when { context.hour < 6 };"#;
    for number in 0..20 {
        builder.policy(policy(&format!("team-{number}"), None, theirs));
    }
    let own = r#"forbid (principal, action, resource) when { context.hour < 6 };"#;
    for number in 25..200 {
        builder.policy(policy(&format!("project-{number}"), Some(project_of(number)), own));
    }
    builder.finish()
}

fn policy(name: &str, project: Option<ProjectId>, text: &str) -> Arc<Policy> {
    let draft = Draft::parse(text).unwrap();
    let mut bindings = Bindings::default();
    for (_, name) in draft.names() {
        let group = fixture::group(if name == "mine" { 100 } else { 7 });
        bindings.groups.insert(name, group);
    }
    Arc::new(Policy::load(PolicySource {
        name: name.parse().unwrap(),
        project,
        text: text.to_owned(),
        bindings,
    }))
}

/// So many people, each in twenty of two thousand groups, so many servers with one of ten sets of labels, twenty roles, and
/// the same where one is given to another group, one wants another network, and a policy keeps people out at night.
#[must_use]
pub fn proposal(users: usize, hosts: usize) -> (Vec<Person>, Vec<ServerFacts>, [Rules; 2]) {
    let group = |number: usize| GroupId::new(NOW, numbered(number));
    let people = (0..users).map(|number| Person {
        id: UserId::new(NOW, numbered(number)),
        name: format!("user-{number}").parse().unwrap(),
        login: format!("user-{number}").parse().unwrap(),
        groups: (0..20).map(|nth| group((number * 31 + nth * 97) % 2000)).collect(),
    });
    let facts = facts();
    let servers = (0..hosts).map(|number| ServerFacts {
        id: ServerId::new(NOW, numbered(number)),
        name: format!("server-{number}").parse().unwrap(),
        project_id: facts.project.id,
        labels: Arc::new(
            [("role".parse().unwrap(), format!("role-{}", number % 10).parse().unwrap())].into(),
        ),
    });
    let role = |number: usize, labelled: bool, network: Option<&str>| Assignment {
        group_id: group(number),
        group_name: format!("group-{number}").parse().unwrap(),
        server_access: true,
        server_admin: number.is_multiple_of(2),
        conditions: Arc::new(Conditions {
            labels: labelled
                .then(|| ("role".parse().unwrap(), "role-3".parse().unwrap()))
                .into_iter()
                .collect(),
            networks: network.map(|network| network.parse().unwrap()).into_iter().collect(),
            ..Conditions::default()
        }),
    };
    let before: Vec<_> = (0..20).map(|number| role(number * 100, number % 3 == 0, None)).collect();
    let mut after = before.clone();
    after.pop();
    after.push(role(1950, false, None));
    if let Some(first) = after.first_mut() {
        *first = role(0, true, Some("10.0.0.0/8"));
    }
    let night = r#"forbid (principal in Group::"theirs", action, resource) when { context.hour < 6 };"#;
    let rules = |assignments, policies: &[Arc<Policy>]| Rules {
        project: facts.project.clone(),
        assignments,
        policies: Arc::new(Policies::of_project(facts.project.id, policies)),
    };
    let mut bindings = Bindings::default();
    bindings.groups.insert("theirs".to_owned(), group(100));
    let night =
        PolicySource { name: "night".parse().unwrap(), project: None, text: night.to_owned(), bindings };
    let rules = [rules(before, &[]), rules(after, &[Arc::new(Policy::load(night))])];
    (people.collect(), servers.collect(), rules)
}
