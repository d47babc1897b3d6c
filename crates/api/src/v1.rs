//! Version 1: requests and answers by topic, and the table of endpoints.

mod access;
mod account;
mod agent;
mod conditions;
mod connectors;
mod directory;
mod endpoint;
mod fleet;
mod keys;
mod locks;
mod passkeys;
mod policies;
mod policy_test;
mod scim;
mod service;

pub use access::{Address, ClientCertificate, Connection, ConnectionRequest, Leg, Purpose, Route};
pub use account::{
    Me, Session, SessionBinding, SessionInfo, Team, TeamSettings, TokenRequest, TokenResponse,
    UpdateTeamSettings,
};
pub use agent::{
    AccountConflict, AgentCertificate, AgentCertificateRequest, EnrollRequest, EnrollResponse, HostFacts,
    ReportRequest, ReportResponse, SignedDocument, StateQuery, StateResponse, Trusts,
};
pub use conditions::{Authentication, Conditions, Explanation, ExplanationQuery, RoleExplained, Verdict};
pub use connectors::{
    Connector, ConnectorSettings, ConnectorState, CreateConnector, ExternalIdClaim, JoinRule, UpdateConnector,
};
pub use directory::{
    CreateGroup, CreateUser, CreatedUser, Device, DeviceState, Group, SetTeamRole, SetUpCode, UpdateDevice,
    UpdateUser, User, UserStatus,
};
pub use endpoint::{ENDPOINTS, Endpoint, Guard};
pub use fleet::{
    AdminSudo, AuditEvent, AuditOrder, AuditPage, AuditQuery, CertificateType, CreateProject, CreateToken,
    CreatedToken, EnrollmentToken, Page, PortForwarding, Project, ProjectGroup, Server, ServerRole,
    ServerState, SetProjectGroup, UpdateProject, UpdateServer,
};
pub use keys::{Key, KeyCustody, KeyKind, KeyState, RetireKeys, RotateKey};
pub use locks::{Lock, LockKind, SetLock};
pub use passkeys::{Passkey, SecondFactorReset, UpdatePasskey};
pub use policies::{Policy, PolicySchema, SetPolicy};
pub use policy_test::{
    PolicyChange, PolicyCircumstances, PolicyDiff, PolicyDiffResult, PolicyDiffUser, PolicyDifference,
    PolicyReach, PolicyTest, PolicyTestCase, PolicyTestDecision, PolicyTestResult, PolicyTestSignIn,
    ProposedRoles,
};
pub use scim::{CreateScimToken, CreatedScimToken, ScimToken};
pub use service::{
    ApiKey, CreateApiKey, CreateServiceUser, CreateTrust, CreatedApiKey, ExchangeGrantType, RotateApiKey,
    SubjectTokenType, TokenExchange, TokenGrant, Trust,
};
