//! PostgreSQL goes away: nothing is issued twice, nothing that was acknowledged is lost.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::timeout;
use usher_store::{ConnectError, Fault, Outcome, Store, audit, users};
use usher_testkit::postgres::Postgres;

use crate::{
    epoch::{Care, count, decide},
    support::{number, user, user_record},
};

const PATIENCE: Duration = Duration::from_secs(120);

async fn connect(url: &str) -> Store {
    Store::connect(url.parse().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_crashes_under_load_loses_nothing_and_doubles_nothing() {
    let cluster = Postgres::start();
    let database = cluster.create_database();
    let url = cluster.url(&database);
    let stores = [connect(&url).await, connect(&url).await];
    let mut tx = stores[0].begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    tx.commit().await.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for (minter, store) in stores.iter().cycle().take(12).enumerate() {
        let (store, id) = (store.clone(), alice.id);
        let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        tasks.spawn(async move {
            for request in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                // As a client does it: the same request until there is an answer.
                loop {
                    let Ok(mut reader) = store.read().await else { continue };
                    let Ok(epoch) = reader.epoch().await else { continue };
                    drop(reader);
                    let item = crate::epoch::item(epoch, id, Care::Again, format!("{minter}/{request}"));
                    if store.issue(item).await.is_ok() {
                        break;
                    }
                }
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for _ in 0..3 {
        let so_far = acknowledged.load(Ordering::Relaxed);
        timeout(PATIENCE, async {
            while acknowledged.load(Ordering::Relaxed) < so_far + 50 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("issuing goes on");
        let cluster = &cluster;
        tokio::task::block_in_place(|| {
            cluster.crash();
            cluster.start_again();
        });
    }
    stop.store(true, Ordering::Relaxed);
    timeout(PATIENCE, tasks.join_all()).await.unwrap();

    let mut reader = stores[0].read().await.unwrap();
    let rows = count(&mut reader).await;
    assert_eq!(rows, i64::try_from(acknowledged.load(Ordering::Relaxed)).unwrap());
    let recorded = "SELECT COUNT(*) AS n FROM audit WHERE convert_from(body, 'UTF8') LIKE '%user.set_up%'";
    assert_eq!(
        number(&mut reader, recorded).await,
        rows,
        "a connection without its audit row, or the reverse"
    );
    audit::verify(&mut reader, &[]).await.unwrap();
}

/// Where the connection is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The server never sees the commit.
    BeforeCommit,
    /// The server commits; nobody hears of it.
    AfterCommit,
}

/// Passes bytes to the cluster's socket, and cuts the first connection that commits once it is armed.
struct Wire {
    directory: tempfile::TempDir,
    armed: Arc<Mutex<Option<Cut>>>,
}

impl Wire {
    fn to(cluster: &Postgres) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = cluster.socket_directory().join(format!(".s.PGSQL.{}", cluster.port()));
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let armed = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&armed);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (server, armed) = (server.clone(), Arc::clone(&shared));
                std::thread::spawn(move || pass(client, &server, &armed));
            }
        });
        Self { directory, armed }
    }

    fn url(&self, cluster: &Postgres, database: &str) -> String {
        let of_cluster = cluster.url(database);
        let encode = |path: &str| path.replace('/', "%2F").replace('.', "%2E");
        let (from, to) =
            (cluster.socket_directory().to_str().unwrap(), self.directory.path().to_str().unwrap());
        of_cluster.replace(&encode(from), &encode(to))
    }
}

fn pass(client: UnixStream, server: &PathBuf, armed: &Mutex<Option<Cut>>) {
    let Ok(mut server) = UnixStream::connect(server) else { return };
    let (mut from_client, mut to_client) = (client.try_clone().unwrap(), client);
    let mut from_server = server.try_clone().unwrap();
    let cut = Arc::new(AtomicBool::new(false));
    let deaf = Arc::clone(&cut);
    let answers = std::thread::spawn(move || {
        let mut chunk = [0; 16 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut chunk) {
            // The answer to the commit that nobody hears.
            if deaf.load(Ordering::Relaxed) || to_client.write_all(&chunk[..length]).is_err() {
                break;
            }
        }
        let _gone = to_client.shutdown(std::net::Shutdown::Both);
    });
    let mut chunk = [0; 16 * 1024];
    while let Ok(length @ 1..) = from_client.read(&mut chunk) {
        let commits = chunk[..length].windows(7).any(|bytes| bytes == b"COMMIT\0");
        let wanted = if commits { armed.lock().unwrap().take() } else { None };
        match wanted {
            Some(Cut::BeforeCommit) => break,
            Some(Cut::AfterCommit) => cut.store(true, Ordering::Relaxed),
            None => {}
        }
        if server.write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    let _gone = from_client.shutdown(std::net::Shutdown::Both);
    let _gone = server.shutdown(std::net::Shutdown::Both);
    let _ended = answers.join();
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_by_its_request() {
    let cluster = Postgres::shared();
    let database = cluster.create_database();
    let wire = Wire::to(cluster);
    let store = connect(&wire.url(cluster, &database)).await;
    let mut tx = store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    tx.commit().await.unwrap();
    for (rows, cut, outcome) in
        [(1, Cut::AfterCommit, Outcome::Repeated), (2, Cut::BeforeCommit, Outcome::Recorded)]
    {
        let item = decide(&store, alice.id, Care::Again).await.unwrap();
        *wire.armed.lock().unwrap() = Some(cut);
        let (_item, ended) = store.issue(item).await.unwrap();
        assert_eq!(ended, outcome);
        assert!(wire.armed.lock().unwrap().is_none(), "it was not cut");
        let mut reader = store.read().await.unwrap();
        assert_eq!(count(&mut reader).await, rows);
        audit::verify(&mut reader, &[]).await.unwrap();
    }
}

/// Everything but issuing: whoever asked is told that it may be tried again, and the chain goes on from what is there.
#[tokio::test]
async fn another_commit_whose_answer_is_lost_is_a_temporary_error() {
    let cluster = Postgres::shared();
    let database = cluster.create_database();
    let wire = Wire::to(cluster);
    let store = connect(&wire.url(cluster, &database)).await;
    for (name, cut, happened) in [("alice", Cut::AfterCommit, true), ("bob", Cut::BeforeCommit, false)] {
        let record = user_record(name);
        let mut tx = store.begin().await.unwrap();
        users::create(&mut tx, &record).await.unwrap();
        tx.audit(&crate::support::record(event_of(&record))).await.unwrap();
        *wire.armed.lock().unwrap() = Some(cut);
        let error = tx.commit().await.unwrap_err();
        assert_eq!(error.fault(), Fault::Lost, "{error:?}");
        let mut reader = store.read().await.unwrap();
        assert_eq!(users::by_id(&mut reader, record.id).await.unwrap().is_some(), happened);
        drop(reader);
        let mut tx = store.begin().await.unwrap();
        tx.audit(&crate::support::record(event_of(&record))).await.unwrap();
        tx.commit().await.unwrap();
        audit::verify(&mut store.read().await.unwrap(), &[]).await.unwrap();
    }
}

fn event_of(user: &usher_identity::UserRecord) -> usher_audit::Event {
    usher_audit::Event::UserSetUp { user_id: user.id }
}

#[tokio::test]
async fn a_database_that_may_only_be_read_says_so() {
    let cluster = Postgres::shared();
    let database = cluster.create_database();
    let url = cluster.url(&database);
    let store = connect(&url).await;
    cluster.sql("postgres", &format!("ALTER DATABASE {database} SET default_transaction_read_only = on"));
    let cut = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = ";
    cluster.sql("postgres", &format!("{cut} '{database}'"));
    let mut tx = store.begin().await.unwrap();
    let error = users::create(&mut tx, &user_record("alice")).await.unwrap_err();
    let users::CreateUserError::Store(error) = error else { panic!("{error:?}") };
    assert_eq!(error.fault(), Fault::ReadOnly);
    let error = Store::connect(url.parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, ConnectError::ReadOnly), "{error:?}");
}

#[tokio::test]
async fn what_is_wrong_with_an_address_is_said() {
    let cluster = Postgres::shared();
    let error = Store::connect(cluster.url("nowhere").parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Login(_)), "{error:?}");
    let nobody_there = "postgres://usher@%2Fnonexistent/usher".parse().unwrap();
    let error = Store::connect(nobody_there).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error:?}");
}
