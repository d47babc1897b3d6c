//! Following the log: every row once, also those that are committed behind others with higher positions; and how far
//! sinks have it.

use std::{collections::BTreeMap, time::Duration};

use usher_audit::{ChainRow, Event, WriterId};
use usher_store::{
    Store,
    audit::{self, Cursor, export},
};
use usher_types::{UnixTime, UserId};

use crate::support::{Db, NOW, record, unique};

async fn write(store: &Store, rows: usize) {
    let mut tx = store.begin().await.unwrap();
    for _ in 0..rows {
        tx.audit(&record(Event::UserSetUp { user_id: UserId::new(NOW, unique()) })).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// Reads on until nothing new comes.
async fn read_on(db: &Db, cursor: &mut Cursor, limit: u32) -> Vec<ChainRow> {
    let mut all = Vec::new();
    loop {
        let before = cursor.position;
        let rows = audit::follow(&mut db.store.read().await.unwrap(), cursor, limit).await.unwrap();
        if rows.is_empty() && cursor.position == before {
            return all;
        }
        all.extend(rows);
    }
}

#[track_caller]
fn whole(rows: &[ChainRow]) -> Vec<u64> {
    let mut read = BTreeMap::<WriterId, u64>::new();
    for row in rows {
        let last = read.entry(row.writer).or_insert(0);
        assert_eq!(row.sequence, *last + 1, "each row once, in the order of its writer");
        *last = row.sequence;
    }
    let mut lengths: Vec<u64> = read.into_values().collect();
    lengths.sort_unstable();
    lengths
}

#[tokio::test]
async fn every_row_comes_once_and_cursors_survive_their_text() {
    let db = Db::new().await;
    let other = db.another().await;
    let (mut cursor, mut all) = (Cursor::default(), Vec::new());
    for rows in [3, 1, 7] {
        write(&db.store, rows).await;
        write(&other, rows).await;
        all.extend(read_on(&db, &mut cursor, 4).await);
        cursor = cursor.to_string().parse().unwrap();
    }
    assert_eq!(whole(&all), [12, 12]);
    assert_eq!(read_on(&db, &mut cursor, 4).await, []);
    for bad in ["", "x", "1.", "1.x-1", "1.00000000000000000000000000000000", "1-1"] {
        assert!(bad.parse::<Cursor>().is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_row_that_appears_behind_the_cursor_is_not_missed() {
    let db = Db::new().await;
    let other = db.another().await;
    write(&db.store, 3).await;
    write(&other, 2).await;
    write(&db.store, 2).await;
    // The other broker's rows have their positions but are not committed yet.
    db.tamper("CREATE TABLE uncommitted AS SELECT * FROM audit WHERE position IN (5, 6, 7)").await;
    assert_eq!(db.tamper("DELETE FROM audit WHERE position IN (5, 6, 7)").await, 3);
    let mut cursor = Cursor::default();
    let mut all = read_on(&db, &mut cursor, 100).await;
    assert_eq!(all.iter().map(|row| row.position).collect::<Vec<_>>(), [1, 2, 3, 4, 8, 9]);
    db.tamper("INSERT INTO audit SELECT * FROM uncommitted").await;
    let late = read_on(&db, &mut cursor, 100).await;
    assert_eq!(late.iter().map(|row| row.position).collect::<Vec<_>>(), [5, 6, 7]);
    all.extend(late);
    assert_eq!(whole(&all), [3, 6]);
}

#[tokio::test]
async fn times_lead_to_positions() {
    let db = Db::new().await;
    let at = |minutes: u64| NOW.saturating_add(Duration::from_secs(60 * minutes));
    for minute in 1..=5 {
        write(&db.store, 10).await;
        let sign = |_input| std::future::ready(Ok::<_, std::io::Error>([0; 64]));
        db.store.checkpoint("audit/1", sign, at(minute)).await.unwrap().unwrap();
    }
    let mut reader = db.store.read().await.unwrap();
    let before = async |reader: &mut usher_store::Reader, minute| {
        audit::position_before(reader, at(minute)).await.unwrap()
    };
    assert_eq!(
        [
            before(&mut reader, 0).await,
            before(&mut reader, 1).await,
            before(&mut reader, 3).await,
            before(&mut reader, 9).await
        ],
        [0, 0, 21, 51]
    );
    let behind = async |reader: &mut usher_store::Reader, minute| {
        audit::position_behind(reader, at(minute)).await.unwrap()
    };
    assert_eq!(behind(&mut reader, 3).await, Some(41));
    assert_eq!(behind(&mut reader, 5).await, None);
    assert_eq!(behind(&mut reader, 0).await, None, "no checkpoint is that old: the whole log may be meant");
}

const LATER: UnixTime = UnixTime::from_secs(NOW.as_secs() + 60);
const LATEST: UnixTime = UnixTime::from_secs(NOW.as_secs() + 120);

async fn hold(db: &Db, holder: &str, now: UnixTime) -> Option<export::Progress> {
    let mut tx = db.store.begin().await.unwrap();
    let until = now.saturating_add(Duration::from_secs(60));
    let progress = export::hold(&mut tx, "file", holder, now, until).await.unwrap();
    tx.commit().await.unwrap();
    progress
}

async fn save(db: &Db, holder: &str, progress: &mut export::Progress) -> bool {
    let mut tx = db.store.begin().await.unwrap();
    let saved = export::save(&mut tx, "file", holder, progress, LATER).await.unwrap();
    tx.commit().await.unwrap();
    saved
}

#[tokio::test]
async fn a_sink_goes_on_where_it_was_noted() {
    let db = Db::new().await;
    write(&db.store, 5).await;
    let mut progress = hold(&db, "a", NOW).await.unwrap();
    let mut reader = db.store.read().await.unwrap();
    assert_eq!(progress.next(&mut reader, 4).await.unwrap().len(), 4);
    assert!(save(&db, "a", &mut progress).await);
    assert_eq!(progress.next(&mut reader, 4).await.unwrap().len(), 2);
    drop(reader);
    // Not noted, so it comes again: at least once.
    let mut again = hold(&db, "a", NOW).await.unwrap();
    let mut reader = db.store.read().await.unwrap();
    assert_eq!(again.next(&mut reader, 4).await.unwrap().len(), 2);
    assert_eq!(again.next(&mut reader, 4).await.unwrap(), []);
}

#[tokio::test]
async fn one_process_holds_a_sink_until_its_time_is_over() {
    let db = Db::new().await;
    write(&db.store, 2).await;
    let mut first = hold(&db, "a", NOW).await.unwrap();
    assert!(hold(&db, "b", NOW).await.is_none());
    assert!(hold(&db, "b", LATEST).await.is_some());
    // The first one was away for too long: what it notes does not count any more.
    let mut reader = db.store.read().await.unwrap();
    first.next(&mut reader, 10).await.unwrap();
    drop(reader);
    assert!(!save(&db, "a", &mut first).await);
    let mut tx = db.store.begin().await.unwrap();
    export::release(&mut tx, "file", "b").await.unwrap();
    tx.commit().await.unwrap();
    let mut third = hold(&db, "c", LATEST).await.unwrap();
    assert_eq!(third.next(&mut db.store.read().await.unwrap(), 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_sink_gets_rows_that_came_far_too_late() {
    let db = Db::new().await;
    let other = db.another().await;
    write(&other, 2).await;
    write(&db.store, 2).await;
    assert_eq!(db.tamper("UPDATE audit SET position = position - 2000 WHERE position < 4").await, 3);
    let mut progress = hold(&db, "a", NOW).await.unwrap();
    let mut reader = db.store.read().await.unwrap();
    let mut all = progress.next(&mut reader, 2000).await.unwrap();
    assert!(all.iter().all(|row| row.position > 0), "{all:?}");
    all.extend(progress.lagging(&mut reader, 2000).await.unwrap());
    assert_eq!(progress.lagging(&mut reader, 2000).await.unwrap(), []);
    assert_eq!(whole(&all), [3, 3]);
}
