//! Signatures that AWS KMS made against what the audit log knows of (threats 2, 25): CloudTrail is played by what the stub
//! saw, in the form of CloudTrail's files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use usher_audit::Day;
use usher_broker::{AppState, Config, Server, router};
use usher_keystore::Custody;
use usher_store::KeyPurpose;
use usher_testkit::{NOW, kms::ACCOUNT};

use crate::kms::Shop;

const ROLE: &str = "arn:aws:iam::123456789012:user/usher-broker";

/// One `Sign` as CloudTrail tells of it.
fn sign(key_id: &str, caller: &str) -> Value {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    json!({
        "eventVersion": "1.08",
        "userIdentity": {"type": "IAMUser", "arn": caller, "accountId": ACCOUNT},
        "eventTime": NOW.to_string(),
        "eventSource": "kms.amazonaws.com",
        "eventName": "Sign",
        "sourceIPAddress": "192.0.2.66",
        "requestParameters": {"keyId": format!("arn:aws:kms:eu-central-1:{ACCOUNT}:key/{key_id}"),
            "messageType": "RAW"},
        "responseElements": null,
        "requestID": format!("request-{number}"),
        "eventID": format!("event-{number}"),
        "readOnly": true,
        "resources": [{"accountId": ACCOUNT, "type": "AWS::KMS::Key",
            "ARN": format!("arn:aws:kms:eu-central-1:{ACCOUNT}:key/{key_id}")}],
        "managementEvent": true,
    })
}

/// A shop whose keys live in KMS, and CloudTrail.
struct Watched {
    shop: Shop,
    trail: PathBuf,
}

struct Ended {
    code: i32,
    text: String,
    stderr: String,
}

impl Ended {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.text, self.stderr))
    }
}

impl Watched {
    async fn new() -> Self {
        let shop = Shop::new(Custody::AwsKms, json!({})).await;
        let trail = shop.team.app.config().data_dir.join("cloudtrail");
        fs::create_dir(&trail).unwrap();
        Self { shop, trail }
    }

    /// The broker comes to an orderly end, and the next one begins.
    async fn stop(&mut self) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::on(self.shop.team.app.clone(), listener).await.unwrap();
        server.run(std::future::ready(())).await.unwrap();
        self.start(self.shop.team.app.config().clone()).await;
    }

    /// A process on the same data; what became of the one before is its own business.
    async fn start(&mut self, config: Config) {
        let team = &mut self.shop.team;
        team.app = AppState::open(config, team.clock.clone()).await.unwrap();
        team.brokers = vec![(team.app.clone(), router(team.app.clone()))];
    }

    /// Everything that KMS signed so far.
    fn truth(&self) -> Vec<Value> {
        let served = self.shop.kms.stub.served().signatures;
        let each = |(key, count): (&String, &u32)| (0..*count).map(|_| sign(key, ROLE)).collect::<Vec<_>>();
        served.iter().flat_map(each).collect()
    }

    fn reconcile(&self, records: &[Value]) -> Ended {
        fs::write(self.trail.join("log.json"), json!({"Records": records}).to_string()).unwrap();
        self.run(&["--cloudtrail", self.trail.to_str().unwrap(), "--since", &Day::of(NOW).to_string()])
    }

    fn run(&self, more: &[&str]) -> Ended {
        let data: &Path = &self.shop.team.app.config().data_dir;
        let mut command = Command::new(env!("CARGO_BIN_EXE_usher-broker"));
        command.args(["audit", "reconcile", "--output", "json", "--data-dir"]).arg(data).args(more);
        let output = command.output().unwrap();
        Ended {
            code: output.status.code().unwrap(),
            text: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    async fn ca(&self) -> String {
        self.shop.arn(KeyPurpose::SshUserCa).await.rsplit('/').next().unwrap().to_owned()
    }

    async fn events(&self, kind: &str) -> Vec<Value> {
        self.shop.team.events(kind).await
    }
}

#[tokio::test]
async fn what_brokers_signed_is_explained_and_one_signature_more_is_named() {
    let mut watched = Watched::new().await;
    for _ in 0..3 {
        watched.shop.connects().await;
    }
    watched.stop().await;
    let truth = watched.truth();
    let agreed = watched.reconcile(&truth);
    assert_eq!(
        (agreed.code, &agreed.json()["agrees"]),
        (0, &json!(true)),
        "{}{}",
        agreed.text,
        agreed.stderr
    );
    let ca = watched.ca().await;
    let rows = agreed.json()["compared"].as_array().unwrap().clone();
    let certificates: u64 = rows.iter().map(|row| row["certificates"].as_u64().unwrap()).sum();
    assert_eq!((rows.len(), certificates), (5, 3), "{rows:?}");

    // Somebody had the broker's credentials.
    let stolen = sign(&ca, ROLE);
    let found = watched.reconcile(&[truth.clone(), vec![stolen]].concat());
    assert_eq!(found.code, 9, "{}", found.text);
    let unknown = found.json()["unknown"].clone();
    assert_eq!(unknown.as_array().unwrap().len(), 1);
    assert_eq!((&unknown[0]["address"], &unknown[0]["caller"]), (&json!("192.0.2.66"), &json!(ROLE)));
    assert!(unknown[0]["key"].as_str().unwrap().ends_with("/ssh-user-ca/1"), "{unknown}");
    assert_eq!(watched.events("key.signature_unknown").await.len(), 1);
    assert_eq!(watched.events("key.signatures_mismatch").await.len(), 1);
    assert_eq!(watched.events("key.signatures_reconcile").await.len(), 2);
}

#[tokio::test]
async fn a_failed_request_and_an_event_told_twice_are_no_signatures() {
    let mut watched = Watched::new().await;
    watched.shop.connects().await;
    watched.stop().await;
    let mut records = watched.truth();
    let ca = watched.ca().await;
    for code in ["ThrottlingException", "AccessDenied", "DisabledException"] {
        let mut failed = sign(&ca, ROLE);
        failed["errorCode"] = code.into();
        records.push(failed);
    }
    records.push(records[0].clone());
    let mut verified = sign(&ca, ROLE);
    verified["eventName"] = "Verify".into();
    // Not ours, and of a form that no Sign has.
    records.extend([
        verified,
        sign("some-other-key", ROLE),
        json!({"eventName": "ConsoleLogin", "resources": 1}),
    ]);
    let agreed = watched.reconcile(&records);
    assert_eq!(agreed.code, 0, "{}{}", agreed.text, agreed.stderr);
}

/// However well the numbers fit.
#[tokio::test]
async fn a_signature_for_anybody_but_the_broker_is_named() {
    let mut watched = Watched::new().await;
    watched.shop.connects().await;
    watched.stop().await;
    let ca = watched.ca().await;
    let mut records = watched.truth();
    let one =
        records.iter_mut().find(|record| record["resources"][0]["ARN"].as_str().unwrap().ends_with(&ca));
    one.unwrap()["userIdentity"]["arn"] = "arn:aws:iam::123456789012:user/mallory".into();
    let found = watched.reconcile(&records);
    assert_eq!(found.code, 9);
    assert_eq!(found.json()["unknown"][0]["caller"], "arn:aws:iam::123456789012:user/mallory");
}

#[tokio::test]
async fn a_trail_with_gaps_does_not_pass_for_agreement() {
    let mut watched = Watched::new().await;
    watched.shop.connects().await;
    watched.stop().await;
    let mut records = watched.truth();
    records.pop();
    let found = watched.reconcile(&records);
    assert_eq!((found.code, found.json()["unknown"].as_array().unwrap().len()), (9, 0), "{}", found.text);
    let missing: u64 =
        found.json()["compared"].as_array().unwrap().iter().map(|row| row["missing"].as_u64().unwrap()).sum();
    assert_eq!(missing, 1);
    assert_eq!(watched.reconcile(&[]).code, 9, "nothing at all");
    fs::write(watched.trail.join("log.json"), "{}").unwrap();
    let broken = watched.run(&["--cloudtrail", watched.trail.to_str().unwrap()]);
    assert_eq!(broken.code, 1, "{}", broken.text);
    assert!(broken.stderr.contains("no log file of CloudTrail"), "{}", broken.stderr);
}

/// Killed: nobody wrote its counts down. The certificates that it gave are in the log all the same, so that they are
/// explained, and one more is not.
#[tokio::test]
async fn certificates_of_a_broker_that_was_killed_are_explained() {
    let mut watched = Watched::new().await;
    watched.shop.connects().await;
    watched.stop().await;
    for _ in 0..3 {
        watched.shop.connects().await;
    }
    let truth = watched.truth();
    let agreed = watched.reconcile(&truth);
    assert_eq!(agreed.code, 0, "{}{}", agreed.text, agreed.stderr);
    let found = watched.reconcile(&[truth, vec![sign(&watched.ca().await, ROLE)]].concat());
    assert_eq!((found.code, found.json()["unknown"].as_array().unwrap().len()), (9, 1), "{}", found.text);
}

#[tokio::test]
async fn a_serving_broker_compares_each_day_once_by_itself() {
    let mut watched = Watched::new().await;
    let config = watched.shop.team.app.config().clone();
    let audit = usher_broker::AuditConfig { cloudtrail: Some(watched.trail.clone()), ..config.audit.clone() };
    let config = Config { audit, ..config };
    // Long ago nothing was signed, but CloudTrail knows better.
    let mut stolen = sign(&watched.ca().await, ROLE);
    let day = Day::of(NOW.saturating_sub(Duration::from_secs(27 * 3600)));
    let yesterday = day.begin().saturating_add(Duration::from_secs(12 * 3600));
    stolen["eventTime"] = yesterday.to_string().into();
    fs::write(watched.trail.join("log.json"), json!({"Records": [stolen]}).to_string()).unwrap();
    for _ in 0..2 {
        watched.start(config.clone()).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::on(watched.shop.team.app.clone(), listener).await.unwrap();
        let seen = async {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
            while watched.events("key.signatures_reconcile").await.is_empty() {
                assert!(tokio::time::Instant::now() < deadline, "it does not compare");
                tokio::task::yield_now().await;
            }
        };
        server.run(seen).await.unwrap();
    }
    watched.start(config).await;
    assert_eq!(watched.events("key.signatures_reconcile").await.len(), 1);
    let unknown = watched.events("key.signature_unknown").await;
    assert_eq!(unknown.len(), 1);
    assert_eq!(unknown[0]["at"], yesterday.to_string());
}
