//! Passkeys: keys that a person's device or browser keeps and unlocks by PIN or finger (Web Authentication Level 3). Always
//! discoverable, so that nobody types a name, and always with user verification, so that one is two factors by itself.
//!
//! What a ceremony must remember goes out as a serializable value, and comes back once: that it is used once, and is not
//! too old, is the caller's to see to. Which authenticator it is does not matter here: no attestation is asked for.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;
use usher_identity::AuthenticationMethod;
use usher_types::{TeamSlug, UnixTime, UserId, UserName};
use webauthn_rs::{
    Webauthn, WebauthnBuilder,
    prelude::{
        DiscoverableAuthentication, Passkey, PasskeyRegistration, PublicKeyCredential,
        RegisterPublicKeyCredential, Uuid, WebauthnError,
    },
};

use crate::VerifiedLogin;

/// The longest response of a browser that is looked at.
const MAX_RESPONSE: usize = 16 * 1024;

/// This broker, as authenticators know it: its host name and origin.
#[derive(Clone, Debug)]
pub struct RelyingParty(Webauthn);

/// Why there are no passkeys at this address.
#[derive(Debug, Error)]
#[error("passkeys need a host name, not an address")]
pub struct RelyingPartyError(#[source] WebauthnError);

/// What must be kept of a registration that was begun.
#[derive(Debug, Serialize, Deserialize)]
pub struct Registration(PasskeyRegistration);

/// What must be kept of a sign-in that was begun.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ceremony(DiscoverableAuthentication);

/// What a browser is to do, in its own words: the argument of `navigator.credentials`.
pub type BrowserOptions = serde_json::Value;

/// Why a browser's answer is worth nothing. For the log: whoever sent it learns that it did not work.
#[derive(Debug, Error)]
pub enum PasskeyError {
    /// It is no answer at all.
    #[error("this is no answer of an authenticator")]
    Form,
    /// The authenticator has counted less than it had before: there are two of it.
    #[error("the signature counter went back; there may be a copy of the key")]
    Counter,
    /// It names another user than the key's owner.
    #[error("the key belongs to another user")]
    Owner,
    /// Challenge, origin, host name, user verification or signature.
    #[error("the answer was refused")]
    Refused(#[source] WebauthnError),
}

/// A key as it is stored: public, and useless to sign in with.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredCredential {
    /// What the authenticator calls it; nobody else's has the same. Base64url.
    pub credential_id: String,
    /// Public key and properties, as JSON.
    pub credential: String,
    /// How often it had signed; 0 for those that do not count.
    pub sign_count: u32,
}

impl fmt::Debug for StoredCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredCredential").field("credential_id", &self.credential_id).finish_non_exhaustive()
    }
}

/// A good answer to a [`Registration`].
#[must_use]
#[derive(Debug)]
pub struct RegisteredPasskey(StoredCredential);

impl RegisteredPasskey {
    /// What to store.
    #[must_use]
    pub fn into_credential(self) -> StoredCredential {
        self.0
    }
}

/// A good answer to a [`Ceremony`].
#[must_use]
#[derive(Debug)]
pub struct VerifiedPasskey {
    /// The proof.
    pub login: VerifiedLogin,
    /// To be stored in one transaction with whatever the login is used for; when the count that is stored there is not
    /// below this one's any more, the sign-in failed after all.
    pub credential: StoredCredential,
}

/// An answer whose key and user are to be looked up.
#[derive(Debug)]
pub struct Answer {
    answer: PublicKeyCredential,
    user_id: UserId,
}

impl RelyingParty {
    /// The relying party whose host name is that of `public_url`.
    ///
    /// # Errors
    /// [`RelyingPartyError`] when that is an address: browsers know no passkeys there.
    pub fn new(public_url: &Url, team: &TeamSlug) -> Result<Self, RelyingPartyError> {
        let host = public_url.domain().unwrap_or_default();
        let name = format!("Usher {team}");
        let builder = WebauthnBuilder::new(host, public_url).map_err(RelyingPartyError)?;
        builder.rp_name(&name).build().map(Self).map_err(RelyingPartyError)
    }

    /// Begins to register a key of this user, who has `known` already.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub fn register(
        &self,
        user_id: UserId,
        user_name: &UserName,
        known: &[StoredCredential],
    ) -> Result<(BrowserOptions, Registration), PasskeyError> {
        let exclude = known
            .iter()
            .map(|known| BASE64URL_NOPAD.decode(known.credential_id.as_bytes()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_error| PasskeyError::Form)?;
        let user = Uuid::from_bytes(user_id.to_bytes());
        let name = user_name.as_str();
        let begun = self.0.start_passkey_registration(user, name, name, Some(exclude));
        let (options, registration) = begun.map_err(PasskeyError::Refused)?;
        let mut options = serde_json::to_value(options).map_err(|_error| PasskeyError::Form)?;
        // The library leaves it to the authenticator; without it there is no signing in without a name.
        if let Some(selection) = options.pointer_mut("/publicKey/authenticatorSelection") {
            selection["residentKey"] = "required".into();
            selection["requireResidentKey"] = true.into();
        }
        Ok((options, Registration(registration)))
    }

    /// Ends a registration. The caller stores the key, unless somebody has one with this id.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub fn registered(
        &self,
        response: &str,
        registration: &Registration,
    ) -> Result<RegisteredPasskey, PasskeyError> {
        let answer: RegisterPublicKeyCredential = read(response)?;
        let key = self.0.finish_passkey_registration(&answer, &registration.0);
        let key = key.map_err(PasskeyError::Refused)?;
        stored(&key, 0).map(RegisteredPasskey)
    }

    /// Begins a sign-in of whoever it is.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub fn begin(&self) -> Result<(BrowserOptions, Ceremony), PasskeyError> {
        let (mut options, ceremony) =
            self.0.start_discoverable_authentication().map_err(PasskeyError::Refused)?;
        // It begins when a button is pressed, not while a name is typed.
        options.mediation = None;
        let options = serde_json::to_value(options).map_err(|_error| PasskeyError::Form)?;
        Ok((options, Ceremony(ceremony)))
    }

    /// Who an answer says it is from. Nothing is proved yet.
    ///
    /// # Errors
    /// [`PasskeyError::Form`].
    pub fn read(&self, response: &str) -> Result<Answer, PasskeyError> {
        let answer: PublicKeyCredential = read(response)?;
        let (user, _key) =
            self.0.identify_discoverable_authentication(&answer).map_err(|_error| PasskeyError::Form)?;
        let user_id = UserId::from_bytes(*user.as_bytes());
        Ok(Answer { answer, user_id })
    }

    /// Checks an answer against the key that it names, which belongs to `owner`.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub fn verify(
        &self,
        answer: &Answer,
        ceremony: Ceremony,
        owner: UserId,
        known: &StoredCredential,
        now: UnixTime,
    ) -> Result<VerifiedPasskey, PasskeyError> {
        if answer.user_id != owner || answer.credential_id() != known.credential_id {
            return Err(PasskeyError::Owner);
        }
        let mut key: Passkey =
            serde_json::from_str(&known.credential).map_err(|_error| PasskeyError::Form)?;
        let result = self.0.finish_discoverable_authentication_v2(&answer.answer, ceremony.0, &key).map_err(
            |error| match error {
                WebauthnError::CredentialPossibleCompromise => PasskeyError::Counter,
                error => PasskeyError::Refused(error),
            },
        )?;
        if !result.user_verified() {
            return Err(PasskeyError::Refused(WebauthnError::UserNotVerified));
        }
        // SECURITY: the stored count decides, whatever is in the key's JSON.
        if known.sign_count > 0 && result.counter() <= known.sign_count {
            return Err(PasskeyError::Counter);
        }
        key.update_credential(&result);
        let amr = vec![AuthenticationMethod::HardwareKey, AuthenticationMethod::MultiFactor];
        let login = VerifiedLogin::new(owner, now, amr, None);
        Ok(VerifiedPasskey { login, credential: stored(&key, result.counter())? })
    }
}

impl Answer {
    /// The key's id, base64url.
    #[must_use]
    pub fn credential_id(&self) -> String {
        BASE64URL_NOPAD.encode(self.answer.get_credential_id())
    }
}

fn read<T: serde::de::DeserializeOwned>(response: &str) -> Result<T, PasskeyError> {
    if response.len() > MAX_RESPONSE {
        return Err(PasskeyError::Form);
    }
    serde_json::from_str(response).map_err(|_error| PasskeyError::Form)
}

fn stored(key: &Passkey, sign_count: u32) -> Result<StoredCredential, PasskeyError> {
    Ok(StoredCredential {
        credential_id: BASE64URL_NOPAD.encode(key.cred_id()),
        credential: serde_json::to_string(key).map_err(|_error| PasskeyError::Form)?,
        sign_count,
    })
}
