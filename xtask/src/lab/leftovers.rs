//! Taking laboratories down: one's own, those of runs that died, those that were kept.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    fs::{FlockOperation, flock},
    mount::{UnmountFlags, unmount},
    process::{Pid, Signal, kill_process},
};
use serde::{Deserialize, Serialize};

use super::{Manifest, STATE, network};
use crate::clock;

/// A process for sure: ids are reused, start times with them are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pid: i32,
    started: u64,
}

impl ProcessId {
    /// The running process `pid`, if there is one.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses and may hold anything; the start time is field 22.
        let (_, rest) = stat.rsplit_once(") ")?;
        let state = rest.chars().next()?;
        let started = rest.split(' ').nth(19)?.parse().ok()?;
        (state != 'Z' && state != 'X').then_some(Self { pid, started })
    }

    /// This process.
    pub(super) fn own() -> Result<Self> {
        let pid = i32::try_from(std::process::id())?;
        Self::of(pid).context("cannot read /proc/self/stat")
    }

    /// Whether it still runs.
    pub(super) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Its number.
    pub(super) fn pid(self) -> i32 {
        self.pid
    }

    /// Kills it and waits until it is gone. Killing the first process of a process namespace ends all of them.
    pub(super) fn kill(self) -> Result<()> {
        if let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.is_alive()) {
            let _already_gone = kill_process(pid, Signal::KILL);
        }
        clock::wait_for_end("a host to end", clock::PATIENCE, || !self.is_alive())
    }
}

/// Takes the laboratory in `dir` down, whoever brought it up.
///
/// # Errors
/// When something of it resists; names it.
pub(crate) fn tear_down(dir: &Path) -> Result<()> {
    let prefix = dir.file_name().and_then(|name| name.to_str()).context("not a laboratory")?;
    for host in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let file = host?.path().join("init.json");
        let Ok(text) = fs::read(&file) else { continue };
        serde_json::from_slice::<ProcessId>(&text)?.kill()?;
    }
    network::remove(prefix)?;
    // Lazily: a shell that stands in the directory must not keep the rest alive.
    let _not_mounted = unmount(dir, UnmountFlags::DETACH);
    // Never into a file system that is still mounted there.
    if dir.metadata()?.dev() != Path::new(STATE).metadata()?.dev() {
        bail!("{} is still mounted", dir.display());
    }
    fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    let _others_remain = fs::remove_dir(STATE);
    Ok(())
}

/// Ends every process of a laboratory's hosts without waiting: whoever waits for one of them goes on.
pub(super) fn kill_hosts(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for file in entries.flatten().map(|entry| entry.path().join("init.json")) {
        let id = fs::read(file).ok().and_then(|text| serde_json::from_slice::<ProcessId>(&text).ok());
        if let Some(pid) = id.filter(|id| id.is_alive()).and_then(|id| Pid::from_raw(id.pid)) {
            let _already_gone = kill_process(pid, Signal::KILL);
        }
    }
}

/// Held while a laboratory is founded and while leftovers are looked at, so that a run that just begins does not look
/// dead to another, and two runs do not clean up the same leftovers.
pub(super) fn lock() -> Result<Option<fs::File>> {
    let Ok(state) = fs::File::open(STATE) else { return Ok(None) };
    flock(&state, FlockOperation::LockExclusive)?;
    Ok(Some(state))
}

fn each(mut act: impl FnMut(&Path, Option<Manifest>) -> Result<()>) -> Result<()> {
    let Some(_lock) = lock()? else { return Ok(()) };
    for entry in fs::read_dir(STATE)? {
        let dir = entry?.path();
        let manifest = fs::read(dir.join("lab.json")).ok();
        act(&dir, manifest.and_then(|text| serde_json::from_slice(&text).ok()))?;
    }
    Ok(())
}

/// Cleans up after runs that were killed; returns what was found. Kept and running laboratories stay.
///
/// # Errors
/// When one cannot be taken down.
pub(crate) fn clean_dead() -> Result<Vec<String>> {
    let mut found = Vec::new();
    each(|dir, manifest| {
        let dead = manifest.as_ref().is_none_or(|manifest| !manifest.kept && !manifest.owner.is_alive());
        if dead {
            found.push(dir.display().to_string());
            tear_down(dir)?;
        }
        Ok(())
    })?;
    Ok(found)
}

/// The laboratory that was kept last.
pub(crate) fn newest_kept() -> Option<PathBuf> {
    let mut kept = Vec::new();
    each(|dir, manifest| {
        if manifest.is_some_and(|manifest| manifest.kept) {
            kept.push((dir.join("lab.json").metadata()?.modified()?, dir.to_owned()));
        }
        Ok(())
    })
    .ok()?;
    kept.into_iter().max().map(|(_, dir)| dir)
}

/// Takes down every kept laboratory and those of dead runs; returns how many.
///
/// # Errors
/// When one cannot be taken down.
pub(crate) fn down_all() -> Result<usize> {
    let mut count = 0;
    each(|dir, manifest| {
        if manifest.is_none_or(|manifest| manifest.kept || !manifest.owner.is_alive()) {
            tear_down(dir)?;
            count += 1;
        }
        Ok(())
    })?;
    Ok(count)
}
