//! The disk is full, may not be written to, or somebody else holds the database: said as such, nothing lost, and it goes
//! on afterwards.

use usher_store::{Fault, IssueError, audit};
use usher_testkit::namespace::{inside, sh};

use crate::{
    epoch::{Care, count, decide, new_user},
    support::{Db, POSTGRES},
};

/// Issues until the disk is full, makes room, goes on. `recover` is called when there is room again.
async fn issue_on_a_full_disk(db: &Db, ballast: &str, recover: impl AsyncFnOnce()) {
    let alice = new_user(db).await;
    let mut acknowledged = 0;
    let issue = async || {
        let Some(item) = decide(&db.store, alice.id, Care::Again).await else { panic!("alice may") };
        db.store.issue(item).await
    };
    for _ in 0..3 {
        issue().await.unwrap();
        acknowledged += 1;
    }
    // Until nothing more fits.
    sh(&format!("dd if=/dev/zero of={ballast} bs=4096 2>/dev/null || true"));
    let error = loop {
        match issue().await {
            Ok(_recorded) => acknowledged += 1,
            Err(IssueError::Batch(error)) => break error,
            Err(error) => panic!("{error:?}"),
        }
        assert!(acknowledged < 100_000, "the disk never fills up");
    };
    // PostgreSQL goes down when its log does not fit.
    let expected = if POSTGRES {
        matches!(error.fault(), Fault::Full | Fault::Lost | Fault::Unavailable)
    } else {
        error.fault() == Fault::Full
    };
    assert!(expected, "{error:?}");
    sh(&format!("rm {ballast}"));
    recover().await;
    let rows = count(&mut db.store.read().await.unwrap()).await;
    assert_eq!(rows, acknowledged);
    issue().await.unwrap();
    audit::verify(&mut db.store.read().await.unwrap(), &[]).await.unwrap();
}

fn run(body: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(body);
}

#[test]
fn a_full_disk_stops_issuing_and_loses_nothing() {
    inside(|| {
        let size = if POSTGRES { "80m" } else { "2m" };
        sh(&format!("mount -t tmpfs -o size={size} tmpfs /tmp"));
        run(async {
            let recover;
            let db = if POSTGRES {
                let cluster: &'static _ = Box::leak(Box::new(usher_testkit::postgres::Postgres::start()));
                recover = Some(cluster);
                Db::at(cluster.url(&cluster.create_database())).await
            } else {
                recover = None;
                Db::new().await
            };
            issue_on_a_full_disk(&db, "/tmp/ballast", async || {
                if let Some(cluster) = recover {
                    tokio::task::block_in_place(|| cluster.start_if_it_went_down());
                }
            })
            .await;
        });
    });
}
