//! Whose turn it is: calls are bound in number and rate, and the shares (projects) that wait take turns, so that none
//! starves behind another's many requests. Halves its rate when KMS throttles and comes back slowly.

use std::{
    collections::{BTreeMap, VecDeque},
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

/// So many calls may come at once after a quiet time, as a duration at the present rate.
const BURST: Duration = Duration::from_millis(100);
/// Slowest rate: one call in this time.
const SLOWEST: Duration = Duration::from_millis(200);
/// Throttled calls that were under way together slow down once.
const SETTLE: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Turns(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    fastest: Duration,
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    waiting: BTreeMap<String, VecDeque<oneshot::Sender<Turn>>>,
    /// Each share that waits, once.
    order: VecDeque<String>,
    running: usize,
    /// Time between two calls.
    interval: Duration,
    /// When the next call is due if calls came evenly (the generic cell rate algorithm).
    due: Instant,
    slowed_at: Option<Instant>,
    alarm: bool,
}

/// The right to make one call, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Weak<Shared>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.with(|state| state.running = state.running.saturating_sub(1));
            shared.go_on();
        }
    }
}

impl Turns {
    pub(super) fn new(per_second: NonZeroU32, limit: NonZeroUsize) -> Self {
        let fastest = Duration::from_secs(1) / per_second.get();
        let state = State {
            waiting: BTreeMap::new(),
            order: VecDeque::new(),
            running: 0,
            interval: fastest,
            due: Instant::now(),
            slowed_at: None,
            alarm: false,
        };
        Self(Arc::new(Shared { fastest, limit: limit.get(), state: Mutex::new(state) }))
    }

    /// Waits for a turn of `share`.
    pub(super) async fn take(&self, share: &str) -> Turn {
        loop {
            let (sender, turn) = oneshot::channel();
            self.0.with(|state| {
                let queue = state.waiting.entry(share.to_owned()).or_default();
                if queue.is_empty() {
                    state.order.push_back(share.to_owned());
                }
                queue.push_back(sender);
            });
            self.0.go_on();
            // A sender is never dropped before it gave a turn; were it, the next one would.
            if let Ok(turn) = turn.await {
                return turn;
            }
        }
    }

    /// KMS throttles: half the rate.
    pub(super) fn slow_down(&self) {
        let now = Instant::now();
        self.0.with(|state| {
            if state.slowed_at.is_none_or(|at| now.saturating_duration_since(at) >= SETTLE) {
                state.slowed_at = Some(now);
                state.interval = state.interval.saturating_mul(2).min(SLOWEST.max(self.0.fastest));
            }
        });
    }

    /// A call went well: a little faster.
    pub(super) fn speed_up(&self) {
        self.0.with(|state| {
            let faster = state.interval.saturating_sub(state.interval / 64);
            state.interval = faster.max(self.0.fastest);
        });
    }
}

impl Shared {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives turns as long as number and rate allow it.
    fn go_on(self: &Arc<Self>) {
        let mut given_back = Vec::new();
        let alarm = self.with(|state| {
            loop {
                if state.running >= self.limit || state.order.is_empty() {
                    return None;
                }
                let now = Instant::now();
                if let Some(at) = state.too_early(now) {
                    return (!std::mem::replace(&mut state.alarm, true)).then_some(at);
                }
                let sender = state.next()?;
                state.due = state.due.max(now) + state.interval;
                state.running = state.running.saturating_add(1);
                // Who went away in this moment gives the turn back; not here, under the lock.
                given_back.extend(sender.send(Turn(Arc::downgrade(self))).err());
            }
        });
        drop(given_back);
        if let Some(at) = alarm {
            let shared = Arc::clone(self);
            tokio::spawn(async move {
                sleep_until(at).await;
                shared.with(|state| state.alarm = false);
                shared.go_on();
            });
        }
    }
}

impl State {
    /// When the next call may be made, if that is not now.
    fn too_early(&self, now: Instant) -> Option<Instant> {
        let earliest = self.due.checked_sub(BURST)?;
        (now < earliest).then_some(earliest)
    }

    /// The first of the share whose turn it is, which then goes to the end. Who does not wait any more is passed over.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some(share) = self.order.pop_front() {
            let Some(queue) = self.waiting.get_mut(&share) else { continue };
            let mut found = None;
            while let Some(sender) = queue.pop_front() {
                if !sender.is_closed() {
                    found = Some(sender);
                    break;
                }
            }
            if queue.is_empty() {
                self.waiting.remove(&share);
            } else {
                self.order.push_back(share);
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn turns(limit: usize) -> Arc<Turns> {
        let (rate, limit) = (NonZeroU32::new(1_000_000).unwrap(), NonZeroUsize::new(limit).unwrap());
        Arc::new(Turns::new(rate, limit))
    }

    /// Two hundred requests of one project and one each of two others: those do not wait for all of the first.
    #[tokio::test]
    async fn a_project_with_many_requests_does_not_starve_the_others() {
        let turns = turns(1);
        let served = Arc::new(Mutex::new(Vec::new()));
        let first = turns.take("busy").await;
        let mut tasks = Vec::new();
        let mut waiting = 0;
        for share in std::iter::repeat_n("busy", 200).chain(["quiet", "other"]) {
            let (own, log) = (Arc::clone(&turns), Arc::clone(&served));
            tasks.push(tokio::spawn(async move {
                let _turn = own.take(share).await;
                log.lock().unwrap().push(share);
            }));
            waiting += 1;
            while turns.0.with(|state| state.waiting.values().map(VecDeque::len).sum::<usize>()) < waiting {
                tokio::task::yield_now().await;
            }
        }
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
        let served = served.lock().unwrap();
        assert_eq!(served[..4], ["busy", "quiet", "other", "busy"]);
        assert_eq!(served.len(), 202);
    }

    #[tokio::test]
    async fn no_more_at_one_time_than_allowed() {
        let turns = turns(3);
        let held = [turns.take("a").await, turns.take("b").await, turns.take("a").await];
        let (own, mut fourth) = (Arc::clone(&turns), None);
        let waiting = tokio::spawn(async move { own.take("a").await });
        while turns.0.with(|state| state.order.is_empty()) {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        drop(held);
        fourth.replace(waiting.await.unwrap());
        assert_eq!(turns.0.with(|state| state.running), 1);
    }

    /// Who gives up costs nobody a turn.
    #[tokio::test]
    async fn a_request_that_was_given_up_is_passed_over() {
        let turns = turns(1);
        let first = turns.take("a").await;
        let own = Arc::clone(&turns);
        let gone = tokio::spawn(async move { own.take("a").await });
        while turns.0.with(|state| state.order.is_empty()) {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.is_err());
        drop(first);
        drop(turns.take("b").await);
        assert_eq!(turns.0.with(|state| (state.running, state.waiting.len())), (0, 0));
    }

    #[tokio::test]
    async fn throttling_halves_the_rate_once_and_success_brings_it_back() {
        let turns = turns(1);
        let interval = || turns.0.with(|state| state.interval);
        let fastest = interval();
        turns.slow_down();
        turns.slow_down();
        assert_eq!(interval(), fastest * 2);
        for _ in 0..100 {
            turns.speed_up();
        }
        assert_eq!(interval(), fastest);
    }

    /// A thousand calls at two thousand a second: none is lost, whatever the alarm's grain.
    #[tokio::test]
    async fn the_rate_lets_everybody_through_in_the_end() {
        let (rate, limit) = (NonZeroU32::new(2_000).unwrap(), NonZeroUsize::new(8).unwrap());
        let turns = Arc::new(Turns::new(rate, limit));
        let tasks = (0..1_000).map(|index| {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { drop(turns.take(["a", "b", "c"][index % 3]).await) })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(turns.0.with(|state| (state.running, state.order.len())), (0, 0));
    }
}
