//! The only place of the agent that asks the system for randomness.

use rand_core::UnwrapErr;

/// The operating system's generator.
pub(crate) fn rng() -> UnwrapErr<getrandom::SysRng> {
    UnwrapErr(getrandom::SysRng)
}

/// A pause between half of `seconds` and all of it, so that a fleet does not come back at one moment.
pub(crate) fn jittered(seconds: u64) -> std::time::Duration {
    let mut byte = [0_u8; 1];
    // Without randomness the whole pause is as good as any.
    let share = getrandom::fill(&mut byte).map_or(255, |()| u64::from(byte.first().copied().unwrap_or(255)));
    let half = seconds.saturating_mul(500);
    std::time::Duration::from_millis(half.saturating_add(half.saturating_mul(share) / 255))
}
