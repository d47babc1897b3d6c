//! The audit log: chains over restarts, and every way to tamper with it is found.

use std::future::{Ready, ready};

use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use usher_audit::{ChainFault, CheckpointError, Event};
use usher_store::{
    audit::{self, VerifyLogError},
    users,
};
use usher_types::{UnixTime, UserId};

use crate::support::{Db, NOW, record, unique, user_record};

fn key() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).unwrap()
}

fn public(key: &SigningKey) -> [u8; 65] {
    key.verifying_key().to_sec1_point(false).as_bytes().try_into().unwrap()
}

fn sign(key: &SigningKey) -> impl FnOnce(Vec<u8>) -> Ready<Result<[u8; 64], std::io::Error>> + use<> {
    let key = key.clone();
    move |input| {
        let signature: Signature = key.sign(&input);
        ready(Ok(signature.to_bytes().into()))
    }
}

async fn write(db: &Db, rows: usize) {
    for _ in 0..rows {
        let mut tx = db.store.begin().await.unwrap();
        tx.audit(&record(Event::UserSetUp { user_id: UserId::new(NOW, unique()) })).await.unwrap();
        tx.commit().await.unwrap();
    }
}

async fn checkpoint(db: &Db) {
    db.store.checkpoint("audit/1", sign(&key()), NOW).await.unwrap().unwrap();
}

async fn verify(db: &Db) -> Result<audit::VerifiedLog, VerifyLogError> {
    audit::verify(&mut db.store.read().await.unwrap(), &[public(&key())]).await
}

#[track_caller]
fn fault(result: Result<audit::VerifiedLog, VerifyLogError>) -> ChainFault {
    match result {
        Err(VerifyLogError::Chain(fault)) => fault,
        other => panic!("expected a fault of the chain, got {other:?}"),
    }
}

#[tokio::test]
async fn each_start_writes_a_chain_that_names_the_one_before() {
    let mut db = Db::new().await;
    write(&db, 3).await;
    checkpoint(&db).await;
    db.reopen().await;
    write(&db, 2).await;
    db.reopen().await;
    write(&db, 1).await;

    let log = verify(&db).await.unwrap();
    assert_eq!((log.heads.iter().count(), log.heads.rows(), log.checkpoints), (3, 4 + 3 + 2, 1));

    let rows = audit::page(&mut db.store.read().await.unwrap(), 0, 100).await.unwrap();
    let events: Vec<serde_json::Value> =
        rows.iter().map(|row| serde_json::from_slice(&row.row.bytes).unwrap()).collect();
    let starts: Vec<_> = rows
        .iter()
        .zip(&events)
        .filter(|(_, event)| event["event"]["type"] == "log.start")
        .map(|(row, event)| (row.row.sequence, event["event"]["after"]["hash"].clone()))
        .collect();
    assert_eq!(starts.len(), 3);
    assert!(starts.iter().all(|(sequence, _)| *sequence == 1));
    assert_eq!(starts[1].1, rows[3].row.hash.to_string());
    assert_eq!(starts[2].1, rows[6].row.hash.to_string());
}

#[tokio::test]
async fn a_transaction_that_is_dropped_leaves_no_row_and_no_gap() {
    let db = Db::new().await;
    write(&db, 1).await;
    let mut tx = db.store.begin().await.unwrap();
    users::create(&mut tx, &user_record("alice")).await.unwrap();
    tx.audit(&record(Event::UserSetUp { user_id: UserId::new(NOW, unique()) })).await.unwrap();
    drop(tx);
    write(&db, 1).await;
    assert_eq!(verify(&db).await.unwrap().heads.rows(), 3);
    assert_eq!(users::find(&mut db.store.read().await.unwrap(), "alice").await.unwrap(), None);
}

#[tokio::test]
async fn a_dropped_first_row_does_not_hurt_the_chain() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    tx.audit(&record(Event::UserSetUp { user_id: UserId::new(NOW, unique()) })).await.unwrap();
    drop(tx);
    write(&db, 2).await;
    assert_eq!(verify(&db).await.unwrap().heads.rows(), 3);
}

#[tokio::test]
async fn pages_follow_the_position() {
    let db = Db::new().await;
    write(&db, 5).await;
    let mut reader = db.store.read().await.unwrap();
    let first = audit::page(&mut reader, 0, 4).await.unwrap();
    let rest = audit::page(&mut reader, first[3].position, 4).await.unwrap();
    assert_eq!((first.len(), rest.len()), (4, 2));
    assert!(audit::page(&mut reader, rest[1].position, 4).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_checkpoint_is_made_when_there_is_something_new() {
    let db = Db::new().await;
    assert_eq!(db.store.checkpoint("audit/1", sign(&key()), NOW).await.unwrap(), None);
    write(&db, 1).await;
    checkpoint(&db).await;
    assert_eq!(db.store.checkpoint("audit/1", sign(&key()), NOW).await.unwrap(), None);
    write(&db, 1).await;
    checkpoint(&db).await;
    assert_eq!(verify(&db).await.unwrap().checkpoints, 2);
}

#[tokio::test]
async fn a_key_that_does_not_sign_makes_no_checkpoint() {
    let db = Db::new().await;
    write(&db, 1).await;
    let refuses = |_input| ready(Err(std::io::Error::other("no key")));
    let error = db.store.checkpoint("audit/1", refuses, NOW).await.unwrap_err();
    assert_eq!(error.to_string(), "the checkpoint could not be signed");
    assert_eq!(audit::checkpoints(&mut db.store.read().await.unwrap()).await.unwrap(), []);
}

/// The key may be far away: writers do not wait for it, and of two brokers one makes the checkpoint.
#[tokio::test]
async fn the_log_goes_on_while_a_checkpoint_is_signed() {
    let db = Db::new().await;
    write(&db, 1).await;
    let slow = async |input| {
        write(&db, 1).await;
        checkpoint(&db).await;
        sign(&key())(input).await
    };
    assert_eq!(db.store.checkpoint("audit/1", slow, NOW).await.unwrap(), None);
    assert_eq!(verify(&db).await.unwrap().checkpoints, 1);
}

/// Seven rows by two writers, checkpoints after the fifth and the seventh; then somebody with a database shell comes.
async fn tampered(sql: &'static str) -> Result<audit::VerifiedLog, VerifyLogError> {
    let mut db = Db::new().await;
    write(&db, 4).await;
    checkpoint(&db).await;
    db.reopen().await;
    write(&db, 1).await;
    checkpoint(&db).await;
    assert_eq!(verify(&db).await.unwrap().heads.rows(), 7);
    assert!(db.tamper(sql).await > 0, "{sql}");
    verify(&db).await
}

#[tokio::test]
async fn an_edited_row_is_found() {
    let sql = "UPDATE audit SET body = CAST(replace(CAST(body AS TEXT), 'operator', 'system') AS BLOB) WHERE position = 3";
    assert!(matches!(fault(tampered(sql).await), ChainFault::Changed { sequence: 3, .. }));
}

#[tokio::test]
async fn an_edited_hash_is_found() {
    let sql = "UPDATE audit SET hash = (SELECT hash FROM audit WHERE position = 2) WHERE position = 3";
    assert!(matches!(fault(tampered(sql).await), ChainFault::Changed { sequence: 3, .. }));
}

#[tokio::test]
async fn a_deleted_row_is_found() {
    let fault = fault(tampered("DELETE FROM audit WHERE position = 3").await);
    assert!(matches!(fault, ChainFault::Missing { expected: 3, found: 4, .. }));
}

#[tokio::test]
async fn rows_in_another_order_are_found() {
    let sql = "UPDATE audit SET position = position + 100 WHERE position = 3";
    assert!(matches!(fault(tampered(sql).await), ChainFault::Missing { expected: 3, found: 4, .. }));
}

#[tokio::test]
async fn a_cut_end_is_found_by_the_checkpoint() {
    let fault = fault(tampered("DELETE FROM audit WHERE position >= 7").await);
    assert!(matches!(fault, ChainFault::Truncated { sequence: 2, .. }));
}

#[tokio::test]
async fn a_cut_end_of_an_earlier_chain_is_found() {
    let fault = fault(tampered("DELETE FROM audit WHERE position = 5").await);
    assert!(matches!(fault, ChainFault::Truncated { sequence: 5, .. }));
}

#[tokio::test]
async fn a_writer_that_vanished_whole_is_found() {
    let sql = "DELETE FROM audit WHERE position <= 5";
    assert!(matches!(fault(tampered(sql).await), ChainFault::Truncated { sequence: 5, .. }));
}

#[tokio::test]
async fn an_edited_or_missing_checkpoint_is_found() {
    let signature = tampered("UPDATE audit_checkpoints SET signature = zeroblob(64) WHERE number = 1").await;
    assert!(
        matches!(signature, Err(VerifyLogError::Checkpoint(CheckpointError::Signature))),
        "{signature:?}"
    );
    let missing = tampered("DELETE FROM audit_checkpoints WHERE number = 1").await;
    assert!(
        matches!(missing, Err(VerifyLogError::Checkpoint(CheckpointError::Continuity { .. }))),
        "{missing:?}"
    );
}

#[tokio::test]
async fn another_key_does_not_vouch() {
    let db = Db::new().await;
    write(&db, 1).await;
    let forger = SigningKey::from_slice(&[8; 32]).unwrap();
    db.store.checkpoint("audit/1", sign(&forger), NOW).await.unwrap().unwrap();
    assert!(matches!(verify(&db).await, Err(VerifyLogError::Checkpoint(CheckpointError::Signature))));
}

#[tokio::test]
async fn many_tasks_append_to_one_chain() {
    let db = Db::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for second in 0..50 {
        let store = db.store.clone();
        tasks.spawn(async move {
            let mut tx = store.begin().await.unwrap();
            let mut record = record(Event::UserSetUp { user_id: UserId::new(NOW, unique()) });
            record.at = UnixTime::from_secs(NOW.as_secs() + second);
            tx.audit(&record).await.unwrap();
            tx.audit(&record).await.unwrap();
            if second % 5 == 0 {
                return;
            }
            tx.commit().await.unwrap();
        });
    }
    tasks.join_all().await;
    assert_eq!(verify(&db).await.unwrap().heads.rows(), 1 + 2 * 40);
}
