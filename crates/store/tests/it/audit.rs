//! The audit log: chains over restarts, checkpoints, and every way to tamper with it is found and named.

use std::future::{Ready, ready};

use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use usher_audit::{CheckpointFault, Event, Fault, Report, RowFault, Trust, Witness, WriterId, thumbprint};
use usher_store::{
    audit::{self, checkpoints},
    users,
};
use usher_types::{UnixTime, UserId};

use crate::support::{Db, NOW, record, unique, user_record};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
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
    db.store.checkpoint("audit/1", sign(&key(7)), NOW).await.unwrap().unwrap();
}

async fn verify(db: &Db) -> Report {
    let mut reader = db.store.read().await.unwrap();
    audit::verify(&mut reader, &[public(&key(7))]).await.unwrap()
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

    let log = verify(&db).await;
    assert!(log.is_good(), "{log:?}");
    assert_eq!((log.heads.len(), log.rows, log.checkpoints, log.unsigned_rows), (3, 4 + 3 + 2, 1, 3 + 2));

    let rows = audit::page(&mut db.store.read().await.unwrap(), 0, 100).await.unwrap();
    let events: Vec<serde_json::Value> =
        rows.iter().map(|row| serde_json::from_slice(&row.bytes).unwrap()).collect();
    let starts: Vec<_> = rows
        .iter()
        .zip(&events)
        .filter(|(_, event)| event["event"]["type"] == "log.start")
        .map(|(row, event)| (row.sequence, event["event"]["after"]["hash"].clone()))
        .collect();
    assert_eq!(starts.len(), 3);
    assert!(starts.iter().all(|(sequence, _)| *sequence == 1));
    assert_eq!(starts[1].1, rows[3].hash.to_string());
    assert_eq!(starts[2].1, rows[6].hash.to_string());
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
    assert_eq!(verify(&db).await.rows, 3);
    assert_eq!(users::find(&mut db.store.read().await.unwrap(), "alice").await.unwrap(), None);
}

#[tokio::test]
async fn a_dropped_first_row_does_not_hurt_the_chain() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    tx.audit(&record(Event::UserSetUp { user_id: UserId::new(NOW, unique()) })).await.unwrap();
    drop(tx);
    write(&db, 2).await;
    assert_eq!(verify(&db).await.rows, 3);
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
    assert_eq!(db.store.checkpoint("audit/1", sign(&key(7)), NOW).await.unwrap(), None);
    write(&db, 1).await;
    checkpoint(&db).await;
    assert_eq!(db.store.checkpoint("audit/1", sign(&key(7)), NOW).await.unwrap(), None);
    write(&db, 1).await;
    checkpoint(&db).await;
    assert_eq!(verify(&db).await.checkpoints, 2);
}

#[tokio::test]
async fn a_key_that_does_not_sign_makes_no_checkpoint() {
    let db = Db::new().await;
    write(&db, 1).await;
    let refuses = |_input| ready(Err(std::io::Error::other("no key")));
    let error = db.store.checkpoint("audit/1", refuses, NOW).await.unwrap_err();
    assert_eq!(error.to_string(), "the checkpoint could not be signed");
    assert_eq!(checkpoints::page(&mut db.store.read().await.unwrap(), 0, 10).await.unwrap(), []);
}

/// Keys may be far away: writers do not wait for them, and of two brokers one makes the checkpoint.
#[tokio::test]
async fn the_log_goes_on_while_a_checkpoint_is_signed() {
    let db = Db::new().await;
    write(&db, 1).await;
    let slow = async |input| {
        write(&db, 1).await;
        checkpoint(&db).await;
        sign(&key(7))(input).await
    };
    assert_eq!(db.store.checkpoint("audit/1", slow, NOW).await.unwrap(), None);
    let log = verify(&db).await;
    assert_eq!((log.checkpoints, log.unsigned_rows, log.is_good()), (1, 0, true));
}

/// Seven rows by two writers, checkpoints after the fifth and the seventh.
async fn seven_rows() -> (Db, [WriterId; 2]) {
    let mut db = Db::new().await;
    write(&db, 4).await;
    checkpoint(&db).await;
    db.reopen().await;
    write(&db, 1).await;
    checkpoint(&db).await;
    let log = verify(&db).await;
    assert!(log.is_good() && log.rows == 7 && log.checkpoints == 2, "{log:?}");
    let rows = audit::page(&mut db.store.read().await.unwrap(), 0, 10).await.unwrap();
    (db, [rows[0].writer, rows[6].writer])
}

/// Somebody with a database shell comes; the faults that are found then, writers by their number.
async fn faults(sql: &'static str) -> Vec<(usize, u64, Option<i64>, RowFault)> {
    let (db, writers) = seven_rows().await;
    tamper(&db, sql).await;
    let of = |writer| writers.iter().position(|known| *known == writer).unwrap() + 1;
    let row = |fault: Fault| match fault {
        Fault::Row { writer, sequence, position, fault } => (of(writer), sequence, position, fault),
        other => panic!("{other}"),
    };
    verify(&db).await.faults.into_iter().map(row).collect()
}

async fn tamper(db: &Db, sql: &'static str) {
    assert!(db.tamper(sql).await > 0, "{sql}");
}

#[tokio::test]
async fn an_edited_row_is_named() {
    for sql in [
        "UPDATE audit SET body = (SELECT body FROM audit WHERE position = 2) WHERE position = 3",
        "UPDATE audit SET hash = (SELECT hash FROM audit WHERE position = 2) WHERE position = 3",
        "UPDATE audit SET previous_hash = hash WHERE position = 3",
    ] {
        assert_eq!(faults(sql).await, [(1, 3, Some(3), RowFault::Changed)], "{sql}");
    }
}

#[tokio::test]
async fn removed_rows_are_named() {
    let removed = |through| RowFault::Removed { through };
    assert_eq!(faults("DELETE FROM audit WHERE position = 3").await, [(1, 3, Some(4), removed(3))]);
    assert_eq!(faults("DELETE FROM audit WHERE position < 4").await, [(1, 1, Some(4), removed(3))]);
}

#[tokio::test]
async fn a_moved_row_is_named() {
    let sql = "UPDATE audit SET position = position + 100 WHERE position = 3";
    assert_eq!(faults(sql).await, [(1, 3, Some(103), RowFault::Reordered)]);
}

#[tokio::test]
async fn a_row_that_is_there_twice_and_a_fork_are_named() {
    // What keeps rows unique is taken away first.
    let unconstrained = async |sql| {
        let (db, writers) = seven_rows().await;
        db.tamper(
            "CREATE TABLE copied AS SELECT * FROM audit; DROP TABLE audit; ALTER TABLE copied RENAME TO audit",
        )
        .await;
        db.tamper(sql).await;
        let report = verify(&db).await;
        assert!(report.faults.iter().all(|fault| fault.to_string().contains(&writers[0].to_string())));
        report
            .faults
            .into_iter()
            .map(|fault| match fault {
                Fault::Row { sequence, position, fault, .. } => (sequence, position, fault),
                other => panic!("{other}"),
            })
            .collect::<Vec<_>>()
    };
    let twice = "INSERT INTO audit SELECT 8, writer, sequence, previous_hash, hash, body FROM audit WHERE position = 3";
    assert_eq!(unconstrained(twice).await, [(3, Some(8), RowFault::Repeated)]);
    let fork = "INSERT INTO audit SELECT 8, writer, 3, previous_hash, (SELECT hash FROM audit WHERE position = 2), body
        FROM audit WHERE position = 4";
    assert_eq!(unconstrained(fork).await, [(3, Some(8), RowFault::Forked { witness: Witness::Row })]);
}

#[tokio::test]
async fn a_cut_end_is_named_by_what_knows_of_it() {
    let cut = |through, witness| RowFault::Truncated { through, witness };
    let checkpoint = Witness::Checkpoint;
    assert_eq!(faults("DELETE FROM audit WHERE position >= 7").await, [(2, 2, None, cut(2, checkpoint(2)))]);
    // The end of an earlier chain, and a writer that vanished whole.
    assert_eq!(faults("DELETE FROM audit WHERE position = 5").await, [(1, 5, None, cut(5, checkpoint(1)))]);
    assert_eq!(faults("DELETE FROM audit WHERE position <= 5").await, [(1, 1, None, cut(5, checkpoint(1)))]);
}

#[tokio::test]
async fn without_checkpoints_the_next_writer_knows_of_the_end() {
    let (db, [_, second]) = seven_rows().await;
    tamper(&db, "DELETE FROM audit_checkpoints").await;
    tamper(&db, "DELETE FROM audit WHERE position = 5").await;
    let witness = Witness::Start(second);
    let faults = verify(&db).await.faults;
    assert!(
        matches!(faults.as_slice(), [Fault::Row { sequence: 5, fault: RowFault::Truncated { through: 5, witness: named }, .. }]
            if *named == witness),
        "{faults:?}"
    );
}

/// The attacker takes the last checkpoints too: only a copy that was kept elsewhere knows.
#[tokio::test]
async fn a_cut_end_without_its_checkpoints_is_found_against_a_copy() {
    let (db, [_, second]) = seven_rows().await;
    let copies = audit::heads(&mut db.store.read().await.unwrap()).await.unwrap();
    assert_eq!(copies.len(), 2);
    tamper(&db, "DELETE FROM audit_checkpoints WHERE number = 2").await;
    tamper(&db, "DELETE FROM audit WHERE position = 7").await;
    assert!(verify(&db).await.is_good(), "nothing in the database says so");
    let mut reader = db.store.read().await.unwrap();
    let report = audit::verify_against(&mut reader, &[public(&key(7))], Trust::Named, &copies).await.unwrap();
    let cut = RowFault::Truncated { through: 2, witness: Witness::Copy };
    assert_eq!(report.faults, [Fault::Row { writer: second, sequence: 2, position: None, fault: cut }]);
}

#[tokio::test]
async fn a_chain_that_was_written_anew_is_named() {
    // Hashes that fit, made with the product's own code: the checkpoint knows better.
    let (db, [first, _]) = seven_rows().await;
    let rows = audit::page(&mut db.store.read().await.unwrap(), 0, 10).await.unwrap();
    let mut head = rows[1].head();
    for row in &rows[2..5] {
        let row = head.row(row.position, rows[1].bytes.clone());
        head = row.head();
        let sql = format!(
            "UPDATE audit SET previous_hash = '{}', hash = '{}', body = (SELECT body FROM audit WHERE position = 2)
                WHERE position = {}",
            row.previous, row.hash, row.position
        );
        assert_eq!(db.tamper(sql.leak()).await, 1);
    }
    let forked = RowFault::Forked { witness: Witness::Checkpoint(1) };
    let faults = verify(&db).await.faults;
    assert_eq!(faults[0], Fault::Row { writer: first, sequence: 5, position: Some(5), fault: forked });
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named() {
    let (db, _) = seven_rows().await;
    tamper(&db, "UPDATE audit SET hash = 'x' WHERE position = 3").await;
    assert_eq!(verify(&db).await.faults[0], Fault::Unreadable { position: 3 });
}

#[tokio::test]
async fn an_edited_or_missing_checkpoint_is_named() {
    let checkpoint_faults = async |sql| {
        let (db, _) = seven_rows().await;
        tamper(&db, sql).await;
        verify(&db)
            .await
            .faults
            .into_iter()
            .map(|fault| match fault {
                Fault::Checkpoint { number, fault } => (number, fault),
                other => panic!("{other}"),
            })
            .collect::<Vec<_>>()
    };
    let swapped =
        "UPDATE audit_checkpoints SET signature = (SELECT signature FROM audit_checkpoints WHERE number = 2)
        WHERE number = 1";
    assert_eq!(checkpoint_faults(swapped).await, [(1, CheckpointFault::Signature)]);
    let short = "UPDATE audit_checkpoints SET signature = body WHERE number = 1";
    assert_eq!(checkpoint_faults(short).await, [(1, CheckpointFault::Signature)]);
    let removed = "DELETE FROM audit_checkpoints WHERE number = 1";
    assert_eq!(checkpoint_faults(removed).await, [(1, CheckpointFault::Removed { through: 1 })]);
}

#[tokio::test]
async fn another_key_does_not_vouch() {
    let db = Db::new().await;
    write(&db, 1).await;
    db.store.checkpoint("audit/1", sign(&key(8)), NOW).await.unwrap().unwrap();
    let signature = Fault::Checkpoint { number: 1, fault: CheckpointFault::Signature };
    assert_eq!(verify(&db).await.faults, [signature]);
    // Whoever can write to the database can name a key there; a key from outside does not mind.
    let mut reader = db.store.read().await.unwrap();
    let named = [public(&key(7)), public(&key(8))];
    assert!(audit::verify(&mut reader, &named).await.unwrap().is_good());
    let trusted = audit::verify_against(&mut reader, &named, Trust::Only(&named[..1]), &[]).await.unwrap();
    assert_eq!(trusted.faults, [Fault::Checkpoint { number: 1, fault: CheckpointFault::Untrusted }]);
}

#[tokio::test]
async fn a_new_checkpoint_key_is_trusted_through_the_old_one() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let announced = thumbprint(&public(&key(8)));
    tx.audit(&record(Event::CheckpointKeyAnnounce { key: announced })).await.unwrap();
    tx.commit().await.unwrap();
    checkpoint(&db).await;
    write(&db, 1).await;
    db.store.checkpoint("audit/2", sign(&key(8)), NOW).await.unwrap().unwrap();
    let mut reader = db.store.read().await.unwrap();
    let named = [public(&key(7)), public(&key(8))];
    let report = audit::verify_against(&mut reader, &named, Trust::Only(&named[..1]), &[]).await.unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.checkpoints, report.unsigned_rows), (2, 0));
}

/// Several brokers: each writer's rows count for themselves, whatever their positions.
#[tokio::test]
async fn a_checkpoint_speaks_about_rows_with_lower_positions_that_came_late() {
    let (db, [_, second]) = seven_rows().await;
    write(&db, 1).await;
    // As if another broker had committed late.
    tamper(&db, "UPDATE audit SET position = -1 WHERE position = 8").await;
    checkpoint(&db).await;
    let last = checkpoints::page(&mut db.store.read().await.unwrap(), 2, 10).await.unwrap().remove(0);
    let last = usher_audit::Checkpoint::decode(&last.signed.bytes).unwrap();
    assert_eq!(last.heads.iter().map(|head| (head.writer, head.sequence)).collect::<Vec<_>>(), [(second, 3)]);
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
    assert_eq!(verify(&db).await.rows, 1 + 2 * 40);
}
