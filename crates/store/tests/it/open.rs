//! The file: its mode, its settings, its migrations.

use std::os::unix::fs::PermissionsExt as _;

use sqlx::Row as _;
use usher_store::{OpenError, Store, team};

use crate::support::{Db, NOW};

#[tokio::test]
async fn makes_files_that_only_the_owner_reads() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    assert!(team::create(&mut tx, &"acme".parse().unwrap(), NOW).await.unwrap());
    tx.commit().await.unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(std::path::Path::new(db.address()).parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert!(files >= 2, "the database and its log");
}

#[tokio::test]
async fn refuses_a_database_that_others_may_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("usher.db");
    std::fs::write(&path, b"").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Permissions { .. }), "{error}");
}

#[tokio::test]
async fn refuses_a_directory_that_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let error = Store::open(&directory.path().join("missing/usher.db")).await.unwrap_err();
    assert!(matches!(error, OpenError::File { .. }), "{error}");
}

#[tokio::test]
async fn syncs_every_commit_and_minds_foreign_keys() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let conn: &mut usher_store::Conn = &mut tx;
    for (pragma, expected) in [("PRAGMA synchronous", 2_i64), ("PRAGMA foreign_keys", 1)] {
        let row = sqlx::query(pragma).fetch_one(conn.as_sqlite().unwrap()).await.unwrap();
        assert_eq!(row.get::<i64, _>(0), expected, "{pragma}");
    }
    let row = sqlx::query("PRAGMA journal_mode").fetch_one(conn.as_sqlite().unwrap()).await.unwrap();
    assert_eq!(row.get::<String, _>(0), "wal");
}

#[tokio::test]
async fn readers_cannot_write() {
    let db = Db::new().await;
    let mut reader = db.store.read().await.unwrap();
    let error = sqlx::query("DELETE FROM epoch").execute(reader.as_sqlite().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("readonly"), "{error}");
}
