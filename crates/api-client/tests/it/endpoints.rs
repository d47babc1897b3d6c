//! There is a method for every endpoint, and it calls that endpoint.

use std::{collections::BTreeSet, time::Duration};

use usher_api::v1::{self, ENDPOINTS};
use usher_api_client::{CallError, Client};
use usher_types::{HostName, TeamRole, UnixTime};

use crate::server::{Reply, Server};

/// Fails with "not found" as the test's broker wants it.
#[track_caller]
fn asked<T: std::fmt::Debug>(result: Result<T, CallError>) {
    assert!(matches!(result, Err(CallError::Api { status: 404, .. })), "{result:?}");
}

fn facts() -> v1::HostFacts {
    v1::HostFacts {
        addresses: Vec::new(),
        host_keys: Vec::new(),
        os: String::new(),
        sshd_version: String::new(),
    }
}

async fn call_everything(client: &Client) {
    asked(client.team().await);
    asked(client.openapi().await);
    asked(
        client
            .exchange_code(&v1::TokenRequest {
                code: String::new(),
                code_verifier: String::new(),
                redirect_uri: String::new(),
                device_name: "laptop".parse().unwrap(),
            })
            .await,
    );
    asked(
        client
            .exchange_token(&v1::TokenExchange {
                grant_type: v1::ExchangeGrantType::TokenExchange,
                subject_token_type: v1::SubjectTokenType::ApiKey,
                subject_token: String::new(),
                service_user: None,
                device_name: "runner".parse().unwrap(),
                session_seconds: None,
            })
            .await,
    );
    asked(client.service_users().await);
    let user = v1::CreateServiceUser {
        user_name: "deploy".parse().unwrap(),
        display_name: None,
        unix_user_name: None,
    };
    asked(client.create_service_user(&user).await);
    asked(client.api_keys().await);
    let key = v1::CreateApiKey {
        service_user: "deploy".parse().unwrap(),
        description: "ci".parse().unwrap(),
        ttl_seconds: 1,
        cidr: None,
    };
    asked(client.create_api_key(&key).await);
    asked(client.rotate_api_key("k", &v1::RotateApiKey::default()).await);
    asked(client.revoke_api_key("k").await);
    asked(client.trusts().await);
    let trust = v1::CreateTrust {
        service_user: "deploy".parse().unwrap(),
        description: "ci".parse().unwrap(),
        issuer: String::new(),
        audience: None,
        claims: std::collections::BTreeMap::new(),
        private_networks: Vec::new(),
    };
    asked(client.create_trust(&trust).await);
    asked(client.delete_trust("t").await);
    asked(client.me().await);
    asked(client.end_session().await);
    asked(
        client
            .connect(&v1::ConnectionRequest {
                server: "s".to_owned(),
                login: None,
                purpose: v1::Purpose::Command,
                csr: None,
                via: None,
                keys: Vec::new(),
            })
            .await,
    );
    asked(client.servers().await);
    asked(client.server("s").await);
    asked(client.update_server("s", &v1::UpdateServer::default()).await);
    asked(client.delete_server("s").await);
    asked(client.explain("s").await);
    asked(client.explain_user("s", "u").await);
    call_providers(client).await;
    call_projects(client).await;
    call_keys(client).await;
    call_directory(client).await;
    asked(
        client.audit(&v1::AuditQuery { after: Some(7), limit: Some(9), ..v1::AuditQuery::default() }).await,
    );
    let name: HostName = "s".parse().unwrap();
    asked(client.enroll(&v1::EnrollRequest { token: String::new(), name, facts: facts() }).await);
    asked(client.agent_state(&v1::StateQuery::default()).await);
    asked(client.agent_certificate(&v1::AgentCertificateRequest { csr: String::new() }).await);
    asked(
        client
            .agent_report(&v1::ReportRequest {
                facts: facts(),
                applied_generation: 0,
                applied_server_generation: 0,
                conflicts: Vec::new(),
                taken_ids: Vec::new(),
                clock: UnixTime::from_secs(1),
                trusts: None,
            })
            .await,
    );
}

async fn call_providers(client: &Client) {
    let create = serde_json::from_str(r#"{"name":"c","join_rule":"scim"}"#).unwrap();
    asked(client.connectors().await);
    asked(client.create_connector(&create).await);
    asked(client.connector("c").await);
    asked(client.update_connector("c", &v1::UpdateConnector::default()).await);
    asked(client.delete_connector("c").await);
    let create = serde_json::from_str(r#"{"connector":"c","description":"d"}"#).unwrap();
    asked(client.scim_tokens().await);
    asked(client.create_scim_token(&create).await);
    asked(client.revoke_scim_token("t").await);
}

async fn call_keys(client: &Client) {
    let rotate = v1::RotateKey { kind: v1::KeyKind::State, custody: None };
    let retire = v1::RetireKeys { kind: v1::KeyKind::State, leave_behind: Vec::new() };
    asked(client.project_keys("p").await);
    asked(client.rotate_project_key("p", &rotate).await);
    asked(client.retire_project_keys("p", &retire).await);
    asked(client.team_keys().await);
    asked(client.rotate_team_key(&rotate).await);
    asked(client.retire_team_keys(&retire).await);
    asked(client.locks().await);
    let reason = "lost".parse().unwrap();
    asked(client.lock("k", "n", &v1::SetLock { reason }).await);
    asked(client.unlock("k", "n").await);
    asked(client.policies().await);
    asked(client.policy("n").await);
    asked(client.set_policy("n", &v1::SetPolicy { project: None, text: String::new() }).await);
    asked(client.delete_policy("n").await);
    asked(client.policy_schema().await);
    asked(client.compare_policies(&v1::PolicyDiff::default()).await);
    asked(client.test_policies(&v1::PolicyTest { cases: Vec::new() }).await);
}

async fn call_projects(client: &Client) {
    asked(client.projects().await);
    let create = serde_json::from_str(r#"{"name":"p"}"#).unwrap();
    asked(client.create_project(&create).await);
    asked(client.project("p").await);
    asked(client.update_project("p", &v1::UpdateProject::default()).await);
    asked(client.delete_project("p").await);
    asked(client.project_groups("p").await);
    let role = v1::SetProjectGroup {
        server_access: true,
        server_admin: false,
        conditions: v1::Conditions::default(),
    };
    asked(client.set_project_group("p", "g", &role).await);
    asked(client.delete_project_group("p", "g").await);
    asked(client.tokens().await);
    let create = serde_json::from_str(r#"{"project":"p","description":"d"}"#).unwrap();
    asked(client.create_token(&create).await);
    asked(client.enrollment_token("t").await);
    asked(client.revoke_token("t").await);
}

async fn call_directory(client: &Client) {
    asked(client.groups().await);
    asked(client.create_group(&v1::CreateGroup { name: "g".parse().unwrap() }).await);
    asked(client.group("g").await);
    asked(client.delete_group("g").await);
    asked(client.add_member("g", "u").await);
    asked(client.remove_member("g", "u").await);
    let role = v1::SetTeamRole { team_role: TeamRole::Auditor };
    asked(client.set_team_role("g", &role).await);
    asked(client.users().await);
    let create = serde_json::from_str(r#"{"user_name":"u"}"#).unwrap();
    asked(client.create_user(&create).await);
    asked(client.user("u").await);
    asked(client.update_user("u", &v1::UpdateUser::default()).await);
    asked(client.delete_user("u").await);
    asked(client.new_set_up_code("u").await);
    asked(client.reset_second_factor("u").await);
    asked(client.passkeys().await);
    asked(client.update_passkey("p", &v1::UpdatePasskey { name: "key".parse().unwrap() }).await);
    asked(client.delete_passkey("p").await);
    asked(client.passkeys_of("u").await);
    asked(client.delete_passkey_of("u", "p").await);
    asked(client.devices().await);
    asked(client.device("d").await);
    asked(client.update_device("d", &v1::UpdateDevice::default()).await);
    asked(client.delete_device("d").await);
    asked(client.sessions().await);
    asked(client.revoke_session("s").await);
    asked(client.team_settings().await);
    asked(client.update_team_settings(&v1::UpdateTeamSettings::default()).await);
}

/// `/v1/groups/{group}/members/{user}` as [`call_everything`] fills it in.
fn filled_in(path: &str) -> String {
    let parts = path.split('/').map(|part| {
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        name.map_or_else(|| part.to_owned(), |name| name[..1].to_owned())
    });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_endpoint_has_its_method() {
    let server = Server::with(&[Reply::error(404, "not_found")]).await;
    call_everything(&server.client()).await;
    let called: BTreeSet<_> =
        server.seen().into_iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect();
    let wanted: BTreeSet<_> =
        ENDPOINTS.iter().map(|known| format!("{} {}", known.method, filled_in(known.path))).collect();
    assert_eq!(called, wanted);
    let audit = server.seen().into_iter().find(|seen| seen.path == "/v1/audit").unwrap();
    assert_eq!(audit.query, "after=7&limit=9");
}

#[tokio::test]
async fn names_reach_no_other_endpoint() {
    let server = Server::with(&[Reply::error(404, "not_found")]).await;
    let client = server.client_with(server.pin(), Duration::from_secs(120), None);
    for name in ["", ".", "..", &"x".repeat(256)] {
        let refused = client.delete_server(name).await;
        assert!(matches!(refused, Err(CallError::Argument { .. })), "{refused:?}");
    }
    assert!(server.seen().is_empty());
    asked(client.server("../users/alice?x#y").await);
    asked(client.server("ü %2e").await);
    let paths: Vec<_> = server.seen().into_iter().skip(1).map(|seen| seen.path).collect();
    assert_eq!(paths, ["/v1/servers/..%2Fusers%2Falice%3Fx%23y", "/v1/servers/%C3%BC%20%252e"]);
}
