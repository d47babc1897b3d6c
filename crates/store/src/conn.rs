//! A connection to either engine, and a query that runs on both: one SQL text, `$1` placeholders, three kinds of value.
//! What differs between the engines beyond this (opening, locking, the issuing statement) is not in here.

use std::{borrow::Cow, fmt};

use sqlx::{
    AssertSqlSafe, Executor as _, Postgres, Sqlite, Transaction, postgres::PgArguments,
    sqlite::SqliteArguments,
};

use crate::row::Row;

/// A transaction to read from: what a [`Reader`](crate::Reader) and a [`WriteTx`](crate::WriteTx) have in common.
/// Functions that only read take it.
pub struct Conn(pub(crate) Engine);

/// The transaction of one engine.
pub(crate) enum Engine {
    Postgres(Transaction<'static, Postgres>),
    Sqlite(Transaction<'static, Sqlite>),
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = match &self.0 {
            Engine::Postgres(_) => "PostgreSQL",
            Engine::Sqlite(_) => "SQLite",
        };
        f.debug_tuple("Conn").field(&engine).finish()
    }
}

impl Conn {
    /// SQLite's own connection, for questions that only SQLite answers; `None` on PostgreSQL.
    pub fn as_sqlite(&mut self) -> Option<&mut sqlx::SqliteConnection> {
        match &mut self.0 {
            Engine::Postgres(_) => None,
            Engine::Sqlite(tx) => Some(tx),
        }
    }

    /// PostgreSQL's own connection, for questions that only PostgreSQL answers; `None` on SQLite.
    pub fn as_postgres(&mut self) -> Option<&mut sqlx::PgConnection> {
        match &mut self.0 {
            Engine::Postgres(tx) => Some(tx),
            Engine::Sqlite(_) => None,
        }
    }

    /// For the few statements that differ.
    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self.0, Engine::Sqlite(_))
    }

    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self.0 {
            Engine::Postgres(tx) => tx.commit().await,
            Engine::Sqlite(tx) => tx.commit().await,
        }
    }
}

/// A value on its way into a statement. NULL has a type too: PostgreSQL wants one.
#[derive(Clone)]
pub(crate) enum Value<'q> {
    Blob(Option<Cow<'q, [u8]>>),
    Int(Option<i64>),
    Text(Option<Cow<'q, str>>),
}

macro_rules! values {
    ($($from:ty => $kind:ident, $value:ident => $into:expr;)*) => {
        $(impl<'q> From<$from> for Value<'q> {
            fn from($value: $from) -> Self {
                Self::$kind(Some($into))
            }
        }

        impl<'q> From<Option<$from>> for Value<'q> {
            fn from(value: Option<$from>) -> Self {
                Self::$kind(value.map(|$value| $into))
            }
        })*
    };
}

values! {
    i64 => Int, value => value;
    bool => Int, value => i64::from(value);
    String => Text, value => Cow::Owned(value);
    &'q String => Text, value => Cow::Borrowed(value.as_str());
    &'q str => Text, value => Cow::Borrowed(value);
    Vec<u8> => Blob, value => Cow::Owned(value);
    &'q [u8] => Blob, value => Cow::Borrowed(value);
}

/// A statement and its values.
pub(crate) struct Query<'q> {
    sql: Cow<'static, str>,
    values: Vec<Value<'q>>,
}

/// How many rows a statement wrote.
pub(crate) struct Done(u64);

impl Done {
    pub(crate) fn rows_affected(&self) -> u64 {
        self.0
    }
}

/// A statement of this crate, to be given its values in the order of their numbers.
pub(crate) fn query<'q>(sql: &'static str) -> Query<'q> {
    Query { sql: Cow::Borrowed(sql), values: Vec::new() }
}

/// A statement that was put together for once, out of texts of this crate and places for these values. It is not kept
/// prepared.
pub(crate) fn dynamic(sql: String, values: Vec<Value<'_>>) -> Query<'_> {
    Query { sql: Cow::Owned(sql), values }
}

impl<'q> Query<'q> {
    pub(crate) fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    pub(crate) async fn execute(self, conn: &mut Conn) -> Result<Done, sqlx::Error> {
        Ok(Done(match &mut conn.0 {
            Engine::Postgres(tx) => tx.execute(self.postgres()).await?.rows_affected(),
            Engine::Sqlite(tx) => tx.execute(self.sqlite()).await?.rows_affected(),
        }))
    }

    pub(crate) async fn fetch_all(self, conn: &mut Conn) -> Result<Vec<Row>, sqlx::Error> {
        Ok(match &mut conn.0 {
            Engine::Postgres(tx) => {
                tx.fetch_all(self.postgres()).await?.into_iter().map(Row::Postgres).collect()
            }
            Engine::Sqlite(tx) => tx.fetch_all(self.sqlite()).await?.into_iter().map(Row::Sqlite).collect(),
        })
    }

    pub(crate) async fn fetch_optional(self, conn: &mut Conn) -> Result<Option<Row>, sqlx::Error> {
        Ok(match &mut conn.0 {
            Engine::Postgres(tx) => tx.fetch_optional(self.postgres()).await?.map(Row::Postgres),
            Engine::Sqlite(tx) => tx.fetch_optional(self.sqlite()).await?.map(Row::Sqlite),
        })
    }

    pub(crate) async fn fetch_one(self, conn: &mut Conn) -> Result<Row, sqlx::Error> {
        self.fetch_optional(conn).await?.ok_or(sqlx::Error::RowNotFound)
    }

    fn postgres(self) -> sqlx::query::Query<'q, Postgres, PgArguments> {
        let query = match self.sql {
            Cow::Borrowed(sql) => sqlx::query(sql),
            Cow::Owned(sql) => sqlx::query(AssertSqlSafe(sql)).persistent(false),
        };
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Blob(value) => query.bind(value),
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
        })
    }

    fn sqlite(self) -> sqlx::query::Query<'q, Sqlite, SqliteArguments> {
        let query = match self.sql {
            Cow::Borrowed(sql) => sqlx::query(sql),
            Cow::Owned(sql) => sqlx::query(AssertSqlSafe(sql)).persistent(false),
        };
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Blob(value) => query.bind(value),
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
        })
    }
}
