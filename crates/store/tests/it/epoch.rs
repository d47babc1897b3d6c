//! Guarantee 2: no row is inserted on a decision that is older than a committed disable. With its negative control.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use usher_audit::{Event, Record};
use usher_identity::{UserRecord, UserStatus};
use usher_policy::Purpose;
use usher_store::{
    Conn, Epoch, Issuance, Outcome, Store, StoreError, Verdict, WriteTx,
    connections::{NewConnection, RequestName},
    users::{self, UserChange},
};
use usher_types::{ConnectionId, DeviceId, ProjectId, ServerId, SessionId, Sha256, UserId};

use crate::support::{Db, NOW, POSTGRES, number, record, rounds, unique, user};

/// What an item does when the epoch moved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// Reads the user's row again.
    Again,
    /// Nothing: the mistake that the tests must be able to see.
    None,
}

pub(crate) struct Item {
    epoch: Epoch,
    user: UserId,
    care: Care,
    pub(crate) row: NewConnection,
    record: Record,
    decided_again: bool,
}

impl Issuance for Item {
    fn decided_at(&self) -> Epoch {
        self.epoch
    }

    async fn decide_again(&mut self, tx: &mut WriteTx) -> Result<Verdict, StoreError> {
        self.decided_again = true;
        if self.care == Care::None {
            return Ok(Verdict::Stands);
        }
        let user = users::by_id(tx, self.user).await?;
        let active = user.is_some_and(|user| user.status == UserStatus::Active);
        Ok(if active { Verdict::Stands } else { Verdict::Falls })
    }

    fn connection(&self) -> &NewConnection {
        &self.row
    }

    fn record(&self) -> &Record {
        &self.record
    }
}

fn row(user: UserId, jti: String) -> NewConnection {
    NewConnection {
        id: ConnectionId::new(NOW, unique()),
        project_id: ProjectId::new(NOW, [1; 10]),
        server_id: ServerId::new(NOW, [2; 10]),
        user_id: user,
        device_id: DeviceId::new(NOW, [3; 10]),
        session_id: SessionId::new(NOW, [4; 10]),
        login: "alice".parse().unwrap(),
        purpose: Purpose::Command,
        client_address: "192.0.2.1".parse().unwrap(),
        certificates: Vec::new(),
        created_at: NOW,
        expires_at: NOW,
        request: RequestName { jkt: Sha256::of(b"device"), jti, content: Sha256::of(b"body") },
        answer: "{}".to_owned(),
    }
}

/// Decides as a broker would: on one snapshot. `None` when the user may not.
pub(crate) async fn decide(store: &Store, user: UserId, care: Care) -> Option<Item> {
    let mut reader = store.read().await.unwrap();
    let epoch = reader.epoch().await.unwrap();
    let row_of_user = users::by_id(&mut reader, user).await.unwrap().unwrap();
    (row_of_user.status == UserStatus::Active).then(|| item(epoch, user, care, format!("{:?}", unique())))
}

pub(crate) fn item(epoch: Epoch, user: UserId, care: Care, jti: String) -> Item {
    let record = record(Event::UserSetUp { user_id: user });
    Item { epoch, user, care, row: row(user, jti), record, decided_again: false }
}

pub(crate) async fn set_status(tx: &mut WriteTx, user: &UserRecord, status: UserStatus) {
    let before = users::by_id(tx, user.id).await.unwrap().unwrap();
    let change = UserChange { status: Some(status), ..UserChange::default() };
    users::update(tx, &before, &change, NOW).await.unwrap();
}

pub(crate) async fn count(conn: &mut Conn) -> i64 {
    number(conn, "SELECT COUNT(*) AS n FROM connections").await
}

pub(crate) async fn new_user(db: &Db) -> UserRecord {
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    tx.commit().await.unwrap();
    alice
}

#[tokio::test]
async fn a_decision_from_before_a_disable_falls() {
    let db = Db::new().await;
    let alice = new_user(&db).await;
    for (care, expected) in [(Care::Again, Outcome::Fell), (Care::None, Outcome::Recorded)] {
        let mut tx = db.store.begin().await.unwrap();
        set_status(&mut tx, &alice, UserStatus::Active).await;
        tx.commit().await.unwrap();
        let item = decide(&db.store, alice.id, care).await.unwrap();
        let mut tx = db.store.begin().await.unwrap();
        set_status(&mut tx, &alice, UserStatus::Disabled).await;
        tx.commit().await.unwrap();
        let (item, outcome) = db.store.issue(item).await.unwrap();
        assert!(item.decided_again);
        // The careless item shows what the check is for.
        assert_eq!(outcome, expected);
    }
}

#[tokio::test]
async fn a_decision_that_is_current_is_not_made_again() {
    let db = Db::new().await;
    let alice = new_user(&db).await;
    let item = decide(&db.store, alice.id, Care::Again).await.unwrap();
    let (item, outcome) = db.store.issue(item).await.unwrap();
    assert_eq!((item.decided_again, outcome), (false, Outcome::Recorded));
}

#[tokio::test]
async fn a_decision_that_still_holds_stands_after_an_unrelated_change() {
    let db = Db::new().await;
    let alice = new_user(&db).await;
    let item = decide(&db.store, alice.id, Care::Again).await.unwrap();
    let mut tx = db.store.begin().await.unwrap();
    tx.bump_epoch().await.unwrap();
    tx.commit().await.unwrap();
    let (item, outcome) = db.store.issue(item).await.unwrap();
    assert_eq!((item.decided_again, outcome), (true, Outcome::Recorded));
}

#[tokio::test]
async fn the_same_request_is_recorded_once_even_within_one_batch() {
    let db = Db::new().await;
    let alice = new_user(&db).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut item = decide(&db.store, alice.id, Care::Again).await.unwrap();
        item.row.request.jti = "the same".to_owned();
        let store = db.store.clone();
        tasks.spawn(async move { store.issue(item).await.unwrap().1 });
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Recorded).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Repeated).count(), 19);
    let mut reader = db.store.read().await.unwrap();
    assert_eq!(count(&mut reader).await, 1);
}

/// Where access is taken away: SQLite has one broker.
async fn elsewhere(db: &Db) -> Store {
    if POSTGRES { db.another().await } else { db.store.clone() }
}

/// What one round of the race saw.
struct Round {
    before: i64,
    after: i64,
}

/// Many mint while one disables; rows are counted in the disabling transaction and again when all is quiet. On
/// PostgreSQL it is another broker that disables.
async fn round(
    db: &Db,
    elsewhere: &Store,
    user: &UserRecord,
    care: Care,
    minters: usize,
    batch: u64,
) -> Round {
    let mut tx = db.store.begin().await.unwrap();
    set_status(&mut tx, user, UserStatus::Active).await;
    tx.commit().await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let minted = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..minters {
        let (store, id) = (db.store.clone(), user.id);
        let (stop, minted) = (Arc::clone(&stop), Arc::clone(&minted));
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let Some(item) = decide(&store, id, care).await else { return };
                // Signing takes its time.
                tokio::task::yield_now().await;
                store.issue(item).await.unwrap();
                minted.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while minted.load(Ordering::Relaxed) < batch {
        tokio::task::yield_now().await;
    }
    let mut tx = elsewhere.begin().await.unwrap();
    set_status(&mut tx, user, UserStatus::Disabled).await;
    let before = count(&mut tx).await;
    tx.commit().await.unwrap();
    stop.store(true, Ordering::Relaxed);
    tokio::time::timeout(Duration::from_secs(60), tasks.join_all()).await.unwrap();
    let after = count(&mut db.store.read().await.unwrap()).await;
    Round { before, after }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_inserted_after_a_disable_however_many_mint() {
    let db = Db::new().await;
    let alice = new_user(&db).await;
    let elsewhere = elsewhere(&db).await;
    for number in 0..rounds(20, 10_000) {
        let Round { before, after } = round(&db, &elsewhere, &alice, Care::Again, 32, 64).await;
        assert!(before > 0);
        assert_eq!(after - before, 0, "rows after the disable in round {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn negative_control_the_race_is_seen_when_nobody_decides_again() {
    let db = Db::new().await;
    let alice = new_user(&db).await;
    let elsewhere = elsewhere(&db).await;
    for _ in 0..200 {
        let Round { before, after } = round(&db, &elsewhere, &alice, Care::None, 32, 8).await;
        if after > before {
            return;
        }
    }
    panic!("the stress never hit the window: it proves nothing");
}

#[tokio::test]
async fn subscribers_hear_of_a_new_epoch_after_the_commit_only() {
    let db = Db::new().await;
    let mut changes = db.store.subscribe();
    let before = *changes.borrow_and_update();

    let mut tx = db.store.begin().await.unwrap();
    let bumped = tx.bump_epoch().await.unwrap();
    assert_eq!(tx.bump_epoch().await.unwrap(), bumped, "once per transaction");
    assert_eq!(tx.epoch().await.unwrap(), bumped);
    assert!(!changes.has_changed().unwrap());
    drop(tx);
    assert!(!changes.has_changed().unwrap(), "dropped, so nothing happened");

    let mut tx = db.store.begin().await.unwrap();
    tx.bump_epoch().await.unwrap();
    tx.commit().await.unwrap();
    assert!(changes.has_changed().unwrap());
    assert!(*changes.borrow_and_update() > before);

    let mut tx = db.store.begin().await.unwrap();
    tx.wake();
    tx.commit().await.unwrap();
    assert!(changes.has_changed().unwrap(), "woken although the epoch stays");
}

#[tokio::test]
async fn another_process_moving_the_epoch_is_noticed() {
    let db = Db::new().await;
    let mut changes = db.store.subscribe();
    changes.mark_unchanged();
    db.store.poll_epoch().await.unwrap();
    assert!(!changes.has_changed().unwrap());

    let other = db.another().await;
    let mut tx = other.begin().await.unwrap();
    let bumped = tx.bump_epoch().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(db.store.poll_epoch().await.unwrap(), bumped);
    assert!(changes.has_changed().unwrap());
}
