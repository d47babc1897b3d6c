//! The team's name and its nonce keys.

use usher_store::team;

use crate::support::{Db, NOW};

#[tokio::test]
async fn names_the_team_once() {
    let mut db = Db::new().await;
    assert_eq!(team::slug(&mut db.store.read().await.unwrap()).await.unwrap(), None);
    let mut tx = db.store.begin().await.unwrap();
    assert!(team::create(&mut tx, &"acme".parse().unwrap(), NOW).await.unwrap());
    assert!(!team::create(&mut tx, &"other".parse().unwrap(), NOW).await.unwrap());
    tx.commit().await.unwrap();
    db.reopen().await;
    let slug = team::slug(&mut db.store.read().await.unwrap()).await.unwrap();
    assert_eq!(slug, Some("acme".parse().unwrap()));
}

#[tokio::test]
async fn keeps_the_current_and_the_previous_nonce_key() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    for key in [[1; 32], [2; 32], [3; 32]] {
        team::rotate_nonce_key(&mut tx, &key, NOW).await.unwrap();
    }
    assert_eq!(team::nonce_keys(&mut tx).await.unwrap(), [vec![3; 32], vec![2; 32]]);
    assert_eq!(team::nonce_key_time(&mut tx).await.unwrap(), Some(NOW));
}
