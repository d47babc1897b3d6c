//! A method for every endpoint of the API, by topic. `tests` compare this list with the API's own table.

mod passkeys;
mod policies;
mod providers;
mod service;
mod sessions;

use std::time::Duration;

use http::Method;
use serde::{Serialize, de::DeserializeOwned};
use usher_api::v1;

use crate::{
    CallError, Client,
    client::{Call, encode},
};

/// One part of a path, from whatever people typed.
fn segment(text: &str) -> Result<String, CallError> {
    // A URL library would make `..` climb, however it is encoded.
    if text.is_empty() || text.bytes().all(|byte| byte == b'.') || text.len() > 255 {
        return Err(CallError::Argument {
            text: text.chars().take(64).flat_map(char::escape_default).collect(),
        });
    }
    let encoded = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    Ok(encoded.collect())
}

impl Client {
    async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T, CallError> {
        self.as_session::<(), T>(Method::GET, path, None).await
    }

    async fn delete(&self, path: String) -> Result<(), CallError> {
        self.as_session::<(), ()>(Method::DELETE, path, None).await
    }

    async fn as_session<B, T>(&self, method: Method, path: String, body: Option<&B>) -> Result<T, CallError>
    where
        B: Serialize + Sync,
        T: DeserializeOwned,
    {
        self.call(method, &path, "", body).await
    }

    /// Without a session, whether there is one or not: the body or the key says who it is.
    async fn as_key<B, T>(&self, path: &str, body: &B) -> Result<T, CallError>
    where
        B: Serialize + Sync,
        T: DeserializeOwned,
    {
        self.run(Call {
            method: Method::POST,
            path: path.to_owned(),
            query: String::new(),
            body: encode(Some(body))?,
            token: None,
            wait: Duration::ZERO,
        })
        .await
    }
}

/// The team, the caller, its session.
impl Client {
    /// `GET /v1/team`.
    ///
    /// # Errors
    /// [`CallError`], as for every method here.
    pub async fn team(&self) -> Result<v1::Team, CallError> {
        self.get("/v1/team".to_owned()).await
    }

    /// `GET /v1/openapi.json`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn openapi(&self) -> Result<serde_json::Value, CallError> {
        self.get("/v1/openapi.json".to_owned()).await
    }

    /// `POST /v1/token`. Does not change this client's session: see [`Client::set_token`].
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn exchange_code(&self, request: &v1::TokenRequest) -> Result<v1::TokenResponse, CallError> {
        self.as_key("/v1/token", request).await
    }

    /// `GET /v1/me`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn me(&self) -> Result<v1::Me, CallError> {
        self.get("/v1/me".to_owned()).await
    }

    /// `DELETE /v1/session`: signs out.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn end_session(&self) -> Result<(), CallError> {
        self.delete("/v1/session".to_owned()).await
    }
}

/// Connections and servers.
impl Client {
    /// `POST /v1/connections`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn connect(&self, request: &v1::ConnectionRequest) -> Result<v1::Connection, CallError> {
        self.as_session(Method::POST, "/v1/connections".to_owned(), Some(request)).await
    }

    /// `GET /v1/servers`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn servers(&self) -> Result<v1::Page<v1::Server>, CallError> {
        self.get("/v1/servers".to_owned()).await
    }

    /// `GET /v1/servers/{server}`, by name or id.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn server(&self, server: &str) -> Result<v1::Server, CallError> {
        self.get(format!("/v1/servers/{}", segment(server)?)).await
    }

    /// `PATCH /v1/servers/{server}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn update_server(
        &self,
        server: &str,
        change: &v1::UpdateServer,
    ) -> Result<v1::Server, CallError> {
        self.as_session(Method::PATCH, format!("/v1/servers/{}", segment(server)?), Some(change)).await
    }

    /// `DELETE /v1/servers/{server}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_server(&self, server: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/servers/{}", segment(server)?)).await
    }

    /// `GET /v1/servers/{server}/access`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn explain(&self, server: &str) -> Result<v1::Explanation, CallError> {
        self.get(format!("/v1/servers/{}/access", segment(server)?)).await
    }

    /// `GET /v1/servers/{server}/access/{user}`, for a user from nowhere in particular.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn explain_user(&self, server: &str, user: &str) -> Result<v1::Explanation, CallError> {
        self.get(format!("/v1/servers/{}/access/{}", segment(server)?, segment(user)?)).await
    }
}

/// Keys and locks.
impl Client {
    /// `GET /v1/projects/{project}/keys`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn project_keys(&self, project: &str) -> Result<v1::Page<v1::Key>, CallError> {
        self.get(format!("/v1/projects/{}/keys", segment(project)?)).await
    }

    /// `POST /v1/projects/{project}/keys`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn rotate_project_key(
        &self,
        project: &str,
        request: &v1::RotateKey,
    ) -> Result<v1::Page<v1::Key>, CallError> {
        let path = format!("/v1/projects/{}/keys", segment(project)?);
        self.as_session(Method::POST, path, Some(request)).await
    }

    /// `POST /v1/projects/{project}/keys/retire`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn retire_project_keys(
        &self,
        project: &str,
        request: &v1::RetireKeys,
    ) -> Result<v1::Page<v1::Key>, CallError> {
        let path = format!("/v1/projects/{}/keys/retire", segment(project)?);
        self.as_session(Method::POST, path, Some(request)).await
    }

    /// `GET /v1/team/keys`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn team_keys(&self) -> Result<v1::Page<v1::Key>, CallError> {
        self.get("/v1/team/keys".to_owned()).await
    }

    /// `POST /v1/team/keys`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn rotate_team_key(&self, request: &v1::RotateKey) -> Result<v1::Page<v1::Key>, CallError> {
        self.as_session(Method::POST, "/v1/team/keys".to_owned(), Some(request)).await
    }

    /// `POST /v1/team/keys/retire`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn retire_team_keys(&self, request: &v1::RetireKeys) -> Result<v1::Page<v1::Key>, CallError> {
        self.as_session(Method::POST, "/v1/team/keys/retire".to_owned(), Some(request)).await
    }

    /// `GET /v1/locks`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn locks(&self) -> Result<v1::Page<v1::Lock>, CallError> {
        self.get("/v1/locks".to_owned()).await
    }

    /// `PUT /v1/locks/{kind}/{name}`. `kind` is one of the words of [`v1::LockKind`].
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn lock(&self, kind: &str, name: &str, request: &v1::SetLock) -> Result<v1::Lock, CallError> {
        let path = format!("/v1/locks/{}/{}", segment(kind)?, segment(name)?);
        self.as_session(Method::PUT, path, Some(request)).await
    }

    /// `DELETE /v1/locks/{kind}/{name}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn unlock(&self, kind: &str, name: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/locks/{}/{}", segment(kind)?, segment(name)?)).await
    }
}

/// Projects and their groups.
impl Client {
    /// `GET /v1/projects`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn projects(&self) -> Result<v1::Page<v1::Project>, CallError> {
        self.get("/v1/projects".to_owned()).await
    }

    /// `POST /v1/projects`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_project(&self, request: &v1::CreateProject) -> Result<v1::Project, CallError> {
        self.as_session(Method::POST, "/v1/projects".to_owned(), Some(request)).await
    }

    /// `GET /v1/projects/{project}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn project(&self, project: &str) -> Result<v1::Project, CallError> {
        self.get(format!("/v1/projects/{}", segment(project)?)).await
    }

    /// `PATCH /v1/projects/{project}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn update_project(
        &self,
        project: &str,
        change: &v1::UpdateProject,
    ) -> Result<v1::Project, CallError> {
        self.as_session(Method::PATCH, format!("/v1/projects/{}", segment(project)?), Some(change)).await
    }

    /// `DELETE /v1/projects/{project}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_project(&self, project: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/projects/{}", segment(project)?)).await
    }

    /// `GET /v1/projects/{project}/groups`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn project_groups(&self, project: &str) -> Result<v1::Page<v1::ProjectGroup>, CallError> {
        self.get(format!("/v1/projects/{}/groups", segment(project)?)).await
    }

    /// `PUT /v1/projects/{project}/groups/{group}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_project_group(
        &self,
        project: &str,
        group: &str,
        role: &v1::SetProjectGroup,
    ) -> Result<v1::ProjectGroup, CallError> {
        let path = format!("/v1/projects/{}/groups/{}", segment(project)?, segment(group)?);
        self.as_session(Method::PUT, path, Some(role)).await
    }

    /// `DELETE /v1/projects/{project}/groups/{group}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_project_group(&self, project: &str, group: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/projects/{}/groups/{}", segment(project)?, segment(group)?)).await
    }
}

/// Groups and users.
impl Client {
    /// `GET /v1/groups`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn groups(&self) -> Result<v1::Page<v1::Group>, CallError> {
        self.get("/v1/groups".to_owned()).await
    }

    /// `POST /v1/groups`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_group(&self, request: &v1::CreateGroup) -> Result<v1::Group, CallError> {
        self.as_session(Method::POST, "/v1/groups".to_owned(), Some(request)).await
    }

    /// `GET /v1/groups/{group}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn group(&self, group: &str) -> Result<v1::Group, CallError> {
        self.get(format!("/v1/groups/{}", segment(group)?)).await
    }

    /// `DELETE /v1/groups/{group}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_group(&self, group: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/groups/{}", segment(group)?)).await
    }

    /// `PUT /v1/groups/{group}/members/{user}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn add_member(&self, group: &str, user: &str) -> Result<(), CallError> {
        let path = format!("/v1/groups/{}/members/{}", segment(group)?, segment(user)?);
        self.as_session::<(), ()>(Method::PUT, path, None).await
    }

    /// `DELETE /v1/groups/{group}/members/{user}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn remove_member(&self, group: &str, user: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/groups/{}/members/{}", segment(group)?, segment(user)?)).await
    }

    /// `PUT /v1/groups/{group}/team-role`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_team_role(&self, group: &str, set: &v1::SetTeamRole) -> Result<v1::Group, CallError> {
        let path = format!("/v1/groups/{}/team-role", segment(group)?);
        self.as_session(Method::PUT, path, Some(set)).await
    }

    /// `GET /v1/users`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn users(&self) -> Result<v1::Page<v1::User>, CallError> {
        self.get("/v1/users".to_owned()).await
    }

    /// `POST /v1/users`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_user(&self, request: &v1::CreateUser) -> Result<v1::CreatedUser, CallError> {
        self.as_session(Method::POST, "/v1/users".to_owned(), Some(request)).await
    }

    /// `GET /v1/users/{user}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn user(&self, user: &str) -> Result<v1::User, CallError> {
        self.get(format!("/v1/users/{}", segment(user)?)).await
    }

    /// `PATCH /v1/users/{user}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn update_user(&self, user: &str, change: &v1::UpdateUser) -> Result<v1::User, CallError> {
        self.as_session(Method::PATCH, format!("/v1/users/{}", segment(user)?), Some(change)).await
    }

    /// `DELETE /v1/users/{user}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_user(&self, user: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/users/{}", segment(user)?)).await
    }

    /// `POST /v1/users/{user}/set-up-code`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn new_set_up_code(&self, user: &str) -> Result<v1::CreatedUser, CallError> {
        let path = format!("/v1/users/{}/set-up-code", segment(user)?);
        self.as_session::<(), _>(Method::POST, path, None).await
    }
}

/// Devices, enrollment tokens, the audit log.
impl Client {
    /// `GET /v1/devices`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn devices(&self) -> Result<v1::Page<v1::Device>, CallError> {
        self.get("/v1/devices".to_owned()).await
    }

    /// `GET /v1/devices/{device}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn device(&self, device: &str) -> Result<v1::Device, CallError> {
        self.get(format!("/v1/devices/{}", segment(device)?)).await
    }

    /// `PATCH /v1/devices/{device}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn update_device(
        &self,
        device: &str,
        change: &v1::UpdateDevice,
    ) -> Result<v1::Device, CallError> {
        self.as_session(Method::PATCH, format!("/v1/devices/{}", segment(device)?), Some(change)).await
    }

    /// `DELETE /v1/devices/{device}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_device(&self, device: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/devices/{}", segment(device)?)).await
    }

    /// `GET /v1/tokens`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn tokens(&self) -> Result<v1::Page<v1::EnrollmentToken>, CallError> {
        self.get("/v1/tokens".to_owned()).await
    }

    /// `POST /v1/tokens`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_token(&self, request: &v1::CreateToken) -> Result<v1::CreatedToken, CallError> {
        self.as_session(Method::POST, "/v1/tokens".to_owned(), Some(request)).await
    }

    /// `GET /v1/tokens/{token}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn enrollment_token(&self, token: &str) -> Result<v1::EnrollmentToken, CallError> {
        self.get(format!("/v1/tokens/{}", segment(token)?)).await
    }

    /// `DELETE /v1/tokens/{token}`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn revoke_token(&self, token: &str) -> Result<(), CallError> {
        self.delete(format!("/v1/tokens/{}", segment(token)?)).await
    }

    /// `GET /v1/audit`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn audit(&self, query: &v1::AuditQuery) -> Result<v1::AuditPage, CallError> {
        self.call::<(), _>(Method::GET, "/v1/audit", &query.to_query(), None).await
    }
}

/// What agents call.
impl Client {
    /// `POST /v1/enroll`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn enroll(&self, request: &v1::EnrollRequest) -> Result<v1::EnrollResponse, CallError> {
        self.as_key("/v1/enroll", request).await
    }

    /// `GET /v1/agent/state`; `None` when nothing changed within `wait` seconds.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn agent_state(&self, query: &v1::StateQuery) -> Result<Option<v1::StateResponse>, CallError> {
        let v1::StateQuery { v, generation, server_generation, wait } = query;
        self.run(Call {
            method: Method::GET,
            path: "/v1/agent/state".to_owned(),
            query: format!("v={v}&generation={generation}&server_generation={server_generation}&wait={wait}"),
            body: encode::<()>(None)?,
            token: None,
            wait: Duration::from_secs(u64::from(*wait)),
        })
        .await
    }

    /// `POST /v1/agent/certificate`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn agent_certificate(
        &self,
        request: &v1::AgentCertificateRequest,
    ) -> Result<v1::AgentCertificate, CallError> {
        self.as_key("/v1/agent/certificate", request).await
    }

    /// `POST /v1/agent/report`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn agent_report(&self, report: &v1::ReportRequest) -> Result<v1::ReportResponse, CallError> {
        self.as_key("/v1/agent/report", report).await
    }
}
