//! What kind of trouble a failed statement is in: whether the same thing may work in a moment, and what a person can do.

use sqlx::postgres::PgDatabaseError;

use crate::StoreError;

/// Why the database failed, as far as it matters to whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Another transaction was in the way; this one was rolled back.
    Conflict,
    /// There is no room for what should be written.
    Full,
    /// The connection broke: the server went down, or something between. After a commit that failed so nobody knows
    /// whether it happened.
    Lost,
    /// Something that trying again does not mend.
    Other,
    /// The database may be read only.
    ReadOnly,
    /// It could not be had although somebody waited for it.
    Unavailable,
}

impl Fault {
    /// Whether the same request may succeed in a moment, without anybody doing anything.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Conflict | Self::Lost | Self::Unavailable)
    }

    /// What an operator can do about it.
    #[must_use]
    pub fn next_step(self) -> Option<&'static str> {
        match self {
            Self::Full => Some("make room where the database lies; nothing was lost"),
            Self::ReadOnly => Some("let the broker write to the database, or point it at the primary server"),
            Self::Lost | Self::Unavailable => {
                Some("see whether the database runs, answers and is not in use by something else")
            }
            Self::Conflict | Self::Other => None,
        }
    }
}

impl StoreError {
    /// What kind of trouble it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Database(error) => of(error),
            Self::Interrupted => Fault::Unavailable,
            Self::Audit(_) | Self::Corrupt { .. } | Self::Random(_) | Self::SealKey => Fault::Other,
        }
    }
}

pub(crate) fn of(error: &sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => Fault::Lost,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            Fault::Unavailable
        }
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            if error.try_downcast_ref::<PgDatabaseError>().is_some() {
                of_postgres(&code)
            } else {
                of_sqlite(&code)
            }
        }
        _ => Fault::Other,
    }
}

/// SQLSTATE, appendix A of PostgreSQL's manual.
fn of_postgres(code: &str) -> Fault {
    match code {
        // serialization_failure, deadlock_detected, lock_not_available
        "40001" | "40P01" | "55P03" => Fault::Conflict,
        // disk_full
        "53100" => Fault::Full,
        // read_only_sql_transaction
        "25006" => Fault::ReadOnly,
        // Shut down, crashed, starting; ended by a time-out of ours.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Fault::Lost,
        // connection exceptions
        _ if code.starts_with("08") => Fault::Lost,
        // Too little of something, and query_canceled by a time-out of ours.
        "53000" | "53200" | "53300" | "57014" => Fault::Unavailable,
        _ => Fault::Other,
    }
}

/// Result codes of SQLite; extended ones carry the primary one in their low byte.
fn of_sqlite(code: &str) -> Fault {
    match code.parse::<u32>().unwrap_or_default() & 0xff {
        // SQLITE_BUSY, SQLITE_LOCKED
        5 | 6 => Fault::Unavailable,
        // SQLITE_READONLY; SQLITE_CANTOPEN, when the files beside the database cannot be made
        8 | 14 => Fault::ReadOnly,
        // SQLITE_FULL
        13 => Fault::Full,
        _ => Fault::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, of_postgres, of_sqlite};

    #[test]
    fn known_codes_are_told_apart() {
        let postgres = [
            ("40001", Fault::Conflict),
            ("40P01", Fault::Conflict),
            ("53100", Fault::Full),
            ("25006", Fault::ReadOnly),
            ("57P01", Fault::Lost),
            ("08006", Fault::Lost),
            ("53300", Fault::Unavailable),
            ("23505", Fault::Other),
        ];
        for (code, fault) in postgres {
            assert_eq!(of_postgres(code), fault, "{code}");
        }
        // 261 is SQLITE_BUSY_RECOVERY, 1032 SQLITE_READONLY_DBMOVED, 2067 SQLITE_CONSTRAINT_UNIQUE.
        let sqlite = [
            ("5", Fault::Unavailable),
            ("261", Fault::Unavailable),
            ("13", Fault::Full),
            ("8", Fault::ReadOnly),
            ("1032", Fault::ReadOnly),
            ("2067", Fault::Other),
        ];
        for (code, fault) in sqlite {
            assert_eq!(of_sqlite(code), fault, "{code}");
        }
    }
}
