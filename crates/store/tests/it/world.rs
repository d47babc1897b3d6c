//! A small team in a database of its own: projects, users in groups, tokens, servers. Every test makes what it needs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use usher_enrollment::{Claim, Placement, Redemption, ServerRole, TokenTerms, allocate_name};
use usher_identity::{UserRecord, UserStatus};
use usher_store::{
    AdminSudo, CertificateType, PortForwarding, Store, groups, project_groups,
    project_users::{self, Scope},
    projects::{self, Project},
    servers::{self, EnrollServerError, HostFacts, Prior},
    tokens, users,
};
use usher_testkit::{NOW, fixture};
use usher_types::{HostName, SecretToken, ServerId, Sha256, TeamRole, Thumbprint, TokenKind, UnixTime};

use crate::support::{new_address, open};

pub(crate) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// The database lives as long as this.
pub(crate) struct World {
    pub(crate) store: Store,
    _directory: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&new_address(&directory)).await;
        Self { store, _directory: directory }
    }

    /// Project `number`, called `name`.
    pub(crate) async fn project(&self, number: u16, name: &str) {
        let project = Project {
            id: fixture::project(number),
            slug: name.parse().unwrap(),
            next_unix_uid: 60_001,
            next_unix_gid: 63_001,
            ssh_certificate_type: CertificateType::Ed25519,
            certificate_lifetime_seconds: 180,
            clock_skew_seconds: 60,
            port_forwarding: PortForwarding::Local,
            admin_sudo: AdminSudo::Passwordless,
            authentication: Default::default(),
            created_at: NOW,
        };
        let mut tx = self.store.begin().await.unwrap();
        projects::create(&mut tx, &project).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Group `number`, called `name`, with a role in a project.
    pub(crate) async fn group(&self, number: u16, name: &str, project: u16, role: project_groups::Role) {
        let group = groups::Group::local(fixture::group(number), name.parse().unwrap(), NOW);
        let mut tx = self.store.begin().await.unwrap();
        groups::create(&mut tx, &group).await.unwrap();
        project_groups::set(&mut tx, fixture::project(project), &group, role, NOW).await.unwrap().unwrap();
        tx.commit().await.unwrap();
    }

    /// User `number`, called `name`, in these groups, with the accounts that follow.
    pub(crate) async fn user(&self, number: u16, name: &str, in_groups: &[u16]) {
        let mut tx = self.store.begin().await.unwrap();
        users::create(&mut tx, &user(number, name)).await.unwrap();
        for group in in_groups {
            groups::add_member(&mut tx, fixture::group(*group), fixture::user(number), NOW).await.unwrap();
        }
        project_users::allocate(&mut tx, Scope::User(fixture::user(number)), NOW).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn disable(&self, number: u16) {
        let mut tx = self.store.begin().await.unwrap();
        let user = users::by_id(&mut tx, fixture::user(number)).await.unwrap().unwrap();
        let change = users::UserChange { status: Some(UserStatus::Disabled), ..Default::default() };
        users::update(&mut tx, &user, &change, NOW).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Token `number` for servers of a project.
    pub(crate) async fn token(&self, number: u16, project: u16, max_uses: u32, placement: Placement) {
        let token = tokens::Token {
            terms: TokenTerms {
                id: fixture::token(number),
                hash: secret(number).hash(),
                project_id: fixture::project(project),
                placement,
                labels: [("env".parse().unwrap(), "prod".parse().unwrap())].into(),
                name_pattern: None,
                cidr: None,
                expires_at: UnixTime::from_secs(NOW.as_secs() + 3600),
                max_uses,
                uses: 0,
                revoked_at: None,
            },
            project: "unused".parse().unwrap(),
            description: "test".parse().unwrap(),
            created_by: fixture::user(1),
            created_by_name: "root-of-trust".parse().unwrap(),
            created_at: NOW,
        };
        let mut tx = self.store.begin().await.unwrap();
        tokens::create(&mut tx, &token).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Redeems token `number` for the agent with key `agent`; `None` when it is refused.
    pub(crate) async fn enroll(&self, number: u16, agent: &str, name: &str) -> Option<ServerId> {
        let mut tx = self.store.begin().await.unwrap();
        let terms = tokens::by_id(&mut tx, fixture::token(number)).await.unwrap()?.terms;
        let claim = Claim { name: name.parse().unwrap(), agent_key: key(agent), peer: PEER };
        let prior = match servers::prior(&mut tx, &claim.agent_key).await.unwrap() {
            Some(Prior::Known(prior)) => Some(prior),
            Some(Prior::TokenGone) => return None,
            None => None,
        };
        let redemption =
            usher_enrollment::redeem(&terms, &secret(number), &claim, prior.as_ref(), NOW).ok()?;
        let admission = match redemption {
            Redemption::Again(server) => return Some(server),
            Redemption::New(admission) => admission,
        };
        let taken = servers::names_like(&mut tx, admission.claimed_name()).await.unwrap();
        let name = allocate_name(admission.claimed_name(), |name| taken.contains(name)).unwrap();
        let mut random = [0; 10];
        random.copy_from_slice(&key(agent).as_bytes()[..10]);
        let id = ServerId::new(NOW, random);
        match servers::enroll(&mut tx, admission.enroll(id, name), agent.as_bytes(), &facts(1)).await {
            Ok(_refused) => {}
            Err(EnrollServerError::Conflict(_)) => return None,
            Err(error) => panic!("{error:?}"),
        }
        tx.commit().await.unwrap();
        Some(id)
    }

    pub(crate) async fn name_of(&self, server: ServerId) -> HostName {
        servers::by_id(&mut self.store.read().await.unwrap(), server).await.unwrap().unwrap().name
    }
}

pub(crate) fn target(via: Option<&str>) -> Placement {
    Placement::new(ServerRole::Target, None, via.map(|via| via.parse().unwrap())).unwrap()
}

pub(crate) fn bastion(group: &str, via: Option<&str>) -> Placement {
    let via = via.map(|via| via.parse().unwrap());
    Placement::new(ServerRole::Bastion, Some(group.parse().unwrap()), via).unwrap()
}

pub(crate) fn facts(last: u8) -> HostFacts {
    HostFacts {
        addresses: vec![SocketAddr::from(([10, 0, 0, last], 22))],
        host_keys: vec![format!("ssh-ed25519 host{last}")],
        os: "Debian GNU/Linux 12".to_owned(),
        sshd_version: "OpenSSH_9.2p1".to_owned(),
        ssh_port: None,
    }
}

pub(crate) fn key(agent: &str) -> Thumbprint {
    Sha256::of(agent.as_bytes())
}

pub(crate) fn secret(number: u16) -> SecretToken {
    SecretToken::new(TokenKind::Enrollment, fixture::token(number), [9; 32])
}

fn user(number: u16, name: &str) -> UserRecord {
    UserRecord {
        id: fixture::user(number),
        user_name: name.parse().unwrap(),
        display_name: name.parse().unwrap(),
        unix_user_name: name.parse().unwrap(),
        status: UserStatus::Active,
        team_role: TeamRole::Member,
        connector_id: None,
        created_at: NOW,
    }
}
