//! A file that grows. It is opened for every delivery, so that it may be renamed away at any time, and written by a
//! thread of its own: a file system that hangs keeps that thread, and nobody else.

use std::{
    fs::OpenOptions,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use tokio::sync::oneshot;

use super::SinkError;

pub(super) struct FileSink {
    path: PathBuf,
    /// A delivery that did not end yet.
    writing: Option<oneshot::Receiver<io::Result<()>>>,
}

impl FileSink {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, writing: None }
    }

    /// Appends the lines and waits until they are on disk.
    pub(super) async fn append(&mut self, lines: Vec<u8>) -> Result<(), SinkError> {
        let failed = |source| SinkError::File { path: self.path.display().to_string(), source };
        // One at a time: an earlier one may still hang.
        if let Some(earlier) = &mut self.writing {
            let _given_up = earlier.await.is_ok();
        }
        let (answer, answered) = oneshot::channel();
        let path = self.path.clone();
        let work = move || drop(answer.send(write(&path, &lines)));
        std::thread::Builder::new().name("audit-export".to_owned()).spawn(work).map_err(failed)?;
        let written = self.writing.insert(answered).await;
        self.writing = None;
        written.unwrap_or_else(|_gone| Err(io::Error::other("the writing thread ended"))).map_err(failed)
    }
}

fn write(path: &Path, lines: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
    // A crash may have cut the last line off: it must not spoil the next one.
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    file.write_all(lines)?;
    file.sync_data()
}
