//! The vocabulary: everything that the audit log can say. Add variants, and fields that may be absent at the end of one;
//! never change what is there. Events that change something carry what was there before in `before`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};
use usher_types::{
    ConnectionId, ConnectorId, ConnectorName, DeviceId, DeviceName, DisplayName, GroupId, GroupName,
    HostName, Label, LockReason, LoginName, PasskeyId, PolicyName, ProjectId, ProjectSlug, SealKeyId,
    ServerId, SessionId, Sha256, TeamRole, TeamSlug, Thumbprint, TokenId, TrustId, UnixTime, UserId,
    UserName,
};

use crate::{
    Code, ConnectorProperties, Day, ForwardingRule, Head, IssuedCertificate, KeyCount, KeyId, KeyPlace,
    Network, ProjectSettings, ReplacedKey, Reported, Restriction, Role, RoleConditions, RoleInProject,
    Serial, ServerPlace, ServiceCredential, SessionPurpose, SessionRules, UserProperties,
    WantedAuthentication, text::as_text,
};

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $kind:literal { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {
        /// Something that happened. In JSON `type` names it, and the other members are its fields.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "type", deny_unknown_fields)]
        pub enum Event {
            $($(#[$doc])* #[serde(rename = $kind)] $name { $($(#[$field_meta])* $field: $type,)* },)*
        }

        impl Event {
            /// Every kind of event.
            pub const KINDS: &'static [&'static str] = &[$($kind,)*];

            /// The event's `type`.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$name { .. } => $kind,)* }
            }
        }
    };
}

events! {
    /// An API key of a service user was made.
    ApiKeyCreate = "api_key.create" {
        /// The key.
        token_id: TokenId,
        /// The service user.
        user_id: UserId,
        /// What it is called.
        description: Label,
        /// When it ends.
        expires_at: UnixTime,
        /// From where it may be used, when not from everywhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cidr: Option<Restriction>,
        /// The key whose place it takes, and when that one ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<ReplacedKey>,
    }
    /// An API key was revoked; the sessions that began by it ended.
    ApiKeyRevoke = "api_key.revoke" {
        /// The key.
        token_id: TokenId,
        /// The service user.
        user_id: UserId,
    }
    /// A CA key was made for a project.
    CaKeyCreate = "ca_key.create" {
        /// The project.
        project_id: ProjectId,
        /// SHA-256 of the public key in SSH wire format.
        key: Sha256,
    }
    /// A key that signs checkpoints was made; checkpoints after this row may be signed by it.
    CheckpointKeyAnnounce = "checkpoint_key.announce" {
        /// RFC 7638 thumbprint of the key.
        key: Thumbprint,
    }
    /// Access was denied to a user who is known.
    ConnectionDeny = "connection.deny" {
        /// Names the attempt.
        connection_id: ConnectionId,
        /// The server; none when the request named none that exists.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server_id: Option<ServerId>,
        /// The account that was asked for, when one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        login: Option<LoginName>,
        /// Every reason.
        reasons: Vec<Code>,
    }
    /// Access was allowed but no certificate could be made.
    ConnectionFail = "connection.fail" {
        /// Names the attempt.
        connection_id: ConnectionId,
        /// The server.
        server_id: ServerId,
        /// What failed.
        reason: Code,
    }
    /// Certificates were made for one connection.
    ConnectionIssue = "connection.issue" {
        /// Names the connection.
        connection_id: ConnectionId,
        /// The project of the target.
        project_id: ProjectId,
        /// The target.
        server_id: ServerId,
        /// The account.
        login: LoginName,
        /// Whether the account may use sudo there.
        server_admin: bool,
        /// What it was for.
        purpose: SessionPurpose,
        /// When the certificates end.
        valid_before: UnixTime,
        /// One for each leg of each route.
        certificates: Vec<IssuedCertificate>,
    }
    /// An identity provider was connected.
    ConnectorCreate = "connector.create" {
        /// The connector.
        connector_id: ConnectorId,
        /// Its name.
        connector_name: ConnectorName,
        /// What was set.
        settings: ConnectorProperties,
    }
    /// A connector was deleted.
    ConnectorDelete = "connector.delete" {
        /// The connector.
        connector_id: ConnectorId,
        /// Its name.
        connector_name: ConnectorName,
    }
    /// A connector was changed.
    ConnectorUpdate = "connector.update" {
        /// The connector.
        connector_id: ConnectorId,
        /// How it is now.
        settings: ConnectorProperties,
        /// How it was.
        before: ConnectorProperties,
        /// Whether the broker's secret there was replaced.
        secret_changed: bool,
    }
    /// A device may be used from now on.
    DeviceApprove = "device.approve" {
        /// The device.
        device_id: DeviceId,
        /// Its owner.
        user_id: UserId,
        /// Whether the bootstrap rule approved it instead of a person.
        automatic: bool,
    }
    /// A revoked device's row was deleted.
    DeviceDelete = "device.delete" {
        /// The device.
        device_id: DeviceId,
        /// Its owner.
        user_id: UserId,
    }
    /// A key signed in for the first time.
    DeviceRegister = "device.register" {
        /// The device.
        device_id: DeviceId,
        /// Its owner.
        user_id: UserId,
        /// What the owner calls it.
        device_name: DeviceName,
        /// RFC 7638 thumbprint of its key.
        jkt: Thumbprint,
    }
    /// A device is called something else.
    DeviceRename = "device.rename" {
        /// The device.
        device_id: DeviceId,
        /// Its owner.
        user_id: UserId,
        /// What it is called now.
        device_name: DeviceName,
        /// What it was called.
        before: DeviceName,
    }
    /// A device was taken out of use.
    DeviceRevoke = "device.revoke" {
        /// The device.
        device_id: DeviceId,
        /// Its owner.
        user_id: UserId,
    }
    /// Unauthenticated failures, counted outside the chain and written down now and then.
    FailureCount = "failure.count" {
        /// What failed.
        kind: Code,
        /// How often.
        count: u64,
        /// From when.
        since: UnixTime,
        /// Until when.
        until: UnixTime,
        /// Some of the addresses it came from.
        addresses: Vec<IpAddr>,
    }
    /// A user joined a group.
    GroupAddMember = "group.add_member" {
        /// The group.
        group_id: GroupId,
        /// The user.
        user_id: UserId,
    }
    /// A group was made.
    GroupCreate = "group.create" {
        /// The group.
        group_id: GroupId,
        /// Its name.
        group_name: GroupName,
        /// The connector whose directory it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        connector_id: Option<ConnectorId>,
    }
    /// A group was deleted.
    GroupDelete = "group.delete" {
        /// The group.
        group_id: GroupId,
        /// Its name.
        group_name: GroupName,
    }
    /// A user left a group.
    GroupRemoveMember = "group.remove_member" {
        /// The group.
        group_id: GroupId,
        /// The user.
        user_id: UserId,
    }
    /// An identity provider said something else about its group. Its name here and its roles stay.
    GroupProvision = "group.provision" {
        /// The group.
        group_id: GroupId,
        /// What the provider calls it now.
        display_name: Reported,
        /// What it called it before; none of a new one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Reported>,
    }
    /// A key was made in outside custody and is not used; it is still there.
    KeyAbandon = "key.abandon" {
        /// What it was to be called.
        key: KeyId,
        /// Where it is.
        place: KeyPlace,
    }
    /// A key was put beside those of its kind; it signs for whoever knows it.
    KeyCreate = "key.create" {
        /// What it is for.
        purpose: Code,
        /// Whose, when it is a project's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project_id: Option<ProjectId>,
        /// Names the key, as the API's `fingerprint` does.
        key: Sha256,
        /// Where it lives.
        custody: Code,
    }
    /// A key is not trusted any more.
    KeyRetire = "key.retire" {
        /// What it was for.
        purpose: Code,
        /// Whose, when it was a project's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project_id: Option<ProjectId>,
        /// Names the key.
        key: Sha256,
        /// Servers that do not know the key that takes its place.
        left_behind: Vec<ServerId>,
    }
    /// A signature that a key's keeper made, and that no row of the log accounts for.
    KeySignatureUnknown = "key.signature_unknown" {
        /// The key.
        key: KeyId,
        /// When, by the keeper's clock.
        at: UnixTime,
        /// What the keeper calls the request.
        request: Reported,
        /// Who asked for it.
        caller: Reported,
        /// From where.
        address: Reported,
    }
    /// How many signatures this writer's process asked outside custody for, whatever became of them.
    KeySignatures = "key.signatures" {
        /// From when; until the row's own time.
        since: UnixTime,
        /// Each key that was asked.
        counts: Vec<KeyCount>,
    }
    /// The signatures that a key's keeper counted are not those that the log knows of.
    KeySignaturesMismatch = "key.signatures_mismatch" {
        /// The key.
        key: KeyId,
        /// On which day.
        day: Day,
        /// What the keeper counted.
        keeper: u64,
        /// The least that the brokers know of: answers of `key.signatures` on that day alone.
        least: u64,
        /// The most: requests of `key.signatures` that touch that day.
        most: u64,
        /// Certificates in the log.
        certificates: u64,
    }
    /// Keepers' counts of signatures were compared with the log.
    KeySignaturesReconcile = "key.signatures_reconcile" {
        /// The first day.
        since: Day,
        /// The last day.
        until: Day,
        /// How many keys and days were compared.
        compared: u32,
        /// How many of them did not agree.
        mismatches: u32,
    }
    /// Something was locked: access to it or by it is denied.
    LockCreate = "lock.create" {
        /// What kind of thing: `user`, `device`, `server`, `project`.
        kind: Code,
        /// Its id.
        target: Label,
        /// Why.
        reason: LockReason,
    }
    /// A lock was lifted.
    LockDelete = "lock.delete" {
        /// What kind of thing was locked.
        kind: Code,
        /// Its id.
        target: Label,
    }
    /// A process began to write: always the first row of its chain.
    LogStart = "log.start" {
        /// The last row of the log that it saw; ties the chains together.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Head>,
        /// SHA-256 of the last checkpoint's bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Sha256>,
    }
    /// A user signed in at a browser to change what it signs in with.
    PageSessionOpen = "page_session.open" {
        /// Who.
        user_id: UserId,
        /// How: `amr` values.
        amr: Vec<Code>,
    }
    /// A user has one more passkey.
    PasskeyRegister = "passkey.register" {
        /// The passkey.
        passkey_id: PasskeyId,
        /// Its owner.
        user_id: UserId,
        /// What the owner calls it.
        passkey_name: DisplayName,
    }
    /// A passkey is worth nothing from now on.
    PasskeyRemove = "passkey.remove" {
        /// The passkey.
        passkey_id: PasskeyId,
        /// Its owner.
        user_id: UserId,
        /// What the owner called it.
        passkey_name: DisplayName,
    }
    /// A passkey got another name.
    PasskeyRename = "passkey.rename" {
        /// The passkey.
        passkey_id: PasskeyId,
        /// Its owner.
        user_id: UserId,
        /// What the owner calls it now.
        passkey_name: DisplayName,
        /// What the owner called it before.
        before: DisplayName,
    }
    /// A policy was removed.
    PolicyRemove = "policy.remove" {
        /// Its name.
        policy: PolicyName,
        /// SHA-256 of its text.
        before: Sha256,
    }
    /// A policy was set.
    PolicySet = "policy.set" {
        /// Its name.
        policy: PolicyName,
        /// The project whose servers it is about; every server of the team when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project_id: Option<ProjectId>,
        /// SHA-256 of its text.
        text: Sha256,
        /// SHA-256 of the text that it had; absent when it is new.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Sha256>,
    }
    /// A project was made.
    ProjectCreate = "project.create" {
        /// The project.
        project_id: ProjectId,
        /// Its name.
        project: ProjectSlug,
    }
    /// A project was deleted.
    ProjectDelete = "project.delete" {
        /// The project.
        project_id: ProjectId,
        /// Its name.
        project: ProjectSlug,
    }
    /// A group lost its role in a project.
    ProjectGroupRemove = "project_group.remove" {
        /// The project.
        project_id: ProjectId,
        /// The group.
        group_id: GroupId,
    }
    /// A group got a role in a project.
    ProjectGroupSet = "project_group.set" {
        /// The project.
        project_id: ProjectId,
        /// The group.
        group_id: GroupId,
        /// Members may log in.
        server_access: bool,
        /// Members may use sudo.
        server_admin: bool,
        /// What they might do before; absent when the group had no role.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<RoleInProject>,
        /// When the role counts.
        #[serde(default, skip_serializing_if = "RoleConditions::is_empty")]
        conditions: RoleConditions,
    }
    /// Other networks than before may hold addresses of a project's servers.
    ProjectNetworks = "project.networks" {
        /// The project.
        project_id: ProjectId,
        /// The networks; all of them when there is none.
        networks: Vec<Network>,
    }
    /// A project's settings were changed; absent fields stayed.
    ProjectUpdate = "project.update" {
        /// The project.
        project_id: ProjectId,
        /// New lifetime.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate_lifetime_seconds: Option<u32>,
        /// New skew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clock_skew_seconds: Option<u32>,
        /// New forwarding rule.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port_forwarding: Option<ForwardingRule>,
        /// New sudo rule.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        admin_sudo: Option<Code>,
        /// What everybody who connects is asked for from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        authentication: Option<WantedAuthentication>,
        /// The settings that were changed, as they were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<ProjectSettings>,
    }
    /// A user signed in with a recovery code.
    RecoveryCodeUse = "recovery_code.use" {
        /// The user.
        user_id: UserId,
        /// How many codes are left.
        left: u32,
    }
    /// A user has new recovery codes, and those it had are worth nothing.
    RecoveryCodesRenew = "recovery_codes.renew" {
        /// The user.
        user_id: UserId,
    }
    /// Every stored secret was sealed with another key.
    SealKeyChange = "seal_key.change" {
        /// The key that sealed them before.
        #[serde(with = "as_text")]
        before: SealKeyId,
        /// The key that seals them now.
        #[serde(with = "as_text")]
        after: SealKeyId,
        /// How many secrets.
        secrets: u32,
    }
    /// A server's addresses changed, or it reported some that it does not get.
    ServerAddresses = "server.addresses" {
        /// The server.
        server_id: ServerId,
        /// What it had.
        before: Vec<SocketAddr>,
        /// What it has.
        after: Vec<SocketAddr>,
        /// What it reported and did not get.
        refused: Vec<SocketAddr>,
    }
    /// A server was removed.
    ServerDelete = "server.delete" {
        /// The server.
        server_id: ServerId,
        /// Its name.
        server_name: HostName,
        /// Its project.
        project_id: ProjectId,
    }
    /// A token for an identity provider was made.
    ScimTokenCreate = "scim_token.create" {
        /// The token.
        token_id: TokenId,
        /// The connector for which it speaks.
        connector_id: ConnectorId,
        /// What it is called.
        description: Label,
        /// When it ends.
        expires_at: UnixTime,
        /// From where it may be used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cidr: Option<Restriction>,
    }
    /// A token for an identity provider was revoked.
    ScimTokenRevoke = "scim_token.revoke" {
        /// The token.
        token_id: TokenId,
    }
    /// A server joined.
    ServerEnroll = "server.enroll" {
        /// The server.
        server_id: ServerId,
        /// The name it got.
        server_name: HostName,
        /// Its project.
        project_id: ProjectId,
        /// The token it used.
        token_id: TokenId,
        /// RFC 7638 thumbprint of its agent's key.
        agent_key: Thumbprint,
        /// What it is for.
        role: Role,
        /// The bastion group it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bastion_group: Option<Label>,
        /// The bastion group it is reached through.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        via: Option<Label>,
        /// Its labels.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<Label, Label>,
    }
    /// A token that exists was refused.
    ServerEnrollRefuse = "server.enroll_refuse" {
        /// The token.
        token_id: TokenId,
        /// The name that was claimed.
        server_name: HostName,
        /// Why.
        reason: Code,
    }
    /// A certificate for the listener of a server's agent was signed.
    ServerCertificate = "server.certificate" {
        /// The server.
        server_id: ServerId,
        /// Its project, whose authority signed.
        project_id: ProjectId,
        /// The certificate's serial.
        serial: Serial,
        /// SHA-256 of the certificate's bytes.
        sha256: Sha256,
        /// The CA key that signed it, as `key.create` names it.
        key: Sha256,
        /// When it ends.
        valid_before: UnixTime,
    }
    /// A server's host keys became others: rebuilt, or somebody in between.
    ServerHostKeys = "server.host_keys" {
        /// The server.
        server_id: ServerId,
        /// SHA-256 of each public key in SSH wire format.
        host_keys: Vec<Sha256>,
    }
    /// Another port of a server's sshd was accepted.
    ServerPort = "server.port" {
        /// The server.
        server_id: ServerId,
        /// The port.
        port: u16,
    }
    /// A server's place among the routes was changed.
    ServerUpdate = "server.update" {
        /// The server.
        server_id: ServerId,
        /// What it is for now.
        role: Role,
        /// The bastion group it belongs to now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bastion_group: Option<Label>,
        /// The bastion group it is reached through now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        via: Option<Label>,
        /// Its place before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<ServerPlace>,
    }
    /// A service user was made.
    ServiceUserCreate = "service_user.create" {
        /// The user.
        user_id: UserId,
        /// Its name.
        user_name: UserName,
        /// Its Unix account's name.
        unix_user_name: LoginName,
    }
    /// A service user's credential became a session; its `session.open` follows.
    SessionExchange = "session.exchange" {
        /// The session.
        session_id: SessionId,
        /// The service user.
        user_id: UserId,
        /// By what.
        credential: ServiceCredential,
    }
    /// A session was ended before its time.
    SessionClose = "session.close" {
        /// The session.
        session_id: SessionId,
        /// Whose it was.
        user_id: UserId,
        /// Why.
        reason: Code,
    }
    /// A user signed in.
    SessionOpen = "session.open" {
        /// The session.
        session_id: SessionId,
        /// Who.
        user_id: UserId,
        /// On which device.
        device_id: DeviceId,
        /// How: `amr` values.
        amr: Vec<Code>,
        /// The servers that the sign-in was for; empty when it was for none in particular.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        servers: Vec<ServerId>,
    }
    /// A sign-in of a user that exists failed.
    SignInFail = "sign_in.fail" {
        /// Who it would have been.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_id: Option<UserId>,
        /// Why.
        reason: Code,
        /// How often since the last such row.
        count: u32,
    }
    /// A key that signs desired state was made.
    StateKeyCreate = "state_key.create" {
        /// RFC 7638 thumbprint of the key.
        key: Thumbprint,
    }
    /// The team was made.
    TeamCreate = "team.create" {
        /// Its name.
        team: TeamSlug,
        /// SHA-256 of the SPKI of its TLS root.
        pin: Sha256,
    }
    /// The team asks something else of its sessions, those that there are among them.
    TeamUpdate = "team.update" {
        /// What it asks now.
        sessions: SessionRules,
        /// What it asked before.
        before: SessionRules,
    }
    /// An enrollment token was made.
    TokenCreate = "token.create" {
        /// The token.
        token_id: TokenId,
        /// The project that servers join.
        project_id: ProjectId,
        /// What it is called.
        description: Label,
        /// Role of the servers it makes.
        role: Role,
        /// Bastion group of the servers it makes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bastion_group: Option<Label>,
        /// Bastion group they are reached through.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        via: Option<Label>,
        /// How many servers it may make.
        max_uses: u32,
        /// When it ends.
        expires_at: UnixTime,
        /// Labels of the servers it makes.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<Label, Label>,
        /// Names it may be used for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name_pattern: Option<Restriction>,
        /// Network it may be used from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cidr: Option<Restriction>,
    }
    /// An enrollment token was revoked.
    TokenRevoke = "token.revoke" {
        /// The token.
        token_id: TokenId,
    }
    /// A group's members got another role in the team.
    GroupTeamRole = "group.team_role" {
        /// The group.
        group_id: GroupId,
        /// Its name.
        group_name: GroupName,
        /// The role; `member` is none.
        team_role: TeamRole,
        /// The role before.
        before: TeamRole,
    }
    /// A user of an identity provider registered an authenticator as second factor.
    UserAuthenticator = "user.authenticator" {
        /// The user.
        user_id: UserId,
    }
    /// Identity tokens of a workload are let in as a service user.
    TrustCreate = "trust.create" {
        /// The trust.
        trust_id: TrustId,
        /// The service user.
        user_id: UserId,
        /// Who says so.
        issuer: Reported,
        /// For whom the tokens are made.
        audience: Reported,
        /// What they must say.
        claims: BTreeMap<Reported, Reported>,
    }
    /// They are let in no longer; the sessions that began by them ended.
    TrustDelete = "trust.delete" {
        /// The trust.
        trust_id: TrustId,
        /// The service user.
        user_id: UserId,
    }
    /// A user was made.
    UserCreate = "user.create" {
        /// The user.
        user_id: UserId,
        /// Its name in the directory.
        user_name: UserName,
        /// Its Unix account's name.
        unix_user_name: LoginName,
        /// Its own role in the team.
        team_role: TeamRole,
        /// The connector whose directory it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        connector_id: Option<ConnectorId>,
    }
    /// A user was deleted.
    UserDelete = "user.delete" {
        /// The user.
        user_id: UserId,
        /// Its name in the directory.
        user_name: UserName,
    }
    /// A user got its external id at an identity provider, for ever.
    UserBind = "user.bind" {
        /// The user.
        user_id: UserId,
        /// The connector.
        connector_id: ConnectorId,
        /// SHA-256 of the external id: it names a person elsewhere.
        external_id: Sha256,
    }
    /// An identity provider said something else about its user.
    UserProvision = "user.provision" {
        /// The user.
        user_id: UserId,
        /// What the provider calls it now.
        user_name: Reported,
        /// SHA-256 of all that the provider says, as it is stored.
        attributes: Sha256,
        /// What it was before; none of a new one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Sha256>,
    }
    /// A user may do nothing from now on.
    UserDisable = "user.disable" {
        /// The user.
        user_id: UserId,
    }
    /// A user may sign in again.
    UserEnable = "user.enable" {
        /// The user.
        user_id: UserId,
    }
    /// A user chose another password.
    UserPassword = "user.password" {
        /// The user.
        user_id: UserId,
    }
    /// A user's second factors were taken away: authenticator, passkeys and recovery codes.
    UserSecondFactorReset = "user.second_factor_reset" {
        /// The user.
        user_id: UserId,
    }
    /// A user set its password and second factor.
    UserSetUp = "user.set_up" {
        /// The user.
        user_id: UserId,
    }
    /// A one-time set-up code was made for a user.
    UserSetUpCode = "user.set_up_code" {
        /// The user.
        user_id: UserId,
        /// When the code ends.
        expires_at: UnixTime,
    }
    /// A user's properties were changed; absent fields stayed.
    UserUpdate = "user.update" {
        /// The user.
        user_id: UserId,
        /// New display name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        display_name: Option<DisplayName>,
        /// New role of its own in the team.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        team_role: Option<TeamRole>,
        /// The properties that were changed, as they were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<UserProperties>,
    }
}
