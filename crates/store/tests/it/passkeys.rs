//! Rows of passkeys: one owner for each, and a count that only goes up.

use std::time::Duration;

use usher_store::{
    passkeys::{self, Passkey},
    sign_in, users,
};
use usher_types::{PasskeyId, Sha256, UserId};

use usher_identity::UserStatus;

use crate::support::{Db, NOW, user};

fn passkey(number: u8, user_id: UserId, credential: &str) -> Passkey {
    Passkey {
        id: PasskeyId::new(NOW, [number; 10]),
        user_id,
        credential_id: credential.to_owned(),
        credential: "{}".to_owned(),
        sign_count: 0,
        name: "Passkey 1".parse().unwrap(),
        created_at: NOW,
        last_used_at: None,
        owner: UserStatus::Active,
        of_provider: false,
    }
}

#[tokio::test]
async fn a_key_has_one_owner_and_only_its_owner_changes_it() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let (alice, bob) = (user(&mut tx, "alice").await, user(&mut tx, "bob").await);
    let (hers, his) = (passkey(1, alice.id, "one"), passkey(2, bob.id, "one"));
    assert!(passkeys::add(&mut tx, &hers).await.unwrap());
    assert!(!passkeys::add(&mut tx, &his).await.unwrap(), "whoever has it first");
    assert_eq!(passkeys::by_credential(&mut tx, "one").await.unwrap(), Some(hers.clone()));
    assert_eq!(passkeys::of_user(&mut tx, bob.id).await.unwrap(), []);

    let name = "Laptop".parse().unwrap();
    assert!(!passkeys::rename(&mut tx, bob.id, hers.id, &name).await.unwrap());
    assert!(!passkeys::remove(&mut tx, bob.id, hers.id).await.unwrap());
    assert!(passkeys::rename(&mut tx, alice.id, hers.id, &name).await.unwrap());
    assert_eq!(passkeys::of_user(&mut tx, alice.id).await.unwrap(), [Passkey { name, ..hers.clone() }]);
    assert!(passkeys::remove(&mut tx, alice.id, hers.id).await.unwrap());
    assert_eq!(passkeys::by_credential(&mut tx, "one").await.unwrap(), None);
}

#[tokio::test]
async fn a_count_that_does_not_go_up_is_no_use() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let alice = user(&mut tx, "alice").await;
    let (counts, never) = (passkey(1, alice.id, "counts"), passkey(2, alice.id, "never"));
    for key in [&counts, &never] {
        assert!(passkeys::add(&mut tx, key).await.unwrap());
    }
    let later = NOW.saturating_add(Duration::from_secs(5));
    for (count, expected) in [(3, true), (3, false), (2, false), (0, false), (4, true)] {
        let used = passkeys::used(&mut tx, counts.id, "{\"n\":1}", count, later).await.unwrap();
        assert_eq!(used, expected, "{count}");
    }
    for _ in 0..2 {
        assert!(passkeys::used(&mut tx, never.id, "{}", 0, later).await.unwrap(), "it does not count");
    }
    let row = passkeys::by_credential(&mut tx, "counts").await.unwrap().unwrap();
    assert_eq!((row.sign_count, row.last_used_at, row.credential.as_str()), (4, Some(later), "{\"n\":1}"));
}

#[tokio::test]
async fn a_reset_and_a_deletion_take_the_keys_along() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let (alice, bob) = (user(&mut tx, "alice").await, user(&mut tx, "bob").await);
    assert!(passkeys::add(&mut tx, &passkey(1, alice.id, "one")).await.unwrap());
    assert!(passkeys::add(&mut tx, &passkey(2, bob.id, "two")).await.unwrap());
    sign_in::new_set_up_code(&mut tx, alice.id, sign_in::Reset::Everything, Sha256::of(b"code"), NOW, NOW)
        .await
        .unwrap();
    assert_eq!(passkeys::of_user(&mut tx, alice.id).await.unwrap(), []);
    users::delete(&mut tx, &bob).await.unwrap();
    assert_eq!(passkeys::by_credential(&mut tx, "two").await.unwrap(), None);
}
