//! Turns a grant and routes into certificates and the answer that carries them.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use usher_api::v1::{Address, Connection, Leg, Route};
use usher_audit::{CertificateKind, Event, IssuedCertificate, Serial, SessionPurpose};
use usher_ca::{Certificate, SourceAddresses, SubjectKey};
use usher_identity::ApprovedUser;
use usher_policy::{Grant, LegGrant, Purpose};
use usher_store::{
    connections::{CertificateRow, NewConnection},
    servers::Server,
};
use usher_types::{HOP_LOGIN, Principal, Sha256, UnixTime};

use super::{Asked, Planned, audit_record, failed, issuance::Issued, record, routes::Bastions};
use crate::{AppState, error::ApiError, hot::Place, random, request::RequestInfo, x509};

/// Signs every leg of every route and makes the item that waits for its row.
pub(super) async fn sign(
    app: &AppState,
    planned: Planned,
    user: ApprovedUser,
    asked: &Asked,
    info: &RequestInfo,
) -> Result<Issued, ApiError> {
    let Planned { epoch, grant, target, routes } = planned;
    let server = &target.server;
    let signing = Signing { grant: &grant, keys: &asked.keys, now: info.now };
    let mut certificates = Vec::new();
    let mut answers = Vec::with_capacity(routes.len());
    for bastions in &routes {
        match signing.route(bastions, &target, &mut certificates).await {
            Ok(route) => answers.push(route),
            Err(error) => {
                let failed = failed(info, &user, grant.connection_id(), server.id, "not_signed");
                record(app, &failed).await?;
                return Err(error);
            }
        }
    }
    let shown = match &asked.x509 {
        Some(subject) => Some(x509::client(app, &grant, server, subject, info).await?),
        None => None,
    };
    let capabilities = grant.capabilities().clone();
    let answer = Connection {
        id: grant.connection_id(),
        server_id: server.id,
        server_name: server.name.to_string(),
        login: capabilities.login.clone(),
        valid_before: grant.window().valid_before(),
        routes: answers,
        client_certificate: shown.as_ref().map(x509::Signed::answer),
    };
    let mut issued: Vec<_> = certificates.iter().map(Written::ssh).collect();
    let principal = Principal::login(&capabilities.login, server.id);
    issued.extend(shown.iter().map(|certificate| Written::x509(certificate, principal.clone())));
    let event = Event::ConnectionIssue {
        connection_id: answer.id,
        project_id: capabilities.project_id,
        server_id: server.id,
        login: capabilities.login.clone(),
        server_admin: capabilities.server_admin,
        purpose: match asked.access.purpose {
            Purpose::Command => SessionPurpose::Command,
            Purpose::Interactive => SessionPurpose::Interactive,
        },
        valid_before: answer.valid_before,
        certificates: issued.iter().map(Written::audited).collect::<Result<_, _>>()?,
    };
    let row = NewConnection {
        id: answer.id,
        project_id: capabilities.project_id,
        server_id: server.id,
        user_id: user.user().user_id(),
        device_id: user.user().device_id(),
        session_id: user.user().session_id(),
        login: capabilities.login.clone(),
        purpose: asked.access.purpose,
        client_address: info.client_address,
        certificates: issued.into_iter().map(Written::remembered).collect(),
        created_at: info.now,
        expires_at: answer.valid_before,
        request: asked.request.clone(),
        answer: serde_json::to_string(&answer).map_err(ApiError::internal)?,
    };
    Ok(Issued {
        epoch,
        record: audit_record(info, &user, event),
        user,
        access: asked.access.clone(),
        server_name: asked.server.clone(),
        info: info.clone(),
        capabilities,
        on_the_way: routes.into_iter().flatten().chain([Arc::clone(&target)]).collect(),
        x509: shown.map(|certificate| certificate.authority()),
        row,
        refused: None,
    })
}

/// What is written down of a certificate, of either kind.
struct Written {
    principal: Principal,
    serial: usher_ca::Serial,
    sha256: Sha256,
    key: Sha256,
    kind: CertificateKind,
}

impl Written {
    fn ssh((certificate, key): &(Certificate, Sha256)) -> Self {
        Self {
            principal: certificate.principal().clone(),
            serial: certificate.serial(),
            sha256: certificate.sha256(),
            key: *key,
            kind: CertificateKind::Ssh,
        }
    }

    fn x509(certificate: &x509::Signed, principal: Principal) -> Self {
        Self {
            principal,
            serial: certificate.serial(),
            sha256: certificate.sha256(),
            key: certificate.authority(),
            kind: CertificateKind::X509,
        }
    }

    fn audited(&self) -> Result<IssuedCertificate, ApiError> {
        let serial = Serial::new(self.serial.get());
        Ok(IssuedCertificate {
            serial: serial.ok_or_else(|| ApiError::internal("a certificate without a serial"))?,
            sha256: self.sha256,
            principal: self.principal.clone(),
            key: Some(self.key),
            kind: self.kind,
        })
    }

    fn remembered(self) -> CertificateRow {
        CertificateRow {
            principal: self.principal,
            serial: self.serial.get(),
            sha256: self.sha256,
            x509: self.kind == CertificateKind::X509,
        }
    }
}

/// What all legs of a connection have in common.
struct Signing<'a> {
    grant: &'a Grant,
    keys: &'a [SubjectKey],
    now: UnixTime,
}

impl Signing<'_> {
    async fn route(
        &self,
        bastions: &Bastions,
        target: &Place,
        certificates: &mut Vec<(Certificate, Sha256)>,
    ) -> Result<Route, ApiError> {
        let mut legs = Vec::with_capacity(bastions.len().saturating_add(1));
        let behind = bastions.iter().skip(1).map(Arc::as_ref).chain([target]);
        for (index, (bastion, next)) in bastions.iter().zip(behind).enumerate() {
            // The first key is the target's.
            let key = index.saturating_add(1);
            let certificate =
                self.certificate(self.grant.hop(bastion.server.id, next.server.id), bastion, key).await?;
            legs.push(leg(&bastion.server, HOP_LOGIN, key, &certificate.0, index > 0));
            certificates.push(certificate);
        }
        let source = match bastions.last() {
            Some(last) => only_from(&last.server)?,
            None => SourceAddresses::any(),
        };
        let certificate = self.certificate(self.grant.target(source), target, 0).await?;
        let login = self.grant.capabilities().login.as_str();
        legs.push(leg(&target.server, login, 0, &certificate.0, !bastions.is_empty()));
        certificates.push(certificate);
        Ok(Route { legs })
    }

    /// Signed by the CA of the project that the server belongs to: its sshd trusts no other. With that CA's fingerprint.
    async fn certificate(
        &self,
        grant: LegGrant,
        place: &Place,
        key: usize,
    ) -> Result<(Certificate, Sha256), ApiError> {
        let key = self.keys.get(key).ok_or_else(|| ApiError::internal("fewer keys than legs"))?;
        let (authority, fingerprint) = place.authorities.of(&place.server)?;
        let certificate = usher_ca::issue(authority, grant, key, self.now, &mut random::rng()).await?;
        Ok((certificate, fingerprint))
    }
}

/// Where the target sees connections through `bastion` come from.
fn only_from(bastion: &Server) -> Result<SourceAddresses, ApiError> {
    let addresses: Vec<IpAddr> = bastion.facts.addresses.iter().map(SocketAddr::ip).collect();
    SourceAddresses::hosts(&addresses).map_err(ApiError::internal)
}

fn leg(server: &Server, account: &str, key: usize, certificate: &Certificate, behind_bastion: bool) -> Leg {
    let addresses =
        if behind_bastion { server.facts.behind_bastions() } else { server.facts.addresses.clone() };
    Leg {
        server_id: server.id,
        name: server.name.to_string(),
        account: account.to_owned(),
        addresses: addresses
            .iter()
            .map(|address| Address { ip: address.ip(), port: address.port() })
            .collect(),
        host_keys: server.facts.host_keys.clone(),
        key,
        certificate: certificate.to_openssh(),
    }
}
