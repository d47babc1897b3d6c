//! Policies in Cedar, and what would be decided by others.

use http::Method;
use usher_api::v1;

use super::segment;
use crate::{CallError, Client};

/// Policies.
impl Client {
    /// `GET /v1/policies`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn policies(&self) -> Result<v1::Page<v1::Policy>, CallError> {
        self.get("/v1/policies".to_owned()).await
    }

    /// `GET /v1/policies/{name}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn policy(&self, name: &str) -> Result<v1::Policy, CallError> {
        self.get(format!("/v1/policies/{}", segment(name)?)).await
    }

    /// `PUT /v1/policies/{name}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_policy(&self, name: &str, request: &v1::SetPolicy) -> Result<v1::Policy, CallError> {
        let path = format!("/v1/policies/{}", segment(name)?);
        self.as_session(Method::PUT, path, Some(request)).await
    }

    /// `DELETE /v1/policies/{name}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_policy(&self, name: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/policies/{}", segment(name)?)).await
    }

    /// `POST /v1/policy-test`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn test_policies(&self, request: &v1::PolicyTest) -> Result<v1::PolicyTestResult, CallError> {
        self.as_session(Method::POST, "/v1/policy-test".to_owned(), Some(request)).await
    }

    /// `POST /v1/policy-diff`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn compare_policies(
        &self,
        request: &v1::PolicyDiff,
    ) -> Result<v1::PolicyDiffResult, CallError> {
        self.as_session(Method::POST, "/v1/policy-diff".to_owned(), Some(request)).await
    }

    /// `GET /v1/policy-schema`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn policy_schema(&self) -> Result<v1::PolicySchema, CallError> {
        self.get("/v1/policy-schema".to_owned()).await
    }
}
