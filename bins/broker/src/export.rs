//! Sends the audit log to sinks as it grows: a file, a collector. It reads what was committed, so nobody waits for it;
//! a delivery that takes too long is given up and made again. Every row arrives at least once, each writer's in order.

mod file;
mod push;

use std::time::Duration;

use thiserror::Error;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use usher_audit::{Line, LineError};
use usher_store::{
    KeyPurpose, StoreError,
    audit::{
        checkpoints,
        export::{self, Progress},
    },
    keys,
};
use usher_telemetry::Chain;
use usher_types::UnixTime;

use self::{file::FileSink, push::PushSink};
use crate::{AppState, random};

/// Between two looks at the log.
const POLL: Duration = Duration::from_secs(1);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a sink is held without a sign of life.
const HOLD: Duration = Duration::from_secs(60);
/// How often that sign is given while there is nothing to send.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// How often every writer is asked for rows that came late.
const LOOK_BACK: Duration = Duration::from_secs(60);
/// Rows of one delivery.
const BATCH: u32 = 500;

/// Why lines did not arrive.
#[derive(Debug, Error)]
enum SinkError {
    /// The collector did not take them.
    #[error("the collector answered {0}")]
    Answer(reqwest::StatusCode),
    /// No answer in time.
    #[error("no delivery within {} seconds", .0.as_secs())]
    Deadline(Duration),
    /// A line cannot be written.
    #[error("a row cannot be written as a line")]
    Line(#[source] LineError),
    /// The file cannot be written, or a configured file cannot be read.
    #[error("`{path}` failed")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// The collector cannot be reached.
    #[error("the collector cannot be reached")]
    Http(#[source] reqwest::Error),
    /// Another broker sends now.
    #[error("another broker has taken over")]
    Lost,
    /// The database failed.
    #[error("the database failed")]
    Store(#[source] StoreError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls,
}

impl From<StoreError> for SinkError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Where lines go.
enum Sink {
    File(FileSink),
    Push(Box<PushSink>),
}

impl Sink {
    async fn deliver(&mut self, lines: Vec<u8>) -> Result<(), SinkError> {
        match self {
            Self::File(file) => file.append(lines).await,
            Self::Push(push) => push.post(lines).await,
        }
    }
}

/// The tasks that send, one for each sink.
pub(crate) struct Exporters {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    patience: Duration,
}

impl Exporters {
    /// Begins to send to the configured sinks.
    pub(crate) fn start(app: &AppState) -> Self {
        let config = &app.config().audit;
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut begin = |name: &str, sink| {
            let exporter = Exporter {
                app: app.clone(),
                name: name.to_owned(),
                holder: holder(),
                sink,
                progress: None,
                alive: None,
                refused: None,
                looked_back: None,
            };
            tasks.spawn(exporter.run(stopping.clone()));
        };
        if let Some(path) = &config.export_file {
            begin(&config.export_file_name, Sink::File(FileSink::new(path.clone())));
        }
        if let Some(url) = &config.push_url {
            begin(&config.push_name, Sink::Push(Box::new(PushSink::new(url.clone(), config))));
        }
        // A delivery that is under way, one for what is left, and the notes.
        let patience = config.deadline().saturating_mul(2).saturating_add(Duration::from_secs(5));
        Self { tasks, stop, patience }
    }

    /// Sends what is left, as far as sinks take it now; the rest is sent at the next start.
    pub(crate) async fn finish(mut self) {
        self.stop.send_replace(true);
        let done = timeout(self.patience, async { while self.tasks.join_next().await.is_some() {} }).await;
        if done.is_err() {
            tracing::warn!("the audit export was given up; the next start goes on with it");
        }
    }
}

/// Names this process among those that share a sink.
fn holder() -> String {
    let bytes: [u8; 16] = random::try_bytes().unwrap_or_default();
    data_encoding::HEXLOWER.encode(&bytes)
}

struct Exporter {
    app: AppState,
    name: String,
    holder: String,
    sink: Sink,
    /// None while another process holds the sink, or after a failure: then the last note counts.
    progress: Option<Progress>,
    alive: Option<Instant>,
    /// When somebody else held it.
    refused: Option<Instant>,
    looked_back: Option<Instant>,
}

impl Exporter {
    async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let mut pause = POLL;
        loop {
            // The sender is dropped only when nobody waits for us any more.
            let last = tokio::select! {
                () = sleep(pause) => false,
                _ = stopping.wait_for(|stopping| *stopping) => true,
            };
            match self.pass().await {
                Ok(()) => {
                    if pause > POLL {
                        tracing::info!(sink = self.name, "the audit export goes on");
                    }
                    pause = POLL;
                }
                Err(error) => {
                    // What arrived is not known: it begins again where it was noted.
                    self.progress = None;
                    tracing::error!(sink = self.name, cause = %Chain(&error), "the audit export does not get on");
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
            }
            if last {
                return self.release().await;
            }
        }
    }

    fn until(&self) -> UnixTime {
        self.app.now().saturating_add(HOLD)
    }

    /// Sends everything that is there.
    async fn pass(&mut self) -> Result<(), SinkError> {
        if self.progress.is_none() && !self.hold().await? {
            return Ok(());
        }
        while let Some(lines) = self.next().await? {
            let deadline = self.app.config().audit.deadline();
            let delivered = timeout(deadline, self.sink.deliver(lines)).await;
            delivered.map_err(|_elapsed| SinkError::Deadline(deadline))??;
            self.note().await?;
        }
        let due = self.alive.is_none_or(|alive| alive.elapsed() >= SIGN_OF_LIFE);
        if due { self.note().await } else { Ok(()) }
    }

    async fn hold(&mut self) -> Result<bool, SinkError> {
        if self.refused.is_some_and(|refused| refused.elapsed() < SIGN_OF_LIFE) {
            return Ok(false);
        }
        let mut tx = self.app.store().begin().await?;
        let until = self.until();
        self.progress = export::hold(&mut tx, &self.name, &self.holder, self.app.now(), until).await?;
        tx.commit().await?;
        self.alive = Some(Instant::now());
        self.looked_back = None;
        self.refused = self.progress.is_none().then(Instant::now);
        Ok(self.progress.is_some())
    }

    /// The next lines, none when the sink has everything.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, SinkError> {
        let Some(progress) = &mut self.progress else { return Ok(None) };
        let mut reader = self.app.store().read().await?;
        let mut rows = progress.next(&mut reader, BATCH).await?;
        if rows.is_empty() && self.looked_back.is_none_or(|looked| looked.elapsed() >= LOOK_BACK) {
            rows = progress.lagging(&mut reader, BATCH).await?;
            self.looked_back = rows.is_empty().then(Instant::now);
        }
        let mut lines = Vec::new();
        for row in rows {
            lines.extend(Line::Row(row).encode().map_err(SinkError::Line)?);
        }
        if lines.is_empty() {
            let signed = checkpoints::page(&mut reader, progress.checkpoint(), BATCH).await?;
            let known = keys::of_team(&mut reader, KeyPurpose::Audit).await?;
            for stored in signed {
                progress.set_checkpoint(stored.number);
                let key = known.iter().find(|key| key.id == stored.key_id);
                let key = key.and_then(|key| key.public.as_slice().try_into().ok()).unwrap_or([0; 65]);
                let line = Line::Checkpoint { signed: stored.signed, key };
                lines.extend(line.encode().map_err(SinkError::Line)?);
            }
        }
        Ok((!lines.is_empty()).then_some(lines))
    }

    /// Notes what the sink has.
    async fn note(&mut self) -> Result<(), SinkError> {
        let until = self.until();
        let Some(progress) = &mut self.progress else { return Ok(()) };
        let mut tx = self.app.store().begin().await?;
        if !export::save(&mut tx, &self.name, &self.holder, progress, until).await? {
            return Err(SinkError::Lost);
        }
        tx.commit().await?;
        self.alive = Some(Instant::now());
        Ok(())
    }

    async fn release(self) {
        let released = async {
            let mut tx = self.app.store().begin().await?;
            export::release(&mut tx, &self.name, &self.holder).await?;
            tx.commit().await
        };
        if let Err(error) = released.await {
            tracing::warn!(sink = self.name, cause = %Chain(&error), "the audit export was not released");
        }
    }
}
