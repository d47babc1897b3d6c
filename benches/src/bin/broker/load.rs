//! The load: so many connections, each with one request under way, for so long. Every answer is checked, one in five
//! hundred down to the certificate's signature.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};
use usher_benches::{float, percentile_ms};
use usher_ca::{CaPublicKey, verify_at};

use crate::{
    kms::Pace,
    process::Running,
    team::Team,
    wire::{Wire, now},
};

/// More than a broker answers in a second; the proofs for it are signed before the clock starts.
const MOST_PER_SECOND: usize = 16_000;
const WARM_UP: usize = 64;
const SAMPLE: usize = 500;

/// What was measured.
pub(crate) struct Figures {
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) cpu_us: f64,
    pub(crate) rss_mib: f64,
}

/// Requests, signed and waiting, for each connection.
pub(crate) struct Load {
    connections: Vec<(Wire, Vec<Vec<u8>>)>,
    time: Duration,
    authorities: Arc<Vec<CaPublicKey>>,
}

impl Load {
    pub(crate) async fn prepare(team: &mut Team, concurrency: usize, time: Duration) -> Self {
        let nonce = team.nonce().await.to_owned();
        // A connection alone is slower than it is in company; the broker's best is shared by all.
        let most = if concurrency == 1 { MOST_PER_SECOND / 4 } else { MOST_PER_SECOND };
        let each = most * usize::try_from(time.as_secs()).unwrap() / concurrency + WARM_UP;
        let key = usher_benches::subject().to_openssh();
        let mut target = team.targets.iter().cycle();
        let mut signed = Vec::with_capacity(concurrency);
        for user in team.users.iter().cycle().take(concurrency) {
            let requests: Vec<_> = (0..each)
                .map(|_| {
                    let server = target.next().unwrap();
                    let body = json!({"server": server, "purpose": "interactive", "keys": [key]}).to_string();
                    team.dialer.request(user, "POST", "/v1/connections", &body, &nonce)
                })
                .collect();
            signed.push(requests);
        }
        // Signing takes longer than the broker lets a connection idle.
        let mut connections = Vec::with_capacity(concurrency);
        for requests in signed {
            connections.push((team.dialer.dial().await, requests));
        }
        Self { connections, time, authorities: Arc::new(team.authorities.clone()) }
    }

    pub(crate) async fn run(self, broker: &Running) -> Figures {
        let Self { connections, time, authorities } = self;
        // Caches are warm and every connection is used before the clock starts.
        let mut warm = JoinSet::new();
        for (mut wire, mut requests) in connections {
            let authorities = Arc::clone(&authorities);
            warm.spawn(async move {
                for request in requests.split_off(requests.len() - WARM_UP) {
                    check(&wire.exchange(&request).await.body, &authorities, true);
                }
                (wire, requests)
            });
        }
        let warm = warm.join_all().await;
        let (start, cpu) = (Instant::now(), broker.cpu_us());
        let mut running = JoinSet::new();
        for (wire, requests) in warm {
            running.spawn(connection(wire, requests, start + time, Arc::clone(&authorities)));
        }
        let mut latencies: Vec<Duration> = running.join_all().await.into_iter().flatten().collect();
        let (spent, cpu) = (start.elapsed(), broker.cpu_us() - cpu);
        latencies.sort_unstable();
        let count = float(latencies.len());
        Figures {
            requests_per_second: count / spent.as_secs_f64(),
            p50_ms: percentile_ms(&latencies, 50),
            p99_ms: percentile_ms(&latencies, 99),
            cpu_us: cpu / count,
            rss_mib: broker.rss_mib(),
        }
    }
}

impl Load {
    /// Each connection thinks between two requests; the times of the requests.
    pub(crate) async fn paced(self, broker: &Running, pace: Pace) -> Vec<Duration> {
        let mut running = JoinSet::new();
        let end = Instant::now() + pace.time;
        let _alive = broker;
        for (mut wire, requests) in self.connections {
            let authorities = Arc::clone(&self.authorities);
            running.spawn(async move {
                let mut times = Vec::new();
                for (number, request) in requests.iter().enumerate() {
                    // The first one opens keys and connections.
                    if number > 0 {
                        pace.think().await;
                    }
                    let before = Instant::now();
                    let answer = wire.exchange(request).await;
                    let took = before.elapsed();
                    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
                    check(&answer.body, &authorities, number % SAMPLE == 0);
                    if number > 0 {
                        times.push(took);
                    }
                    if Instant::now() >= end {
                        break;
                    }
                }
                times
            });
        }
        running.join_all().await.into_iter().flatten().collect()
    }
}

async fn connection(
    mut wire: Wire,
    requests: Vec<Vec<u8>>,
    end: Instant,
    authorities: Arc<Vec<CaPublicKey>>,
) -> Vec<Duration> {
    let mut latencies = Vec::with_capacity(requests.len());
    let mut before = Instant::now();
    for (number, request) in requests.iter().enumerate() {
        let answer = wire.exchange(request).await;
        let now = Instant::now();
        latencies.push(now - before);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        check(&answer.body, &authorities, number % SAMPLE == 0);
        if now >= end {
            break;
        }
        before = Instant::now();
    }
    latencies
}

/// Whether the answer carries a certificate; `thorough` is: one that a server would accept.
fn check(body: &[u8], authorities: &[CaPublicKey], thorough: bool) {
    let marker = b"ssh-ed25519-cert-v01@openssh.com ";
    assert!(body.windows(marker.len()).any(|window| window == marker), "{}", String::from_utf8_lossy(body));
    if thorough {
        let answer: Value = serde_json::from_slice(body).unwrap();
        let leg = &answer["routes"][0]["legs"][0];
        let certificate = verify_at(leg["certificate"].as_str().unwrap(), authorities, now()).unwrap();
        let expected =
            format!("{}@{}", answer["login"].as_str().unwrap(), leg["server_id"].as_str().unwrap());
        assert_eq!(certificate.principal().to_string(), expected);
    }
}
