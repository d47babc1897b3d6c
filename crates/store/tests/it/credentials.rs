//! Rows of sign-in: codes work once, set-up starts over.

use std::time::Duration;

use usher_identity::UserStatus;
use usher_store::{
    housekeeping, page_sessions, sessions,
    sign_in::{self, SetUpOwner, StoredCode, StoredCredentials},
    users::{self, UserChange},
};
use usher_types::{Sha256, UnixTime, UserId};

use crate::support::{Db, NOW, session, user};

fn later(seconds: u64) -> UnixTime {
    NOW.saturating_add(Duration::from_secs(seconds))
}

fn nothing(user_id: UserId) -> StoredCredentials {
    StoredCredentials {
        user_id,
        status: UserStatus::Active,
        password_hash: None,
        sealed_totp: None,
        last_used_step: None,
        recovery_codes: Vec::new(),
        failed_attempts: 0,
        locked_until: None,
    }
}

#[tokio::test]
async fn a_totp_step_is_used_once_and_never_an_older_one() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    sign_in::set_totp(&mut tx, alice.id, b"sealed", 100, NOW).await.unwrap();
    for (step, expected) in [(100, false), (99, false), (101, true), (101, false), (100, false), (103, true)]
    {
        assert_eq!(sign_in::use_totp_step(&mut tx, alice.id, step).await.unwrap(), expected, "{step}");
    }
    let stored = sign_in::credentials(&mut tx, &alice.user_name).await.unwrap().unwrap();
    assert_eq!((stored.sealed_totp.as_deref(), stored.last_used_step), (Some(&b"sealed"[..]), Some(103)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_totp_code_typed_by_many_at_once_counts_once() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    sign_in::set_totp(&mut tx, alice.id, b"sealed", 100, NOW).await.unwrap();
    tx.commit().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let store = db.store.clone();
        tasks.spawn(async move {
            let mut tx = store.begin().await.unwrap();
            let used = sign_in::use_totp_step(&mut tx, alice.id, 101).await.unwrap();
            tx.commit().await.unwrap();
            used
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|used| *used).count(), 1);
}

#[tokio::test]
async fn failures_are_recorded_and_forgotten() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    assert_eq!(sign_in::credentials(&mut tx, &"bob".parse().unwrap()).await.unwrap(), None);
    for count in [1, 2] {
        sign_in::record_failures(&mut tx, alice.id, count, Some(later(60))).await.unwrap();
        let stored = sign_in::credentials(&mut tx, &alice.user_name).await.unwrap();
        let expected =
            StoredCredentials { failed_attempts: count, locked_until: Some(later(60)), ..nothing(alice.id) };
        assert_eq!(stored, Some(expected));
    }
    sign_in::forget_failures(&mut tx, alice.id).await.unwrap();
    let stored = sign_in::credentials(&mut tx, &alice.user_name).await.unwrap();
    assert_eq!(stored, Some(nothing(alice.id)));
}

#[tokio::test]
async fn a_set_up_code_starts_over_and_works_once() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    sign_in::set_password(&mut tx, alice.id, "$argon2id$old", NOW).await.unwrap();
    sign_in::set_totp(&mut tx, alice.id, b"old", 1, NOW).await.unwrap();
    sign_in::record_failures(&mut tx, alice.id, 3, None).await.unwrap();
    let (_, session) = session(&mut tx, &alice).await;
    let (first, second) = (Sha256::of(b"first"), Sha256::of(b"second"));

    sign_in::new_set_up_code(&mut tx, alice.id, sign_in::Reset::Everything, first, NOW, later(3600))
        .await
        .unwrap();
    let stored = sign_in::credentials(&mut tx, &alice.user_name).await.unwrap();
    assert_eq!(stored, Some(nothing(alice.id)), "the old password and second factor are gone");
    let rows = sessions::caller(&mut tx, session.token_id).await.unwrap().unwrap();
    assert_eq!(rows.session.ended_at, Some(NOW));

    sign_in::new_set_up_code(&mut tx, alice.id, sign_in::Reset::Everything, second, NOW, later(3600))
        .await
        .unwrap();
    assert_eq!(sign_in::set_up_owner(&mut tx, first).await.unwrap(), None, "only the newest code works");
    let owner = sign_in::set_up_owner(&mut tx, second).await.unwrap();
    let expected = SetUpOwner {
        user_id: alice.id,
        user_name: alice.user_name.clone(),
        status: UserStatus::Active,
        password_hash: None,
        expires_at: later(3600),
    };
    assert_eq!(owner, Some(expected));
    assert!(!sign_in::use_set_up_code(&mut tx, second, later(3600)).await.unwrap(), "expired");
    assert!(sign_in::use_set_up_code(&mut tx, second, NOW).await.unwrap());
    assert!(!sign_in::use_set_up_code(&mut tx, second, NOW).await.unwrap(), "used");
}

fn code(user_id: UserId, text: &[u8]) -> StoredCode {
    StoredCode {
        code_hash: Sha256::of(text),
        user_id,
        auth_time: NOW,
        amr: vec!["pwd".parse().unwrap(), "otp".parse().unwrap()],
        redirect_uri: "http://127.0.0.1:4000/x".to_owned(),
        code_challenge: Sha256::of(b"verifier"),
        dpop_jkt: Sha256::of(b"key"),
        expires_at: later(60),
        used_at: None,
        provider: None,
    }
}

#[tokio::test]
async fn a_page_leads_to_one_code_and_a_code_is_used_once() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    let (first, second) = (code(alice.id, b"first"), code(alice.id, b"second"));
    let page = Sha256::of(b"page");
    assert!(sign_in::insert_code(&mut tx, page, &first).await.unwrap());
    assert!(!sign_in::insert_code(&mut tx, page, &second).await.unwrap());
    assert_eq!(sign_in::code(&mut tx, first.code_hash).await.unwrap(), Some(first.clone()));
    assert!(sign_in::use_code(&mut tx, first.code_hash, NOW).await.unwrap());
    assert!(!sign_in::use_code(&mut tx, first.code_hash, NOW).await.unwrap());
    let used = sign_in::code(&mut tx, first.code_hash).await.unwrap().unwrap();
    assert_eq!(used.used_at, Some(NOW));

    assert_eq!(housekeeping::sweep(&mut tx, later(59)).await.unwrap(), 0);
    assert_eq!(housekeeping::sweep(&mut tx, later(60)).await.unwrap(), 1);
    assert_eq!(sign_in::code(&mut tx, first.code_hash).await.unwrap(), None);
}

#[tokio::test]
async fn disabling_a_user_takes_back_its_set_up_code() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    let set_up = Sha256::of(b"set-up");
    sign_in::new_set_up_code(&mut tx, alice.id, sign_in::Reset::Everything, set_up, NOW, later(3600))
        .await
        .unwrap();
    let change = UserChange { status: Some(UserStatus::Disabled), ..UserChange::default() };
    users::update(&mut tx, &alice, &change, NOW).await.unwrap();
    assert_eq!(sign_in::set_up_owner(&mut tx, set_up).await.unwrap(), None);
}

#[tokio::test]
async fn a_new_set_up_code_takes_back_authorization_codes_on_their_way() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    let pending = code(alice.id, b"pending");
    sign_in::insert_code(&mut tx, Sha256::of(b"page"), &pending).await.unwrap();
    sign_in::new_set_up_code(
        &mut tx,
        alice.id,
        sign_in::Reset::Everything,
        Sha256::of(b"set-up"),
        NOW,
        later(3600),
    )
    .await
    .unwrap();
    assert_eq!(sign_in::code(&mut tx, pending.code_hash).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_recovery_code_counts_once_and_new_ones_take_its_place() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let (alice, bob) = (user(&mut tx, "alice").await, user(&mut tx, "bob").await);
    let codes = [Sha256::of(b"1"), Sha256::of(b"2")];
    sign_in::set_recovery_codes(&mut tx, alice.id, &codes).await.unwrap();
    assert!(!sign_in::use_recovery_code(&mut tx, bob.id, codes[0]).await.unwrap(), "hers");
    tx.commit().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (store, code) = (db.store.clone(), codes[0]);
        tasks.spawn(async move {
            let mut tx = store.begin().await.unwrap();
            let used = sign_in::use_recovery_code(&mut tx, alice.id, code).await.unwrap();
            tx.commit().await.unwrap();
            used
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|used| *used).count(), 1);

    let mut tx = db.store.begin().await.unwrap();
    let stored = sign_in::credentials(&mut tx, &alice.user_name).await.unwrap().unwrap();
    assert_eq!(stored.recovery_codes, [codes[1]]);
    let new = [Sha256::of(b"3"), Sha256::of(b"4"), Sha256::of(b"5")];
    sign_in::set_recovery_codes(&mut tx, alice.id, &new).await.unwrap();
    assert!(!sign_in::use_recovery_code(&mut tx, alice.id, codes[1]).await.unwrap());
    assert_eq!(sign_in::recovery_codes_left(&mut tx, alice.id).await.unwrap(), 3);
    sign_in::new_set_up_code(
        &mut tx,
        alice.id,
        sign_in::Reset::Everything,
        Sha256::of(b"reset"),
        NOW,
        later(3600),
    )
    .await
    .unwrap();
    assert_eq!(sign_in::recovery_codes_left(&mut tx, alice.id).await.unwrap(), 0);
}

#[tokio::test]
async fn a_session_on_pages_ends_by_itself_and_with_its_owner() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    let token = Sha256::of(b"cookie");
    let open = async |tx: &mut usher_store::WriteTx| {
        page_sessions::open(tx, token, alice.id, later(600)).await.unwrap();
    };
    open(&mut tx).await;
    assert_eq!(page_sessions::user(&mut tx, token, NOW).await.unwrap(), Some(alice.id));
    assert_eq!(page_sessions::user(&mut tx, Sha256::of(b"other"), NOW).await.unwrap(), None);
    assert_eq!(page_sessions::user(&mut tx, token, later(600)).await.unwrap(), None, "over");

    sign_in::new_set_up_code(
        &mut tx,
        alice.id,
        sign_in::Reset::Everything,
        Sha256::of(b"reset"),
        NOW,
        later(3600),
    )
    .await
    .unwrap();
    assert_eq!(page_sessions::user(&mut tx, token, NOW).await.unwrap(), None, "reset");
    open(&mut tx).await;
    let disable = UserChange { status: Some(UserStatus::Disabled), ..UserChange::default() };
    let disabled = users::update(&mut tx, &alice, &disable, NOW).await.unwrap();
    let enable = UserChange { status: Some(UserStatus::Active), ..UserChange::default() };
    users::update(&mut tx, &disabled, &enable, NOW).await.unwrap();
    assert_eq!(page_sessions::user(&mut tx, token, NOW).await.unwrap(), None, "disabled meanwhile");
    open(&mut tx).await;
    housekeeping::sweep(&mut tx, later(600)).await.unwrap();
    assert_eq!(page_sessions::user(&mut tx, token, NOW).await.unwrap(), None, "swept");
}
