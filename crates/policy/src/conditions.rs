//! When a group's role counts, and what it asks of the person. Plain data that administrators write; deciding is
//! [`authorize`](crate::authorize)'s business.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};
use usher_identity::AuthenticationMethod;
use usher_types::{Cidr, Label, UnixTime};

use crate::{Asker, Hours};

/// The longest that a proof of who somebody is may be asked to be young, and the longest that one given for named
/// servers is kept.
pub const LONGEST_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// How far apart the clocks of two brokers of a team may be.
const CLOCKS_DIFFER: Duration = Duration::from_secs(10);

/// Conditions on a role. Without any, it always counts.
///
/// The first three say whether the role is there at all; the last is something that the person can do something about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// On servers that have all of these labels; on every server of the project when there is none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<Label, Label>,
    /// For clients in one of these networks; for all when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Cidr>,
    /// At these hours; always when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// How the person must have proved who it is.
    #[serde(skip_serializing_if = "Authentication::asks_nothing")]
    pub authentication: Authentication,
}

/// What is asked of a person's last proof of who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authentication {
    /// Not older than so many seconds, `max_age` of RFC 9470 section 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u32>,
    /// With more than one factor: `mfa` or `hwk` of RFC 8176. A proof that does not say so had one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub second_factor: bool,
    /// Given for this very server: a proof for another one, or for none in particular, does not count.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub named_server: bool,
}

/// Why a role does not count now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// The hours.
    Hours(Hours),
    /// The server's labels.
    Labels(BTreeMap<Label, Label>),
    /// The client's network.
    Networks(Vec<Cidr>),
}

impl Conditions {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The first thing that is not met on a server with `labels`, for a client at `client`, now.
    pub(crate) fn unmet(
        &self,
        labels: &BTreeMap<Label, Label>,
        client: Option<IpAddr>,
        now: UnixTime,
    ) -> Option<Unmet> {
        if !self.labels.iter().all(|(key, value)| labels.get(key) == Some(value)) {
            return Some(Unmet::Labels(self.labels.clone()));
        }
        let inside = |client: IpAddr| self.networks.iter().any(|network| network.contains(client));
        if !self.networks.is_empty() && !client.is_some_and(inside) {
            return Some(Unmet::Networks(self.networks.clone()));
        }
        match &self.hours {
            Some(hours) if !hours.contain(now) => Some(Unmet::Hours(hours.clone())),
            Some(_) | None => None,
        }
    }
}

impl Authentication {
    /// Whether any session will do.
    #[must_use]
    pub fn asks_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the last proof is good enough. `named` is when the person last gave one for this very server.
    pub(crate) fn is_met(&self, asker: &Asker<'_>, named: Option<UnixTime>, now: UnixTime) -> bool {
        let given = if self.named_server { named } else { Some(asker.auth_time) };
        let Some(given) = given else { return false };
        let oldest = self.max_age().or_else(|| self.named_server.then_some(LONGEST_MAX_AGE));
        // Clocks of brokers differ a little. A proof from further in the future is none: the clock was turned back since.
        let fresh = oldest
            .is_none_or(|oldest| given <= now.saturating_add(CLOCKS_DIFFER) && now.since(given) <= oldest);
        fresh && (!self.second_factor || asker.has_second_factor())
    }

    /// [`Self::max_age_seconds`].
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age_seconds.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// What asks for both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self {
            max_age_seconds: [self.max_age_seconds, other.max_age_seconds].into_iter().flatten().min(),
            second_factor: self.second_factor || other.second_factor,
            named_server: self.named_server || other.named_server,
        }
    }

    /// Smaller for what is less of a burden.
    pub(crate) fn burden(&self) -> (bool, bool, u32) {
        let age = self.max_age_seconds.unwrap_or(u32::MAX);
        (self.named_server, self.second_factor, u32::MAX.saturating_sub(age))
    }
}

/// An identity provider that says nothing about it used one factor.
pub(crate) fn has_second_factor(amr: &[AuthenticationMethod]) -> bool {
    amr.iter().any(|method| match method {
        AuthenticationMethod::HardwareKey | AuthenticationMethod::MultiFactor => true,
        AuthenticationMethod::OneTimePassword | AuthenticationMethod::Password => false,
    })
}
