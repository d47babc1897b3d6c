//! The sorted index of server names that answers `usher resolve` in a few page reads: no TLS, no JSON, no
//! configuration. One line per name, `name<TAB>team,team<TAB>+` (or `-` when no team has it any more).
//!
//! A name seen once stays ours for good: were it to fall through after a server is removed, `ssh web-1` would ask the
//! local DNS for somebody else's `web-1`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
};

use usher_api::v1::{Page, Server};
use usher_types::{HostName, TeamSlug};

use crate::{exit::Failure, files};

const HEADER: &str = "#usher-names-v1\n";
/// Longest line looked at; names have at most 63 characters, the rest is teams.
const BLOCK: u64 = 4096;

/// What the index says about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Teams that have or had a server of this name.
    pub teams: BTreeSet<String>,
    /// Whether some team has one now.
    pub present: bool,
}

/// Looks one name up with a handful of `pread`s.
///
/// # Errors
/// When the file exists and cannot be read.
pub fn look_up(path: &Path, name: &str) -> std::io::Result<Option<Entry>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let name = name.to_ascii_lowercase();
    let (mut low, mut high) = (0, file.metadata()?.len());
    // INVARIANT: a line with the name begins in low..high, if there is one.
    while low < high {
        let middle = low + (high - low) / 2;
        let Some((start, line)) = line_at_or_after(&file, middle, high)? else {
            // No line begins in middle..high.
            high = middle;
            continue;
        };
        let text = String::from_utf8_lossy(&line);
        let (found, rest) = text.split_once('\t').unwrap_or((&text, ""));
        match found.cmp(name.as_str()) {
            std::cmp::Ordering::Equal => return Ok(Some(parse_entry(rest))),
            std::cmp::Ordering::Less => low = start.saturating_add(1),
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Ok(None)
}

/// The first line that begins at or after `from` and before `end`, and where it begins.
fn line_at_or_after(file: &File, from: u64, end: u64) -> std::io::Result<Option<(u64, Vec<u8>)>> {
    // One byte earlier tells whether `from` itself is a beginning.
    let mut position = from.saturating_sub(1);
    let mut start = (from == 0).then_some(0);
    let mut line = Vec::new();
    let mut buffer = [0_u8; 512];
    loop {
        let read = file.read_at(&mut buffer, position)?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else {
            return Ok(start.filter(|start| *start < end && !line.is_empty()).map(|start| (start, line)));
        };
        for byte in chunk {
            position += 1;
            if start.is_some_and(|start| start < position) {
                if *byte == b'\n' {
                    return Ok(start.filter(|start| *start < end).map(|start| (start, line)));
                }
                line.push(*byte);
            } else if *byte == b'\n' {
                start = Some(position);
            }
        }
        if start.is_some_and(|start| start >= end) || position.saturating_sub(from) > BLOCK {
            return Ok(None);
        }
    }
}

fn parse_entry(rest: &str) -> Entry {
    let (teams, flag) = rest.split_once('\t').unwrap_or((rest, "-"));
    Entry {
        teams: teams.split(',').filter(|team| !team.is_empty()).map(str::to_owned).collect(),
        present: flag == "+",
    }
}

/// The whole index, for updates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    // name -> team -> whether it has such a server now
    names: BTreeMap<String, BTreeMap<String, bool>>,
}

impl Index {
    /// Reads the index; empty when there is none.
    ///
    /// # Errors
    /// When it exists and cannot be read.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let bytes = files::read(path)?.unwrap_or_default();
        let mut index = Self::default();
        for line in String::from_utf8_lossy(&bytes).lines().filter(|line| !line.starts_with('#')) {
            let Some((name, rest)) = line.split_once('\t') else { continue };
            let (teams, gone) = rest.split_once('\t').unwrap_or((rest, ""));
            // In a line with several teams `-team` is one that no longer has the server.
            let teams = teams.split(',').filter(|team| !team.is_empty());
            let present = gone == "+";
            index
                .names
                .entry(name.to_owned())
                .or_default()
                .extend(teams.map(|team| {
                    (team.trim_start_matches('-').to_owned(), present && !team.starts_with('-'))
                }));
        }
        Ok(index)
    }

    /// Takes over what `team` has now; its names that are gone stay, marked.
    pub fn replace(&mut self, team: &str, names: impl IntoIterator<Item = String>) {
        for teams in self.names.values_mut() {
            if let Some(present) = teams.get_mut(team) {
                *present = false;
            }
        }
        for name in names {
            self.insert(team, &name);
        }
    }

    /// Adds one name.
    pub fn insert(&mut self, team: &str, name: &str) {
        self.names.entry(name.to_ascii_lowercase()).or_default().insert(team.to_owned(), true);
    }

    /// Writes the index in one step.
    ///
    /// # Errors
    /// When its directory cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        files::write_atomically(path, self.encode().as_bytes(), files::PUBLIC)
    }

    fn encode(&self) -> String {
        let mut text = String::from(HEADER);
        for (name, teams) in &self.names {
            let any = teams.values().any(|present| *present);
            let list: Vec<String> = teams
                .iter()
                .map(|(team, present)| if *present || !any { team.clone() } else { format!("-{team}") })
                .collect();
            text.push_str(&format!("{name}\t{}\t{}\n", list.join(","), if any { "+" } else { "-" }));
        }
        text
    }
}

/// Changes the index on disk; one process at a time, so that no name is lost.
///
/// # Errors
/// As [`Index::load`] and [`Index::save`].
pub fn update(path: &Path, change: impl FnOnce(&mut Index)) -> Result<(), Failure> {
    let _lock = files::lock(&path.with_extension("lock"))?;
    let mut index = Index::load(path)?;
    let before = index.clone();
    change(&mut index);
    if index == before && path.exists() { Ok(()) } else { index.save(path) }
}

/// Adds one name to the index on disk unless it is there already.
///
/// # Errors
/// As [`update`].
pub fn remember(path: &Path, team: &str, name: &str) -> Result<(), Failure> {
    // The name comes from the broker: a line break in it would write other lines.
    if name.parse::<HostName>().is_err() {
        return Ok(());
    }
    let known = look_up(path, name).ok().flatten();
    if known.is_some_and(|entry| entry.present && entry.teams.contains(team)) {
        return Ok(());
    }
    update(path, |index| index.insert(team, name))
}

/// Takes over a team's list of servers.
///
/// # Errors
/// As [`update`].
pub fn keep(path: &Path, team: &TeamSlug, servers: &Page<Server>) -> Result<(), Failure> {
    let names = servers.items.iter().map(|server| server.name.to_string());
    update(path, |index| index.replace(team.as_str(), names))
}
