//! What tests share: one fixed moment, randomness that repeats, and names. For dev-dependencies only; nothing here is
//! fit for anything but tests.
//!
//! ```
//! use usher_testkit::{NOW, fixture, rng};
//!
//! assert_eq!(NOW.to_string(), "2027-01-15T08:00:00.000Z");
//! assert_eq!(fixture::server(1), fixture::server(1));
//! assert_ne!(fixture::server(1), fixture::server(2));
//! # use rand_core::Rng as _;
//! assert_eq!(rng(7).next_u64(), rng(7).next_u64());
//! ```
#![forbid(unsafe_code)]

pub mod authenticator;
pub mod browser;
pub mod idp;
pub mod kms;
pub mod namespace;
mod npm;
pub mod postgres;
mod python;
pub mod scim;
pub mod sshd;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use usher_types::UnixTime;

/// The moment at which tests happen.
pub const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

/// Randomness that is the same in every run.
#[must_use]
pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// Ids that are the same in every run, one for each number.
pub mod fixture {
    use usher_types::{ConnectionId, DeviceId, GroupId, ProjectId, ServerId, SessionId, TokenId, UserId};

    use super::NOW;

    fn random(number: u16) -> [u8; 10] {
        let [high, low] = number.to_be_bytes();
        [0, 0, 0, 0, 0, 0, 0, 0, high, low]
    }

    macro_rules! ids {
        ($($(#[$doc:meta])* $name:ident: $id:ident,)*) => {$(
            $(#[$doc])*
            #[must_use]
            pub fn $name(number: u16) -> $id {
                $id::new(NOW, random(number))
            }
        )*};
    }

    ids! {
        /// A connection.
        connection: ConnectionId,
        /// A device.
        device: DeviceId,
        /// A group.
        group: GroupId,
        /// A project.
        project: ProjectId,
        /// A server.
        server: ServerId,
        /// A session.
        session: SessionId,
        /// A secret token.
        token: TokenId,
        /// A user.
        user: UserId,
    }
}
