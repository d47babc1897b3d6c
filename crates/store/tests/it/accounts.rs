//! UIDs, GIDs and Unix names: given once, to one.

use usher_store::{
    groups,
    project_groups::{self, Role, SetProjectGroupError},
    project_users::{self, AllocateUserError, Scope},
    projects,
    users::{self, CreateUserError, UserChange},
};

use crate::{
    redemption,
    support::{Db, NOW, group, project, user, user_record},
};

#[tokio::test]
async fn users_and_groups_share_the_gid_counter() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let sre = group(&mut tx, "sre").await;
    let alice = user(&mut tx, "alice").await;
    let bob = user(&mut tx, "bob").await;
    let prod = project(&mut tx, "prod").await;
    groups::add_member(&mut tx, sre.id, alice.id, NOW).await.unwrap();
    groups::add_member(&mut tx, sre.id, bob.id, NOW).await.unwrap();

    let set = project_groups::set(&mut tx, prod.id, &sre, Role::Admin, NOW).await.unwrap().unwrap();
    assert_eq!(set.unix_gid, 63_001);
    let made = project_users::allocate(&mut tx, Scope::Project(prod.id), NOW).await.unwrap();
    let made: Vec<_> = made.iter().map(|user| (user.user_id, user.unix_uid, user.unix_gid)).collect();
    assert_eq!(made, [(alice.id, 60_001, 63_002), (bob.id, 60_002, 63_003)]);
    // Nothing is missing now.
    for scope in [Scope::Project(prod.id), Scope::User(alice.id), Scope::Group(sre.id)] {
        assert_eq!(project_users::allocate(&mut tx, scope, NOW).await.unwrap(), []);
    }
    let prod = projects::by_id(&mut tx, prod.id).await.unwrap().unwrap();
    assert_eq!((prod.next_unix_uid, prod.next_unix_gid), (60_003, 63_004));
}

#[tokio::test]
async fn a_group_that_returns_gets_its_gid_back() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let (sre, dev) = (group(&mut tx, "sre").await, group(&mut tx, "dev").await);
    let prod = project(&mut tx, "prod").await;
    let first = project_groups::set(&mut tx, prod.id, &sre, Role::User, NOW).await.unwrap().unwrap();
    project_groups::remove(&mut tx, prod.id, sre.id, NOW).await.unwrap();
    assert_eq!(project_groups::list(&mut tx, prod.id).await.unwrap(), []);
    let other = project_groups::set(&mut tx, prod.id, &dev, Role::User, NOW).await.unwrap().unwrap();
    assert_ne!(other.unix_gid, first.unix_gid);
    let again = project_groups::set(&mut tx, prod.id, &sre, Role::Admin, NOW).await.unwrap().unwrap();
    assert_eq!((again.unix_gid, again.server_admin), (first.unix_gid, true));
}

#[tokio::test]
async fn ids_that_a_host_uses_are_skipped() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let prod = project(&mut tx, "prod").await;
    redemption::report_taken(&mut tx, &prod, "web-1", &[60_001, 60_002, 63_001]).await;
    let sre = group(&mut tx, "sre").await;
    let alice = user(&mut tx, "alice").await;
    groups::add_member(&mut tx, sre.id, alice.id, NOW).await.unwrap();
    let set = project_groups::set(&mut tx, prod.id, &sre, Role::User, NOW).await.unwrap().unwrap();
    assert_eq!(set.unix_gid, 63_002);
    let made = project_users::allocate(&mut tx, Scope::User(alice.id), NOW).await.unwrap();
    assert_eq!((made[0].unix_uid, made[0].unix_gid), (60_003, 63_003));
}

#[tokio::test]
async fn a_deleted_users_login_is_not_given_to_another() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let sre = group(&mut tx, "sre").await;
    let alice = user(&mut tx, "alice").await;
    let prod = project(&mut tx, "prod").await;
    groups::add_member(&mut tx, sre.id, alice.id, NOW).await.unwrap();
    project_groups::set(&mut tx, prod.id, &sre, Role::User, NOW).await.unwrap();
    project_users::allocate(&mut tx, Scope::Project(prod.id), NOW).await.unwrap();
    users::delete(&mut tx, &alice).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = db.store.begin().await.unwrap();
    let error = users::create(&mut tx, &user_record("alice")).await.unwrap_err();
    assert!(matches!(error, CreateUserError::UnixNameUsed(_)), "{error}");
    drop(tx);

    let mut tx = db.store.begin().await.unwrap();
    let mut other = user_record("alice");
    other.unix_user_name = "alice2".parse().unwrap();
    users::create(&mut tx, &other).await.unwrap();
    groups::add_member(&mut tx, sre.id, other.id, NOW).await.unwrap();
    let made = project_users::allocate(&mut tx, Scope::User(other.id), NOW).await.unwrap();
    assert_eq!(made[0].unix_uid, 60_002, "the UID of the deleted user stays spoken for");
}

#[tokio::test]
async fn a_disabled_user_gets_no_account_until_it_is_enabled() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let sre = group(&mut tx, "sre").await;
    let alice = user(&mut tx, "alice").await;
    let prod = project(&mut tx, "prod").await;
    groups::add_member(&mut tx, sre.id, alice.id, NOW).await.unwrap();
    let change = UserChange { status: Some(usher_identity::UserStatus::Disabled), ..UserChange::default() };
    let alice = users::update(&mut tx, &alice, &change, NOW).await.unwrap();
    project_groups::set(&mut tx, prod.id, &sre, Role::User, NOW).await.unwrap();
    assert_eq!(project_users::allocate(&mut tx, Scope::Project(prod.id), NOW).await.unwrap(), []);
    let change = UserChange { status: Some(usher_identity::UserStatus::Active), ..UserChange::default() };
    let alice = users::update(&mut tx, &alice, &change, NOW).await.unwrap();
    assert_eq!(project_users::allocate(&mut tx, Scope::User(alice.id), NOW).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_group_and_a_user_do_not_share_a_unix_name() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let prod = project(&mut tx, "prod").await;
    let (alice, named_alice, sre) =
        (user(&mut tx, "alice").await, group(&mut tx, "alice").await, group(&mut tx, "sre").await);
    groups::add_member(&mut tx, sre.id, alice.id, NOW).await.unwrap();
    project_groups::set(&mut tx, prod.id, &named_alice, Role::Member, NOW).await.unwrap();
    project_groups::set(&mut tx, prod.id, &sre, Role::User, NOW).await.unwrap();
    let error = project_users::allocate(&mut tx, Scope::Project(prod.id), NOW).await.unwrap_err();
    assert!(matches!(error, AllocateUserError::Taken { .. }), "{error}");

    project_groups::remove(&mut tx, prod.id, named_alice.id, NOW).await.unwrap();
    project_users::allocate(&mut tx, Scope::Project(prod.id), NOW).await.unwrap();
    let error = project_groups::set(&mut tx, prod.id, &named_alice, Role::User, NOW).await.unwrap_err();
    assert!(matches!(error, SetProjectGroupError::Taken { .. }), "{error}");
}

#[tokio::test]
async fn a_group_name_becomes_a_unix_name_or_an_error() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let prod = project(&mut tx, "prod").await;
    let (dotted, dashed, reserved) =
        (group(&mut tx, "web.ops").await, group(&mut tx, "web-ops").await, group(&mut tx, "docker").await);
    let set = project_groups::set(&mut tx, prod.id, &dotted, Role::User, NOW).await.unwrap().unwrap();
    assert_eq!(set.unix_group_name.as_str(), "web-ops");
    let error = project_groups::set(&mut tx, prod.id, &dashed, Role::User, NOW).await.unwrap_err();
    assert!(matches!(error, SetProjectGroupError::Taken { .. }), "{error}");
    let error = project_groups::set(&mut tx, prod.id, &reserved, Role::User, NOW).await.unwrap_err();
    assert!(matches!(error, SetProjectGroupError::NotUnix { .. }), "{error}");
}
