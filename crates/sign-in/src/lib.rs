//! How people prove who they are: to Usher's own directory with a password and a time-based one-time code or with a
//! passkey ([`passkey`]), or to the team's identity provider ([`oidc`]).
//!
//! Logic over rows that the caller brings: nothing here reads a clock or a database, and only [`oidc`] asks the network.
//! The result is a
//! [`VerifiedLogin`], which only this crate can make; `usher-identity` opens sessions for nothing else. Between the
//! form and the session stands an authorization code ([`issue_code`], [`redeem`]) bound to the client's PKCE challenge,
//! redirect URI and device key (RFC 6749, RFC 7636, RFC 8252, RFC 9449).
//!
//! [`verify`] takes the same time and gives the same kind of answer for an unknown user, a wrong password and a wrong
//! code; the reason is for the audit log only.
//!
//! ```
//! use usher_sign_in::{Credentials, Failures, NewPassword, PasswordHash, Refusal, TotpSecret, Used, verify};
//! use usher_types::{UnixTime, UserId};
//!
//! let now = UnixTime::from_secs(1_790_000_000);
//! let password = NewPassword::parse("correct horse battery", &"alice".parse()?)?;
//! let totp = TotpSecret::new([7; 20]);
//! let alice = Credentials {
//!     user_id: UserId::new(now, [1; 10]),
//!     active: true,
//!     password: Some(PasswordHash::of(&password, [2; 16])?),
//!     totp: Some(totp.clone()),
//!     last_used_step: None,
//!     recovery_codes: Vec::new(),
//!     failures: Failures::default(),
//! };
//!
//! let code = totp.code_at(now);
//! let verified = verify(Some(&alice), "correct horse battery", &code, now)?;
//!
//! // The same code again is worth nothing once its step is recorded.
//! let Used::TotpStep(step) = verified.used else { panic!("no recovery code") };
//! let alice = Credentials { last_used_step: Some(step), ..alice };
//! assert_eq!(verify(Some(&alice), "correct horse battery", &code, now).unwrap_err(), Refusal::CodeReused);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod api_key;
mod authorization;
mod code;
mod failures;
mod login;
pub mod oidc;
pub mod passkey;
mod password;
mod recovery_code;
pub mod scim;
mod second_factor;
mod set_up_code;
mod totp;
mod typed_code;

pub use api_key::{ApiKeyRefusal, StoredApiKey, verify_api_key};
pub use authorization::{
    AuthorizationParameters, AuthorizationRequest, AuthorizationRequestError, CLIENT_ID, RedirectUri,
    RedirectUriError,
};
pub use code::{AuthorizationCode, CODE_LIFETIME, CodeRecord, RedeemError, Redemption, issue_code, redeem};
pub use failures::Failures;
pub use login::{Credentials, Refusal, Used, Verified, VerifiedLogin, verify};
pub use password::{HashPasswordError, NewPassword, PasswordHash, PasswordHashError, PasswordRule};
pub use recovery_code::{FEW_RECOVERY_CODES, RECOVERY_CODES, RecoveryCode};
pub use second_factor::{FirstFactor, ForeignFactor, SecondFactor};
pub use set_up_code::{ParseSetUpCodeError, SET_UP_LIFETIME, SetUpCode};
pub use totp::{TotpSecret, TotpSecretError};
