//! SQLite's file is held by another process, or cannot be written to.

use sqlx::{ConnectOptions as _, Executor as _};
use usher_store::{Fault, OpenError, Store, users};
use usher_testkit::namespace::{inside, sh};

use crate::support::{Db, user_record};

#[tokio::test]
async fn a_database_that_somebody_else_holds_is_waited_for_and_then_said_to_be_busy() {
    let db = Db::new().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(db.address());
    let mut other = options.connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let error = db.store.begin().await.unwrap_err();
    assert_eq!(error.fault(), Fault::Unavailable, "{error:?}");
    assert!(error.fault().is_temporary() && error.fault().next_step().is_some());
    // Readers go on meanwhile.
    assert!(users::list(&mut db.store.read().await.unwrap()).await.unwrap().is_empty());
    other.execute("ROLLBACK").await.unwrap();
    let mut tx = db.store.begin().await.unwrap();
    users::create(&mut tx, &user_record("alice")).await.unwrap();
    tx.commit().await.unwrap();
}

#[test]
fn a_database_on_a_read_only_file_system_is_not_opened() {
    inside(|| {
        sh("mkdir -p /srv/db && mount -t tmpfs tmpfs /srv/db");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let path = std::path::Path::new("/srv/db/usher.db");
            Store::open(path).await.unwrap().close().await;
            sh("mount -o remount,ro /srv/db");
            let error = Store::open(path).await.unwrap_err();
            assert!(error.to_string().contains("/srv/db/usher.db"), "{error:?}");
            let OpenError::Store { source, .. } = error else { panic!("{error:?}") };
            assert_eq!(source.fault(), Fault::ReadOnly, "{source:?}");
        });
    });
}
