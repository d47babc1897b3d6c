//! Repeated requests: executed once, answered the same, mismatches told apart.

use usher_store::{
    connections::RequestName,
    housekeeping,
    requests::{self, Claim, REQUEST_KEPT},
};
use usher_types::Sha256;

use crate::support::{Db, NOW};

fn request(jti: &str, content: &[u8]) -> RequestName {
    RequestName { jkt: Sha256::of(b"key"), jti: jti.to_owned(), content: Sha256::of(content) }
}

#[tokio::test]
async fn a_repeated_request_gets_the_stored_answer() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let name = request("a", b"body");
    assert_eq!(requests::claim(&mut tx, &name, NOW).await.unwrap(), Claim::Fresh);
    assert_eq!(requests::claim(&mut tx, &name, NOW).await.unwrap(), Claim::Running { since: NOW });
    requests::answer(&mut tx, &name, 201, Some(b"{}")).await.unwrap();
    let answered = Claim::Answered { status: 201, body: b"{}".to_vec() };
    assert_eq!(requests::claim(&mut tx, &name, NOW).await.unwrap(), answered);
    // The first answer stays.
    requests::answer(&mut tx, &name, 500, Some(b"other")).await.unwrap();
    requests::release(&mut tx, &name).await.unwrap();
    assert_eq!(requests::claim(&mut tx, &name, NOW).await.unwrap(), answered);
    let other = request("a", b"other body");
    assert_eq!(requests::claim(&mut tx, &other, NOW).await.unwrap(), Claim::OtherContent);
}

#[tokio::test]
async fn a_secret_is_not_kept() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let name = request("a", b"body");
    requests::claim(&mut tx, &name, NOW).await.unwrap();
    requests::answer(&mut tx, &name, 201, None).await.unwrap();
    assert_eq!(requests::claim(&mut tx, &name, NOW).await.unwrap(), Claim::ShownBefore);
}

#[tokio::test]
async fn a_released_request_may_be_tried_again() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let name = request("a", b"body");
    requests::claim(&mut tx, &name, NOW).await.unwrap();
    requests::release(&mut tx, &name).await.unwrap();
    assert_eq!(requests::claim(&mut tx, &name, NOW).await.unwrap(), Claim::Fresh);
}

#[tokio::test]
async fn answers_are_forgotten_after_ten_minutes() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let name = request("a", b"body");
    requests::claim(&mut tx, &name, NOW).await.unwrap();
    let end = NOW.saturating_add(REQUEST_KEPT);
    assert_eq!(
        housekeeping::sweep(&mut tx, usher_types::UnixTime::from_millis(end.as_millis() - 1)).await.unwrap(),
        0
    );
    assert_eq!(housekeeping::sweep(&mut tx, end).await.unwrap(), 1);
    assert_eq!(requests::claim(&mut tx, &name, end).await.unwrap(), Claim::Fresh);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_equal_requests_one_executes() {
    let db = Db::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let store = db.store.clone();
        tasks.spawn(async move {
            let mut tx = store.begin().await.unwrap();
            let claim = requests::claim(&mut tx, &request("a", b"body"), NOW).await.unwrap();
            tx.commit().await.unwrap();
            claim == Claim::Fresh
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|fresh| *fresh).count(), 1);
}
