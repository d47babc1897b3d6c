//! The proof of an allow, and what it lets be signed.

use std::{net::IpAddr, time::Duration};

use usher_ca::{
    Authorization, SourceAddresses,
    x509::{ClientAuthorization, ClientIdentity, UserPrincipalName},
};
use usher_types::{
    ConnectionId, DeviceId, KeyId, LoginName, Principal, ProjectId, ServerId, TeamSlug, UserId,
    ValidityWindow,
};

/// What a grant permits, without the moment it was made: to compare two decisions about the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The server's project.
    pub project_id: ProjectId,
    /// The server.
    pub server_id: ServerId,
    /// The account.
    pub login: LoginName,
    /// Whether the account may use sudo there.
    pub server_admin: bool,
    /// Whether a terminal may be asked for.
    pub permit_pty: bool,
    /// Whether ports may be forwarded on the target.
    pub permit_port_forwarding: bool,
    /// How far certificates reach into the future.
    pub certificate_lifetime: Duration,
    /// How far they reach into the past.
    pub clock_skew: Duration,
}

/// Proof that one user may now connect to one server: the only way to a certificate.
///
/// Made by [`crate::authorize`] alone, not cloneable. One connection needs a certificate per leg: [`Grant::target`]
/// for the server and [`Grant::hop`] for each bastion on the way. Each leg is good for the one server that its principal
/// names, and is signed by the CA of that server's project, which no server of another project trusts.
///
/// ```compile_fail,E0451
/// use usher_policy::{Capabilities, Grant};
/// fn forge(capabilities: Capabilities, grant: Grant) -> Grant {
///     Grant { capabilities, ..grant }
/// }
/// ```
///
/// ```compile_fail,E0599
/// fn twice(grant: usher_policy::Grant) -> [usher_policy::Grant; 2] {
///     [grant.clone(), grant]
/// }
/// ```
///
/// ```compile_fail,E0616
/// fn widen(grant: &mut usher_policy::Grant) {
///     grant.capabilities.permit_pty = true;
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct Grant {
    pub(crate) capabilities: Capabilities,
    pub(crate) user_id: UserId,
    pub(crate) device_id: DeviceId,
    pub(crate) connection_id: ConnectionId,
    pub(crate) key_id: KeyId,
    pub(crate) window: ValidityWindow,
    pub(crate) client_address: Option<IpAddr>,
}

impl Grant {
    /// What it permits; compare with `==` after deciding again.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Names the connection.
    #[must_use]
    pub fn connection_id(&self) -> ConnectionId {
        self.connection_id
    }

    /// Who.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.user_id
    }

    /// From which device.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        self.device_id
    }

    /// When its certificates are valid.
    #[must_use]
    pub fn window(&self) -> ValidityWindow {
        self.window
    }

    /// What the target's certificate may say. `source` is where the target sees the connection come from: the
    /// addresses of the last bastion, or [`SourceAddresses::any`] without one.
    pub fn target(&self, source: SourceAddresses) -> LegGrant {
        let Capabilities { login, server_id, permit_pty, permit_port_forwarding, .. } = &self.capabilities;
        self.leg(Principal::login(login, *server_id), *permit_pty, *permit_port_forwarding, source)
    }

    /// What the certificate for the hop account of `bastion` may say: forward to `next`, and nothing else. `next` is
    /// the next bastion of a chain, or the target. Never a terminal, whatever the target's certificate has.
    pub fn hop(&self, bastion: ServerId, next: ServerId) -> LegGrant {
        self.leg(Principal::hop(bastion, next), false, true, SourceAddresses::any())
    }

    /// What the target's listener may be shown instead: an X.509 certificate for the same user, server and time. With
    /// `smart_card`, which the directory says, it also logs in to that account of a domain.
    pub fn client(&self, team: TeamSlug, smart_card: Option<UserPrincipalName>) -> ClientGrant {
        ClientGrant {
            identity: ClientIdentity {
                team,
                project_id: self.capabilities.project_id,
                user_id: self.user_id,
                device_id: self.device_id,
                server_id: self.capabilities.server_id,
                connection_id: self.connection_id,
            },
            window: self.window,
            smart_card,
        }
    }

    fn leg(
        &self,
        principal: Principal,
        permit_pty: bool,
        permit_port_forwarding: bool,
        source: SourceAddresses,
    ) -> LegGrant {
        LegGrant {
            principal,
            key_id: self.key_id.clone(),
            window: self.window,
            permit_pty,
            permit_port_forwarding,
            source,
            user_id: self.user_id,
            device_id: self.device_id,
            client_address: self.client_address,
        }
    }
}

/// Proof that one certificate may be signed. Made from a [`Grant`] alone, not cloneable, used up by signing.
///
/// ```compile_fail,E0451
/// use usher_policy::LegGrant;
/// use usher_types::Principal;
/// fn forge(principal: Principal, leg: LegGrant) -> LegGrant {
///     LegGrant { principal, ..leg }
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct LegGrant {
    principal: Principal,
    key_id: KeyId,
    window: ValidityWindow,
    permit_pty: bool,
    permit_port_forwarding: bool,
    source: SourceAddresses,
    user_id: UserId,
    device_id: DeviceId,
    client_address: Option<IpAddr>,
}

impl Authorization for LegGrant {
    fn principal(&self) -> Principal {
        self.principal.clone()
    }

    fn key_id(&self) -> KeyId {
        self.key_id.clone()
    }

    fn window(&self) -> ValidityWindow {
        self.window
    }

    fn permit_pty(&self) -> bool {
        self.permit_pty
    }

    fn permit_port_forwarding(&self) -> bool {
        self.permit_port_forwarding
    }

    fn source_addresses(&self) -> SourceAddresses {
        self.source.clone()
    }

    fn user_id(&self) -> UserId {
        self.user_id
    }

    fn device_id(&self) -> DeviceId {
        self.device_id
    }

    fn client_address(&self) -> Option<IpAddr> {
        self.client_address
    }
}

/// Proof that one X.509 client certificate may be signed. Made from a [`Grant`] alone, not cloneable, used up by signing.
///
/// ```compile_fail,E0451
/// use usher_policy::ClientGrant;
/// fn forge(grant: ClientGrant) -> ClientGrant {
///     ClientGrant { smart_card: None, ..grant }
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct ClientGrant {
    identity: ClientIdentity,
    window: ValidityWindow,
    smart_card: Option<UserPrincipalName>,
}

impl ClientAuthorization for ClientGrant {
    fn identity(&self) -> ClientIdentity {
        self.identity.clone()
    }

    fn window(&self) -> ValidityWindow {
        self.window
    }

    fn smart_card(&self) -> Option<UserPrincipalName> {
        self.smart_card.clone()
    }
}
