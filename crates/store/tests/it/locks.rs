//! Locks: what they are on, what they do to decisions and documents, and that somebody is left to lift them.

use usher_identity::UserRecord;
use usher_policy::Locked;
use usher_store::{
    LockKind, WriteTx, connections, desired, devices,
    locks::{self, SetLockError, Target},
    project_groups::Role,
    servers,
    users::{self, UserChange},
};
use usher_testkit::{NOW, fixture};
use usher_types::{LockReason, ServerId, TeamRole};

use crate::{
    support::{Db, admin, session, user},
    world::{World, target},
};

fn reason(text: &str) -> LockReason {
    text.parse().unwrap()
}

async fn lock(tx: &mut WriteTx, target: Target) -> bool {
    locks::set(tx, target, &reason("stolen"), fixture::user(9), NOW).await.unwrap()
}

/// alice has access to server web-1 of project shop.
async fn shop() -> (World, ServerId) {
    let world = World::new().await;
    world.project(1, "shop").await;
    world.group(1, "sre", 1, Role::User).await;
    world.user(1, "alice", &[1]).await;
    world.token(1, 1, 1, target(None)).await;
    let server = world.enroll(1, "agent", "web-1").await.unwrap();
    (world, server)
}

#[tokio::test]
async fn every_lock_is_a_fact_of_the_decision_and_moves_the_epoch() {
    let (world, server) = shop().await;
    let device = fixture::device(1);
    for (target, on) in
        [(Target::Server(server), Locked::Server), (Target::Project(fixture::project(1)), Locked::Project)]
    {
        let mut tx = world.store.begin().await.unwrap();
        let before = tx.epoch().await.unwrap();
        assert!(lock(&mut tx, target).await);
        assert!(!lock(&mut tx, target).await, "the same again is nothing new");
        assert!(tx.epoch().await.unwrap() > before);
        tx.commit().await.unwrap();
        let mut tx = world.store.begin().await.unwrap();
        let row = servers::by_id(&mut tx, server).await.unwrap().unwrap();
        assert!(row.locked);
        let facts = connections::facts(&mut tx, fixture::user(1), Some(device), &row).await.unwrap().unwrap();
        let found: Vec<_> = facts.locks.iter().map(|lock| (lock.on, lock.reason.as_str())).collect();
        assert_eq!(found, [(on, "stolen")]);
        let before = tx.epoch().await.unwrap();
        assert!(locks::clear(&mut tx, target).await.unwrap());
        assert!(tx.epoch().await.unwrap() > before);
        assert!(!locks::clear(&mut tx, target).await.unwrap());
        let row = servers::by_id(&mut tx, server).await.unwrap().unwrap();
        let facts = connections::facts(&mut tx, fixture::user(1), Some(device), &row).await.unwrap().unwrap();
        assert!(!row.locked && facts.locks.is_empty());
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn documents_say_what_is_locked() {
    let (world, server) = shop().await;
    let snapshot = async || {
        let mut reader = world.store.read().await.unwrap();
        let snapshot = desired::snapshot(&mut reader, fixture::project(1)).await.unwrap().unwrap();
        (snapshot.project.locked, snapshot.project.accounts[0].locked, snapshot.servers[0].locked)
    };
    assert_eq!(snapshot().await, (false, false, false));
    let project = Target::Project(fixture::project(1));
    for (target, expected) in [(project, (true, false, false)), (Target::Server(server), (true, false, true))]
    {
        let mut tx = world.store.begin().await.unwrap();
        lock(&mut tx, target).await;
        tx.commit().await.unwrap();
        assert_eq!(snapshot().await, expected);
    }
    // Around the rule that an administrator must be left: this team has none.
    let mut tx = world.store.begin().await.unwrap();
    let set = locks::set(&mut tx, Target::User(fixture::user(1)), &reason("x"), fixture::user(9), NOW).await;
    assert!(matches!(set, Err(SetLockError::LastOwner)));
    tx.commit().await.unwrap();
    assert_eq!(snapshot().await, (true, true, true));
}

/// Two administrators at work, each on a device of its own.
async fn two_admins(db: &Db) -> [UserRecord; 2] {
    let mut tx = db.store.begin().await.unwrap();
    let (ann, ben) = (admin(&mut tx, "ann").await, admin(&mut tx, "ben").await);
    session(&mut tx, &ann).await;
    session(&mut tx, &ben).await;
    tx.commit().await.unwrap();
    [ann, ben]
}

#[tokio::test]
async fn somebody_is_left_who_can_lift_locks() {
    let db = Db::new().await;
    let [ann, ben] = two_admins(&db).await;
    let mut tx = db.store.begin().await.unwrap();
    assert!(lock(&mut tx, Target::User(ben.id)).await);
    let again = locks::set(&mut tx, Target::User(ann.id), &reason("x"), ben.id, NOW).await;
    assert!(matches!(again, Err(SetLockError::LastOwner)));
    drop(tx);

    // Neither by way of the device, nor by disabling who is not locked.
    let mut tx = db.store.begin().await.unwrap();
    lock(&mut tx, Target::User(ben.id)).await;
    tx.commit().await.unwrap();
    let mut tx = db.store.begin().await.unwrap();
    let own = devices::of_user(&mut tx, ann.id).await.unwrap();
    let device = Target::Device(own[0].record.id);
    let set = locks::set(&mut tx, device, &reason("x"), ann.id, NOW).await;
    assert!(matches!(set, Err(SetLockError::LastOwner)));
    drop(tx);
    let mut tx = db.store.begin().await.unwrap();
    let change = UserChange { team_role: Some(TeamRole::Member), ..UserChange::default() };
    assert!(users::update(&mut tx, &ann, &change, NOW).await.is_err());
}

#[tokio::test]
async fn the_list_names_what_is_locked_and_by_whom() {
    let db = Db::new().await;
    let [ann, _] = two_admins(&db).await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    let (device, _) = session(&mut tx, &alice).await;
    for target in [Target::User(alice.id), Target::Device(device.id)] {
        assert!(locks::set(&mut tx, target, &reason("left her bag"), ann.id, NOW).await.unwrap());
    }
    let listed = locks::list(&mut tx).await.unwrap();
    let shown: Vec<_> = listed.iter().map(|lock| (lock.kind, lock.name.as_str())).collect();
    assert_eq!(shown, [(LockKind::Device, "laptop"), (LockKind::User, "alice")]);
    assert!(listed.iter().all(|lock| lock.locked_by.as_ref().unwrap().as_str() == "ann"));
    assert_eq!(locks::of_caller(&mut tx, alice.id, device.id).await.unwrap().len(), 2);
    assert_eq!(locks::of_caller(&mut tx, ann.id, device.id).await.unwrap().len(), 1);
    // Another reason takes the place of the first one.
    assert!(locks::set(&mut tx, Target::User(alice.id), &reason("is back"), ann.id, NOW).await.unwrap());
    // Whoever is gone needs no lock.
    users::delete(&mut tx, &alice).await.unwrap();
    assert_eq!(locks::list(&mut tx).await.unwrap(), []);
}
