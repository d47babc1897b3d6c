//! Opening the database, and the two ways in: a read snapshot, and the one write transaction at a time.

use std::{
    fmt, io,
    ops::{Deref, DerefMut},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use sqlx::{
    Sqlite, SqlitePool, Transaction,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, mpsc, watch};

use crate::{
    Conn, ConnectError, Epoch, OpenError, StoreError, WriteTx,
    chain::Chain,
    conn::{Engine, query},
    issue::Work,
    postgres::{self, Listening, Server},
    row::{Columns as _, statements},
};

/// Readers beside the one writer. More do not help on few cores, and every one caches pages.
const READERS: u32 = 4;

/// Takes the lock at once: a transaction that finds it taken later could only give up.
const BEGIN: &str = "BEGIN IMMEDIATE";

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
    engine: Pools,
    pub(crate) chain: Arc<Mutex<Chain>>,
    pub(crate) changes: watch::Sender<Epoch>,
    pub(crate) queue: std::sync::Mutex<Option<mpsc::Sender<Box<dyn Work>>>>,
    listening: OnceLock<Listening>,
}

/// The connections of one engine.
enum Pools {
    Postgres(Arc<Server>),
    Sqlite { writer: SqlitePool, readers: SqlitePool },
}

impl Pools {
    async fn read(&self) -> Result<Conn, StoreError> {
        Ok(Conn(match self {
            // On the heap: the driver's way to a connection is large, and everything that waits for one would be so too.
            Self::Postgres(server) => Engine::Postgres(Box::pin(server.read()).await?),
            Self::Sqlite { readers, .. } => Engine::Sqlite(Box::pin(readers.begin()).await?),
        }))
    }

    async fn write(&self) -> Result<Conn, StoreError> {
        Ok(Conn(match self {
            Self::Postgres(server) => Engine::Postgres(Box::pin(server.write()).await?),
            Self::Sqlite { writer, .. } => Engine::Sqlite(Box::pin(begin_writing(writer)).await?),
        }))
    }
}

/// On a full disk SQLite ends a transaction by itself. The driver does not notice, and would take the one connection that
/// writes for busy ever after: another one takes its place.
async fn begin_writing(writer: &SqlitePool) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    match writer.begin_with(BEGIN).await {
        Err(sqlx::Error::InvalidSavePointStatement) => {
            writer.acquire().await?.close().await?;
            writer.begin_with(BEGIN).await
        }
        result => result,
    }
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
            // A statement that writes many rows keeps the means to undo them: not in a file.
            .pragma("temp_store", "MEMORY")
            // Pages that change with every commit are copied back a tenth as often. Copied beside the writer, four times a
            // second, they made the slowest hundredth of requests twice as slow.
            .pragma("wal_autocheckpoint", "10000")
            .statement_cache_capacity(STATEMENTS_KEPT);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            // What one batch changes fits into memory; else it would be written twice.
            .connect_with(options.clone().pragma("cache_size", "-16000"))
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
        Self::over(Pools::Sqlite { writer, readers })
            .await
            .map_err(|source| OpenError::Store { path: path.to_owned(), source })
    }

    /// Connects to a PostgreSQL database and brings its tables up to date, one process at a time.
    ///
    /// Every call begins a new writer of the audit chain.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(options: PgConnectOptions) -> Result<Self, ConnectError> {
        let server = Arc::new(Server::connect(options).await?);
        let store = Self::over(Pools::Postgres(Arc::clone(&server))).await.map_err(ConnectError::Store)?;
        let listening = server.listen(store.weak(), store.inner.changes.clone());
        let _first = store.inner.listening.set(listening);
        Ok(store)
    }

    async fn over(engine: Pools) -> Result<Self, StoreError> {
        let epoch = epoch(&mut engine.read().await?).await?;
        let inner = Inner {
            engine,
            chain: Arc::new(Mutex::new(Chain::default())),
            changes: watch::Sender::new(epoch),
            queue: std::sync::Mutex::new(None),
            listening: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A snapshot to read from: everything read through one [`Reader`] belongs together.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn read(&self) -> Result<Reader, StoreError> {
        Ok(Reader { conn: self.inner.engine.read().await? })
    }

    /// Begins the write transaction, waiting for the one before it to end. Dropped without
    /// [`commit`](WriteTx::commit), it leaves nothing.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn begin(&self) -> Result<WriteTx, StoreError> {
        // The chain's lock is the queue of writers; the connection behind it is free at most one roll-back later.
        let chain = Arc::clone(&self.inner.chain).lock_owned().await;
        let conn = self.inner.engine.write().await?;
        Ok(WriteTx::new(conn, chain, self.clone()))
    }

    /// Begins the transaction that records what is issued, and reads the epoch in a way that it cannot move before the
    /// transaction ends. On PostgreSQL it takes no turn: brokers issue side by side, and only changes of access wait.
    pub(crate) async fn begin_issuing(&self) -> Result<(WriteTx, Epoch), StoreError> {
        let Pools::Postgres(server) = &self.inner.engine else {
            let mut tx = self.begin().await?;
            let epoch = tx.epoch().await?;
            return Ok((tx, epoch));
        };
        let chain = Arc::clone(&self.inner.chain).lock_owned().await;
        let mut conn = Conn(Engine::Postgres(Box::pin(server.issue()).await?));
        let epoch = postgres::epoch_for_issuing(&mut conn).await?;
        Ok((WriteTx::new(conn, chain, self.clone()), epoch))
    }

    /// Tells the other brokers of the change that `conn` is about to commit. On SQLite others find out by looking.
    pub(crate) async fn notify(&self, conn: &mut Conn, epoch: Epoch) -> Result<(), StoreError> {
        match &self.inner.engine {
            Pools::Postgres(server) => server.notify(conn, epoch).await,
            Pools::Sqlite { .. } => Ok(()),
        }
    }

    /// Fires after every commit that moved the epoch or asked for it by [`WriteTx::wake`], and on PostgreSQL after those
    /// of other brokers; holds the newest epoch that this process knows of.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Epoch> {
        self.inner.changes.subscribe()
    }

    /// The newest epoch that this process has heard of. Another process may have moved it since; whoever relies on it is
    /// checked by [`Store::issue`].
    #[must_use]
    pub fn known_epoch(&self) -> Epoch {
        *self.inner.changes.borrow()
    }

    /// Looks whether another process (an operator's command, another broker) moved the epoch, and wakes subscribers if
    /// so. Call it every few seconds, also where other processes tell: what they tell can be lost.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn poll_epoch(&self) -> Result<Epoch, StoreError> {
        let mut reader = self.read().await?;
        let epoch = reader.epoch().await?;
        self.heard_of(epoch);
        Ok(epoch)
    }

    /// Wakes subscribers when the epoch is a new one.
    pub(crate) fn heard_of(&self, epoch: Epoch) {
        self.inner.changes.send_if_modified(|known| {
            let moved = *known < epoch;
            *known = (*known).max(epoch);
            moved
        });
    }

    pub(crate) fn weak(&self) -> WeakStore {
        WeakStore(Arc::downgrade(&self.inner))
    }

    /// Closes every connection; what is not committed is gone. For a clean end of the process and for tests.
    pub async fn close(&self) {
        match &self.inner.engine {
            Pools::Postgres(server) => server.close().await,
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
        }
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
    conn: Conn,
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
        &self.conn
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

pub(crate) async fn epoch(conn: &mut Conn) -> Result<Epoch, StoreError> {
    let row = query(EPOCH).fetch_one(conn).await?;
    Ok(Epoch::new(row.int("value")?))
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
