//! Ids, validated names, time and secrets shared by every Usher crate.
//!
//! A value of one of these types has been checked once, at the edge, and needs no second look: [`LoginName`] cannot
//! hold `root`, [`Principal`] cannot hold a comma, [`Secret`] cannot be printed. The crate has no behaviour beyond
//! parsing, formatting and comparing; no clock, no randomness source, no I/O.
//!
//! ```
//! use usher_types::{LoginName, Principal, ServerId, UnixTime};
//!
//! let server = ServerId::new(UnixTime::from_millis(1_700_000_000_000), [7; 10]);
//! let login: LoginName = "alice".parse()?;
//! let principal = Principal::login(&login, server);
//! assert_eq!(principal.to_string(), format!("alice@{server}"));
//! assert!("root".parse::<LoginName>().is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

mod digest;
mod id;
mod name;
mod network;
mod principal;
mod seal;
mod secret;
mod secret_token;
mod team_role;
mod text;
mod time;

pub use digest::{ParseDigestError, Sha256, Thumbprint};
pub use id::{
    ConnectionId, ConnectorId, DeviceId, GroupId, ParseIdError, PasskeyId, ProjectId, ServerId, SessionId,
    TokenId, TrustId, UserId,
};
pub use name::{
    ConnectorName, DeviceName, DisplayName, ExternalId, GroupName, HostName, Label, LockReason, LoginName,
    NameError, PolicyName, ProjectSlug, TeamSlug, UnixGroupName, UserName,
};
pub use network::{Cidr, ParseCidrError};
pub use principal::{HOP_LOGIN, KeyId, ParsePrincipalError, Principal};
pub use seal::{ParseSealKeyIdError, SealKeyId};
pub use secret::Secret;
pub use secret_token::{ParseTokenError, SecretToken, TokenKind};
pub use team_role::{ParseTeamRoleError, Permission, TeamRole, TeamRoles};
pub use time::{ParseTimeError, Period, PeriodError, UnixTime, ValidityWindow};
