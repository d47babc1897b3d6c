//! Guarantee 5: whatever was acknowledged survives `kill -9`, and nothing is there by half.

use std::{
    future::Future as _,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use sqlx::Row as _;
use usher_audit::Event;
use usher_store::{audit, users};
use usher_types::{Sha256, UserId};

use crate::support::{NOW, new_address, open, record, user_record};

const ADDRESS: &str = "USHER_TEST_WRITES_UNTIL_KILLED";

/// What the killed process does: one user and its audit row per transaction, and a line for each that is committed.
async fn write_until_killed(address: &str) {
    let store = open(address).await;
    let mut stdout = std::io::stdout();
    for number in 0_u64.. {
        let name = format!("u{}-{number}", std::process::id());
        let mut user = user_record(&name);
        // Every process counts from one; the name tells them apart.
        user.id = UserId::new(NOW, Sha256::of(name.as_bytes()).as_bytes()[..10].try_into().unwrap());
        let mut tx = store.begin().await.unwrap();
        users::create(&mut tx, &user).await.unwrap();
        tx.audit(&record(Event::UserSetUp { user_id: user.id })).await.unwrap();
        tx.commit().await.unwrap();
        writeln!(stdout, "committed {}", user.user_name).unwrap();
        stdout.flush().unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    if let Ok(address) = std::env::var(ADDRESS) {
        return write_until_killed(&address).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let address = new_address(&directory);
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durability::what_was_acknowledged_survives_kill_9", "--nocapture"])
            .env(ADDRESS, &address)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut committed = lines.filter_map(|line| line.split("committed ").nth(1).map(str::to_owned));
        acknowledged.extend(committed.by_ref().take(40 + round * 7));
        child.kill().unwrap();
        child.wait().unwrap();
        // Written to the pipe before the kill, read after it: acknowledged all the same.
        acknowledged.extend(committed);

        let store = open(&address).await;
        let mut reader = store.read().await.unwrap();
        let users = users::list(&mut reader).await.unwrap();
        for name in &acknowledged {
            assert!(users.iter().any(|user| user.user_name.as_str() == name), "{name} is lost");
        }
        let log = audit::verify(&mut reader, &[]).await.unwrap();
        let starts = log.heads.len();
        assert_eq!(usize::try_from(log.rows).unwrap(), users.len() + starts, "a row by half");
        if let Some(sqlite) = reader.as_sqlite() {
            let check = sqlx::query("PRAGMA integrity_check").fetch_one(sqlite).await.unwrap();
            assert_eq!(check.get::<String, _>(0), "ok");
        }
        drop(reader);
        store.close().await;
    }
    assert!(acknowledged.len() >= 200);
}

#[tokio::test]
async fn a_dropped_transaction_frees_the_writer() {
    let db = crate::support::Db::new().await;
    for _ in 0..20 {
        let mut tx = db.store.begin().await.unwrap();
        users::create(&mut tx, &user_record("alice")).await.unwrap();
        drop(tx);
    }
    let mut tx = db.store.begin().await.unwrap();
    users::create(&mut tx, &user_record("alice")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(users::list(&mut db.store.read().await.unwrap()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_reader_keeps_its_snapshot() {
    let db = crate::support::Db::new().await;
    let mut reader = db.store.read().await.unwrap();
    let epoch = reader.epoch().await.unwrap();
    let mut tx = db.store.begin().await.unwrap();
    users::create(&mut tx, &user_record("alice")).await.unwrap();
    tx.bump_epoch().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(reader.epoch().await.unwrap(), epoch);
    assert!(users::list(&mut reader).await.unwrap().is_empty());
    assert_eq!(users::list(&mut db.store.read().await.unwrap()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_commit_whose_caller_went_away_is_heard_of() {
    let db = crate::support::Db::new().await;
    let mut changes = db.store.subscribe();
    changes.mark_unchanged();
    for name in ["alice", "bob"] {
        let mut tx = db.store.begin().await.unwrap();
        let user = user_record(name);
        users::create(&mut tx, &user).await.unwrap();
        tx.audit(&record(Event::UserSetUp { user_id: user.id })).await.unwrap();
        tx.bump_epoch().await.unwrap();
        // Polled once, then dropped: what a web server does when the client hangs up.
        let mut commit = Box::pin(tx.commit());
        std::future::poll_fn(|context| {
            let _pending = commit.as_mut().poll(context);
            std::task::Poll::Ready(())
        })
        .await;
        drop(commit);
        changes.changed().await.unwrap();
    }
    let mut reader = db.store.read().await.unwrap();
    assert_eq!(users::list(&mut reader).await.unwrap().len(), 2);
    assert_eq!(audit::verify(&mut reader, &[]).await.unwrap().rows, 3);
}
