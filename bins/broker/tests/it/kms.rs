//! A broker whose keys live in AWS KMS: everything is signed there, and when KMS does not sign, nobody else does.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use usher_broker::{AppState, Clock, Config, KmsConfig, Server, StartError};
use usher_ca::{CaPublicKey, verify_at};
use usher_keystore::Custody;
use usher_store::{KeyCustody, KeyPurpose, keys};
use usher_testkit::{
    NOW,
    kms::{Moto, REGION, Stub},
};

use crate::team::{Agent, Caller, Reply, Team, ssh_key};

pub(crate) struct Kms {
    pub(crate) stub: Stub,
    config: KmsConfig,
    _directory: TempDir,
}

fn kms() -> Kms {
    let moto = Moto::shared();
    let stub = Stub::start(moto);
    let directory = tempfile::tempdir().unwrap();
    let config = KmsConfig {
        principal: Some(moto.broker().arn.clone()),
        wrapping_key: Some(moto.wrapping_key().to_owned()),
        endpoint_url: Some(stub.url().parse().unwrap()),
        credentials_file: Some(moto.broker().credentials_file(directory.path())),
        ..KmsConfig::new(REGION.to_owned())
    };
    Kms { stub, config, _directory: directory }
}

/// A team with a project, a person and a server.
pub(crate) struct Shop {
    pub(crate) kms: Kms,
    pub(crate) team: Team,
    admin: Caller,
    alice: Caller,
    web: Agent,
}

impl Shop {
    /// The team in one custody, its project as the team, or in another one.
    pub(crate) async fn new(team: Custody, project: Value) -> Self {
        let kms = kms();
        let team = Team::in_custody(team, Some(kms.config.clone())).await;
        let admin = team.session("admin").await;
        team.project_with(&admin, "shop", project).await;
        let alice = team.person(&admin, "alice", &["shop"]).await;
        let web = team.enroll(&team.token(&admin, "shop", json!({})).await, "web-1", 1).await;
        Self { kms, team, admin, alice, web }
    }

    async fn connect(&self) -> Reply {
        let body = json!({"server": "web-1", "purpose": "interactive", "keys": [ssh_key(901)]});
        self.team.post(&self.alice, "/v1/connections", body).await
    }

    /// Serial numbers do not matter here, but whose signature it is does.
    pub(crate) async fn connects(&self) {
        let connection = self.connect().await.ok();
        let project = self.team.get(&self.admin, "/v1/projects/shop").await.ok();
        let trusted = CaPublicKey::parse(project["ssh_user_ca"][0].as_str().unwrap()).unwrap();
        let certificate = connection["routes"][0]["legs"][0]["certificate"].as_str().unwrap();
        verify_at(certificate, &[trusted], NOW).unwrap();
    }

    /// Every refusal says what to do, in words that name neither key nor account.
    async fn refused(&self, code: &str) {
        let reply = self.connect().await;
        let error = reply.error(code);
        assert!(error["next"].as_str().is_some_and(|next| next.len() > 20), "{error}");
        assert!(
            !error.to_string().contains("arn:") && !error.to_string().contains("123456789012"),
            "{error}"
        );
        assert_eq!(reply.status, 503);
    }

    async fn custodies(&self, purpose: KeyPurpose) -> Vec<KeyCustody> {
        let mut reader = self.team.app.store().read().await.unwrap();
        keys::all(&mut reader, purpose).await.unwrap().iter().map(|key| key.custody).collect()
    }

    pub(crate) async fn arn(&self, purpose: KeyPurpose) -> String {
        let mut reader = self.team.app.store().read().await.unwrap();
        String::from_utf8(keys::all(&mut reader, purpose).await.unwrap()[0].sealed.clone()).unwrap()
    }
}

const ALL: [KeyPurpose; 5] =
    [KeyPurpose::TlsRoot, KeyPurpose::State, KeyPurpose::Audit, KeyPurpose::SshUserCa, KeyPurpose::X509Ca];

#[tokio::test]
async fn every_key_of_a_team_lives_in_kms_and_signs_there() {
    let shop = Shop::new(Custody::AwsKms, json!({})).await;
    for purpose in ALL {
        assert_eq!(shop.custodies(purpose).await, [KeyCustody::AwsKms], "{purpose:?}: as the team's");
    }
    shop.connects().await;
    // Desired state, as the agent checks it.
    let path = "/v1/agent/state?v=1&generation=0&server_generation=0&wait=0";
    shop.team.get(&shop.web.caller, path).await.ok();
    // The broker's own certificate.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    Server::on(shop.team.app.clone(), listener).await.unwrap();
    let signatures = shop.kms.stub.served().signatures;
    for purpose in [KeyPurpose::TlsRoot, KeyPurpose::State, KeyPurpose::SshUserCa] {
        let arn = shop.arn(purpose).await;
        let id = arn.rsplit('/').next().unwrap();
        // One was the trial when the key was made.
        assert!(signatures[id] > 1, "{purpose:?}: {signatures:?}");
    }
}

#[tokio::test]
async fn a_projects_custody_is_its_own() {
    let shop = Shop::new(Custody::Software, json!({"custody": "aws-kms"})).await;
    for purpose in [KeyPurpose::SshUserCa, KeyPurpose::X509Ca] {
        assert_eq!(shop.custodies(purpose).await, [KeyCustody::AwsKms]);
    }
    assert_eq!(shop.custodies(KeyPurpose::State).await, [KeyCustody::Software]);
    shop.connects().await;
    shop.team.project(&shop.admin, "here").await;
    assert!(shop.custodies(KeyPurpose::SshUserCa).await.contains(&KeyCustody::Software));
}

#[tokio::test]
async fn wrapped_keys_are_decrypted_once_and_sign_here() {
    let shop = Shop::new(Custody::AwsKmsWrapped, json!({})).await;
    for purpose in ALL {
        assert_eq!(shop.custodies(purpose).await, [KeyCustody::AwsKmsWrapped], "{purpose:?}");
    }
    let asked = shop.kms.stub.served().requests;
    for _ in 0..3 {
        shop.connects().await;
    }
    assert_eq!(shop.kms.stub.served().requests, asked);

    // Another process asks KMS again, and does not come up without it.
    let config = shop.team.app.config().clone();
    AppState::open(config.clone(), Clock::fixed(NOW)).await.unwrap();
    assert!(shop.kms.stub.served().requests > asked);
    shop.kms.stub.break_down(true);
    let refused = AppState::open(config, Clock::fixed(NOW)).await;
    assert!(matches!(refused, Err(StartError::Key(_))), "{refused:?}");
}

/// No silent local fallback: whatever KMS does wrong, there is no certificate, the failure is on record, and the key of
/// another project is not touched by it.
#[tokio::test]
async fn without_a_good_signature_of_kms_there_is_no_certificate() {
    let shop = Shop::new(Custody::Software, json!({"custody": "aws-kms"})).await;
    let stub = &shop.kms.stub;
    shop.connects().await;
    let issued = shop.team.events("connection.issue").await.len();

    stub.lie(true);
    shop.refused("key_wrong").await;
    stub.lie(false);
    let arn = shop.arn(KeyPurpose::SshUserCa).await;
    for state in ["Disabled", "PendingDeletion"] {
        stub.set_key_state(&arn, state);
        shop.refused("key_disabled").await;
    }
    stub.set_key_state(&arn, "Enabled");
    stub.deny(true);
    shop.refused("key_denied").await;
    stub.deny(false);
    stub.forget(1);
    shop.refused("key_missing").await;
    stub.throttle(Some(0));
    shop.refused("unavailable").await;
    stub.throttle(None);
    stub.break_down(true);
    shop.refused("unavailable").await;
    stub.break_down(false);

    assert_eq!(shop.team.events("connection.issue").await.len(), issued, "not one more");
    let failed = shop.team.events("connection.fail").await;
    assert_eq!(failed.len(), 7);
    assert!(failed.iter().all(|event| event.to_string().contains("not_signed")), "{failed:?}");
    shop.connects().await;
}

/// Slow is slow, silent is an answer that says so; a project with keys of its own goes on.
#[tokio::test]
async fn a_silent_kms_is_unavailable_for_its_project_only() {
    let shop = Shop::new(Custody::Software, json!({"custody": "aws-kms"})).await;
    shop.kms.stub.delay(Duration::from_millis(200));
    shop.connects().await;
    shop.kms.stub.delay(Duration::ZERO);
    shop.kms.stub.hang(true);
    shop.connect().await.error("unavailable");

    shop.team.project(&shop.admin, "local").await;
    shop.team
        .post(&shop.admin, "/v1/projects", json!({"name": "far", "custody": "aws-kms"}))
        .await
        .error("unavailable");
    shop.team.get(&shop.admin, "/v1/projects/far").await.error("not_found");
}

#[tokio::test]
async fn a_broker_without_kms_makes_and_opens_nothing_there() {
    let shop = Shop::new(Custody::AwsKmsWrapped, json!({})).await;
    let config = Config { kms: None, ..shop.team.app.config().clone() };
    let refused = AppState::open(config, Clock::fixed(NOW)).await;
    let Err(StartError::Key(cause)) = refused else { panic!("{refused:?}") };
    assert!(cause.to_string().contains("needs the section [kms]"), "{cause}");

    let team = Team::new().await;
    let admin = team.session("admin").await;
    for custody in ["aws-kms", "aws-kms-wrapped"] {
        let error = team.post(&admin, "/v1/projects", json!({"name": "far", "custody": custody})).await;
        error.error("invalid_request");
    }
    team.post(&admin, "/v1/projects", json!({"name": "far", "custody": "paper"}))
        .await
        .error("invalid_request");
    team.get(&admin, "/v1/projects/far").await.error("not_found");
}

/// As AWS answers where there is none, and moto always.
#[tokio::test]
async fn a_region_without_ed25519_says_so_before_anything_is_made() {
    let shop = Shop::new(Custody::Software, json!({"custody": "aws-kms"})).await;
    shop.kms.stub.offer_ed25519(false);
    let far = json!({"name": "far", "custody": "aws-kms", "ssh_certificate_type": "ed25519"});
    let reply = shop.team.post(&shop.admin, "/v1/projects", far).await;
    let error = reply.error("key_not_offered");
    assert_eq!(reply.status, 400);
    assert!(error["next"].as_str().unwrap().contains("ecdsa-p256"), "{error}");
    shop.team.get(&shop.admin, "/v1/projects/far").await.error("not_found");
    assert_eq!(shop.team.events("key.abandon").await.len(), 0, "there is none");
}

/// Nobody but the log would know of it: the account's administrators delete it, the broker may not.
#[tokio::test]
async fn a_key_that_was_made_and_is_not_used_is_written_down() {
    let shop = Shop::new(Custody::Software, json!({})).await;
    let stub = &shop.kms.stub;
    let far = || json!({"name": "far", "custody": "aws-kms"});
    let arns = || async {
        let events = shop.team.events("key.abandon").await;
        events.iter().map(|event| event["place"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // Its trial failed.
    stub.lie(true);
    shop.team.post(&shop.admin, "/v1/projects", far()).await.error("key_wrong");
    stub.lie(false);
    assert_eq!(arns().await.len(), 1);
    // KMS goes away: at the trial of the second of two keys, or when that is to sign its certificate.
    for (signatures, abandoned) in [(1, 3), (2, 5)] {
        stub.last(Some(signatures));
        let reply = shop.team.post(&shop.admin, "/v1/projects", far()).await;
        reply.error("unavailable");
        stub.last(None);
        assert_eq!(arns().await.len(), abandoned);
    }
    let arns = arns().await;
    assert!(arns.iter().all(|arn| arn.starts_with("arn:aws:kms:")), "{arns:?}");
    shop.team.get(&shop.admin, "/v1/projects/far").await.error("not_found");
    // With keys that are used nothing is said.
    shop.team.post(&shop.admin, "/v1/projects", far()).await.ok();
    assert_eq!(shop.team.events("key.abandon").await.len(), arns.len());
}

/// A name that is taken costs no key in KMS.
#[tokio::test]
async fn no_key_is_made_for_a_project_that_exists() {
    let shop = Shop::new(Custody::Software, json!({"custody": "aws-kms"})).await;
    let asked = shop.kms.stub.served().requests;
    let again = json!({"name": "shop", "custody": "aws-kms"});
    shop.team.post(&shop.admin, "/v1/projects", again).await.error("already_exists");
    assert_eq!(shop.kms.stub.served().requests, asked);
}

/// Changing custody is a rotation: a new key beside the old one, which signs until every server knows the new one.
#[tokio::test]
async fn a_project_moves_into_kms_by_a_rotation() {
    let shop = Shop::new(Custody::Software, json!({})).await;
    let body = json!({"kind": "ssh-user-ca", "custody": "aws-kms"});
    shop.team.post(&shop.admin, "/v1/projects/shop/keys", body).await.ok();
    assert_eq!(shop.custodies(KeyPurpose::SshUserCa).await, [KeyCustody::AwsKms, KeyCustody::Software]);
    // KMS away: who does not know the new key is not touched by it.
    shop.kms.stub.break_down(true);
    shop.connect().await.ok();
}

/// What the SDK says of itself at `info` names the access key; at `warn` it misses files that nobody promised.
#[tokio::test]
async fn the_log_names_no_access_key_and_is_quiet_about_aws() {
    let moto = Moto::shared();
    let credentials = moto.broker().credentials();
    let value =
        |name: &str| credentials.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    let (id, secret) = (value("aws_access_key_id").unwrap(), value("aws_secret_access_key").unwrap());
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_usher-broker"));
        // From the environment, where the SDK is loudest.
        command
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("HOME", directory.path());
        command
    };
    let init =
        ["init", "--team", "acme", "--public-url", "https://127.0.0.1:8443", "--listen", "127.0.0.1:0"];
    let kms = ["--custody", "aws-kms", "--kms-region", REGION, "--kms-principal", &moto.broker().arn];
    let url = moto.url();
    let mut made = program();
    made.args(init).args(kms).args(["--kms-endpoint-url", &url, "--data-dir"]).arg(&data);
    let made = made.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut broker =
        program().args(["serve", "--data-dir"]).arg(&data).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = String::new();
    let mut lines = BufReader::new(broker.stderr.take().unwrap());
    while !log.contains("the broker serves") {
        assert_ne!(lines.read_line(&mut log).unwrap(), 0, "the broker ended: {log}");
    }
    broker.kill().unwrap();
    broker.wait().unwrap();
    lines.read_to_string(&mut log).unwrap();
    for text in [log, String::from_utf8(made.stderr).unwrap()] {
        assert!(!text.contains(id) && !text.contains(secret), "{text}");
        assert!(!text.contains("aws_"), "{text}");
    }
}
