//! Methods about second factors.

use http::Method;
use usher_api::v1;

use super::segment;
use crate::{CallError, Client};

/// Second factors.
impl Client {
    /// `GET /v1/passkeys`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn passkeys(&self) -> Result<v1::Page<v1::Passkey>, CallError> {
        self.get("/v1/passkeys".to_owned()).await
    }

    /// `PATCH /v1/passkeys/{passkey}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn update_passkey(
        &self,
        passkey: &str,
        change: &v1::UpdatePasskey,
    ) -> Result<v1::Passkey, CallError> {
        self.as_session(Method::PATCH, format!("/v1/passkeys/{}", segment(passkey)?), Some(change)).await
    }

    /// `DELETE /v1/passkeys/{passkey}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_passkey(&self, passkey: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/passkeys/{}", segment(passkey)?)).await
    }

    /// `GET /v1/users/{user}/passkeys`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn passkeys_of(&self, user: &str) -> Result<v1::Page<v1::Passkey>, CallError> {
        self.get(format!("/v1/users/{}/passkeys", segment(user)?)).await
    }

    /// `DELETE /v1/users/{user}/passkeys/{passkey}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_passkey_of(&self, user: &str, passkey: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/users/{}/passkeys/{}", segment(user)?, segment(passkey)?)).await
    }

    /// `POST /v1/users/{user}/second-factor/reset`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn reset_second_factor(&self, user: &str) -> Result<v1::SecondFactorReset, CallError> {
        let path = format!("/v1/users/{}/second-factor/reset", segment(user)?);
        self.as_session::<(), _>(Method::POST, path, None).await
    }
}
