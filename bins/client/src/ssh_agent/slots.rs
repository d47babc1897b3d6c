//! Handshake slots: how many connections may be between "TCP open" and "signed in" at one sshd at a time. Pure state.
//!
//! Stock sshd drops new connections at random once ten are unauthenticated (`MaxStartups 10:30:100`); eight leaves room
//! for others. A connection takes the slots of all its legs at once, so that two never wait for each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use usher_types::{ServerId, UnixTime};

use super::store::Handle;

/// Slots per sshd.
pub const PER_SERVER: usize = 8;
/// A handshake that takes longer no longer counts: sshd's own limit is 120 s, a stuck one must not stop the others.
pub const LONGEST: std::time::Duration = std::time::Duration::from_secs(30);

/// Names a wait for slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Who holds and who waits.
#[derive(Debug, Default)]
pub struct Slots {
    next: u64,
    held: BTreeMap<ServerId, BTreeMap<Handle, UnixTime>>,
    waiting: VecDeque<(Ticket, Handle, BTreeSet<ServerId>)>,
    most: usize,
}

impl Slots {
    /// Asks for slots at `servers`; they are granted when the ticket appears in an answer of [`Slots::grant`].
    pub fn ask(&mut self, handle: Handle, servers: BTreeSet<ServerId>) -> Ticket {
        let ticket = Ticket(self.next);
        self.next = self.next.saturating_add(1);
        self.waiting.push_back((ticket, handle, servers));
        ticket
    }

    /// Grants what can be granted, in the order asked, and says to whom.
    pub fn grant(&mut self, now: UnixTime) -> Vec<Ticket> {
        for holders in self.held.values_mut() {
            holders.retain(|_, since| now.since(*since) < LONGEST);
        }
        let mut granted = Vec::new();
        for (ticket, handle, servers) in std::mem::take(&mut self.waiting) {
            let free = |server: &ServerId| {
                self.held.get(server).is_none_or(|held| held.len() < PER_SERVER || held.contains_key(&handle))
            };
            if servers.iter().all(free) {
                for server in servers {
                    let holders = self.held.entry(server).or_default();
                    holders.insert(handle, now);
                    self.most = self.most.max(holders.len());
                }
                granted.push(ticket);
            } else {
                self.waiting.push_back((ticket, handle, servers));
            }
        }
        granted
    }

    /// Gives one slot back: signed in.
    pub fn release(&mut self, handle: Handle, server: ServerId) {
        if let Some(holders) = self.held.get_mut(&server) {
            holders.remove(&handle);
        }
    }

    /// Gives everything back and stops waiting: the connection is over.
    pub fn forget(&mut self, handle: Handle) {
        for holders in self.held.values_mut() {
            holders.remove(&handle);
        }
        self.held.retain(|_, holders| !holders.is_empty());
        self.waiting.retain(|(_, other, _)| *other != handle);
    }

    /// Stops one wait.
    pub fn cancel(&mut self, ticket: Ticket) {
        self.waiting.retain(|(other, _, _)| *other != ticket);
    }

    /// Slots held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.values().map(BTreeMap::len).sum()
    }

    /// The most that one sshd ever had.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }
}
