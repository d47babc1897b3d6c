//! Users, devices and sessions as the store keeps them. Plain data: holding one proves nothing.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use thiserror::Error;
use usher_types::{
    ConnectorId, DeviceId, DeviceName, DisplayName, LoginName, SessionId, Sha256, TeamRole, Thumbprint,
    TokenId, UnixTime, UserId, UserName,
};

/// Whether a user may do anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserStatus {
    /// May sign in.
    Active,
    /// May do nothing.
    Disabled,
}

/// A user's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    /// Its id.
    pub id: UserId,
    /// Its name in the directory.
    pub user_name: UserName,
    /// What people call it.
    pub display_name: DisplayName,
    /// Its Unix account's name on servers.
    pub unix_user_name: LoginName,
    /// Whether it may do anything.
    pub status: UserStatus,
    /// Its own role in the team, beside those of its groups.
    pub team_role: TeamRole,
    /// The connector whose directory it belongs to; none is the broker's own.
    pub connector_id: Option<ConnectorId>,
    /// When it was created.
    pub created_at: UnixTime,
}

/// Whether a device may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceState {
    /// An administrator or the bootstrap rule approved it.
    Approved,
    /// Waits for approval.
    Pending,
    /// Taken out of use for good.
    Revoked,
}

/// A device's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRecord {
    /// Its id.
    pub id: DeviceId,
    /// Whose it is.
    pub user_id: UserId,
    /// What its owner calls it.
    pub name: DeviceName,
    /// RFC 7638 thumbprint of its key.
    pub jkt: Thumbprint,
    /// Whether it may be used.
    pub state: DeviceState,
    /// When it first signed in.
    pub created_at: UnixTime,
}

/// A session's row. The token's id finds it, the token's hash decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its id; follows from `token_id`, see [`crate::open_session`].
    pub id: SessionId,
    /// Id of its token.
    pub token_id: TokenId,
    /// [`usher_types::SecretToken::hash`] of its token.
    pub token_hash: Sha256,
    /// Who signed in.
    pub user_id: UserId,
    /// On which device.
    pub device_id: DeviceId,
    /// When the user last gave a proof of who it is.
    pub auth_time: UnixTime,
    /// How.
    pub amr: Vec<AuthenticationMethod>,
    /// When it began.
    pub created_at: UnixTime,
    /// When it ends by itself.
    pub expires_at: UnixTime,
    /// When it was ended: signed out, user or device taken out of use.
    pub ended_at: Option<UnixTime>,
    /// What the identity provider said; none for the broker's own directory.
    pub provider: Option<ProviderLogin>,
    /// Where it was opened from, when that is known.
    pub client_address: Option<IpAddr>,
    /// When it was used last, as far as it was written down.
    pub last_used_at: UnixTime,
    /// What the team asks of its sessions now.
    pub terms: SessionTerms,
}

impl SessionRecord {
    /// When it ends by itself: as it was opened, or as the team has it now, whichever is sooner.
    #[must_use]
    pub fn ends_at(&self) -> UnixTime {
        self.expires_at.min(self.created_at.saturating_add(self.terms.lifetime))
    }

    /// Whether it rested for too long at `now`, having been used last at `last_used_at`.
    #[must_use]
    pub fn is_idle(&self, last_used_at: UnixTime, now: UnixTime) -> bool {
        self.terms.idle_limit.is_some_and(|limit| now.since(last_used_at) > limit)
    }

    /// Whether it may be used from `client`.
    #[must_use]
    pub fn is_for(&self, client: Option<IpAddr>) -> bool {
        match self.terms.binding {
            SessionBinding::None => true,
            // Nobody knows where it was opened, or where it is used from: not from there.
            SessionBinding::Network => {
                self.client_address.zip(client).is_some_and(|(one, other)| same_network(one, other))
            }
        }
    }
}

/// The same IPv4 address, or the same /64 of IPv6: hosts take ever new addresses of their own in that.
fn same_network(one: IpAddr, other: IpAddr) -> bool {
    match (one.to_canonical(), other.to_canonical()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one == other,
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            one.segments().iter().take(4).eq(other.segments().iter().take(4))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// What a team asks of its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTerms {
    /// How long one lasts.
    pub lifetime: Duration,
    /// How long one may rest; as long as it lasts when absent.
    pub idle_limit: Option<Duration>,
    /// Where one may be used.
    pub binding: SessionBinding,
}

/// Where a session may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionBinding {
    /// Everywhere.
    None,
    /// In the network it was opened from: the same IPv4 address, or the same /64 of IPv6.
    Network,
}

impl SessionTerms {
    /// The shortest and the longest that a session may last.
    pub const LIFETIMES: (Duration, Duration) =
        (Duration::from_secs(60 * 60), Duration::from_secs(25 * 60 * 60));
    /// The shortest limit of rest: last use is written down once a minute.
    pub const SHORTEST_IDLE_LIMIT: Duration = Duration::from_secs(5 * 60);
}

impl Default for SessionTerms {
    /// Twelve hours, anywhere.
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(12 * 60 * 60), idle_limit: None, binding: SessionBinding::None }
    }
}

/// What an identity provider said about a login, beside who it is, when and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderLogin {
    /// Which one.
    pub connector_id: ConnectorId,
    /// Authentication context (`acr`), in the provider's words.
    pub acr: Option<String>,
    /// The provider's session (`sid`): a logout there names it.
    pub session: Option<String>,
    /// Why its claim of groups counted as none.
    pub groups_fault: Option<GroupsFault>,
}

/// Why a claim of groups counts as no groups at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupsFault {
    /// It is not there.
    Missing,
    /// It is something else than a list of texts.
    NotAList,
    /// There are more groups than the provider puts into a token.
    Overage,
}

impl GroupsFault {
    /// A stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::NotAList => "not_a_list",
            Self::Overage => "overage",
        }
    }
}

/// Text that is no fault of a claim of groups.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("expected one of missing, not_a_list, overage")]
pub struct ParseGroupsFaultError;

impl FromStr for GroupsFault {
    type Err = ParseGroupsFaultError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Missing, Self::NotAList, Self::Overage]
            .into_iter()
            .find(|fault| fault.as_str() == text)
            .ok_or(ParseGroupsFaultError)
    }
}

/// How a user proved who it is: `amr` values of RFC 8176.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthenticationMethod {
    /// `hwk`: a key in hardware.
    HardwareKey,
    /// `mfa`: more than one factor.
    MultiFactor,
    /// `otp`: a one-time password.
    OneTimePassword,
    /// `pwd`: a password.
    Password,
}

impl AuthenticationMethod {
    /// The registered value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HardwareKey => "hwk",
            Self::MultiFactor => "mfa",
            Self::OneTimePassword => "otp",
            Self::Password => "pwd",
        }
    }
}

impl fmt::Display for AuthenticationMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that is not an authentication method.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("expected one of hwk, mfa, otp, pwd")]
pub struct ParseMethodError;

impl FromStr for AuthenticationMethod {
    type Err = ParseMethodError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::HardwareKey, Self::MultiFactor, Self::OneTimePassword, Self::Password]
            .into_iter()
            .find(|method| method.as_str() == text)
            .ok_or(ParseMethodError)
    }
}
