//! The check itself, and the proof that it was made.

use thiserror::Error;
use usher_identity::{AuthenticationMethod, Login, ProviderLogin};
use usher_types::{Sha256, UnixTime, UserId};

use crate::{Failures, PasswordHash, RecoveryCode, TotpSecret, password};

/// Evidence that a user gave a good password and a good code just now, that an identity provider vouched for them, or that
/// they redeemed the code that stands for one of both.
///
/// ```compile_fail
/// fn forge(user_id: usher_types::UserId) -> usher_sign_in::VerifiedLogin {
///     usher_sign_in::VerifiedLogin { user_id }
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct VerifiedLogin {
    user_id: UserId,
    auth_time: UnixTime,
    amr: Vec<AuthenticationMethod>,
    provider: Option<ProviderLogin>,
}

impl VerifiedLogin {
    pub(crate) fn new(
        user_id: UserId,
        auth_time: UnixTime,
        amr: Vec<AuthenticationMethod>,
        provider: Option<ProviderLogin>,
    ) -> Self {
        Self { user_id, auth_time, amr, provider }
    }
}

impl Login for VerifiedLogin {
    fn user_id(&self) -> UserId {
        self.user_id
    }

    fn auth_time(&self) -> UnixTime {
        self.auth_time
    }

    fn amr(&self) -> &[AuthenticationMethod] {
        &self.amr
    }

    fn provider(&self) -> Option<&ProviderLogin> {
        self.provider.as_ref()
    }
}

/// What is stored of a user that bears on signing in.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Who.
    pub user_id: UserId,
    /// Whether it may do anything.
    pub active: bool,
    /// None before set-up.
    pub password: Option<PasswordHash>,
    /// None before set-up.
    pub totp: Option<TotpSecret>,
    /// The latest step whose code was used.
    pub last_used_step: Option<i64>,
    /// Hashes of the recovery codes that were not used yet.
    pub recovery_codes: Vec<Sha256>,
    /// Before this attempt.
    pub failures: Failures,
}

/// A good sign-in.
#[must_use]
#[derive(Debug)]
pub struct Verified {
    /// The proof.
    pub login: VerifiedLogin,
    /// To be used up in one transaction with whatever the login is used for; when it was used up already, the sign-in
    /// failed after all.
    pub used: Used,
}

/// What a sign-in uses up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// All codes of the authenticator up to this step.
    TotpStep(i64),
    /// The recovery code with this hash.
    RecoveryCode(Sha256),
}

/// Why a sign-in failed. For the audit log; the person sees one and the same sentence.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The code was used before.
    #[error("the code was used before")]
    CodeReused,
    /// The code is wrong.
    #[error("the code is wrong")]
    CodeWrong,
    /// The user is disabled.
    #[error("the user is disabled")]
    Disabled,
    /// Too many failures lately.
    #[error("too many failures; locked for a while")]
    Locked,
    /// The user has no password or no second factor yet.
    #[error("the user has not been set up")]
    NotSetUp,
    /// A passkey has counted less than before: there may be a copy of it.
    #[error("the passkey's signature counter went back")]
    PasskeyCounter,
    /// The answer of a passkey is worth nothing.
    #[error("the passkey's answer is not good")]
    PasskeyWrong,
    /// The password is wrong.
    #[error("the password is wrong")]
    PasswordWrong,
    /// There is no such user.
    #[error("there is no such user")]
    UnknownUser,
}

impl Refusal {
    /// A stable word for the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CodeReused => "code_reused",
            Self::CodeWrong => "code_wrong",
            Self::Disabled => "user_disabled",
            Self::Locked => "locked",
            Self::NotSetUp => "not_set_up",
            Self::PasskeyCounter => "passkey_counter",
            Self::PasskeyWrong => "passkey_wrong",
            Self::PasswordWrong => "password_wrong",
            Self::UnknownUser => "unknown_user",
        }
    }
}

/// Checks password and code, which is the authenticator's or a recovery code. `None` for an unknown user costs the same as a known one.
///
/// # Errors
/// [`Refusal`].
pub fn verify(
    credentials: Option<&Credentials>,
    password: &str,
    code: &str,
    now: UnixTime,
) -> Result<Verified, Refusal> {
    // All the work first, whatever it is good for.
    let stored = credentials.and_then(|credentials| credentials.password.as_ref());
    let password_good = stored.unwrap_or_else(|| password::nobody()).matches(password) && stored.is_some();
    let nobody = TotpSecret::new([0; 20]);
    let totp = credentials.and_then(|credentials| credentials.totp.as_ref());
    let step = totp.unwrap_or(&nobody).step_of(code, now);

    let credentials = credentials.ok_or(Refusal::UnknownUser)?;
    if credentials.failures.locked(now) {
        return Err(Refusal::Locked);
    }
    let recovery = RecoveryCode::parse(code).map(|code| code.hash());
    let recovery = recovery.filter(|hash| credentials.recovery_codes.contains(hash));
    if stored.is_none() || totp.is_none() && credentials.recovery_codes.is_empty() {
        return Err(Refusal::NotSetUp);
    }
    if !password_good {
        return Err(Refusal::PasswordWrong);
    }
    let used = match (recovery, step.filter(|_| totp.is_some())) {
        (Some(hash), _) => Used::RecoveryCode(hash),
        (None, Some(step)) if credentials.last_used_step.is_some_and(|last| step <= last) => {
            return Err(Refusal::CodeReused);
        }
        (None, Some(step)) => Used::TotpStep(step),
        (None, None) => return Err(Refusal::CodeWrong),
    };
    if !credentials.active {
        return Err(Refusal::Disabled);
    }
    let amr = vec![
        AuthenticationMethod::Password,
        AuthenticationMethod::OneTimePassword,
        AuthenticationMethod::MultiFactor,
    ];
    Ok(Verified { login: VerifiedLogin::new(credentials.user_id, now, amr, None), used })
}
