//! The table of endpoints: what exists, who may call it. The broker's router, the OpenAPI document and the tests that
//! knock on every door without credentials are all checked against it.

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// A team administrator on an approved device.
    Admin,
    /// An enrolled server, by its key alone.
    Agent,
    /// Anybody with a proof of possession; the body carries the secret.
    Proof,
    /// Everybody.
    Public,
    /// A signed-in user, even on a device that waits for approval.
    SignedIn,
    /// A signed-in user on an approved device.
    User,
}

/// One method on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// HTTP method.
    pub method: &'static str,
    /// Path with `{parameters}`.
    pub path: &'static str,
    /// Who may call it.
    pub guard: Guard,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// Name of the request body's schema, empty for none.
    pub request: &'static str,
    /// Name of the answer's schema, empty for none (204); `Page<T>` for lists.
    pub response: &'static str,
}

const fn endpoint(
    method: &'static str,
    path: &'static str,
    guard: Guard,
    request: &'static str,
    response: &'static str,
    summary: &'static str,
) -> Endpoint {
    Endpoint { method, path, guard, summary, request, response }
}

/// Every endpoint below `/v1`.
pub const ENDPOINTS: &[Endpoint] = &[
    endpoint("GET", "/v1/team", Guard::Public, "", "Team", "Name and version of this team's broker"),
    endpoint("GET", "/v1/openapi.json", Guard::Public, "", "Object", "This description"),
    endpoint(
        "POST",
        "/v1/token",
        Guard::Proof,
        "TokenRequest",
        "TokenResponse",
        "Exchange an authorization code for a session",
    ),
    endpoint(
        "POST",
        "/v1/enroll",
        Guard::Proof,
        "EnrollRequest",
        "EnrollResponse",
        "Join a server to a project",
    ),
    endpoint("GET", "/v1/me", Guard::SignedIn, "", "Me", "Who the caller is"),
    endpoint("DELETE", "/v1/session", Guard::SignedIn, "", "", "Sign out"),
    endpoint(
        "POST",
        "/v1/connections",
        Guard::User,
        "ConnectionRequest",
        "Connection",
        "Get routes and certificates to a server",
    ),
    endpoint("GET", "/v1/servers", Guard::User, "", "Page<Server>", "Servers that the caller may see"),
    endpoint("GET", "/v1/servers/{server}", Guard::User, "", "Server", "One server"),
    endpoint(
        "PATCH",
        "/v1/servers/{server}",
        Guard::Admin,
        "UpdateServer",
        "Server",
        "Change a server's role or route",
    ),
    endpoint("DELETE", "/v1/servers/{server}", Guard::Admin, "", "", "Remove a server"),
    endpoint(
        "GET",
        "/v1/servers/{server}/access",
        Guard::User,
        "",
        "Explanation",
        "Whether and why the caller may connect to a server",
    ),
    endpoint(
        "GET",
        "/v1/servers/{server}/access/{user}",
        Guard::Admin,
        "",
        "Explanation",
        "Whether and why a user may connect to a server",
    ),
    endpoint("GET", "/v1/projects", Guard::User, "", "Page<Project>", "Projects that the caller may see"),
    endpoint(
        "POST",
        "/v1/projects",
        Guard::Admin,
        "CreateProject",
        "Project",
        "Create a project and its CA keys",
    ),
    endpoint("GET", "/v1/projects/{project}", Guard::User, "", "Project", "One project"),
    endpoint("PATCH", "/v1/projects/{project}", Guard::Admin, "UpdateProject", "Project", "Change a project"),
    endpoint(
        "DELETE",
        "/v1/projects/{project}",
        Guard::Admin,
        "",
        "",
        "Delete a project that has no servers",
    ),
    endpoint(
        "GET",
        "/v1/projects/{project}/groups",
        Guard::Admin,
        "",
        "Page<ProjectGroup>",
        "Groups of a project",
    ),
    endpoint(
        "PUT",
        "/v1/projects/{project}/groups/{group}",
        Guard::Admin,
        "SetProjectGroup",
        "ProjectGroup",
        "Give a group its role in a project",
    ),
    endpoint(
        "DELETE",
        "/v1/projects/{project}/groups/{group}",
        Guard::Admin,
        "",
        "",
        "Take a group out of a project",
    ),
    endpoint(
        "GET",
        "/v1/projects/{project}/keys",
        Guard::Admin,
        "",
        "Page<Key>",
        "A project's CA keys, and which servers know them",
    ),
    endpoint(
        "POST",
        "/v1/projects/{project}/keys",
        Guard::Admin,
        "RotateKey",
        "Page<Key>",
        "Put a new CA key beside the old one",
    ),
    endpoint(
        "POST",
        "/v1/projects/{project}/keys/retire",
        Guard::Admin,
        "RetireKeys",
        "Page<Key>",
        "Retire all but the newest CA key",
    ),
    endpoint("GET", "/v1/team/keys", Guard::Admin, "", "Page<Key>", "The team's keys, and who knows them"),
    endpoint(
        "POST",
        "/v1/team/keys",
        Guard::Admin,
        "RotateKey",
        "Page<Key>",
        "Put a new key of the team beside the old one",
    ),
    endpoint(
        "POST",
        "/v1/team/keys/retire",
        Guard::Admin,
        "RetireKeys",
        "Page<Key>",
        "Retire all but the newest key of the team",
    ),
    endpoint("GET", "/v1/connectors", Guard::Admin, "", "Page<Connector>", "All identity providers"),
    endpoint(
        "POST",
        "/v1/connectors",
        Guard::Admin,
        "CreateConnector",
        "Connector",
        "Connect an identity provider",
    ),
    endpoint("GET", "/v1/connectors/{connector}", Guard::Admin, "", "Connector", "One identity provider"),
    endpoint(
        "PATCH",
        "/v1/connectors/{connector}",
        Guard::Admin,
        "UpdateConnector",
        "Connector",
        "Change a connector",
    ),
    endpoint(
        "DELETE",
        "/v1/connectors/{connector}",
        Guard::Admin,
        "",
        "",
        "Delete a connector that has neither users nor groups",
    ),
    endpoint("GET", "/v1/locks", Guard::Admin, "", "Page<Lock>", "What is locked"),
    endpoint(
        "PUT",
        "/v1/locks/{kind}/{name}",
        Guard::Admin,
        "SetLock",
        "Lock",
        "Lock a user, device, server or project",
    ),
    endpoint("DELETE", "/v1/locks/{kind}/{name}", Guard::Admin, "", "", "Lift a lock"),
    endpoint("GET", "/v1/groups", Guard::Admin, "", "Page<Group>", "Groups"),
    endpoint("POST", "/v1/groups", Guard::Admin, "CreateGroup", "Group", "Create a group"),
    endpoint("GET", "/v1/groups/{group}", Guard::Admin, "", "Group", "One group"),
    endpoint("DELETE", "/v1/groups/{group}", Guard::Admin, "", "", "Delete a group"),
    endpoint("PUT", "/v1/groups/{group}/members/{user}", Guard::Admin, "", "", "Add a member"),
    endpoint("DELETE", "/v1/groups/{group}/members/{user}", Guard::Admin, "", "", "Remove a member"),
    endpoint("GET", "/v1/users", Guard::Admin, "", "Page<User>", "Users"),
    endpoint("POST", "/v1/users", Guard::Admin, "CreateUser", "CreatedUser", "Create a user"),
    endpoint("GET", "/v1/users/{user}", Guard::Admin, "", "User", "One user"),
    endpoint(
        "PATCH",
        "/v1/users/{user}",
        Guard::Admin,
        "UpdateUser",
        "User",
        "Change, enable or disable a user",
    ),
    endpoint("DELETE", "/v1/users/{user}", Guard::Admin, "", "", "Delete a user for good"),
    endpoint(
        "POST",
        "/v1/users/{user}/set-up-code",
        Guard::Admin,
        "",
        "CreatedUser",
        "New set-up code; ends the user's sessions",
    ),
    endpoint(
        "GET",
        "/v1/devices",
        Guard::User,
        "",
        "Page<Device>",
        "The caller's devices; all of them for an administrator",
    ),
    endpoint("GET", "/v1/devices/{device}", Guard::User, "", "Device", "One device"),
    endpoint(
        "PATCH",
        "/v1/devices/{device}",
        Guard::Admin,
        "UpdateDevice",
        "Device",
        "Approve or revoke a device",
    ),
    endpoint("DELETE", "/v1/devices/{device}", Guard::Admin, "", "", "Delete a revoked device"),
    endpoint(
        "GET",
        "/v1/tokens",
        Guard::Admin,
        "",
        "Page<EnrollmentToken>",
        "Enrollment tokens, without secrets",
    ),
    endpoint("POST", "/v1/tokens", Guard::Admin, "CreateToken", "CreatedToken", "Create an enrollment token"),
    endpoint("GET", "/v1/tokens/{token}", Guard::Admin, "", "EnrollmentToken", "One enrollment token"),
    endpoint("DELETE", "/v1/tokens/{token}", Guard::Admin, "", "", "Revoke an enrollment token"),
    endpoint(
        "GET",
        "/v1/audit",
        Guard::Admin,
        "",
        "AuditPage",
        "The audit log: search, page by page, and follow",
    ),
    endpoint(
        "GET",
        "/v1/agent/state",
        Guard::Agent,
        "",
        "StateResponse",
        "Desired state, when newer than the agent's",
    ),
    endpoint(
        "POST",
        "/v1/agent/certificate",
        Guard::Agent,
        "AgentCertificateRequest",
        "AgentCertificate",
        "Get a certificate for the agent's own listener",
    ),
    endpoint(
        "POST",
        "/v1/agent/report",
        Guard::Agent,
        "ReportRequest",
        "ReportResponse",
        "What the host looks like",
    ),
];
