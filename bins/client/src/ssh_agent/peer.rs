//! Who is on the other end of a socket: the process and those that started it. Tells the fifty parallel connections of
//! one fan-out apart; it is no protection against the user's own programs.

/// Processes from the peer itself up to the first one; empty when unknown (another PID namespace, another system).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage(Vec<i32>);

const GENERATIONS: usize = 24;

impl Lineage {
    /// From explicit process ids, the peer first.
    #[must_use]
    pub fn from_pids(pids: Vec<i32>) -> Self {
        Self(pids)
    }

    /// Looks `pid` and its ancestors up in `/proc`.
    #[must_use]
    pub fn of(pid: Option<i32>) -> Self {
        let mut lineage = Vec::new();
        let mut next = pid.filter(|pid| *pid > 0);
        while let Some(pid) =
            next.filter(|pid| *pid > 0 && lineage.len() < GENERATIONS && !lineage.contains(pid))
        {
            lineage.push(pid);
            next = parent_of(pid);
        }
        Self(lineage)
    }

    /// The peer.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.0.first().copied()
    }

    /// Who started the peer.
    #[must_use]
    pub fn parent(&self) -> Option<i32> {
        self.0.get(1).copied()
    }

    /// Whether `pid` is an ancestor of the peer.
    #[must_use]
    pub fn descends_from(&self, pid: i32) -> bool {
        self.0.iter().skip(1).any(|ancestor| *ancestor == pid)
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.0.is_empty()
    }
}

/// Fourth field of `/proc/PID/stat` (proc(5)); the second is a command in parentheses that may hold anything.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}
