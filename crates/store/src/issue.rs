//! The issuing queue: many decisions, one transaction, one fsync.
//!
//! Whoever wants a certificate released decides and signs first, then hands the item in. One task collects what waits,
//! begins the one write transaction (which stops every change of access), compares the epoch each item was decided at,
//! lets those that are behind decide again from the rows as they are now, records the rest and commits. Only then is
//! anybody answered: no row, no certificate, and no row that is older than a disable.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError},
};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use usher_audit::Record;

use crate::{
    Epoch, Fault, Store, StoreError, WriteTx,
    connections::{self, NewConnection},
};

/// Most items of one transaction: keeps the writer's turn short when admins wait.
const BATCH: usize = 128;

/// How often everybody else gets a turn before a batch is closed. What is nearly ready is written with it: an fsync for
/// two costs what it costs for one. A turn is no time that is waited for.
const YIELDS: usize = 3;

/// Items that may wait before callers do.
const QUEUE: usize = 1024;

/// How often a batch is begun.
const ATTEMPTS: u32 = 3;

/// What a decision that was made again comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not allowed any more, or not with the same capabilities: nothing is recorded.
    Falls,
    /// The same as before.
    Stands,
}

/// How an item ended, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The decision did not stand.
    Fell,
    /// Recorded: release it.
    Recorded,
    /// The same request was recorded before.
    Repeated,
}

/// Something signed that waits for its rows.
///
/// Implement [`Self::decide_again`] with `async fn`. It runs inside the transaction, one item at a time; what it writes
/// is committed with the batch. It must not wait for anything but the database.
pub trait Issuance: Send + 'static {
    /// The epoch of the snapshot that was decided on.
    fn decided_at(&self) -> Epoch;

    /// Decides once more, from the rows as `tx` sees them. Called only when the epoch moved. May write why not.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails; then the whole batch fails.
    fn decide_again(&mut self, tx: &mut WriteTx) -> impl Future<Output = Result<Verdict, StoreError>> + Send;

    /// The connection's row. Not inserted when the same request has one already; then it falls to the first.
    fn connection(&self) -> &NewConnection;

    /// The audit record that goes with it.
    fn record(&self) -> &Record;
}

/// Why nothing was recorded.
#[derive(Clone, Debug, Error)]
pub enum IssueError {
    /// The batch failed, all of it.
    #[error("the connection was not recorded")]
    Batch(#[source] Arc<StoreError>),
    /// The process is going down.
    #[error("the issuing queue has ended")]
    QueueEnded,
}

/// An item of any type on its way through the queue.
pub(crate) trait Work: Send {
    fn decided_at(&self) -> Epoch;

    fn decide_again<'a>(&'a mut self, tx: &'a mut WriteTx) -> BoxFuture<'a, Result<Verdict, StoreError>>;

    fn rows(&self) -> (&NewConnection, &Record);

    fn ends(&mut self, outcome: Outcome);

    fn finish(self: Box<Self>, result: Result<(), Arc<StoreError>>);
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

struct Slot<I> {
    item: I,
    outcome: Outcome,
    answer: oneshot::Sender<Result<(I, Outcome), IssueError>>,
}

impl<I: Issuance> Work for Slot<I> {
    fn decided_at(&self) -> Epoch {
        self.item.decided_at()
    }

    fn decide_again<'a>(&'a mut self, tx: &'a mut WriteTx) -> BoxFuture<'a, Result<Verdict, StoreError>> {
        Box::pin(self.item.decide_again(tx))
    }

    fn rows(&self) -> (&NewConnection, &Record) {
        (self.item.connection(), self.item.record())
    }

    fn ends(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    fn finish(self: Box<Self>, result: Result<(), Arc<StoreError>>) {
        let Self { item, outcome, answer } = *self;
        // Nobody waits any more when the client went away; the row stays, its request may be repeated.
        let _gone = answer.send(result.map(|()| (item, outcome)).map_err(IssueError::Batch));
    }
}

impl Store {
    /// Records `item` with whatever else waits, and answers once that is on disk.
    ///
    /// # Errors
    /// [`IssueError`]; nothing may be released then.
    pub async fn issue<I: Issuance>(&self, item: I) -> Result<(I, Outcome), IssueError> {
        let (answer, answered) = oneshot::channel();
        let work: Box<dyn Work> = Box::new(Slot { item, outcome: Outcome::Fell, answer });
        self.queue().send(work).await.map_err(|_error| IssueError::QueueEnded)?;
        answered.await.map_err(|_error| IssueError::QueueEnded)?
    }

    /// The queue; its task starts with the first item, and again should it ever have died.
    fn queue(&self) -> mpsc::Sender<Box<dyn Work>> {
        let mut queue = self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match &*queue {
            Some(sender) if !sender.is_closed() => sender.clone(),
            _ => {
                let (sender, receiver) = mpsc::channel(QUEUE);
                tokio::spawn(serve(self.weak(), receiver));
                *queue = Some(sender.clone());
                sender
            }
        }
    }
}

/// Ends when the last handle of the store is gone.
async fn serve(store: crate::store::WeakStore, mut receiver: mpsc::Receiver<Box<dyn Work>>) {
    let mut batch: Vec<Box<dyn Work>> = Vec::with_capacity(BATCH);
    while let Some(first) = receiver.recv().await {
        batch.push(first);
        for _ in 0..YIELDS {
            tokio::task::yield_now().await;
        }
        let Some(store) = store.upgrade() else { return };
        let result = commit_surely(&store, &mut receiver, &mut batch).await.map_err(Arc::new);
        for work in batch.drain(..) {
            work.finish(result.clone());
        }
    }
}

/// Begins again when others were in the way or the connection broke: nobody was answered yet, and should the commit have
/// happened all the same, its rows are recognised by their requests.
async fn commit_surely(
    store: &Store,
    receiver: &mut mpsc::Receiver<Box<dyn Work>>,
    batch: &mut Vec<Box<dyn Work>>,
) -> Result<(), StoreError> {
    for attempt in 1..ATTEMPTS {
        match commit(store, receiver, batch, attempt).await {
            Err(error) if matches!(error.fault(), Fault::Conflict | Fault::Lost) => {
                tracing::warn!(%error, "recording is tried again");
            }
            result => return result,
        }
    }
    commit(store, receiver, batch, ATTEMPTS).await
}

async fn commit(
    store: &Store,
    receiver: &mut mpsc::Receiver<Box<dyn Work>>,
    batch: &mut Vec<Box<dyn Work>>,
    attempt: u32,
) -> Result<(), StoreError> {
    let (mut tx, epoch) = store.begin_issuing().await?;
    // Drained after the wait for the writer's turn: all that came in the meantime.
    while batch.len() < BATCH {
        let Ok(work) = receiver.try_recv() else { break };
        batch.push(work);
    }
    store.heard_of(epoch);
    let mut standing = Vec::with_capacity(batch.len());
    for work in batch.iter_mut() {
        let verdict =
            if work.decided_at() == epoch { Verdict::Stands } else { work.decide_again(&mut tx).await? };
        match verdict {
            Verdict::Falls => work.ends(Outcome::Fell),
            Verdict::Stands => standing.push(work),
        }
    }
    // Brokers that get the same requests insert them in the same order: none waits for a row of one that waits for it.
    standing.sort_by(|one, other| one.rows().0.request.cmp(&other.rows().0.request));
    record(&mut tx, &mut standing, attempt).await?;
    tx.commit().await
}

/// Inserts every connection whose request has none yet, and the audit rows of those.
async fn record(
    tx: &mut WriteTx,
    standing: &mut [&mut Box<dyn Work>],
    attempt: u32,
) -> Result<(), StoreError> {
    let (connections, records): (Vec<_>, Vec<_>) = standing.iter().map(|work| work.rows()).unzip();
    let inserted = match attempt {
        1 => connections::insert_all(tx, &connections).await?,
        // What is there may be what the attempt before has left.
        _ => connections::insert_each(tx, &connections).await?,
    };
    let of_inserted = records.into_iter().zip(&inserted).filter(|(_, inserted)| **inserted);
    let records: Vec<_> = of_inserted.map(|(record, _)| record).collect();
    tx.audit_all(&records).await?;
    for (work, inserted) in standing.iter_mut().zip(inserted) {
        work.ends(if inserted { Outcome::Recorded } else { Outcome::Repeated });
    }
    Ok(())
}
