//! Every SQL text: the engine compiles it, and it uses nothing that only SQLite has.

use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};

use crate::support::{Db, POSTGRES};

#[tokio::test]
async fn every_statement_can_be_prepared() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let mut all = usher_store::statements();
    if POSTGRES {
        all.extend(usher_store::postgres_statements());
    }
    for (module, name, sql) in all {
        let sql = AssertSqlSafe(sql).into_sql_str();
        let error = match tx.as_postgres() {
            Some(postgres) => postgres.prepare(sql).await.err(),
            None => tx.as_sqlite().unwrap().prepare(sql).await.err(),
        };
        assert!(error.is_none(), "{module}::{name}: {error:?}");
    }
}

#[test]
fn statements_use_nothing_that_only_sqlite_has() {
    const FOREIGN: &[&str] = &[
        "AUTOINCREMENT",
        "DATETIME(",
        "GLOB ",
        "IFNULL(",
        "INSERT OR ",
        "JSON_EACH(",
        "JULIANDAY",
        "LAST_INSERT_ROWID",
        "PRAGMA",
        "REPLACE INTO",
        "ROWID",
        "STRFTIME",
        " IS NOT $",
        " IS $",
        "MAX($",
        "MIN($",
    ];
    for (module, name, sql) in usher_store::statements() {
        let upper = sql.to_uppercase();
        for foreign in FOREIGN {
            assert!(!upper.contains(foreign), "{module}::{name} says {foreign}");
        }
        // `?` is SQLite's and MySQL's; `$1` is understood by both.
        assert!(!sql.contains('?'), "{module}::{name}");
    }
}

#[test]
fn statements_are_listed_once() {
    let all = usher_store::statements();
    let names: std::collections::BTreeSet<_> = all.iter().map(|(module, name, _)| (module, name)).collect();
    assert_eq!(names.len(), all.len());
    assert!(all.len() > 100, "a module is missing from the list");
}
