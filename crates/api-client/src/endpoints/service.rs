//! Service users, their keys, and the exchange for a session.

use http::Method;
use usher_api::v1;

use super::segment;
use crate::{CallError, Client};

impl Client {
    /// `POST /v1/token`, the exchange of a service user's credential. The client's key becomes the device's key.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn exchange_token(&self, request: &v1::TokenExchange) -> Result<v1::TokenResponse, CallError> {
        self.as_key("/v1/token", request).await
    }

    /// `GET /v1/service-users`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn service_users(&self) -> Result<v1::Page<v1::User>, CallError> {
        self.get("/v1/service-users".to_owned()).await
    }

    /// `POST /v1/service-users`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_service_user(&self, request: &v1::CreateServiceUser) -> Result<v1::User, CallError> {
        self.as_session(Method::POST, "/v1/service-users".to_owned(), Some(request)).await
    }

    /// `GET /v1/api-keys`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn api_keys(&self) -> Result<v1::Page<v1::ApiKey>, CallError> {
        self.get("/v1/api-keys".to_owned()).await
    }

    /// `POST /v1/api-keys`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_api_key(&self, request: &v1::CreateApiKey) -> Result<v1::CreatedApiKey, CallError> {
        self.as_session(Method::POST, "/v1/api-keys".to_owned(), Some(request)).await
    }

    /// `POST /v1/api-keys/{key}/rotate`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn rotate_api_key(
        &self,
        key: &str,
        request: &v1::RotateApiKey,
    ) -> Result<v1::CreatedApiKey, CallError> {
        self.as_session(Method::POST, format!("/v1/api-keys/{}/rotate", segment(key)?), Some(request)).await
    }

    /// `DELETE /v1/api-keys/{key}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn revoke_api_key(&self, key: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/api-keys/{}", segment(key)?)).await
    }

    /// `GET /v1/trusts`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn trusts(&self) -> Result<v1::Page<v1::Trust>, CallError> {
        self.get("/v1/trusts".to_owned()).await
    }

    /// `POST /v1/trusts`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_trust(&self, request: &v1::CreateTrust) -> Result<v1::Trust, CallError> {
        self.as_session(Method::POST, "/v1/trusts".to_owned(), Some(request)).await
    }

    /// `DELETE /v1/trusts/{trust}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_trust(&self, trust: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/trusts/{}", segment(trust)?)).await
    }
}
