//! Enrollment tokens: of any number of parallel redemptions of a single-use token one makes a server.

use std::{collections::BTreeSet, time::Duration};

use usher_enrollment::{Claim, EnrolledServer, Placement, Redemption, ServerRole, TokenTerms, allocate_name};
use usher_store::{
    Store, WriteTx,
    projects::Project,
    servers::{self, HostFacts, Report},
    tokens::{self, Token},
};
use usher_types::{SecretToken, ServerId, Sha256, TokenId, TokenKind, UserId};

use crate::support::{Db, NOW, POSTGRES, project, unique};

fn facts() -> HostFacts {
    HostFacts {
        addresses: vec!["10.0.0.1:22".parse().unwrap()],
        host_keys: vec!["ssh-ed25519 AAAA".to_owned()],
        os: "Debian".to_owned(),
        sshd_version: "9.2".to_owned(),
        ssh_port: None,
    }
}

async fn token(tx: &mut WriteTx, project: &Project, max_uses: u32) -> SecretToken {
    let secret = SecretToken::new(TokenKind::Enrollment, TokenId::new(NOW, unique()), [7; 32]);
    let token = Token {
        terms: TokenTerms {
            id: secret.id(),
            hash: secret.hash(),
            project_id: project.id,
            placement: Placement::new(ServerRole::Target, None, None).unwrap(),
            labels: [("tier".parse().unwrap(), "web".parse().unwrap())].into(),
            name_pattern: Some("web-*".parse().unwrap()),
            cidr: Some("10.0.0.0/8".parse().unwrap()),
            expires_at: NOW.saturating_add(Duration::from_secs(3600)),
            max_uses,
            uses: 0,
            revoked_at: None,
        },
        project: project.slug.clone(),
        description: "web".parse().unwrap(),
        created_by: UserId::new(NOW, unique()),
        created_by_name: "root.admin".parse().unwrap(),
        created_at: NOW,
    };
    tokens::create(tx, &token).await.unwrap();
    assert_eq!(tokens::by_id(tx, secret.id()).await.unwrap(), Some(token));
    secret
}

/// As the broker does it: decide on the rows of the transaction that inserts. `None` when the token refuses.
async fn redeem(tx: &mut WriteTx, secret: &SecretToken, name: &str, key: Sha256) -> Option<ServerId> {
    let terms = tokens::by_id(tx, secret.id()).await.unwrap().unwrap().terms;
    let claim = Claim { name: name.parse().unwrap(), agent_key: key, peer: "10.1.2.3".parse().unwrap() };
    let Ok(Redemption::New(admission)) = usher_enrollment::redeem(&terms, secret, &claim, None, NOW) else {
        return None;
    };
    let taken = servers::names_like(tx, &claim.name).await.unwrap();
    let name = allocate_name(&claim.name, |name| taken.contains(name)).unwrap();
    let server: EnrolledServer = admission.enroll(ServerId::new(NOW, unique()), name);
    let id = server.id();
    servers::enroll(tx, server, &[4; 65], &facts()).await.ok()?;
    Some(id)
}

/// Some enrolled server.
pub(crate) async fn server(tx: &mut WriteTx, project: &Project, name: &str) -> ServerId {
    let secret = token(tx, project, 1).await;
    redeem(tx, &secret, name, Sha256::of(&unique())).await.unwrap()
}

/// A server whose host uses some ids for something of its own.
pub(crate) async fn report_taken(tx: &mut WriteTx, project: &Project, name: &str, taken: &[u32]) {
    let id = server(tx, project, name).await;
    let report = Report {
        facts: facts(),
        conflicts: Vec::new(),
        applied_generation: 1,
        applied_server_generation: 1,
        taken_ids: taken.iter().copied().collect::<BTreeSet<_>>(),
        clock_offset_millis: 0,
        trusts: None,
    };
    servers::report(tx, id, &report, NOW).await.unwrap().unwrap();
}

/// On PostgreSQL several.
async fn brokers(db: &Db) -> Vec<Store> {
    let mut stores = vec![db.store.clone()];
    if POSTGRES {
        stores.extend([db.another().await, db.another().await]);
    }
    stores
}

async fn race(stores: &[Store], secret: &SecretToken, attempts: usize) -> usize {
    let mut tasks = tokio::task::JoinSet::new();
    for store in stores.iter().cycle().take(attempts) {
        let (store, secret) = (store.clone(), secret.clone());
        tasks.spawn(async move {
            let mut tx = store.begin().await.unwrap();
            let made = redeem(&mut tx, &secret, "web-1", Sha256::of(&unique())).await;
            if made.is_some() {
                tx.commit().await.unwrap();
            }
            usize::from(made.is_some())
        });
    }
    let mut made = 0;
    while let Some(result) = tasks.join_next().await {
        made += result.unwrap();
    }
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_single_use_token_redeemed_by_a_thousand_at_once_makes_one_server() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let prod = project(&mut tx, "prod").await;
    let secret = token(&mut tx, &prod, 1).await;
    tx.commit().await.unwrap();

    assert_eq!(race(&brokers(&db).await, &secret, 1_000).await, 1);
    let mut reader = db.store.read().await.unwrap();
    assert_eq!(servers::list(&mut reader).await.unwrap().len(), 1);
    assert_eq!(tokens::by_id(&mut reader, secret.id()).await.unwrap().unwrap().terms.uses, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_makes_as_many_servers_as_it_may_each_with_its_own_name() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let prod = project(&mut tx, "prod").await;
    let secret = token(&mut tx, &prod, 5).await;
    tx.commit().await.unwrap();

    assert_eq!(race(&brokers(&db).await, &secret, 40).await, 5);
    let names: Vec<_> = servers::list(&mut db.store.read().await.unwrap())
        .await
        .unwrap()
        .into_iter()
        .map(|server| server.name.to_string())
        .collect();
    assert_eq!(names, ["web-1", "web-1-2", "web-1-3", "web-1-4", "web-1-5"]);
}

#[tokio::test]
async fn a_used_token_is_refused_by_the_table_even_if_the_decision_was_wrong() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let prod = project(&mut tx, "prod").await;
    let secret = token(&mut tx, &prod, 1).await;
    // Decided twice on rows that were read once: the mistake that the conditional update is for.
    let terms = tokens::by_id(&mut tx, secret.id()).await.unwrap().unwrap().terms;
    let mut results = Vec::new();
    for name in ["web-1", "web-2"] {
        let claim = Claim {
            name: name.parse().unwrap(),
            agent_key: Sha256::of(name.as_bytes()),
            peer: "10.1.2.3".parse().unwrap(),
        };
        let Ok(Redemption::New(admission)) = usher_enrollment::redeem(&terms, &secret, &claim, None, NOW)
        else {
            panic!("the rows say it is unused");
        };
        let server = admission.enroll(ServerId::new(NOW, unique()), claim.name.clone());
        results.push(servers::enroll(&mut tx, server, &[4; 65], &facts()).await.is_ok());
    }
    assert_eq!(results, [true, false]);
}

#[tokio::test]
async fn a_revoked_token_is_revoked_once_and_refused() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let prod = project(&mut tx, "prod").await;
    let secret = token(&mut tx, &prod, 2).await;
    assert!(tokens::revoke(&mut tx, secret.id(), NOW).await.unwrap());
    assert!(!tokens::revoke(&mut tx, secret.id(), NOW).await.unwrap());
    assert_eq!(redeem(&mut tx, &secret, "web-1", Sha256::of(b"key")).await, None);
    assert_eq!(tokens::list(&mut tx).await.unwrap().len(), 1);
}
