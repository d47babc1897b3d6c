//! Circuit breaker: after several calls in a row without an answer nothing is called for a while, then one call is
//! the probe. Knows no time of its own.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::KmsError;

/// Calls in a row without an answer.
const LIMIT: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How a call ended, for the breaker: an error is an answer too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    Failed,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, wait: Duration },
    Probing { wait: Duration },
}

#[derive(Debug)]
pub(super) struct Breaker(Mutex<State>);

impl Default for Breaker {
    fn default() -> Self {
        Self(Mutex::new(State::Closed { failures: 0 }))
    }
}

/// A call that was let through; one that is dropped without an end counts as nothing.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    breaker: &'a Breaker,
    probe: Option<(Instant, Duration)>,
}

impl Breaker {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a call would be let through now.
    pub(super) fn check(&self, now: Instant) -> Result<(), KmsError> {
        self.with(|state| match state {
            State::Open { until, .. } if now < *until => Err(KmsError::CircuitOpen),
            State::Probing { .. } => Err(KmsError::CircuitOpen),
            State::Closed { .. } | State::Open { .. } => Ok(()),
        })
    }

    /// Lets a call through, or does not.
    pub(super) fn enter(&self, now: Instant) -> Result<Attempt<'_>, KmsError> {
        self.check(now)?;
        let probe = self.with(|state| match *state {
            State::Closed { .. } => Ok(None),
            State::Open { until, wait } if until <= now => {
                *state = State::Probing { wait };
                Ok(Some((until, wait)))
            }
            State::Open { .. } | State::Probing { .. } => Err(KmsError::CircuitOpen),
        })?;
        Ok(Attempt { breaker: self, probe })
    }
}

impl Attempt<'_> {
    pub(super) fn end(mut self, outcome: Outcome, now: Instant) {
        let probe = self.probe.take();
        self.breaker.with(|state| {
            *state = match (outcome, *state, probe) {
                // Whoever was let through before says nothing about an open circuit's future but good things.
                (Outcome::Answered, ..) => State::Closed { failures: 0 },
                (Outcome::Failed, State::Closed { failures }, _) => {
                    let failures = failures.saturating_add(1);
                    if failures < LIMIT {
                        State::Closed { failures }
                    } else {
                        tracing::error!(
                            "the key management service does not answer; it is not asked for a while"
                        );
                        State::Open { until: now + FIRST_WAIT, wait: FIRST_WAIT }
                    }
                }
                (Outcome::Failed, State::Probing { wait }, Some(_)) => {
                    let wait = wait.saturating_mul(2).min(LONGEST_WAIT);
                    State::Open { until: now + wait, wait }
                }
                (Outcome::Failed, state, _) => state,
            };
        });
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        // The caller went away in the middle of the probe: the next one may try.
        if let Some((until, wait)) = self.probe {
            self.breaker.with(|state| {
                if matches!(state, State::Probing { .. }) {
                    *state = State::Open { until, wait };
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &Breaker, now: Instant) {
        breaker.enter(now).unwrap().end(Outcome::Failed, now);
    }

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..LIMIT {
            fail(&breaker, now);
        }
        breaker
    }

    #[test]
    fn opens_after_several_failures_in_a_row() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 1..LIMIT {
            fail(&breaker, now);
        }
        breaker.enter(now).unwrap().end(Outcome::Answered, now);
        for _ in 1..LIMIT {
            fail(&breaker, now);
        }
        assert!(breaker.check(now).is_ok());
        fail(&breaker, now);
        assert_eq!(breaker.check(now), Err(KmsError::CircuitOpen));
        assert_eq!(breaker.enter(now).unwrap_err(), KmsError::CircuitOpen);
    }

    #[test]
    fn one_probe_at_a_time_and_its_answer_closes() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + FIRST_WAIT;
        let probe = breaker.enter(later).unwrap();
        assert_eq!(breaker.enter(later).unwrap_err(), KmsError::CircuitOpen);
        probe.end(Outcome::Answered, later);
        assert!(breaker.enter(later).is_ok());
    }

    #[test]
    fn a_failed_probe_waits_longer_up_to_a_limit() {
        let mut now = Instant::now();
        let breaker = opened(now);
        let mut wait = FIRST_WAIT;
        for _ in 0..8 {
            now += wait;
            fail(&breaker, now);
            wait = (wait * 2).min(LONGEST_WAIT);
            assert!(breaker.check(now + wait - Duration::from_millis(1)).is_err());
            assert!(breaker.check(now + wait).is_ok());
        }
        assert_eq!(wait, LONGEST_WAIT);
    }

    #[test]
    fn a_probe_that_was_given_up_lets_the_next_one_try() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + FIRST_WAIT;
        drop(breaker.enter(later).unwrap());
        breaker.enter(later).unwrap().end(Outcome::Answered, later);
        assert!(breaker.check(later).is_ok());
    }
}
