//! The write transaction: serialised, numbered by the epoch, and the only way to append to the audit chain.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use tokio::sync::OwnedMutexGuard;
use usher_audit::{Head, Record};

use crate::{
    Conn, Store, StoreError,
    chain::{self, Chain},
    conn::query,
    postgres,
    row::{Columns as _, statements},
    store,
};

statements! {
    SAVEPOINT = "SAVEPOINT step";
    RELEASE = "RELEASE SAVEPOINT step";
    ROLLBACK = "ROLLBACK TO SAVEPOINT step";
    BUMP_EPOCH = "UPDATE epoch SET value = value + 1 RETURNING value";
}

/// How often anything changed that a decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(i64);

impl Epoch {
    pub(crate) fn new(value: i64) -> Self {
        Self(value)
    }

    /// The number in the database.
    #[must_use]
    pub fn value(self) -> i64 {
        self.0
    }
}

/// The write transaction. Everything done through it happens at [`commit`](Self::commit) or not at all.
///
/// Dereferences to the connection, so that functions that read see what the transaction wrote.
#[must_use = "a transaction that is dropped leaves nothing"]
pub struct WriteTx {
    // Declared before the chain: the transaction is given back before the next writer may ask for it.
    conn: Conn,
    chain: OwnedMutexGuard<Chain>,
    head: Option<Head>,
    store: Store,
    bumped: Option<Epoch>,
    wake: bool,
}

/// Where a step of a transaction began.
#[must_use = "a step is kept or undone"]
#[derive(Debug)]
pub struct Step {
    head: Option<Head>,
    bumped: Option<Epoch>,
    wake: bool,
}

impl WriteTx {
    pub(crate) fn new(conn: Conn, chain: OwnedMutexGuard<Chain>, store: Store) -> Self {
        Self { conn, chain, head: None, store, bumped: None, wake: false }
    }

    /// The epoch as this transaction sees it; it cannot move under it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn epoch(&mut self) -> Result<Epoch, StoreError> {
        match self.bumped {
            Some(epoch) => Ok(epoch),
            None => store::epoch(self).await,
        }
    }

    /// Moves the epoch, once per transaction however often it is called. The functions of this crate that can turn an
    /// allow into a deny, change its capabilities or change accounts call it themselves.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn bump_epoch(&mut self) -> Result<Epoch, StoreError> {
        if let Some(epoch) = self.bumped {
            return Ok(epoch);
        }
        if self.conn.as_postgres().is_some() {
            postgres::take_epochs_turn(self).await?;
        }
        let row = query(BUMP_EPOCH).fetch_one(self).await?;
        let epoch = Epoch::new(row.int("value")?);
        self.bumped = Some(epoch);
        Ok(epoch)
    }

    /// Wakes subscribers after the commit although the epoch stays: for facts that no decision depends on.
    pub fn wake(&mut self) {
        self.wake = true;
    }

    /// Begins a step that can be undone by itself. Steps do not nest.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn step(&mut self) -> Result<Step, StoreError> {
        query(SAVEPOINT).execute(self).await?;
        Ok(Step { head: self.head, bumped: self.bumped, wake: self.wake })
    }

    /// Keeps what was done since the step began.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn keep(&mut self, _step: Step) -> Result<(), StoreError> {
        query(RELEASE).execute(self).await?;
        Ok(())
    }

    /// As if the step had not been begun: its rows, its audit records and its move of the epoch are gone.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails; drop the transaction then.
    pub async fn undo(&mut self, step: Step) -> Result<(), StoreError> {
        query(ROLLBACK).execute(self).await?;
        query(RELEASE).execute(self).await?;
        (self.head, self.bumped, self.wake) = (step.head, step.bumped, step.wake);
        Ok(())
    }

    /// Appends a record to this process's audit chain, in this transaction.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or the record cannot be encoded.
    pub async fn audit(&mut self, record: &Record) -> Result<(), StoreError> {
        let head = match self.head {
            Some(head) => head,
            None => self.chain.head(&mut self.conn, record.at).await?,
        };
        self.head = Some(chain::append(&mut self.conn, head, record).await?);
        Ok(())
    }

    /// Appends many records, in order.
    ///
    /// # Errors
    /// As [`Self::audit`].
    pub async fn audit_all(&mut self, records: &[&Record]) -> Result<(), StoreError> {
        let Some(first) = records.first() else { return Ok(()) };
        let head = match self.head {
            Some(head) => head,
            None => self.chain.head(&mut self.conn, first.at).await?,
        };
        self.head = Some(chain::append_all(&mut self.conn, head, records).await?);
        Ok(())
    }

    /// Makes everything durable (fsync) and wakes subscribers. Once it was polled it runs to its end, also when the
    /// caller goes away: whoever waits for the change must hear of it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails; then nothing happened, or (a failing disk, a lost connection) nobody
    /// knows.
    pub async fn commit(self) -> Result<(), StoreError> {
        tokio::spawn(self.finish()).await.map_err(|_error| StoreError::Interrupted)?
    }

    async fn finish(self) -> Result<(), StoreError> {
        let Self { mut conn, mut chain, head, store, bumped, wake } = self;
        let changed = bumped.is_some() || wake;
        let changes = &store.inner.changes;
        if changed {
            let newest = bumped.unwrap_or_else(|| *changes.borrow());
            store.notify(&mut conn, newest).await?;
        }
        // Unknown until the commit is known to have happened: after a failure the chain is read again from the table.
        let before = chain.forget();
        conn.commit().await?;
        chain.remember(head.or(before));
        if changed {
            changes.send_modify(|known| *known = bumped.unwrap_or(*known).max(*known));
        }
        Ok(())
    }
}

impl Deref for WriteTx {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for WriteTx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl fmt::Debug for WriteTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteTx").field("bumped", &self.bumped).finish_non_exhaustive()
    }
}
