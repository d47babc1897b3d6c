//! How often somebody may ask, per process and in memory: a restart forgives, which is fine for what the limits are for.
//! Generous to automation (Ansible on 200 hosts at once), tight on guessing.

use std::{
    collections::BTreeMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::keyed::HashMapStateStore,
};
use usher_api::ErrorCode;
use usher_sign_in::Failures;
use usher_types::{DeviceId, ServerId, TokenId, UnixTime, UserId};

use crate::{config::LimitsConfig, error::ApiError};

type Keyed<K> = RateLimiter<K, HashMapStateStore<K>, DefaultClock>;

/// The limits of one broker process.
pub(crate) struct Limits {
    connections: Keyed<UserId>,
    /// Failed sign-ins on approved devices; no more entries than there are such devices.
    devices: Mutex<BTreeMap<DeviceId, Failures>>,
    enrollments: Keyed<IpAddr>,
    reports: Keyed<ServerId>,
    scim: Keyed<TokenId>,
    scim_refusals: Keyed<IpAddr>,
    sign_in_addresses: Keyed<IpAddr>,
    sign_in_names: Keyed<String>,
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

impl Limits {
    /// Fresh limits.
    pub(crate) fn new(config: &LimitsConfig) -> Self {
        let sign_ins = || (config.sign_ins_per_minute, config.sign_ins_burst);
        Self {
            connections: keyed((config.connections_per_minute, config.connections_burst)),
            devices: Mutex::default(),
            enrollments: keyed((config.enrollments_per_minute, config.enrollments_burst)),
            reports: keyed((config.reports_per_minute, config.reports_burst)),
            scim: keyed((config.scim_per_minute, config.scim_burst)),
            scim_refusals: keyed(sign_ins()),
            sign_in_addresses: keyed(sign_ins()),
            sign_in_names: keyed(sign_ins()),
        }
    }

    /// A user asks for a connection.
    pub(crate) fn connection(&self, user: UserId) -> Result<(), ApiError> {
        check(&self.connections, &user)
    }

    /// A server enrolls, or a client exchanges its code.
    pub(crate) fn enrollment(&self, address: IpAddr) -> Result<(), ApiError> {
        check(&self.enrollments, &network(address))
    }

    /// Somebody tries a password or a set-up code.
    pub(crate) fn sign_in_from(&self, address: IpAddr) -> Result<(), ApiError> {
        check(&self.sign_in_addresses, &network(address))
    }

    /// Somebody tries a password under a name, whether it exists or not.
    pub(crate) fn sign_in_as(&self, name: &str) -> Result<(), ApiError> {
        check(&self.sign_in_names, &name.chars().take(48).collect())
    }

    /// A user tries a password on an approved device of theirs. Gives the device's failures so far and counts this
    /// attempt as one more, until [`Self::signed_in_on`]. Who fails elsewhere under the same name has no part in it.
    pub(crate) fn sign_in_on(&self, device: DeviceId, now: UnixTime) -> Failures {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = devices.entry(device).or_default();
        let before = *failures;
        if !before.locked(now) {
            *failures = before.one_more(now);
        }
        before
    }

    /// The sign-in was good: the device's failures are forgotten.
    pub(crate) fn signed_in_on(&self, device: DeviceId) {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).remove(&device);
    }

    /// An identity provider says or asks something.
    pub(crate) fn scim(&self, token: TokenId) -> Result<(), ApiError> {
        check(&self.scim, &token)
    }

    /// Somebody showed a token that is none. Who shows a good one is not held up by it.
    pub(crate) fn scim_refusal(&self, address: IpAddr) -> Result<(), ApiError> {
        check(&self.scim_refusals, &network(address))
    }

    /// An agent reports.
    pub(crate) fn report(&self, server: ServerId) -> Result<(), ApiError> {
        check(&self.reports, &server)
    }

    /// Forgets who has not asked for a while.
    pub(crate) fn forget(&self) {
        self.connections.retain_recent();
        self.enrollments.retain_recent();
        self.reports.retain_recent();
        self.scim.retain_recent();
        self.scim_refusals.retain_recent();
        self.sign_in_addresses.retain_recent();
        self.sign_in_names.retain_recent();
    }
}

fn keyed<K: Clone + Eq + Hash>((per_minute, burst): (NonZeroU32, NonZeroU32)) -> Keyed<K> {
    RateLimiter::hashmap(Quota::per_minute(per_minute).allow_burst(burst))
}

fn check<K: Clone + Eq + Hash>(limiter: &Keyed<K>, key: &K) -> Result<(), ApiError> {
    limiter.check_key(key).map_err(|until| {
        let seconds = until.wait_time_from(DefaultClock::default().now()).as_secs().saturating_add(1);
        ApiError::new(ErrorCode::TooManyRequests, format!("too many requests; try again in {seconds} s"))
            .with_retry_after(seconds)
    })
}

/// An IPv6 host owns a whole /64, so that is what counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}
