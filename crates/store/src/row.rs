//! Reads typed values out of rows. A value that does not parse is [`StoreError::Corrupt`], never a panic.

use std::{collections::BTreeMap, str::FromStr};

use serde::de::DeserializeOwned;
use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow};
use usher_types::UnixTime;

use crate::{StoreError, values::Word};

/// Declares the statements of a module: one constant each, and a list for the test that prepares them all.
macro_rules! statements {
    ($($name:ident = $sql:literal;)*) => {
        $(const $name: &str = $sql;)*

        /// Every statement of this module with its name.
        pub(crate) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $sql),)*];
    };
}
pub(crate) use statements;

/// Typed access to the columns of a row.
pub(crate) trait Columns {
    fn text(&self, column: &'static str) -> Result<String, StoreError>;
    fn text_opt(&self, column: &'static str) -> Result<Option<String>, StoreError>;
    fn int(&self, column: &'static str) -> Result<i64, StoreError>;
    fn int_opt(&self, column: &'static str) -> Result<Option<i64>, StoreError>;
    fn bytes(&self, column: &'static str) -> Result<Vec<u8>, StoreError>;
    fn bytes_opt(&self, column: &'static str) -> Result<Option<Vec<u8>>, StoreError>;

    /// A TEXT column as a type with a checked text form.
    fn parse<T: FromStr>(&self, column: &'static str) -> Result<T, StoreError> {
        self.text(column)?.parse().map_err(|_error| StoreError::Corrupt { column })
    }

    /// A TEXT column that may be NULL.
    fn parse_opt<T: FromStr>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        self.text_opt(column)?
            .map(|text| text.parse().map_err(|_error| StoreError::Corrupt { column }))
            .transpose()
    }

    /// A TEXT column of words whose type belongs to another crate.
    fn word<T: Word + Copy>(&self, column: &'static str) -> Result<T, StoreError> {
        let text = self.text(column)?;
        let known = T::WORDS.iter().find(|(_, word)| *word == text);
        known.map(|(value, _)| *value).ok_or(StoreError::Corrupt { column })
    }

    /// A TEXT column that holds JSON.
    fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(column)?).map_err(|_error| StoreError::Corrupt { column })
    }

    /// A TEXT column that holds JSON, or NULL.
    fn json_opt<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        let text = self.text_opt(column)?;
        text.map(|text| serde_json::from_str(&text).map_err(|_error| StoreError::Corrupt { column }))
            .transpose()
    }

    /// An INTEGER column as a narrower or unsigned number.
    fn number<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, StoreError> {
        self.int(column)?.try_into().map_err(|_error| StoreError::Corrupt { column })
    }

    /// An INTEGER column of milliseconds.
    fn time(&self, column: &'static str) -> Result<UnixTime, StoreError> {
        self.int(column).map(UnixTime::from_millis)
    }

    /// An INTEGER column of milliseconds that may be NULL.
    fn time_opt(&self, column: &'static str) -> Result<Option<UnixTime>, StoreError> {
        Ok(self.int_opt(column)?.map(UnixTime::from_millis))
    }

    /// An INTEGER column of 0 and 1.
    fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        match self.int(column)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(StoreError::Corrupt { column }),
        }
    }
}

/// A row of either engine.
pub(crate) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

macro_rules! columns {
    ($($name:ident: $of:ty;)*) => {
        $(fn $name(&self, column: &'static str) -> Result<$of, StoreError> {
            Ok(match self {
                Self::Postgres(row) => row.try_get(column)?,
                Self::Sqlite(row) => row.try_get(column)?,
            })
        })*
    };
}

impl Columns for Row {
    columns! {
        text: String;
        text_opt: Option<String>;
        int: i64;
        int_opt: Option<i64>;
        bytes: Vec<u8>;
        bytes_opt: Option<Vec<u8>>;
    }
}

/// JSON for a TEXT column. The values are ours and have string keys, so this cannot fail; an error is told apart all
/// the same instead of panicking.
pub(crate) fn to_json<T: serde::Serialize>(value: &T, column: &'static str) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_error| StoreError::Corrupt { column })
}

/// A map as JSON text, the form of `labels`.
pub(crate) type Labels = BTreeMap<usher_types::Label, usher_types::Label>;
