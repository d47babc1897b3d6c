//! Issuing by several brokers at once: no row on a decision that is older than a committed disable, each request once,
//! nobody kept out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _, postgres::PgConnectOptions,
};
use tokio::time::timeout;
use usher_identity::UserStatus;
use usher_store::{Outcome, Store};

use crate::{
    epoch::{Care, count, decide, new_user, set_status},
    support::Db,
};

/// Nothing here takes that long, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

const SHARED: &str = "SELECT value FROM epoch FOR SHARE";
const PLAIN: &str = "SELECT value FROM epoch";

async fn raw(db: &Db) -> PgConnection {
    db.address().parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
}

/// Reads the epoch as `read` does, lets somebody try to move it, then inserts. Says how many rows came after the move.
async fn inserted_after_the_move(read: &'static str) -> i64 {
    let db = Db::new().await;
    let (mut issuing, mut disabling) = (raw(&db).await, raw(&db).await);
    issuing.execute("CREATE TABLE probe (n BIGINT)").await.unwrap();
    let mut issue = issuing.begin().await.unwrap();
    issue.execute(read).await.unwrap();
    disabling.execute("SET lock_timeout = '200ms'").await.unwrap();
    let mut disable = disabling.begin().await.unwrap();
    let moved = disable.execute("UPDATE epoch SET value = value + 1").await;
    let mut before = 0;
    if moved.is_ok() {
        before = disable.fetch_one("SELECT COUNT(*) AS n FROM probe").await.unwrap().get("n");
        disable.commit().await.unwrap();
    } else {
        disable.rollback().await.unwrap();
    }
    issue.execute("INSERT INTO probe VALUES (1)").await.unwrap();
    issue.commit().await.unwrap();
    let after: i64 = issuing.fetch_one("SELECT COUNT(*) AS n FROM probe").await.unwrap().get("n");
    if moved.is_ok() { after - before } else { 0 }
}

#[tokio::test]
async fn the_shared_lock_holds_up_a_change_of_access() {
    assert_eq!(inserted_after_the_move(SHARED).await, 0);
}

#[tokio::test]
async fn negative_control_a_plain_read_lets_a_row_in_after_the_change() {
    assert_eq!(inserted_after_the_move(PLAIN).await, 1);
}

#[test]
fn the_store_reads_the_epoch_with_the_shared_lock() {
    let all = usher_store::postgres_statements();
    let (_, _, sql) = all.iter().find(|(_, name, _)| *name == "EPOCH_FOR_ISSUING").unwrap();
    assert!(sql.ends_with("FOR SHARE OF e"), "{sql}");
}

async fn brokers<const N: usize>(db: &Db) -> [Store; N] {
    let mut stores = Vec::new();
    for _ in 0..N {
        stores.push(db.another().await);
    }
    stores.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_request_to_many_brokers_is_recorded_once() {
    let db = Db::new().await;
    let alice = new_user(&db).await;
    let stores = brokers::<3>(&db).await;
    let mut tasks = tokio::task::JoinSet::new();
    for store in stores.iter().cycle().take(1_000) {
        let mut item = decide(store, alice.id, Care::Again).await.unwrap();
        item.row.request.jti = "the same".to_owned();
        let store = store.clone();
        tasks.spawn(async move { store.issue(item).await.unwrap().1 });
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Recorded).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Repeated).count(), 999);
    assert_eq!(count(&mut db.store.read().await.unwrap()).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_requests_in_opposite_order_end_in_one_row_each() {
    const REQUESTS: usize = 40;
    let db = Db::new().await;
    let alice = new_user(&db).await;
    let stores = brokers::<2>(&db).await;
    for round in 0..10 {
        let mut tasks = tokio::task::JoinSet::new();
        for place in 0..REQUESTS {
            for (store, number) in [(&stores[0], place), (&stores[1], REQUESTS - place)] {
                let mut item = decide(store, alice.id, Care::Again).await.unwrap();
                item.row.request.jti = format!("{round}/{number:02}");
                let store = store.clone();
                tasks.spawn(async move { store.issue(item).await.unwrap().1 });
            }
        }
        let outcomes = timeout(PATIENCE, tasks.join_all()).await.unwrap();
        let recorded = outcomes.iter().filter(|outcome| **outcome == Outcome::Recorded).count();
        assert_eq!(recorded, REQUESTS + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn brokers_that_never_stop_issuing_do_not_keep_out_a_disable() {
    let db = Db::new().await;
    let alice = new_user(&db).await;
    let stores = brokers::<6>(&db).await;
    let stop = Arc::new(AtomicBool::new(false));
    let minted = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for store in stores.iter().cycle().take(36) {
        let (store, id) = (store.clone(), alice.id);
        let (stop, minted) = (Arc::clone(&stop), Arc::clone(&minted));
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let Some(item) = decide(&store, id, Care::Again).await else { return };
                store.issue(item).await.unwrap();
                minted.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for _ in 0..20 {
        let so_far = minted.load(Ordering::Relaxed);
        timeout(PATIENCE, async {
            let mut tx = db.store.begin().await.unwrap();
            set_status(&mut tx, &alice, UserStatus::Active).await;
            tx.bump_epoch().await.unwrap();
            tx.commit().await.unwrap();
        })
        .await
        .expect("a change of access gets its turn");
        timeout(PATIENCE, async {
            while minted.load(Ordering::Relaxed) == so_far {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("issuing goes on");
    }
    stop.store(true, Ordering::Relaxed);
    timeout(PATIENCE, tasks.join_all()).await.unwrap();
}
