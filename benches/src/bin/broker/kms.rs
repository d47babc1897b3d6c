//! What the broker adds to a signature of AWS KMS. A stub takes a fixed time for every answer; the same arrivals are put to
//! the bare SDK, to the keystore and to the broker, each on the broker's core, and their times compared.
//!
//! Arrivals are kept below the quota: at the quota everybody waits for KMS, and that is not what is measured.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_sdk_kms::{
    Client,
    primitives::Blob,
    types::{MessageType, SigningAlgorithmSpec},
};
use clap::Args;
use serde_json::{Map, Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use usher_benches::{float, percentile_ms};
use usher_keystore::{
    Algorithm, Custody, KeyLabel, Keystore, Purpose, SealKey, SigningKey,
    kms::{Kms, KmsSettings},
};
use usher_testkit::kms::{Moto, REGION, Stub};

use crate::{BROKER_CORE, load::Load, process, process::Running, rounded, team::Team, wire::random};

/// Signatures a second: the broker's default quota, and how much of it is used.
const QUOTA: u32 = 300;
const ARRIVALS: f64 = 200.0;

#[derive(Clone, Debug, Args)]
pub(crate) struct KmsOptions {
    /// Projects' keys live in a KMS that takes so many milliseconds for a signature; measures what the broker adds.
    #[arg(long, value_name = "MILLISECONDS")]
    pub(crate) kms: Option<u64>,
}

/// The KMS, and how the broker is told of it.
pub(crate) struct Service {
    stub: Stub,
    credentials: PathBuf,
}

impl Service {
    pub(crate) fn start(directory: &Path) -> Self {
        let moto = Moto::shared();
        Self { stub: Stub::start(moto), credentials: moto.broker().credentials_file(directory) }
    }

    /// Section `[kms]` of the broker's configuration.
    pub(crate) fn section(&self) -> String {
        format!(
            "\n[kms]\nregion = \"{REGION}\"\nprincipal = \"{}\"\nendpoint_url = \"{}\"\ncredentials_file = \"{}\"\n",
            Moto::shared().broker().arn,
            self.stub.url(),
            self.credentials.display()
        )
    }

    /// One table row, or entry, for each concurrency.
    pub(crate) async fn measure(
        &self,
        running: &Running,
        team: &mut Team,
        options: &crate::Options,
        service: Duration,
    ) -> Value {
        let time = Duration::from_secs(options.seconds);
        self.stub.delay(service);
        let mut measured = Map::new();
        for concurrency in &options.concurrency {
            let pace = Pace { concurrency: *concurrency, time };
            let (bare, kept) = self.on_the_brokers_core(pace);
            // The broker has closed what was idle meanwhile.
            team.connect(running).await;
            let load = Load::prepare(team, *concurrency, time).await;
            let whole = load.paced(running, pace).await;
            let row = [("sdk", bare), ("keystore", kept), ("broker", whole)].map(|(name, mut times)| {
                times.sort_unstable();
                (name, times.len(), percentile_ms(&times, 50), percentile_ms(&times, 99))
            });
            let [(.., sdk_50, sdk_99), rest @ ..] = row;
            let added = rest.map(|(name, _, p50, p99)| {
                (
                    format!("{name}_adds"),
                    json!({"p50_ms": rounded(p50 - sdk_50), "p99_ms": rounded(p99 - sdk_99)}),
                )
            });
            let all = row.map(|(name, count, p50, p99)| {
                (
                    name.to_owned(),
                    json!({"signatures": count, "p50_ms": rounded(p50), "p99_ms": rounded(p99)}),
                )
            });
            let entry: Map<String, Value> = all.into_iter().chain(added).collect();
            if !options.json {
                println!("{concurrency:>4} connections  {}", Value::Object(entry.clone()));
            }
            measured.insert(concurrency.to_string(), entry.into());
        }
        self.stub.delay(Duration::ZERO);
        json!({"service_ms": service.as_millis(), "arrivals_per_second": ARRIVALS, "concurrency": measured})
    }

    /// The SDK by itself, then through the keystore, in a thread that runs where the broker does.
    fn on_the_brokers_core(&self, pace: Pace) -> (Vec<Duration>, Vec<Duration>) {
        let settings = KmsSettings {
            region: REGION.to_owned(),
            endpoint_url: Some(self.stub.url()),
            credentials_file: Some(self.credentials.clone()),
            alias_prefix: "usher".to_owned(),
            team: "bench".to_owned(),
            principal: Some(Moto::shared().broker().arn.clone()),
            wrapping_key: None,
            requests_per_second: NonZeroU32::new(QUOTA).unwrap(),
            concurrency: NonZeroUsize::new(64).unwrap(),
        };
        let measuring = std::thread::spawn(move || {
            process::pin(BROKER_CORE);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (key, arn) = key(&settings).await;
                let client = client(&settings).await;
                let bare = paced(pace, |_| {
                    let (client, arn) = (client.clone(), arn.clone());
                    async move || assert_eq!(sign(&client, &arn).await.as_ref().len(), 64)
                });
                let bare = bare.await;
                let kept = paced(pace, |_| {
                    let key = Arc::clone(&key);
                    async move || assert_eq!(key.sign_message(&MESSAGE).await.unwrap().len(), 64)
                });
                (bare, kept.await)
            })
        });
        measuring.join().unwrap()
    }
}

/// As long as a certificate.
const MESSAGE: [u8; 500] = [7; 500];

async fn sign(client: &Client, arn: &str) -> Blob {
    let request = client.sign().key_id(arn).message(Blob::new(MESSAGE)).message_type(MessageType::Raw);
    let answer = request.signing_algorithm(SigningAlgorithmSpec::Ed25519Sha512).send().await.unwrap();
    answer.signature.unwrap()
}

async fn key(settings: &KmsSettings) -> (Arc<SigningKey>, String) {
    let directory = tempfile::tempdir().unwrap();
    let seal = directory.path().join("seal.key");
    SealKey::create(&seal).unwrap();
    let keystore = Keystore::new(SealKey::load(&seal).unwrap()).with_kms(Kms::new(settings.clone()).await);
    let name = u64::from_be_bytes(random());
    let label = KeyLabel::new(format!("bench/{name}"), Purpose::State);
    let made = keystore.generate(&label, Algorithm::Ed25519, Custody::AwsKms).await.unwrap();
    (made.key, String::from_utf8(made.material).unwrap())
}

async fn client(settings: &KmsSettings) -> Client {
    #[expect(deprecated, reason = "their new place is a crate of its own that nothing else here needs")]
    let files = {
        use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
        let file = settings.credentials_file.as_ref().unwrap();
        ProfileFiles::builder().with_file(ProfileFileKind::Credentials, file).build()
    };
    let credentials =
        aws_config::profile::ProfileFileCredentialsProvider::builder().profile_files(files).build();
    let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new(REGION))
        .endpoint_url(settings.endpoint_url.clone().unwrap())
        .credentials_provider(credentials)
        .load()
        .await;
    Client::new(&config)
}

/// So many at one time, for so long.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) concurrency: usize,
    pub(crate) time: Duration,
}

impl Pace {
    /// Until the next request of one connection: random, so that they do not march in step. One alone does not wait.
    pub(crate) async fn think(self) {
        if self.concurrency > 1 {
            let mean = float(self.concurrency) / ARRIVALS;
            let part = f64::from(u32::from_be_bytes(random())) / f64::from(u32::MAX);
            sleep(Duration::from_secs_f64(2.0 * mean * part)).await;
        }
    }
}

/// How long each operation took.
async fn paced<F>(pace: Pace, make: impl Fn(usize) -> F) -> Vec<Duration>
where
    F: AsyncFn() + 'static,
{
    let tasks = tokio::task::LocalSet::new();
    let end = Instant::now() + pace.time;
    let mut running = JoinSet::new();
    for number in 0..pace.concurrency {
        let operation = make(number);
        running.spawn_local_on(
            async move {
                // Connections are made before the clock starts.
                operation().await;
                let mut times = Vec::new();
                while Instant::now() < end {
                    pace.think().await;
                    let before = Instant::now();
                    operation().await;
                    times.push(before.elapsed());
                }
                times
            },
            &tasks,
        );
    }
    let done = tasks.run_until(running.join_all()).await;
    done.into_iter().flatten().collect()
}
