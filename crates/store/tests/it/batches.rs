//! Batches of every shape: each connection gets its own row and its own audit row, or none of the batch does.

use tokio::task::JoinSet;
use usher_identity::UserRecord;
use usher_store::{Outcome, audit, connections};

use crate::{
    epoch::{Care, Item, count, decide, new_user},
    support::{Db, NOW},
};

async fn item(db: &Db, alice: &UserRecord, number: usize) -> Item {
    let mut item = decide(&db.store, alice.id, Care::Again).await.unwrap();
    item.row.request.jti = format!("request {number}");
    item.row.answer = format!("{{\"answer\":{number}}}");
    item
}

/// Hands all in while the writer's turn is taken, so that they are recorded together.
async fn together(db: &Db, items: Vec<Item>) -> Vec<Option<Outcome>> {
    let turn = db.store.begin().await.unwrap();
    let mut tasks = JoinSet::new();
    for (place, item) in items.into_iter().enumerate() {
        let store = db.store.clone();
        tasks.spawn(async move { (place, store.issue(item).await.ok().map(|(_, outcome)| outcome)) });
    }
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    drop(turn);
    let mut outcomes = tasks.join_all().await;
    outcomes.sort_by_key(|(place, _)| *place);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

#[tokio::test]
async fn batches_of_every_size_are_recorded_whole() {
    let db = Db::new().await;
    let alice = new_user(&db).await;
    // The first row of a log says that it begins.
    let first = item(&db, &alice, 0).await;
    assert_eq!(together(&db, vec![first]).await, [Some(Outcome::Recorded)]);
    let mut all = 1;
    // Around the sizes of statements, and more than a batch takes.
    for size in [1, 2, 3, 5, 7, 13, 31, 64, 127, 128, 129, 200] {
        let mut items = Vec::new();
        for number in all..all + size {
            items.push(item(&db, &alice, number).await);
        }
        let asked: Vec<_> =
            items.iter().map(|item| (item.row.request.clone(), item.row.answer.clone())).collect();
        let before = audit::verify(&mut db.store.read().await.unwrap(), &[]).await.unwrap().rows;
        assert!(
            together(&db, items).await.iter().all(|outcome| *outcome == Some(Outcome::Recorded)),
            "{size}"
        );
        all += size;
        let mut reader = db.store.read().await.unwrap();
        assert_eq!(usize::try_from(count(&mut reader).await), Ok(all));
        for (request, answer) in asked {
            let repeated = connections::repeated(&mut reader, &request, NOW).await.unwrap();
            assert_eq!(repeated, Some(connections::Repeated::Answer(answer)));
        }
        let log = audit::verify(&mut reader, &[]).await.unwrap();
        assert!(log.is_good(), "{size}: {log:?}");
        assert_eq!(log.rows - before, u64::try_from(size).unwrap(), "an audit row each");
    }
}

/// Some of a batch were recorded earlier: those get no second row, neither of a connection nor in the log.
#[tokio::test]
async fn what_was_recorded_before_is_told_apart_within_a_batch() {
    let db = Db::new().await;
    let alice = new_user(&db).await;
    let old = [item(&db, &alice, 3).await, item(&db, &alice, 8).await];
    assert_eq!(together(&db, old.into()).await, [Some(Outcome::Recorded); 2]);
    let before = audit::verify(&mut db.store.read().await.unwrap(), &[]).await.unwrap().rows;
    let mut items = Vec::new();
    for number in 0..13 {
        items.push(item(&db, &alice, number).await);
    }
    let outcomes = together(&db, items).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let expected = if [3, 8].contains(&number) { Outcome::Repeated } else { Outcome::Recorded };
        assert_eq!(outcome, Some(expected), "{number}");
    }
    let mut reader = db.store.read().await.unwrap();
    assert_eq!(count(&mut reader).await, 13);
    let log = audit::verify(&mut reader, &[]).await.unwrap();
    assert!(log.is_good(), "{log:?}");
    assert_eq!(log.rows - before, 11);
}
