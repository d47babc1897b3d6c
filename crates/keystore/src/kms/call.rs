//! One call, with everything around it: turn, time, breaker, repetition.

use std::{future::Future, time::Duration};

use aws_sdk_kms::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{Inner, Kms, KmsError, breaker::Outcome};

/// For one call.
const CALL: Duration = Duration::from_secs(2);
/// For everything together: waiting, calls, pauses.
const PATIENCE: Duration = Duration::from_secs(10);
/// Calls that got no answer are not repeated for ever; throttled ones are, within the patience.
const UNANSWERED: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Kms {
    /// Calls KMS in the turn of `share`.
    pub(super) async fn call<T, E, F>(&self, share: &str, operation: impl Fn() -> F) -> Result<T, KmsError>
    where
        E: ProvideErrorMetadata,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let deadline = Instant::now() + PATIENCE;
        let (mut unanswered, mut pause) = (0_u32, FIRST_PAUSE);
        loop {
            let error = match self.try_once(share, deadline, &operation).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match &error {
                KmsError::Throttled => self.0.turns.slow_down(),
                error if error.is_open() => unanswered = unanswered.saturating_add(1),
                _ => return Err(error),
            }
            let until = Instant::now() + jittered(pause);
            if unanswered >= UNANSWERED || until >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, "a call to the key management service is repeated");
            sleep(until.saturating_duration_since(Instant::now())).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    async fn try_once<T, E, F>(
        &self,
        share: &str,
        deadline: Instant,
        operation: &impl Fn() -> F,
    ) -> Result<T, KmsError>
    where
        E: ProvideErrorMetadata,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let Inner { turns, breaker, .. } = &*self.0;
        // Nobody waits for a service that does not answer.
        breaker.check(Instant::now())?;
        let turn = timeout_at(deadline, turns.take(share)).await.map_err(|_elapsed| KmsError::Busy)?;
        let attempt = breaker.enter(Instant::now())?;
        // The SDK's futures are large, and rarely awaited.
        let answer = match timeout(CALL, Box::pin(operation())).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(KmsError::of(&error)),
            Err(_elapsed) => Err(KmsError::TimedOut),
        };
        drop(turn);
        let outcome = match &answer {
            Err(error) if error.is_open() => Outcome::Failed,
            Ok(_) | Err(_) => Outcome::Answered,
        };
        attempt.end(outcome, Instant::now());
        if answer.is_ok() {
            turns.speed_up();
        }
        answer
    }
}

/// Anything up to `pause`, so that those who failed together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness the full pause is as good.
    if aws_lc_rs::rand::fill(&mut random).is_err() {
        return pause;
    }
    pause.mul_f64(f64::from(u32::from_be_bytes(random)) / f64::from(u32::MAX))
}
