//! What only PostgreSQL needs: how a connection is set up, whose turn it is to write, and how brokers tell each other
//! that something changed.

use std::{sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _, PgPool, Postgres, Row as _, Transaction,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{sync::watch, task::AbortHandle, time::Instant};

use crate::{
    Conn, ConnectError, Epoch, Fault, StoreError,
    conn::query,
    fault,
    row::{Columns as _, statements},
    store::WeakStore,
};

/// Connections of one broker: readers, the writer whose turn it is, and one that waits for it.
const CONNECTIONS: u32 = 8;

/// How long anybody waits for a connection. A server that restarts is back before that, or callers are told.
const ACQUIRE: Duration = Duration::from_secs(5);

/// How long apart it is tried meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// Pauses before listening is tried again.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The oldest server that is known to work.
const OLDEST: i64 = 14;

/// Prepared statements that each connection keeps: more than this crate has.
const STATEMENTS_KEPT: usize = 256;

/// A broker that vanished in the middle of a transaction must not keep everybody else waiting; the server ends it.
const SESSION: &[(&str, &str)] = &[
    ("idle_in_transaction_session_timeout", "20s"),
    ("lock_timeout", "25s"),
    ("statement_timeout", "60s"),
    ("tcp_keepalives_idle", "15"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

/// A commit that was answered is on disk, whatever the server's default is; stronger settings stay.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'";

const CHANNEL: &str = "usher_changes";

statements! {
    ABOUT = "SELECT current_setting('server_version_num')::bigint / 10000 AS version,
        pg_is_in_recovery()::int::bigint AS standby";
    // Writers of all brokers take turns, as on SQLite. Released with the transaction.
    WRITERS_TURN = "SELECT 1 AS turn FROM (SELECT pg_advisory_xact_lock(7961436)) AS t";
    // Locking a row is not fair: those who share it could keep out for ever whoever wants to change it. This lock is.
    EPOCHS_TURN = "SELECT 1 AS turn FROM (SELECT pg_advisory_xact_lock(7961437)) AS t";
    // FOR SHARE reads the newest committed value, and holds up every change of it until the transaction ends. A plain
    // read would let a disable commit between this and the insert.
    EPOCH_FOR_ISSUING = "SELECT e.value FROM (SELECT pg_advisory_xact_lock_shared(7961437)) AS t, epoch AS e
        FOR SHARE OF e";
    NOTIFY = "SELECT 1 AS told FROM (SELECT pg_notify('usher_changes', $1)) AS t";
}

/// The connections of one broker.
pub(crate) struct Server {
    pool: PgPool,
    options: PgConnectOptions,
    /// Tells this process's notices from those of others.
    origin: String,
}

impl Server {
    pub(crate) async fn connect(options: PgConnectOptions) -> Result<Self, ConnectError> {
        let options = options.statement_cache_capacity(STATEMENTS_KEPT).application_name("usher-broker");
        // One connection by itself first: its error says more than a pool's, and migrations may take their time.
        let mut first = options.connect().await.map_err(ConnectError::from_first)?;
        let about = sqlx::query(ABOUT).fetch_one(&mut first).await.map_err(ConnectError::from_first)?;
        let version: i64 = about.get("version");
        if version < OLDEST {
            return Err(ConnectError::TooOld { version });
        }
        if about.get::<i64, _>("standby") != 0 {
            return Err(ConnectError::ReadOnly);
        }
        drop(first);
        // Takes a lock of its own, so that one broker does it and the others wait; without the time limits of a session.
        let migrating = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
        sqlx::migrate!("migrations/postgres").run(&migrating).await.map_err(ConnectError::from_migration)?;
        migrating.close().await;
        let options = options.options(SESSION.iter().copied());
        let pool = pool(CONNECTIONS).connect_lazy_with(options.clone());
        let mut origin = [0; 8];
        getrandom::fill(&mut origin).map_err(|error| ConnectError::Store(StoreError::Random(error)))?;
        let origin = format!("{:016x}", u64::from_be_bytes(origin));
        Ok(Self { pool, options, origin })
    }

    /// One snapshot for all statements, as on SQLite.
    pub(crate) async fn read(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        self.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    /// A transaction for issuing: takes no turn. Every statement sees what was committed before it.
    pub(crate) async fn issue(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        self.transaction("BEGIN ISOLATION LEVEL READ COMMITTED").await
    }

    /// The one write transaction of all brokers.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let mut tx = self.issue().await?;
        sqlx::query(WRITERS_TURN).execute(&mut *tx).await?;
        Ok(tx)
    }

    /// Connections that died while nobody used them are found out here, and left: nothing was asked of them yet. A server
    /// that restarts is waited for.
    async fn transaction(&self, begin: &'static str) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let deadline = Instant::now() + ACQUIRE;
        loop {
            let error = match self.pool.begin_with(begin).await {
                Ok(tx) => return Ok(tx),
                Err(error) => error,
            };
            if fault::of(&error) != Fault::Lost || Instant::now() >= deadline {
                return Err(error);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// Listens to the other brokers until the handle is dropped.
    pub(crate) fn listen(self: &Arc<Self>, store: WeakStore, changes: watch::Sender<Epoch>) -> Listening {
        let server = Arc::clone(self);
        Listening(tokio::spawn(async move { server.hear(store, changes).await }).abort_handle())
    }

    /// What others commit while the connection is down is found by looking; polling goes on beside this anyway.
    async fn hear(&self, store: WeakStore, changes: watch::Sender<Epoch>) {
        let mut pause = PAUSE;
        loop {
            let heard = self.hear_until_it_breaks(&store, &changes, &mut pause).await;
            let Err(error) = heard else { return };
            tracing::warn!(cause = %error, "not told of other brokers' changes; looking every few seconds instead");
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    async fn hear_until_it_breaks(
        &self,
        store: &WeakStore,
        changes: &watch::Sender<Epoch>,
        pause: &mut Duration,
    ) -> Result<(), StoreError> {
        let mut listener = PgListener::connect_with(&pool(1).connect_lazy_with(self.options.clone())).await?;
        listener.listen(CHANNEL).await?;
        *pause = PAUSE;
        // After the channel is open, so that no change falls between.
        match store.upgrade() {
            Some(store) => store.poll_epoch().await?,
            None => return Ok(()),
        };
        while let Some(notice) = listener.try_recv().await? {
            let (origin, epoch) = notice.payload().split_once(' ').unwrap_or_default();
            if origin != self.origin {
                let epoch = Epoch::new(epoch.parse().unwrap_or_default());
                changes.send_modify(|known| *known = epoch.max(*known));
            }
        }
        Err(sqlx::Error::PoolClosed.into())
    }

    /// Tells the other brokers, when the transaction commits.
    pub(crate) async fn notify(&self, conn: &mut Conn, epoch: Epoch) -> Result<(), StoreError> {
        query(NOTIFY).bind(format!("{} {}", self.origin, epoch.value())).execute(conn).await?;
        Ok(())
    }
}

/// Listens as long as it lives.
pub(crate) struct Listening(AbortHandle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn pool(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        // A round trip for each; see `transaction`.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(Duration::from_secs(3600))
        .after_connect(|connection, _about| {
            Box::pin(async move {
                sqlx::query(DURABLE).execute(connection).await?;
                Ok(())
            })
        })
}

/// The epoch as the issuing transaction sees it; it cannot move before that ends.
pub(crate) async fn epoch_for_issuing(conn: &mut Conn) -> Result<Epoch, StoreError> {
    Ok(Epoch::new(query(EPOCH_FOR_ISSUING).fetch_one(conn).await?.int("value")?))
}

/// Waits for issuing transactions to end, ahead of those that come later.
pub(crate) async fn take_epochs_turn(conn: &mut Conn) -> Result<(), StoreError> {
    query(EPOCHS_TURN).fetch_one(conn).await?;
    Ok(())
}
