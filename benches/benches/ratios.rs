//! What the operations cost beside their own cryptography, measured alternately in one run, so that a busy machine
//! slows both sides. One JSON line each: `{"name","ratio","target"}`; a ratio below its target is too slow.
//!
//! Without `--bench` (that is, under `cargo test`) each operation runs once and nothing is measured.
#![expect(clippy::unwrap_used, reason = "a bench that cannot start should fail loudly")]
#![expect(clippy::print_stdout, reason = "the measurements are what this program prints")]

use std::{env, hint::black_box, ops::Range, time::Duration};

use getrandom::SysRng;
use rand_core::UnwrapErr;
use usher_api_client::{BrokerAddress, Client, ClientConfig};
use usher_benches::{
    AwsLcVerifier, Proved, client, client_address, conditional_facts, facts, grant, groups, large_snapshot,
    leg, proposal, proven, request, server_name, snapshot_with_policies, subject, user, x509_authority,
};
use usher_ca::{Signer as _, prepare, x509::prepare_client};
use usher_identity::dpop::{self, Es256Verifier as _};
use usher_keystore::{Algorithm, SoftwareKey};
use usher_policy::{AccessFacts, Circumstances, Decision, Member, Snapshot, authorize, compare};
use usher_testkit::{NOW, fixture};

/// How much is run: rounds, and operations in each.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    operations: u32,
}

fn main() {
    let measured = env::args().any(|argument| argument == "--bench");
    let effort =
        if measured { Effort { rounds: 61, operations: 1000 } } else { Effort { rounds: 1, operations: 1 } };
    start(effort);
    mint(effort, Algorithm::Ed25519, 0.65);
    mint(effort, Algorithm::EcdsaP256, 0.75);
    mint_x509(effort, Algorithm::Ed25519);
    mint_x509(effort, Algorithm::EcdsaP256);
    proof(effort);
    decision(effort, "authorize_p99_within_2us", Duration::from_micros(2), &facts());
    let conditional = conditional_facts();
    decision(effort, "authorize_five_conditions_p99_within_30us", Duration::from_micros(30), &conditional);
    large_team(effort);
    policies(effort);
    comparison(effort);
}

/// How often the first client of a process, with its pin, could be made within the ten milliseconds that `usher proxy`
/// has to start in.
fn start(effort: Effort) {
    let proved = Proved::new();
    let address: BrokerAddress =
        "https://broker.example:8443#47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU".parse().unwrap();
    let config = ClientConfig::new(address.url, proved.key, || NOW).with_pins(address.pin);
    let mut config = Some(config);
    let spent = time(1, || {
        black_box(Client::new(config.take().unwrap()).unwrap());
    });
    report(
        effort,
        "client_start_within_10ms",
        Duration::from_millis(10).as_secs_f64() / spent.as_secs_f64(),
        1.0,
    );
}

/// A certificate, from the grant to its text, beside the bare signature over the same bytes.
fn mint(effort: Effort, algorithm: Algorithm, target: f64) {
    let (grant, subject, mut rng) = (grant(), subject(), UnwrapErr(SysRng));
    let key = SoftwareKey::generate(algorithm).unwrap();
    let (checked, authority) = (key.checked().unwrap(), key.public_key());
    let message = prepare(leg(&grant), &subject, &authority, NOW, &mut rng).unwrap();
    let ratio = paired(
        effort,
        || {
            black_box(key.sign_message(black_box(message.bytes())).unwrap());
        },
        || {
            let prepared = prepare(leg(&grant), &subject, &authority, NOW, &mut rng).unwrap();
            black_box(prepared.sign_with(checked).unwrap().to_openssh());
        },
    );
    report(effort, &format!("mint_ssh_user_certificate/{}", algorithm.as_str()), ratio, target);
}

/// An X.509 client certificate, from the grant to its DER, beside the bare signature over the same bytes.
fn mint_x509(effort: Effort, algorithm: Algorithm) {
    let (grant, mut rng) = (grant(), UnwrapErr(SysRng));
    let key = SoftwareKey::generate(algorithm).unwrap();
    let (checked, subject) = (key.checked().unwrap(), proven());
    let authority = x509_authority(checked);
    let message = prepare_client(client(&grant), &subject, &authority, NOW, &mut rng).unwrap();
    let ratio = paired(
        effort,
        || {
            black_box(key.sign_message(black_box(message.bytes())).unwrap());
        },
        || {
            let prepared = prepare_client(client(&grant), &subject, &authority, NOW, &mut rng).unwrap();
            black_box(prepared.sign_with(checked).unwrap().der());
        },
    );
    report(effort, &format!("mint_x509_client_certificate/{}", algorithm.as_str()), ratio, 0.6);
}

/// All checks of a proof beside the bare signature check.
fn proof(effort: Effort) {
    let proved = Proved::new();
    let message = [1; 400];
    let (key, signature) = (proved.key.public(), proved.key.sign(&message));
    let ratio = paired(
        effort,
        || assert!(AwsLcVerifier.verify(&key, black_box(&message), &signature)),
        || {
            let checked = dpop::verify(
                black_box(&proved.proof),
                &proved.request(),
                &proved.nonces,
                NOW,
                &AwsLcVerifier,
            );
            let _proof = black_box(checked.unwrap());
        },
    );
    report(effort, "dpop_verify", ratio, 0.85);
}

/// How many decisions fit into the time that one may take; the slowest hundredth counts.
fn decision(effort: Effort, name: &str, bound: Duration, facts: &AccessFacts) {
    let (user, request) = (user(), request());
    let mut times: Vec<Duration> = (0..effort.rounds * 100)
        .map(|_| {
            time(1, || {
                let connection = fixture::connection(1);
                let decision =
                    authorize(&user, &request, black_box(facts), connection, client_address(), NOW);
                assert!(matches!(black_box(decision), Decision::Allow(_)));
            })
        })
        .collect();
    times.sort_unstable();
    let slow = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    report(effort, name, bound.as_secs_f64() / slow.as_secs_f64(), 1.0);
}

/// The access rules of a hundred thousand servers in memory: how often they fit into sixty megabytes, can be packed within
/// 300 milliseconds, and answer within two microseconds; the slowest hundredth of random questions counts.
fn large_team(effort: Effort) {
    let projects = if effort.rounds == 1 { 2 } else { 1000 };
    let mut snapshot = None;
    let packed = time(1, || snapshot = Some(large_snapshot(projects)));
    let snapshot = snapshot.unwrap();
    let slow = slowest_hundredth(effort, &snapshot, 0..projects * 100);
    let within = |name: &str, bound: f64, measured: f64| report(effort, name, bound / measured, 1.0);
    within("large_team_authorize_p99_within_2us", 2e-6, slow.as_secs_f64());
    within("large_team_packed_within_300ms", 0.3, packed.as_secs_f64());
    let size = u32::try_from(snapshot.heap_size()).unwrap();
    within("large_team_within_60mib", 60.0 * 1024.0 * 1024.0, f64::from(size));
}

/// The same with two hundred policies in it: a question that none is about, and one that five are about.
fn policies(effort: Effort) {
    let projects = if effort.rounds == 1 { 201 } else { 1000 };
    let snapshot = snapshot_with_policies(projects);
    let within = |name: &str, bound: f64, measured: Duration| {
        report(effort, name, bound / measured.as_secs_f64(), 1.0);
    };
    let untouched = slowest_hundredth(effort, &snapshot, 20_000..projects * 100);
    within("large_team_beside_policies_p99_within_2us", 2e-6, untouched);
    within("authorize_five_policies_p99_within_30us", 30e-6, slowest_hundredth(effort, &snapshot, 0..100));
}

/// Who gains or loses what, of ten thousand people on a thousand servers, by other roles and a policy that looks at the
/// clock: how often that fits into two seconds.
fn comparison(effort: Effort) {
    let (users, hosts) = if effort.rounds == 1 { (20, 10) } else { (10_000, 1_000) };
    let (people, servers, [before, after]) = proposal(users, hosts);
    let telling = Circumstances::telling([(&before, &after)], (None, None, None), NOW).unwrap();
    let spent = time(1, || {
        let found = compare(&people, &servers, &before, &after, &telling);
        assert!(!black_box(found).is_empty());
    });
    report(effort, "compare_10k_people_1k_servers_within_2s", 2.0 / spent.as_secs_f64(), 1.0);
}

/// Of look-ups and decisions about random servers among these.
fn slowest_hundredth(effort: Effort, snapshot: &Snapshot, servers: Range<usize>) -> Duration {
    let (user, request, groups) = (user(), request(), groups());
    let login = "alice".parse().unwrap();
    let member = Member { user_id: fixture::user(1), groups: &groups, login: Some(&login) };
    let mut next = 1_usize;
    let mut times: Vec<Duration> = (0..effort.rounds * 1000)
        .map(|_| {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let name = server_name(servers.start + (next >> 33) % servers.len());
            time(1, || {
                let facts = snapshot.find(black_box(&name)).unwrap().facts(&member).unwrap();
                let connection = fixture::connection(1);
                let decision = authorize(&user, &request, &facts, connection, client_address(), NOW);
                assert!(matches!(black_box(decision), Decision::Allow(_)));
            })
        })
        .collect();
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

/// The median, over rounds, of `yardstick`'s time by `operation`'s.
fn paired(effort: Effort, mut yardstick: impl FnMut(), mut operation: impl FnMut()) -> f64 {
    let mut ratios: Vec<f64> = (0..effort.rounds)
        .map(|_| {
            let one = time(effort.operations, &mut yardstick);
            let other = time(effort.operations, &mut operation);
            one.as_secs_f64() / other.as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "this is what measures")]
fn time(operations: u32, mut operation: impl FnMut()) -> Duration {
    let start = std::time::Instant::now();
    for _ in 0..operations {
        operation();
    }
    start.elapsed()
}

fn report(effort: Effort, name: &str, ratio: f64, target: f64) {
    if effort.rounds == 1 {
        return;
    }
    let ratio = (ratio * 1000.0).round() / 1000.0;
    let line = serde_json::json!({ "name": name, "ratio": ratio, "target": target });
    println!("{line}");
}
