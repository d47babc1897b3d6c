//! A login at an identity provider that said nothing about a second factor, and the local one that completes it. The first
//! half goes through the browser, sealed by the caller, while its owner looks for the second.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use usher_identity::{AuthenticationMethod, GroupsFault, Login as _, ProviderLogin};
use usher_types::{ConnectorId, UnixTime, UserId};

use crate::{
    TotpSecret, VerifiedLogin,
    passkey::{RegisteredPasskey, VerifiedPasskey},
};

/// A login without the factor that is wanted. Plain data: the caller seals it, and believes what it sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstFactor {
    user_id: UserId,
    auth_time: UnixTime,
    amr: Vec<String>,
    connector_id: ConnectorId,
    acr: Option<String>,
    session: Option<String>,
    groups_fault: Option<String>,
}

/// Evidence that a user just used a second factor that is registered here.
#[must_use]
#[derive(Debug)]
pub struct SecondFactor {
    user_id: UserId,
    method: AuthenticationMethod,
}

/// The two halves do not belong together.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the second factor is another user's")]
pub struct ForeignFactor;

impl FirstFactor {
    /// What is kept of `login`, which is used up. None when no provider was asked.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a login becomes one half of another; it is used up here"
    )]
    pub fn of(login: VerifiedLogin) -> Option<Self> {
        let provider = login.provider()?;
        Some(Self {
            user_id: login.user_id(),
            auth_time: login.auth_time(),
            amr: login.amr().iter().map(ToString::to_string).collect(),
            connector_id: provider.connector_id,
            acr: provider.acr.clone(),
            session: provider.session.clone(),
            groups_fault: provider.groups_fault.map(|fault| fault.as_str().to_owned()),
        })
    }

    /// Who.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.user_id
    }

    /// By which provider.
    #[must_use]
    pub fn connector_id(&self) -> ConnectorId {
        self.connector_id
    }

    /// The login with both.
    ///
    /// # Errors
    /// [`ForeignFactor`].
    #[expect(clippy::needless_pass_by_value, reason = "a factor completes one login; it is used up here")]
    pub fn complete(self, second: SecondFactor) -> Result<VerifiedLogin, ForeignFactor> {
        if second.user_id != self.user_id {
            return Err(ForeignFactor);
        }
        let mut amr: Vec<AuthenticationMethod> =
            self.amr.iter().filter_map(|word| word.parse().ok()).collect();
        amr.extend([second.method, AuthenticationMethod::MultiFactor]);
        amr.sort_unstable();
        amr.dedup();
        let groups_fault: Option<GroupsFault> = self.groups_fault.and_then(|word| word.parse().ok());
        let provider = ProviderLogin {
            connector_id: self.connector_id,
            acr: self.acr,
            session: self.session,
            groups_fault,
        };
        Ok(VerifiedLogin::new(self.user_id, self.auth_time, amr, Some(provider)))
    }
}

impl SecondFactor {
    /// A code of this user's authenticator; also the step that it belongs to, which the caller uses up.
    #[must_use]
    pub fn totp(
        user_id: UserId,
        secret: &TotpSecret,
        last_used_step: Option<i64>,
        code: &str,
        now: UnixTime,
    ) -> Option<(Self, i64)> {
        let step = secret.step_of(code, now)?;
        let fresh = last_used_step.is_none_or(|last| step > last);
        fresh.then_some((Self { user_id, method: AuthenticationMethod::OneTimePassword }, step))
    }

    /// A passkey's answer. What is to be stored of it stays the caller's to store.
    pub fn passkey(verified: &VerifiedPasskey) -> Self {
        Self { user_id: verified.login.user_id(), method: AuthenticationMethod::HardwareKey }
    }

    /// A passkey that was registered just now, with its owner's PIN or finger.
    pub fn registered(user_id: UserId, _key: &RegisteredPasskey) -> Self {
        Self { user_id, method: AuthenticationMethod::HardwareKey }
    }
}
