//! Users, groups, devices, sessions: the rules that keep a team governable, and what ends whose access.

use usher_identity::{DeviceState, UserStatus};
use usher_store::{
    devices::{self, DecideDeviceError},
    groups::{self, CreateGroupError, DeleteGroupError},
    project_groups::{self, Role},
    projects::{self, DeleteProjectError},
    sessions,
    users::{self, ChangeUserError, CreateUserError, UserChange},
};
use usher_types::TeamRole;

use crate::support::{Db, NOW, admin, group, project, session, user, user_record};

fn disable() -> UserChange {
    UserChange { status: Some(UserStatus::Disabled), ..UserChange::default() }
}

fn demote() -> UserChange {
    UserChange { team_role: Some(TeamRole::Member), ..UserChange::default() }
}

#[tokio::test]
async fn the_last_active_administrator_stays() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let first = admin(&mut tx, "first").await;
    let second = admin(&mut tx, "second").await;
    let second = users::update(&mut tx, &second, &disable(), NOW).await.unwrap();

    for change in [disable(), demote()] {
        let error = users::update(&mut tx, &first, &change, NOW).await.unwrap_err();
        assert!(matches!(error, ChangeUserError::LastOwner(_)), "{error}");
    }
    let error = users::delete(&mut tx, &first).await.unwrap_err();
    assert!(matches!(error, ChangeUserError::LastOwner(_)), "{error}");

    let enable = UserChange { status: Some(UserStatus::Active), ..UserChange::default() };
    users::update(&mut tx, &second, &enable, NOW).await.unwrap();
    users::update(&mut tx, &first, &demote(), NOW).await.unwrap();
}

#[tokio::test]
async fn disabling_a_user_ends_its_sessions_and_moves_the_epoch() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    let bob = user(&mut tx, "bob").await;
    let (_, of_alice) = session(&mut tx, &alice).await;
    let (_, of_bob) = session(&mut tx, &bob).await;
    tx.commit().await.unwrap();
    let before = db.store.read().await.unwrap().epoch().await.unwrap();

    let mut tx = db.store.begin().await.unwrap();
    users::update(&mut tx, &alice, &disable(), NOW).await.unwrap();
    tx.commit().await.unwrap();

    let mut reader = db.store.read().await.unwrap();
    assert!(reader.epoch().await.unwrap() > before);
    let rows = sessions::caller(&mut reader, of_alice.token_id).await.unwrap().unwrap();
    assert_eq!((rows.session.ended_at, rows.user.status), (Some(NOW), UserStatus::Disabled));
    let rows = sessions::caller(&mut reader, of_bob.token_id).await.unwrap().unwrap();
    assert_eq!((&rows.session, &rows.user), (&of_bob, &bob));
}

#[tokio::test]
async fn deleting_a_user_takes_its_sessions_along() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    let (device, session) = session(&mut tx, &alice).await;
    users::delete(&mut tx, &alice).await.unwrap();
    assert_eq!(sessions::caller(&mut tx, session.token_id).await.unwrap(), None);
    assert_eq!(devices::by_id(&mut tx, device.id).await.unwrap(), None);
    assert_eq!(users::find(&mut tx, "alice").await.unwrap(), None);
}

#[tokio::test]
async fn names_are_unique_and_never_mistaken_for_ids() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    let again = user_record("alice");
    assert!(matches!(users::create(&mut tx, &again).await, Err(CreateUserError::Taken { .. })));

    // `usr_...` is a good user name by its letters: it would let one user answer to another's id.
    let mut imposter = user_record("mallory");
    imposter.user_name = alice.id.to_string().parse().unwrap();
    assert!(matches!(users::create(&mut tx, &imposter).await, Err(CreateUserError::LooksLikeId(_))));
    assert_eq!(users::find(&mut tx, &alice.id.to_string()).await.unwrap(), Some(alice.clone()));

    let sre = group(&mut tx, "sre").await;
    let imposter = groups::Group { name: sre.id.to_string().parse().unwrap(), ..sre.clone() };
    assert!(matches!(groups::create(&mut tx, &imposter).await, Err(CreateGroupError::LooksLikeId(_))));

    // Names that differ are different: no folding, no prefixes.
    for name in ["alic", "alice2", "ALICE", "alice ", "\u{ff41}lice"] {
        assert_eq!(users::find(&mut tx, name).await.unwrap(), None, "{name}");
    }
}

#[tokio::test]
async fn a_group_with_a_role_and_a_project_with_it_are_taken_apart_in_order() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let sre = group(&mut tx, "sre").await;
    let prod = project(&mut tx, "prod").await;
    project_groups::set(&mut tx, prod.id, &sre, Role::User, NOW).await.unwrap().unwrap();
    assert!(matches!(groups::delete(&mut tx, &sre).await, Err(DeleteGroupError::InUse { .. })));
    assert!(project_groups::remove(&mut tx, prod.id, sre.id, NOW).await.unwrap());
    assert!(!project_groups::remove(&mut tx, prod.id, sre.id, NOW).await.unwrap());
    groups::delete(&mut tx, &sre).await.unwrap();
    projects::delete(&mut tx, &prod).await.unwrap();
    assert_eq!(projects::find(&mut tx, "prod").await.unwrap(), None);
}

#[tokio::test]
async fn a_project_with_servers_is_not_deleted() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let prod = project(&mut tx, "prod").await;
    crate::redemption::server(&mut tx, &prod, "web-1").await;
    let error = projects::delete(&mut tx, &prod).await.unwrap_err();
    assert!(matches!(error, DeleteProjectError::InUse { servers: 1, .. }), "{error}");
}

#[tokio::test]
async fn users_see_the_projects_of_their_groups_only() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    let sre = group(&mut tx, "sre").await;
    let prod = project(&mut tx, "prod").await;
    let lab = project(&mut tx, "lab").await;
    groups::add_member(&mut tx, sre.id, alice.id, NOW).await.unwrap();
    project_groups::set(&mut tx, prod.id, &sre, Role::User, NOW).await.unwrap();
    // A role without access shows nothing.
    project_groups::set(&mut tx, lab.id, &sre, Role::Member, NOW).await.unwrap();
    let visible: Vec<_> =
        projects::list_visible_to(&mut tx, alice.id).await.unwrap().into_iter().map(|p| p.id).collect();
    assert_eq!(visible, [prod.id]);
    assert!(projects::is_visible_to(&mut tx, prod.id, alice.id).await.unwrap());
    assert!(!projects::is_visible_to(&mut tx, lab.id, alice.id).await.unwrap());

    project_groups::remove(&mut tx, prod.id, sre.id, NOW).await.unwrap();
    assert_eq!(projects::list_visible_to(&mut tx, alice.id).await.unwrap(), []);
}

#[tokio::test]
async fn a_revoked_device_stays_revoked() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    let (device, session) = session(&mut tx, &alice).await;
    assert!(devices::any_approved(&mut tx).await.unwrap());
    assert!(!devices::delete(&mut tx, device.id).await.unwrap(), "only a revoked device is deleted");

    devices::revoke(&mut tx, device.id, None, NOW).await.unwrap();
    let rows = sessions::caller(&mut tx, session.token_id).await.unwrap().unwrap();
    assert_eq!((rows.device.state, rows.session.ended_at), (DeviceState::Revoked, Some(NOW)));
    let error = devices::approve(&mut tx, &rows.device, None, NOW).await.unwrap_err();
    assert!(matches!(error, DecideDeviceError::Revoked(_)), "{error}");
    assert!(devices::any_approved(&mut tx).await.unwrap());

    // The same key cannot come in by a second row either.
    assert!(!devices::create(&mut tx, &device, &[4; 65]).await.unwrap());
    assert!(devices::delete(&mut tx, device.id).await.unwrap());
}

#[tokio::test]
async fn ending_a_session_happens_once() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    let (_, session) = session(&mut tx, &alice).await;
    assert!(sessions::end(&mut tx, session.id, NOW).await.unwrap());
    assert!(!sessions::end(&mut tx, session.id, NOW).await.unwrap());
}
