//! The check of a whole log: rows and checkpoints one by one, so that a log of any size can be streamed.
//!
//! It goes on behind what it finds, so that one edit gives one fault and a second edit another. It keeps sixteen bytes
//! of each row, to tell a row that is there twice from two versions of one row.

use std::collections::BTreeMap;

use serde::Deserialize;
use usher_types::{Sha256, Thumbprint};

use crate::{
    ChainRow, Checkpoint, CheckpointFault, Fault, Head, MAX_FAULTS, Report, RowFault, SignedCheckpoint,
    Witness, WriterId, checkpoint::thumbprint,
};

/// Which keys may have signed checkpoints: uncompressed SEC1 points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust<'a> {
    /// All that the log itself names: enough against accidents, and against whoever cannot write to the table of keys.
    Named,
    /// These, and those that rows announce which checkpoints by trusted keys vouch for.
    Only(&'a [[u8; 65]]),
}

/// Checks rows in the order of the log, and checkpoints in theirs; either may run ahead of the other.
#[derive(Debug, Default)]
pub struct LogVerifier {
    chains: BTreeMap<WriterId, Chain>,
    expected: BTreeMap<(WriterId, u64), Vec<(Sha256, Witness)>>,
    checkpoints: Vec<Seen>,
    last_checkpoint: Option<(u64, Sha256)>,
    /// Rows that announce checkpoint keys.
    announced: Vec<(WriterId, u64, Thumbprint)>,
    found: Found,
    rows: u64,
    /// What lies before the first row is not missed.
    excerpt: bool,
    /// Rows may be there again.
    repeats: bool,
}

/// One writer's rows so far.
#[derive(Debug)]
struct Chain {
    head: Head,
    /// Position of the head.
    at: i64,
    /// Sequence of the first row.
    begin: u64,
    /// The head is not what it should be, and that was said: the next row is judged by itself.
    doubtful: bool,
    /// Numbers that were left out, by first; with last, and the position of the row behind.
    gaps: BTreeMap<u64, (u64, i64)>,
    /// Beginnings of hashes, in runs without gaps, by first number.
    prints: BTreeMap<u64, Vec<u128>>,
}

/// A checkpoint whose signature was looked at.
#[derive(Debug)]
struct Seen {
    checkpoint: Checkpoint,
    /// Thumbprint of the key that signed it.
    key: Thumbprint,
}

#[derive(Debug, Default)]
struct Found {
    faults: Vec<Fault>,
    count: u64,
}

impl Found {
    fn add(&mut self, fault: Fault) {
        self.count = self.count.saturating_add(1);
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }

    fn row(&mut self, writer: WriterId, sequence: u64, position: Option<i64>, fault: RowFault) {
        self.add(Fault::Row { writer, sequence, position, fault });
    }

    fn checkpoint(&mut self, number: u64, fault: CheckpointFault) {
        self.add(Fault::Checkpoint { number, fault });
    }
}

/// What a hash is remembered by.
fn print(hash: &Sha256) -> u128 {
    let (begin, _rest) =
        hash.as_bytes().split_first_chunk::<16>().map_or(([0; 16], &[][..]), |(a, b)| (*a, b));
    u128::from_be_bytes(begin)
}

impl Chain {
    fn remember(&mut self, sequence: u64, hash: &Sha256) {
        let run = self.prints.range_mut(..=sequence).next_back();
        match run {
            Some((first, run)) if first.saturating_add(length(run)) == sequence => run.push(print(hash)),
            _ => drop(self.prints.insert(sequence, vec![print(hash)])),
        }
    }

    fn known(&self, sequence: u64) -> Option<u128> {
        let (first, run) = self.prints.range(..=sequence).next_back()?;
        run.get(usize::try_from(sequence.checked_sub(*first)?).ok()?).copied()
    }

    /// Whether `sequence` was left out; then it is so no more.
    fn fill(&mut self, sequence: u64) -> bool {
        let Some((&first, &(last, behind))) = self.gaps.range(..=sequence).next_back() else { return false };
        if last < sequence {
            return false;
        }
        self.gaps.remove(&first);
        if first < sequence {
            self.gaps.insert(first, (sequence.saturating_sub(1), behind));
        }
        if sequence < last {
            self.gaps.insert(sequence.saturating_add(1), (last, behind));
        }
        true
    }
}

fn length<T>(run: &[T]) -> u64 {
    u64::try_from(run.len()).unwrap_or(u64::MAX)
}

impl LogVerifier {
    /// For a log from its first row on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// For a copy of a log from its first row on, whose maker repeats rows and checkpoints after a crash.
    #[must_use]
    pub fn of_copy() -> Self {
        Self { repeats: true, ..Self::default() }
    }

    /// For a part of such a copy: chains and checkpoints may begin with any number, and what lies before the part is not
    /// missed.
    #[must_use]
    pub fn of_excerpt() -> Self {
        Self { excerpt: true, repeats: true, ..Self::default() }
    }

    /// Says that a row is known to be in the log, by a copy of it that was kept elsewhere.
    pub fn expect(&mut self, head: &Head) {
        self.witness(head, Witness::Copy);
    }

    /// Takes note of a row that cannot be read.
    pub fn unreadable(&mut self, position: i64) {
        self.rows = self.rows.saturating_add(1);
        self.found.add(Fault::Unreadable { position });
    }

    /// Looks at the next row.
    pub fn row(&mut self, row: &ChainRow) {
        let ChainRow { position, writer, sequence, .. } = *row;
        self.rows = self.rows.saturating_add(1);
        let Some(chain) = self.chains.get_mut(&writer) else { return self.first(row) };
        let at = Some(position);
        let expected = chain.head.sequence.saturating_add(1);
        if sequence < expected {
            let known = chain.known(sequence);
            let fault = if chain.fill(sequence) {
                chain.remember(sequence, &row.hash);
                if row.is_sound() { RowFault::Reordered } else { RowFault::Changed }
            } else if known.is_some_and(|known| known != print(&row.hash)) {
                RowFault::Forked { witness: Witness::Row }
            } else if !row.is_sound() {
                RowFault::Changed
            } else if self.repeats {
                return;
            } else {
                RowFault::Repeated
            };
            return self.found.row(writer, sequence, at, fault);
        }
        let good = if sequence > expected {
            chain.gaps.insert(expected, (sequence.saturating_sub(1), position));
            row.is_sound()
        } else if chain.doubtful {
            row.is_sound()
        } else if chain.head.append(&row.bytes).hash == row.hash {
            row.previous == chain.head.hash
        } else if row.is_sound() {
            // It follows from another row than the one before, which is hashed anew.
            self.found.row(writer, chain.head.sequence, Some(chain.at), RowFault::Changed);
            true
        } else {
            false
        };
        if !good {
            self.found.row(writer, sequence, at, RowFault::Changed);
        }
        chain.doubtful = !good;
        chain.head = row.head();
        chain.at = position;
        chain.remember(sequence, &row.hash);
        self.settle(row, good);
    }

    /// Looks at the first row of a writer.
    fn first(&mut self, row: &ChainRow) {
        let ChainRow { position, writer, sequence, .. } = *row;
        let mut chain = Chain {
            head: row.head(),
            at: position,
            begin: if self.excerpt { sequence } else { 1 },
            doubtful: false,
            gaps: BTreeMap::new(),
            prints: BTreeMap::new(),
        };
        if sequence > chain.begin {
            chain.gaps.insert(1, (sequence.saturating_sub(1), position));
        }
        let good = row.is_sound() && (sequence != 1 || row.previous == Head::genesis(writer).hash);
        if !good {
            self.found.row(writer, sequence, Some(position), RowFault::Changed);
        }
        chain.doubtful = !good;
        chain.remember(sequence, &row.hash);
        self.chains.insert(writer, chain);
        self.settle(row, good);
    }

    /// What else a row in its place says, and what others say about it.
    fn settle(&mut self, row: &ChainRow, good: bool) {
        let ChainRow { position, writer, sequence, .. } = *row;
        for (hash, witness) in self.expected.remove(&(writer, sequence)).unwrap_or_default() {
            if hash != row.hash && good {
                self.found.row(writer, sequence, Some(position), RowFault::Forked { witness });
                break;
            } else if matches!(witness, Witness::Start(_)) {
                // What began after this row stands before it.
                self.found.row(writer, sequence, Some(position), RowFault::Reordered);
            }
        }
        if !good {
            return;
        }
        if sequence == 1
            && let Some(after) = named_by_start(&row.bytes)
        {
            self.witness(&after, Witness::Start(writer));
        }
        if let Some(key) = announced(&row.bytes) {
            self.announced.push((writer, sequence, key));
        }
    }

    /// Takes up that a row exists.
    fn witness(&mut self, head: &Head, witness: Witness) {
        let Head { writer, sequence, hash } = *head;
        match self.chains.get(&writer) {
            Some(chain) if sequence < chain.begin => {}
            Some(chain) if sequence <= chain.head.sequence => match chain.known(sequence) {
                Some(known) if known != print(&hash) => {
                    // A row that was changed was named already.
                    let named = self.found.faults.iter().any(|fault| {
                        matches!(*fault, Fault::Row { writer: of, sequence: at, .. } if of == writer && at == sequence)
                    });
                    if !named {
                        self.found.row(writer, sequence, None, RowFault::Forked { witness });
                    }
                }
                // A gap is a fault of its own.
                _ => {}
            },
            // An excerpt need not hold every writer.
            None if self.excerpt && !matches!(witness, Witness::Copy) => {}
            _ => self.expected.entry((writer, sequence)).or_default().push((hash, witness)),
        }
    }

    /// Looks at the next checkpoint. `keys` are the public keys that may have signed it.
    pub fn checkpoint(&mut self, signed: &SignedCheckpoint, keys: &[[u8; 65]]) {
        let number = self.last_checkpoint.map_or(1, |(number, _)| number.saturating_add(1));
        let key = keys.iter().find_map(|key| Some((signed.verify(&[*key]).ok()?, thumbprint(key))));
        let Some((checkpoint, key)) = key else {
            let (number, fault) = match Checkpoint::decode(&signed.bytes) {
                Ok(checkpoint) => (checkpoint.number, CheckpointFault::Signature),
                Err(_error) => (number, CheckpointFault::Malformed),
            };
            self.last_checkpoint = Some((number, signed.sha256()));
            return self.found.checkpoint(number, fault);
        };
        let follows = match self.last_checkpoint {
            None => self.excerpt || (checkpoint.number == 1 && checkpoint.previous.is_none()),
            Some((before, _)) if self.repeats && checkpoint.number <= before => {
                let differs = |seen: &Seen| {
                    seen.checkpoint.number == checkpoint.number && seen.checkpoint != checkpoint
                };
                if self.checkpoints.iter().any(differs) {
                    self.found.checkpoint(checkpoint.number, CheckpointFault::Discontinuous);
                }
                return;
            }
            Some((before, sha256)) => {
                checkpoint.number == before.saturating_add(1) && checkpoint.previous == Some(sha256)
            }
        };
        if !follows {
            if checkpoint.number > number {
                let through = checkpoint.number.saturating_sub(1);
                self.found.checkpoint(number, CheckpointFault::Removed { through });
            } else {
                self.found.checkpoint(checkpoint.number, CheckpointFault::Discontinuous);
            }
        }
        self.last_checkpoint = Some((checkpoint.number, signed.sha256()));
        for head in &checkpoint.heads {
            self.witness(head, Witness::Checkpoint(checkpoint.number));
        }
        self.checkpoints.push(Seen { checkpoint, key });
    }

    /// Ends the log.
    #[must_use]
    pub fn finish(mut self, trust: Trust<'_>) -> Report {
        for (writer, chain) in &self.chains {
            for (first, (last, behind)) in &chain.gaps {
                self.found.row(*writer, *first, Some(*behind), RowFault::Removed { through: *last });
            }
        }
        self.cut_off();
        let (trusted, signed) = self.trusted(trust);
        let vouched = trusted.iter().fold(BTreeMap::<WriterId, u64>::new(), |mut vouched, seen| {
            for head in &seen.heads {
                vouched.insert(head.writer, head.sequence);
            }
            vouched
        });
        let unsigned = |chain: &Chain| {
            let begin = chain.begin.saturating_sub(1);
            let vouched = vouched.get(&chain.head.writer).copied().unwrap_or(begin).max(begin);
            chain.head.sequence.saturating_sub(vouched)
        };
        Report {
            heads: self.chains.values().map(|chain| chain.head).collect(),
            rows: self.rows,
            unsigned_rows: self.chains.values().map(unsigned).fold(0, u64::saturating_add),
            checkpoints: length(&trusted),
            last_checkpoint: trusted.last().map(|last| (last.number, last.issued_at)),
            faults: signed.faults,
            fault_count: signed.count,
        }
    }

    /// Rows that somebody knows and that did not come: one fault for each writer.
    fn cut_off(&mut self) {
        let mut cut = BTreeMap::<WriterId, (u64, Witness)>::new();
        for ((writer, sequence), witnesses) in std::mem::take(&mut self.expected) {
            // What lies before a head is missing in a gap, which is a fault of its own.
            let before = self.chains.get(&writer).is_some_and(|chain| sequence <= chain.head.sequence);
            if let Some((_, witness)) = witnesses.first()
                && !before
            {
                cut.insert(writer, (sequence, *witness));
            }
        }
        for (writer, (through, witness)) in cut {
            let first = self.chains.get(&writer).map_or(1, |chain| chain.head.sequence.saturating_add(1));
            self.found.row(writer, first, None, RowFault::Truncated { through, witness });
        }
    }

    /// The checkpoints that trusted keys signed, and all faults.
    fn trusted(&mut self, trust: Trust<'_>) -> (Vec<Checkpoint>, Found) {
        let mut found = std::mem::take(&mut self.found);
        let seen = std::mem::take(&mut self.checkpoints);
        let Trust::Only(keys) = trust else {
            return (seen.into_iter().map(|seen| seen.checkpoint).collect(), found);
        };
        let mut keys: Vec<Thumbprint> = keys.iter().map(thumbprint).collect();
        let mut good = Vec::new();
        for Seen { checkpoint, key } in seen {
            if !keys.contains(&key) {
                found.checkpoint(checkpoint.number, CheckpointFault::Untrusted);
                continue;
            }
            let covered = |writer: &WriterId, sequence: u64| {
                checkpoint.heads.iter().any(|head| head.writer == *writer && sequence <= head.sequence)
            };
            let announced = self.announced.iter().filter(|(writer, sequence, _)| covered(writer, *sequence));
            keys.extend(announced.map(|(_, _, key)| *key));
            good.push(checkpoint);
        }
        (good, found)
    }
}

/// `after` of a `log.start`, in whatever version it was written; other rows name nothing.
fn named_by_start(bytes: &[u8]) -> Option<Head> {
    #[derive(Deserialize)]
    struct Row {
        event: Start,
    }
    #[derive(Deserialize)]
    struct Start {
        r#type: String,
        after: Option<Head>,
    }
    let Row { event } = serde_json::from_slice(bytes).ok()?;
    event.after.filter(|_| event.r#type == "log.start")
}

/// The key that a row announces. Few rows do: they are looked for before they are parsed.
fn announced(bytes: &[u8]) -> Option<Thumbprint> {
    #[derive(Deserialize)]
    struct Row {
        event: Announced,
    }
    #[derive(Deserialize)]
    struct Announced {
        r#type: String,
        key: Thumbprint,
    }
    const KIND: &[u8] = b"checkpoint_key.announce";
    if !bytes.windows(KIND.len()).any(|window| window == KIND) {
        return None;
    }
    let Row { event } = serde_json::from_slice(bytes).ok()?;
    (event.r#type.as_bytes() == KIND).then_some(event.key)
}

/// Checks a log of rows alone. That it was cut at its end is found against checkpoints only.
#[must_use]
pub fn verify_chain<'a>(rows: impl IntoIterator<Item = &'a ChainRow>) -> Report {
    let mut verifier = LogVerifier::new();
    rows.into_iter().for_each(|row| verifier.row(row));
    verifier.finish(Trust::Named)
}
