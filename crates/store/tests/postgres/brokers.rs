//! Several brokers on one database: who is told what, who waits for whom.

use std::time::Duration;

use sqlx::Row as _;
use tokio::time::timeout;
use usher_store::{
    connections::RequestName,
    requests::{self, Claim},
};
use usher_types::Sha256;

use crate::support::{Db, NOW, number};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn brokers_that_start_at_once_on_an_empty_database_all_come_up() {
    let directory = tempfile::tempdir().unwrap();
    let address = crate::support::new_address(&directory);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let address = address.clone();
        tasks.spawn(async move { usher_store::Store::connect(address.parse().unwrap()).await.map(drop) });
    }
    for result in tasks.join_all().await {
        result.unwrap();
    }
}

#[tokio::test]
async fn a_change_on_one_broker_wakes_the_others() {
    let db = Db::new().await;
    let other = db.another().await;
    let mut changes = other.subscribe();
    let mut tx = db.store.begin().await.unwrap();
    let bumped = tx.bump_epoch().await.unwrap();
    tx.commit().await.unwrap();
    let heard = timeout(PATIENCE, changes.wait_for(|epoch| *epoch >= bumped)).await;
    assert_eq!(*heard.expect("nobody polls here").unwrap(), bumped);

    changes.mark_unchanged();
    let mut tx = db.store.begin().await.unwrap();
    tx.wake();
    tx.commit().await.unwrap();
    timeout(PATIENCE, changes.changed()).await.expect("woken although the epoch stays").unwrap();
}

#[tokio::test]
async fn a_change_that_is_rolled_back_wakes_nobody() {
    let db = Db::new().await;
    let other = db.another().await;
    let mut changes = other.subscribe();
    let mut tx = db.store.begin().await.unwrap();
    tx.bump_epoch().await.unwrap();
    drop(tx);
    let mut tx = db.store.begin().await.unwrap();
    let bumped = tx.bump_epoch().await.unwrap();
    tx.commit().await.unwrap();
    let first = timeout(PATIENCE, changes.wait_for(|epoch| *epoch >= bumped)).await.unwrap();
    assert_eq!(*first.unwrap(), bumped);
}

#[tokio::test]
async fn a_broker_whose_listening_connection_was_cut_listens_again() {
    let db = Db::new().await;
    let other = db.another().await;
    let mut changes = other.subscribe();
    for round in 0..3 {
        // Both brokers listen; both are cut.
        timeout(PATIENCE, async {
            loop {
                let mut reader = db.store.read().await.unwrap();
                let sql = "SELECT COUNT(*) AS n FROM pg_stat_activity
                    WHERE datname = current_database() AND query LIKE 'LISTEN%' AND state = 'idle'";
                if number(&mut reader, sql).await >= 2 {
                    break;
                }
                drop(reader);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("both listen");
        let mut reader = db.store.read().await.unwrap();
        let cut = "SELECT COUNT(pg_terminate_backend(pid)) AS n FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        assert!(number(&mut reader, cut).await >= 2);
        drop(reader);
        let mut tx = db.store.begin().await.unwrap();
        let bumped = tx.bump_epoch().await.unwrap();
        tx.commit().await.unwrap();
        let heard = timeout(PATIENCE, changes.wait_for(|epoch| *epoch >= bumped)).await;
        assert!(heard.is_ok(), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_that_comes_to_several_brokers_is_claimed_by_one() {
    let db = Db::new().await;
    let stores = [db.store.clone(), db.another().await, db.another().await];
    let name =
        RequestName { jkt: Sha256::of(b"key"), jti: "one".to_owned(), content: Sha256::of(b"content") };
    let mut tasks = tokio::task::JoinSet::new();
    for store in stores.iter().cycle().take(30) {
        let (store, name) = (store.clone(), name.clone());
        tasks.spawn(async move {
            let mut tx = store.begin().await.unwrap();
            let claim = requests::claim(&mut tx, &name, NOW).await.unwrap();
            tx.commit().await.unwrap();
            claim
        });
    }
    let claims = tasks.join_all().await;
    assert_eq!(claims.iter().filter(|claim| **claim == Claim::Fresh).count(), 1);
}

#[tokio::test]
async fn connections_bound_what_a_vanished_broker_can_hold_up() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    for (setting, wanted) in [
        ("SHOW idle_in_transaction_session_timeout", "20s"),
        ("SHOW lock_timeout", "25s"),
        ("SHOW synchronous_commit", "on"),
        ("SHOW transaction_isolation", "read committed"),
    ] {
        let row = sqlx::query(setting).fetch_one(tx.as_postgres().unwrap()).await.unwrap();
        assert_eq!(row.get::<String, _>(0), wanted, "{setting}");
    }
    let mut reader = db.store.read().await.unwrap();
    let row =
        sqlx::query("SHOW transaction_isolation").fetch_one(reader.as_postgres().unwrap()).await.unwrap();
    assert_eq!(row.get::<String, _>(0), "repeatable read");
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let db = Db::new().await;
    let mut reader = db.store.read().await.unwrap();
    let written = sqlx::query("DELETE FROM epoch").execute(reader.as_postgres().unwrap()).await;
    assert_eq!(written.unwrap_err().as_database_error().unwrap().code().unwrap(), "25006");
}

/// Names and ids are compared byte by byte, whatever the database's own language is; the test cluster's is not "C".
#[tokio::test]
async fn every_text_column_compares_byte_by_byte() {
    let db = Db::new().await;
    let mut reader = db.store.read().await.unwrap();
    let sql = "SELECT table_name::text AS t, column_name::text AS c FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'
            AND (data_type <> 'text' OR collation_name IS DISTINCT FROM 'C')
            AND data_type NOT IN ('bigint', 'bytea')";
    let rows = sqlx::query(sql).fetch_all(reader.as_postgres().unwrap()).await.unwrap();
    let wrong: Vec<(String, String)> = rows.iter().map(|row| (row.get("t"), row.get("c"))).collect();
    assert_eq!(wrong, []);
    let differs =
        number(&mut reader, "SELECT (('a' < 'B') AND NOT ('a' < 'B' COLLATE \"C\"))::int::bigint AS n").await;
    assert_eq!(differs, 1, "this cluster would not show a column that is missing its collation");
}
