//! Opening the database, and the two ways in: a read snapshot, and the one write transaction at a time.

use std::{
    fmt, io,
    ops::{Deref, DerefMut},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

use sqlx::{
    Row as _, Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, mpsc, watch};

use crate::{Epoch, OpenError, StoreError, WriteTx, chain::Chain, issue::Work, row::statements};

/// A connection to read from: what a [`Reader`] and a [`WriteTx`] have in common. Functions that only read take it.
pub type Conn = sqlx::SqliteConnection;

/// Readers beside the one writer. More do not help on few cores, and every one caches pages.
const READERS: u32 = 4;

/// Prepared statements that each connection keeps: more than this crate has.
const STATEMENTS_KEPT: usize = 256;

statements! {
    EPOCH = "SELECT value FROM epoch";
}

/// The database. Cheap to clone; clones are the same database.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    writer: SqlitePool,
    readers: SqlitePool,
    pub(crate) chain: Arc<Mutex<Chain>>,
    pub(crate) changes: watch::Sender<Epoch>,
    pub(crate) queue: std::sync::Mutex<Option<mpsc::Sender<Box<dyn Work>>>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database at `path`, makes it (mode 0600) when there is none, and brings its tables up to date.
    ///
    /// Every call begins a new writer of the audit chain.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the file.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        make_private(path)?;
        let failed = |error: sqlx::Error| OpenError::Store { path: path.to_owned(), source: error.into() };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // A committed row survives a power cut: WAL with NORMAL would lose the last commits.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10))
            .statement_cache_capacity(STATEMENTS_KEPT);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await
            .map_err(failed)?;
        sqlx::migrate!("migrations/sqlite")
            .run(&writer)
            .await
            .map_err(|source| OpenError::Migrate { path: path.to_owned(), source })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.pragma("query_only", "ON"))
            .await
            .map_err(failed)?;
        let row = sqlx::query(EPOCH).fetch_one(&readers).await.map_err(failed)?;
        let epoch = Epoch::new(row.try_get("value").map_err(failed)?);
        let inner = Inner {
            writer,
            readers,
            chain: Arc::new(Mutex::new(Chain::default())),
            changes: watch::Sender::new(epoch),
            queue: std::sync::Mutex::new(None),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A snapshot to read from: everything read through one [`Reader`] belongs together.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn read(&self) -> Result<Reader, StoreError> {
        Ok(Reader { tx: self.inner.readers.begin().await? })
    }

    /// Begins the write transaction, waiting for the one before it to end. Dropped without
    /// [`commit`](WriteTx::commit), it leaves nothing.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn begin(&self) -> Result<WriteTx, StoreError> {
        // The chain's lock is the queue of writers; the connection behind it is free at most one roll-back later.
        let chain = Arc::clone(&self.inner.chain).lock_owned().await;
        let tx = self.inner.writer.begin_with("BEGIN IMMEDIATE").await?;
        Ok(WriteTx::new(tx, chain, self.inner.changes.clone()))
    }

    /// Fires after every commit that moved the epoch or asked for it by [`WriteTx::wake`]; holds the newest epoch this
    /// process committed.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Epoch> {
        self.inner.changes.subscribe()
    }

    /// Looks whether another process (an operator's command) moved the epoch, and wakes subscribers if so. Call it
    /// every few seconds.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn poll_epoch(&self) -> Result<Epoch, StoreError> {
        let mut reader = self.read().await?;
        let epoch = reader.epoch().await?;
        self.inner.changes.send_if_modified(|known| {
            let moved = *known < epoch;
            *known = (*known).max(epoch);
            moved
        });
        Ok(epoch)
    }

    pub(crate) fn weak(&self) -> WeakStore {
        WeakStore(Arc::downgrade(&self.inner))
    }

    /// Closes every connection; what is not committed is gone. For a clean end of the process and for tests.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        self.inner.writer.close().await;
    }
}

/// A handle that does not keep the database open.
pub(crate) struct WeakStore(Weak<Inner>);

impl WeakStore {
    pub(crate) fn upgrade(&self) -> Option<Store> {
        self.0.upgrade().map(|inner| Store { inner })
    }
}

/// One snapshot of the database, from its first read on. Cannot write.
pub struct Reader {
    tx: Transaction<'static, Sqlite>,
}

impl Reader {
    /// The epoch of this snapshot: decide on what this reader says and hand this to the issuing queue.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn epoch(&mut self) -> Result<Epoch, StoreError> {
        epoch(self).await
    }
}

impl Deref for Reader {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.tx
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.tx
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

pub(crate) async fn epoch(conn: &mut Conn) -> Result<Epoch, StoreError> {
    let row = sqlx::query(EPOCH).fetch_one(conn).await?;
    Ok(Epoch::new(row.try_get("value")?))
}

/// Makes the file with mode 0600 before SQLite sees it; SQLite gives its `-wal` and `-shm` files the same mode.
fn make_private(path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_file) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 == 0 { Ok(()) } else { Err(OpenError::Permissions { path: path.to_owned() }) }
}
