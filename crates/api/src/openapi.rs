//! The OpenAPI document, made of the table of endpoints and the types' own schemas. Nothing is written twice.

use serde_json::{Map, Value, json};
use usher_types::TeamRole;
use utoipa::{
    OpenApi, PartialSchema as _,
    openapi::{RefOr, Schema},
};

use crate::{
    ErrorResponse, headers,
    v1::{self, ENDPOINTS, Endpoint, Guard},
};

#[derive(OpenApi)]
#[openapi(components(schemas(
    ErrorResponse,
    v1::ApiKey,
    v1::AuditOrder,
    v1::AuditPage,
    v1::Connection,
    v1::Connector,
    v1::ConnectionRequest,
    v1::CreateApiKey,
    v1::CreateConnector,
    v1::CreateGroup,
    v1::SetTeamRole,
    v1::CreateProject,
    v1::CreateScimToken,
    v1::CreateServiceUser,
    v1::CreateToken,
    v1::CreateTrust,
    v1::CreateUser,
    v1::CreatedApiKey,
    v1::CreatedScimToken,
    v1::CreatedToken,
    v1::CreatedUser,
    v1::Device,
    v1::EnrollRequest,
    v1::AgentCertificate,
    v1::AgentCertificateRequest,
    v1::ClientCertificate,
    v1::EnrollResponse,
    v1::EnrollmentToken,
    v1::Group,
    v1::Key,
    v1::Lock,
    v1::Me,
    v1::Page<v1::ApiKey>,
    v1::Page<v1::Connector>,
    v1::Page<v1::Device>,
    v1::Page<v1::EnrollmentToken>,
    v1::Page<v1::Group>,
    v1::Page<v1::Key>,
    v1::Page<v1::Lock>,
    v1::Page<v1::Passkey>,
    v1::Page<v1::Policy>,
    v1::Page<v1::Project>,
    v1::Explanation,
    v1::Page<v1::ProjectGroup>,
    v1::Page<v1::ScimToken>,
    v1::Page<v1::Server>,
    v1::Page<v1::Session>,
    v1::Page<v1::Trust>,
    v1::Page<v1::User>,
    v1::Passkey,
    v1::Policy,
    v1::PolicyDiff,
    v1::PolicyDiffResult,
    v1::PolicySchema,
    v1::PolicyTest,
    v1::PolicyTestResult,
    v1::Project,
    v1::ProjectGroup,
    v1::ReportRequest,
    v1::ReportResponse,
    v1::RetireKeys,
    v1::RotateApiKey,
    v1::RotateKey,
    v1::ScimToken,
    v1::SecondFactorReset,
    v1::Server,
    v1::SetLock,
    v1::SetPolicy,
    v1::SetProjectGroup,
    v1::StateResponse,
    v1::Session,
    v1::Team,
    v1::TeamSettings,
    v1::TokenExchange,
    v1::TokenGrant,
    v1::TokenRequest,
    v1::TokenResponse,
    v1::Trust,
    v1::UpdateConnector,
    v1::UpdateDevice,
    v1::UpdatePasskey,
    v1::UpdateProject,
    v1::UpdateServer,
    v1::UpdateTeamSettings,
    v1::UpdateUser,
    v1::User,
)))]
struct Components;

/// The document as a JSON value.
///
/// # Errors
/// When a schema cannot be expressed in JSON.
pub fn openapi() -> Result<Value, serde_json::Error> {
    let components = serde_json::to_value(Components::openapi())?;
    let schemas = components.pointer("/components/schemas").cloned().unwrap_or_default();
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        let path = paths.entry(endpoint.path).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(methods) = path {
            methods.insert(endpoint.method.to_ascii_lowercase(), operation(endpoint)?);
        }
    }
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Usher broker",
            "version": "1",
            "description": "Requests refuse unknown fields; answers may gain fields. Every answer carries `dpop-nonce`.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": { "schemas": schemas, "securitySchemes": security_schemes() },
    }))
}

/// The document as it is served and committed: indented, with a line break at the end.
///
/// # Errors
/// When a schema cannot be expressed in JSON.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    let mut document = openapi()?;
    // The same text whether or not something else in the program makes maps keep their order.
    document.sort_all_objects();
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    Ok(text)
}

fn security_schemes() -> Value {
    json!({
        "proof": {
            "type": "apiKey", "in": "header", "name": headers::DPOP,
            "description": "Proof of possession (RFC 9449) with the claims `qsh` and `bsh`: base64url of the SHA-256 of query and body.",
        },
        "session": {
            "type": "apiKey", "in": "header", "name": "authorization",
            "description": "`DPoP us1_...`, together with a proof by the device's key.",
        },
    })
}

fn operation(endpoint: &Endpoint) -> Result<Value, serde_json::Error> {
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "summary": endpoint.summary,
        "description": guard(endpoint.guard),
        "parameters": parameters(endpoint)?,
        "responses": responses(endpoint),
        "security": security(endpoint.guard),
    });
    if let (Value::Object(fields), false) = (&mut operation, endpoint.request.is_empty()) {
        let content = json!({ "application/json": { "schema": reference(endpoint.request) } });
        fields.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
    }
    Ok(operation)
}

/// `get_projects_project_groups`: unique, because path and method are.
fn operation_id(endpoint: &Endpoint) -> String {
    let words =
        endpoint.path.split(['/', '{', '}', '.', '-']).filter(|word| !word.is_empty() && *word != "v1");
    let words: Vec<&str> = words.collect();
    format!("{}_{}", endpoint.method.to_ascii_lowercase(), words.join("_"))
}

fn guard(guard: Guard) -> String {
    let text = match guard {
        Guard::Permitted(permission) => {
            let roles: Vec<&str> = permission.roles().map(TeamRole::as_str).collect();
            return format!("For the team roles {}, on an approved device.", roles.join(", "));
        }
        Guard::Agent => "For enrolled servers, by their key.",
        Guard::Proof => "For anybody with a key; the body carries the secret.",
        Guard::Public => "For everybody.",
        Guard::SignedIn => "For signed-in users, also on a device that waits for approval.",
        Guard::User => "For signed-in users on an approved device.",
    };
    text.to_owned()
}

fn security(guard: Guard) -> Value {
    match guard {
        Guard::Public => json!([]),
        Guard::Agent | Guard::Proof => json!([{ "proof": [] }]),
        Guard::Permitted(_) | Guard::SignedIn | Guard::User => json!([{ "proof": [], "session": [] }]),
    }
}

fn parameters(endpoint: &Endpoint) -> Result<Vec<Value>, serde_json::Error> {
    let in_path = endpoint.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| {
            let description = format!("The {name}'s name or id.");
            json!({ "name": name, "in": "path", "required": true, "description": description, "schema": { "type": "string" } })
        })
        .collect();
    let query = match endpoint.path {
        "/v1/agent/state" => Some(v1::StateQuery::schema()),
        "/v1/audit" => Some(v1::AuditQuery::schema()),
        "/v1/servers/{server}/access/{user}" => Some(v1::ExplanationQuery::schema()),
        _ => None,
    };
    if let Some(RefOr::T(Schema::Object(object))) = query {
        for (name, schema) in &object.properties {
            let mut schema = serde_json::to_value(schema)?;
            let description = schema.as_object_mut().and_then(|fields| fields.remove("description"));
            let required = object.required.contains(name);
            parameters.push(json!({
                "name": name, "in": "query", "required": required, "description": description, "schema": schema,
            }));
        }
    }
    Ok(parameters)
}

fn responses(endpoint: &Endpoint) -> Value {
    let mut responses = Map::new();
    match endpoint.response {
        "" => {
            responses.insert("204".to_owned(), json!({ "description": "Done" }));
        }
        name => {
            let schema = if name == "Object" { json!({ "type": "object" }) } else { reference(name) };
            let content = json!({ "application/json": { "schema": schema } });
            responses.insert("2XX".to_owned(), json!({ "description": "Done", "content": content }));
        }
    }
    let content = json!({ "application/json": { "schema": reference("ErrorResponse") } });
    responses.insert("default".to_owned(), json!({ "description": "Refused or failed", "content": content }));
    Value::Object(responses)
}

/// `Page<Server>` is called `Page_Server` among the components.
fn reference(name: &str) -> Value {
    let name = name.replace('<', "_").replace('>', "");
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
