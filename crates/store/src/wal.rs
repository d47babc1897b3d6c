//! Copies SQLite's write-ahead log back into the database beside the writer. Left to the writer, whoever waits for a commit
//! now and then also waits for megabytes to be copied and synced; like this there is little left for it to copy.
//! PostgreSQL does the same by itself.

use std::time::Duration;

use sqlx::SqlitePool;
use tokio::{sync::mpsc, time::sleep};

/// Between two copies while there is something to copy. Pages that change with every commit are copied once in it.
const PAUSE: Duration = Duration::from_millis(250);

/// Does not wait for readers or the writer, and holds up neither.
const COPY: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// Says that something was committed. The copying ends with the last of these.
#[derive(Clone, Debug)]
pub(crate) struct Committed(mpsc::Sender<()>);

impl Committed {
    /// Never waits: a copy that is due anyhow takes this commit along.
    pub(crate) fn tell(&self) {
        let _due_already = self.0.try_send(());
    }
}

/// Begins.
pub(crate) fn copy_back(readers: SqlitePool) -> Committed {
    let (sender, mut commits) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(()) = commits.recv().await {
            sleep(PAUSE).await;
            if let Err(error) = sqlx::query(COPY).execute(&readers).await {
                // Nothing is lost by it: the log is read as well, and the writer copies it back when it becomes long.
                tracing::debug!(%error, "the write-ahead log was not copied back");
            }
        }
    });
    Committed(sender)
}
