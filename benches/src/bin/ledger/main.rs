//! The issuing queue of the store by itself: so many submitters, each with one connection to be recorded at a time, on an
//! SQLite database of its own, everything on one core. A row of the figures is one connection: its row, its audit row,
//! and a share of one fsync.
//!
//! Run by `cargo xtask bench ledger`. The rows are as long as real ones.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot run should fail loudly, and its figures are what it prints"
)]

use std::time::Duration;

use clap::Parser;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::{Map, Value, json};
use tokio::{task::JoinSet, time::Instant};
use usher_audit::{Actor, Event, IssuedCertificate, Record, Serial, SessionPurpose};
use usher_benches::{float, percentile_ms};
use usher_identity::dpop::Jti;
use usher_policy::Purpose;
use usher_store::{
    Epoch, Issuance, Outcome, Store, StoreError, Verdict, WriteTx,
    connections::{CertificateRow, NewConnection, RequestName},
};
use usher_testkit::{NOW, fixture};
use usher_types::{ConnectionId, Principal, Sha256, UnixTime};

#[derive(Debug, Parser)]
#[command(about = "Connections per second that the store records")]
struct Options {
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Submitters at one time; one measurement each.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,256")]
    submitters: Vec<usize>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
}

/// What the broker hands in.
struct Item {
    epoch: Epoch,
    row: NewConnection,
    record: Record,
}

impl Issuance for Item {
    fn decided_at(&self) -> Epoch {
        self.epoch
    }

    async fn decide_again(&mut self, _tx: &mut WriteTx) -> Result<Verdict, StoreError> {
        Ok(Verdict::Stands)
    }

    fn connection(&self) -> &NewConnection {
        &self.row
    }

    fn record(&self) -> &Record {
        &self.record
    }
}

fn main() {
    let options = Options::parse();
    let mut cores = CpuSet::new();
    cores.set(0);
    sched_setaffinity(None, &cores).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&options));
}

async fn measure(options: &Options) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("usher.db")).await.unwrap();
    let (mut figures, mut all) = (Map::new(), 0);
    for submitters in &options.submitters {
        let (rows, mut latencies) = run(&store, *submitters, Duration::from_secs(options.seconds)).await;
        latencies.sort_unstable();
        all += latencies.len();
        let (p50, p99) = (percentile_ms(&latencies, 50), percentile_ms(&latencies, 99));
        if !options.json {
            println!("{submitters:>4} submitters  {rows:>7.0} rows/s  p50 {p50:>6.2} ms  p99 {p99:>6.2} ms");
        }
        let value: Value = json!({ "rows_per_second": rows.round(), "p50_ms": p50, "p99_ms": p99 });
        figures.insert(submitters.to_string(), value);
    }
    store.close().await;
    let database = std::fs::metadata(directory.path().join("usher.db")).unwrap().len();
    let bytes = database / u64::try_from(all.max(1)).unwrap();
    if options.json {
        println!("{}", json!({ "submitters": figures, "bytes_per_row": bytes }));
    } else {
        println!("{bytes} bytes of database each");
    }
}

async fn run(store: &Store, submitters: usize, time: Duration) -> (f64, Vec<Duration>) {
    let epoch = store.known_epoch();
    let (start, mut tasks) = (Instant::now(), JoinSet::new());
    for _ in 0..submitters {
        let store = store.clone();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            let mut before = Instant::now();
            while before < start + time {
                let (_, outcome) =
                    store.issue(item(epoch, NOW.saturating_add(start.elapsed()))).await.unwrap();
                assert_eq!(outcome, Outcome::Recorded);
                let now = Instant::now();
                latencies.push(now - before);
                before = now;
            }
            latencies
        });
    }
    let latencies: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    (float(latencies.len()) / start.elapsed().as_secs_f64(), latencies)
}

/// Ids begin with their time, as the broker's do.
fn item(epoch: Epoch, now: UnixTime) -> Item {
    let mut random = [0; 10];
    getrandom::fill(&mut random).unwrap();
    let id = ConnectionId::new(now, random);
    let login = "alice".parse().unwrap();
    let principal = Principal::login(&login, fixture::server(1));
    let digest = Sha256::of(&random);
    let certificate =
        CertificateRow { principal: principal.clone(), serial: 1 << 62, sha256: digest, x509: false };
    let event = Event::ConnectionIssue {
        connection_id: id,
        project_id: fixture::project(1),
        server_id: fixture::server(1),
        login: login.clone(),
        server_admin: false,
        purpose: SessionPurpose::Interactive,
        valid_before: NOW,
        certificates: vec![IssuedCertificate {
            kind: usher_audit::CertificateKind::Ssh,
            serial: Serial::new(1 << 62).unwrap(),
            sha256: digest,
            principal,
            key: Some(digest),
        }],
    };
    let (user_id, device_id, session_id) = (fixture::user(1), fixture::device(1), fixture::session(1));
    let actor = Actor::User { user_id, device_id: Some(device_id), session_id: Some(session_id) };
    let address = "192.0.2.7".parse().unwrap();
    Item {
        epoch,
        row: NewConnection {
            id,
            project_id: fixture::project(1),
            server_id: fixture::server(1),
            user_id,
            device_id,
            session_id,
            login,
            purpose: Purpose::Interactive,
            client_address: address,
            certificates: vec![certificate],
            created_at: NOW,
            expires_at: NOW,
            request: RequestName {
                jkt: Sha256::of(b"device"),
                jti: Jti::at(now, random).to_string(),
                content: digest,
            },
            // As long as the answer for a direct connection.
            answer: format!("{{\"certificate\":\"{}\"}}", "A".repeat(1300)),
        },
        record: Record { at: NOW, actor, client_address: Some(address), event },
    }
}
