//! Identity providers and their tokens.

use http::Method;
use usher_api::v1;

use super::segment;
use crate::{CallError, Client};

impl Client {
    /// `GET /v1/connectors`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn connectors(&self) -> Result<v1::Page<v1::Connector>, CallError> {
        self.get("/v1/connectors".to_owned()).await
    }

    /// `POST /v1/connectors`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_connector(&self, request: &v1::CreateConnector) -> Result<v1::Connector, CallError> {
        self.as_session(Method::POST, "/v1/connectors".to_owned(), Some(request)).await
    }

    /// `GET /v1/connectors/{connector}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn connector(&self, connector: &str) -> Result<v1::Connector, CallError> {
        self.get(format!("/v1/connectors/{}", segment(connector)?)).await
    }

    /// `PATCH /v1/connectors/{connector}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn update_connector(
        &self,
        connector: &str,
        change: &v1::UpdateConnector,
    ) -> Result<v1::Connector, CallError> {
        self.as_session(Method::PATCH, format!("/v1/connectors/{}", segment(connector)?), Some(change)).await
    }

    /// `DELETE /v1/connectors/{connector}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_connector(&self, connector: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/connectors/{}", segment(connector)?)).await
    }

    /// `GET /v1/scim-tokens`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn scim_tokens(&self) -> Result<v1::Page<v1::ScimToken>, CallError> {
        self.get("/v1/scim-tokens".to_owned()).await
    }

    /// `POST /v1/scim-tokens`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_scim_token(
        &self,
        request: &v1::CreateScimToken,
    ) -> Result<v1::CreatedScimToken, CallError> {
        self.as_session(Method::POST, "/v1/scim-tokens".to_owned(), Some(request)).await
    }

    /// `DELETE /v1/scim-tokens/{token}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn revoke_scim_token(&self, token: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/scim-tokens/{}", segment(token)?)).await
    }
}
