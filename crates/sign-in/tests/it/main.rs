//! Signing in through the public API.
#![cfg(test)]

mod authorization;
mod issuer;
mod oidc;
mod oidc_addresses;
mod password;
mod props;
mod scim;
mod set_up;
mod sign_in;
mod totp;

use usher_types::UnixTime;

const NOW: UnixTime = UnixTime::from_secs(1_790_000_000);

fn rng() -> rand_core::UnwrapErr<getrandom::SysRng> {
    rand_core::UnwrapErr(getrandom::SysRng)
}
