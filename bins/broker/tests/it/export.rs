//! The audit log on its way to sinks: everything arrives, also over crashes; a sink that hangs keeps nobody waiting.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use usher_audit::{Line, LogVerifier, Report, Trust};
use usher_broker::{AppState, Clock, Config, Server};
use usher_store::{Store, audit};

use crate::Broker;

/// Checks lines as an auditor without the database does.
fn check(lines: &[u8]) -> (Report, usize) {
    let (mut verifier, mut keys, mut torn) = (LogVerifier::of_copy(), Vec::new(), 0);
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match Line::decode(line) {
            Ok(Line::Row(row)) => verifier.row(&row),
            Ok(Line::Checkpoint { signed, key }) => {
                keys.push(key);
                verifier.checkpoint(&signed, &[key]);
            }
            Err(_error) => torn += 1,
        }
    }
    (verifier.finish(Trust::Only(&keys[..1])), torn)
}

/// What the database has.
async fn stored(data_dir: &Path) -> Report {
    let store = Store::open(&data_dir.join("usher.db")).await.unwrap();
    let report = audit::verify(&mut store.read().await.unwrap(), &[]).await.unwrap();
    store.close().await;
    report
}

/// The lines have the whole log, up to its end.
async fn has_everything(lines: &[u8], data_dir: &Path) {
    let (report, _) = check(lines);
    assert!(report.is_good(), "{:?}", report.faults);
    assert_eq!(report.heads, stored(data_dir).await.heads);
    assert_eq!(report.unsigned_rows, 0, "the last checkpoint arrived too");
}

/// The same team once more, after its broker ended.
async fn again(config: &Config) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // An hour later: whoever held the sink and was cut off does not hold it any more.
    let clock = Clock::fixed(Clock::system().now().saturating_add(Duration::from_secs(3600)));
    let mut config = config.clone();
    config.audit.deadline_seconds = std::num::NonZeroU32::new(60).unwrap();
    let app = AppState::open(config, clock).await.unwrap();
    let mut tx = app.store().begin().await.unwrap();
    let event = usher_audit::Event::FailureCount {
        kind: usher_audit::Code::new("test"),
        count: 1,
        since: usher_testkit::NOW,
        until: usher_testkit::NOW,
        addresses: Vec::new(),
    };
    let actor = usher_audit::Actor::System;
    tx.audit(&usher_audit::Record { at: usher_testkit::NOW, actor, client_address: None, event })
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let server = Server::on(app, listener).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(async move { server.run(async { drop(stopped.await) }).await.unwrap() });
    (stop, served)
}

async fn once_more(config: &Config) {
    let (stop, served) = again(config).await;
    drop(stop);
    served.await.unwrap();
}

fn file_of(directory: &Path) -> PathBuf {
    directory.join("audit.jsonl")
}

#[tokio::test]
async fn a_file_gets_every_row_over_restarts_rotation_and_a_torn_line() {
    let outside = tempfile::tempdir().unwrap();
    let file = file_of(outside.path());
    let broker = Broker::start_with(|config| config.audit.export_file = Some(file.clone())).await;
    broker.admin().await;
    let (config, data_dir) = (broker.app.config().clone(), broker.data_dir());
    let _directory = broker.stop().await;
    let first = std::fs::read(&file).unwrap();
    has_everything(&first, &data_dir).await;

    // Rotated: the next lines go to a new file, and the two together are the log.
    std::fs::rename(&file, outside.path().join("audit.jsonl.1")).unwrap();
    once_more(&config).await;
    let second = std::fs::read(&file).unwrap();
    has_everything(&[first.clone(), second.clone()].concat(), &data_dir).await;

    // Killed in the middle of a line, before anything was noted: it all comes again, behind the torn line.
    std::fs::write(&file, &second[..second.len() - 30]).unwrap();
    let store = Store::open(&data_dir.join("usher.db")).await.unwrap();
    store.close().await;
    forget(&data_dir).await;
    once_more(&config).await;
    let third = std::fs::read(&file).unwrap();
    let all = [first, third].concat();
    assert_eq!(check(&all).1, 1, "one torn line");
    has_everything(&all, &data_dir).await;
}

/// As if the process had been killed before it noted what it sent.
async fn forget(data_dir: &Path) {
    use sqlx::ConnectOptions as _;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(data_dir.join("usher.db"));
    sqlx::query("DELETE FROM audit_exports")
        .execute(&mut options.foreign_keys(true).connect().await.unwrap())
        .await
        .unwrap();
}

/// A FIFO without a reader: opening it hangs for ever.
#[tokio::test]
async fn a_file_that_hangs_keeps_nobody_waiting_and_gets_everything_later() {
    let outside = tempfile::tempdir().unwrap();
    let file = file_of(outside.path());
    assert!(Command::new("/usr/bin/mkfifo").arg(&file).status().unwrap().success());
    let broker = Broker::start_with(|config| {
        config.audit.export_file = Some(file.clone());
        config.audit.deadline_seconds = std::num::NonZeroU32::MIN;
    })
    .await;
    // Signing in, with all its rows, works meanwhile; so does the end.
    let admin = broker.admin().await;
    let _session = broker.session(&admin).await;
    let (config, data_dir) = (broker.app.config().clone(), broker.data_dir());
    let _directory = broker.stop().await;
    assert!(stored(&data_dir).await.rows > 6);
    std::fs::remove_file(&file).unwrap();
    once_more(&config).await;
    has_everything(&std::fs::read(&file).unwrap(), &data_dir).await;
}

/// A collector that first fails, then hangs, then takes what comes.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<(usize, Vec<u8>)>>);

async fn collect(State(Collector(state)): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers["authorization"], "Bearer let-me-in");
    assert_eq!(headers["content-type"], "application/x-ndjson");
    let visit = {
        let mut state = state.lock().unwrap();
        state.0 += 1;
        state.0
    };
    match visit {
        1 => return StatusCode::SERVICE_UNAVAILABLE,
        2 => std::future::pending::<()>().await,
        _ => {}
    }
    state.lock().unwrap().1.extend_from_slice(&body);
    StatusCode::NO_CONTENT
}

#[tokio::test]
async fn a_collector_that_fails_and_hangs_gets_everything_in_the_end() {
    let outside = tempfile::tempdir().unwrap();
    let token = outside.path().join("token");
    std::fs::write(&token, "let-me-in\n").unwrap();
    let collector = Collector::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/usher", listener.local_addr().unwrap());
    let router = Router::new().route("/usher", post(collect)).with_state(collector.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let broker = Broker::start_with(|config| {
        config.audit.push_url = Some(url.parse().unwrap());
        config.audit.push_token_file = Some(token);
        config.audit.deadline_seconds = std::num::NonZeroU32::new(2).unwrap();
    })
    .await;
    broker.admin().await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    while collector.0.lock().unwrap().1.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "nothing arrived");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let data_dir = broker.data_dir();
    let config = broker.app.config().clone();
    let _directory = broker.stop().await;
    // The end may have been cut short by a slow machine; the next start brings the rest.
    once_more(&config).await;
    let lines = collector.0.lock().unwrap().1.clone();
    has_everything(&lines, &data_dir).await;
    serving.abort();
}
