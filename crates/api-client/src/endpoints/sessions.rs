//! Sessions, and what the team asks of them.

use http::Method;
use usher_api::v1;

use super::segment;
use crate::{CallError, Client};

impl Client {
    /// `GET /v1/sessions`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn sessions(&self) -> Result<v1::Page<v1::Session>, CallError> {
        self.get("/v1/sessions".to_owned()).await
    }

    /// `DELETE /v1/sessions/{session}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn revoke_session(&self, session: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/sessions/{}", segment(session)?)).await
    }

    /// `GET /v1/team/settings`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn team_settings(&self) -> Result<v1::TeamSettings, CallError> {
        self.get("/v1/team/settings".to_owned()).await
    }

    /// `PATCH /v1/team/settings`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn update_team_settings(
        &self,
        change: &v1::UpdateTeamSettings,
    ) -> Result<v1::TeamSettings, CallError> {
        self.as_session(Method::PATCH, "/v1/team/settings".to_owned(), Some(change)).await
    }
}
