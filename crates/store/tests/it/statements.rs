//! Every SQL text: SQLite compiles it, and it uses nothing that only SQLite has.

use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use crate::support::Db;

#[tokio::test]
async fn sqlite_compiles_every_statement() {
    let db = Db::new().await;
    let mut conn = db.raw().await;
    for (module, name, sql) in usher_store::statements() {
        let explained = sqlx::query(AssertSqlSafe(format!("EXPLAIN {sql}")).into_sql_str());
        let result = explained.fetch_all(&mut conn).await;
        assert!(result.is_ok(), "{module}::{name}: {result:?}");
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
