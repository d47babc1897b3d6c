//! A project's X.509 authority at work: certificates for people on the way to a listener, and for the listeners of agents.
//! What they say is the grants' business; nothing here decides who gets one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, extract::State, routing::post};
use usher_api::{
    ErrorCode,
    v1::{AgentCertificate, AgentCertificateRequest, ClientCertificate},
};
use usher_audit::{Actor, Event, Record, Serial};
use usher_ca::x509::{self, CaCertificate, CaCertificateError, Certificate, ProvenKey};
use usher_enrollment::EnrolledAgent;
use usher_keystore::SigningKey;
use usher_policy::Grant;
use usher_store::{
    Conn, KeyPurpose, StoreError, keys as stored,
    servers::{self, Server},
};
use usher_types::Sha256;

use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::AgentCaller,
    keys::{active, fingerprint, open, signing_for},
    random,
    request::RequestInfo,
};

/// The routes of this module; the guard of each comes from `usher_api::v1::ENDPOINTS`.
pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/v1/agent/certificate", post(agent_certificate))
}

/// The key that a certificate is asked for, which the request must be signed with.
pub(crate) fn requested_key(csr: &str) -> Result<ProvenKey, ApiError> {
    ProvenKey::from_csr_pem(csr).map_err(|error| ApiError::invalid(format!("csr: {error}")))
}

/// Certificates of authorities that were read once: their own signature costs more to check than a person's to make. Each is
/// kept by what it is, so none goes stale, and there are no more than rotations.
#[derive(Debug, Default)]
pub(crate) struct ReadCertificates(Mutex<BTreeMap<Sha256, Arc<CaCertificate>>>);

impl ReadCertificates {
    fn read(&self, der: &[u8]) -> Result<Arc<CaCertificate>, CaCertificateError> {
        let digest = Sha256::of(der);
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept().get(&digest) {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(CaCertificate::from_der(der.to_vec())?);
        kept().insert(digest, Arc::clone(&read));
        Ok(read)
    }
}

/// The authority that signs for one server: the newest that the server trusts, and the certificates of all that are in use.
pub(crate) struct Authority {
    certificate: Arc<CaCertificate>,
    key: Arc<SigningKey>,
    in_use: Vec<Arc<CaCertificate>>,
}

impl Authority {
    /// Loads the authority for a server.
    pub(crate) async fn load(app: &AppState, conn: &mut Conn, server: &Server) -> Result<Self, ApiError> {
        let mut authorities = Vec::new();
        for key in active(stored::of_project(conn, KeyPurpose::X509Ca, server.project_id).await?) {
            // One from before there were certificates signs nothing; the next rotation makes one that does.
            let Some(der) = &key.certificate else { continue };
            authorities.push((app.authorities().read(der).map_err(ApiError::internal)?, key));
        }
        let trusted = server.trusts.as_ref().map(|trusts| &trusts.x509_ca);
        let signing = signing_for(&authorities, trusted, |(certificate, _key)| certificate.sha256());
        let (certificate, key) = signing.ok_or_else(none)?;
        let (certificate, key) = (Arc::clone(certificate), open(app, key).await?);
        let in_use = authorities.into_iter().map(|(certificate, _key)| certificate).collect();
        Ok(Self { certificate, key, in_use })
    }
}

/// A signed client certificate, and what goes with it.
pub(crate) struct Signed {
    authority: Authority,
    certificate: Certificate,
}

/// A certificate for a granted connection.
pub(crate) async fn client(
    app: &AppState,
    grant: &Grant,
    server: &Server,
    subject: &ProvenKey,
    info: &RequestInfo,
) -> Result<Signed, ApiError> {
    let mut reader = app.store().read().await?;
    let authority = Authority::load(app, &mut reader, server).await?;
    drop(reader);
    // No account of a domain: nothing here knows yet which one is a person's.
    let grant = grant.client(app.team().clone(), None);
    let (key, rng) = (authority.key.as_ref(), &mut random::rng());
    let certificate = x509::issue_client(key, grant, subject, &authority.certificate, info.now, rng).await?;
    Ok(Signed { authority, certificate })
}

impl Signed {
    /// The fingerprint of the authority that signed.
    pub(crate) fn authority(&self) -> Sha256 {
        self.authority.certificate.sha256()
    }

    pub(crate) fn serial(&self) -> usher_ca::Serial {
        self.certificate.serial()
    }

    pub(crate) fn sha256(&self) -> Sha256 {
        self.certificate.sha256()
    }

    /// What the client is told: its certificate, and whose listeners to believe.
    pub(crate) fn answer(&self) -> ClientCertificate {
        ClientCertificate {
            certificate: self.certificate.to_pem(),
            authorities: self.authority.in_use.iter().map(|one| one.to_pem()).collect(),
        }
    }
}

fn none() -> ApiError {
    ApiError::new(ErrorCode::Unavailable, "the server's project has no X.509 authority")
        .with_next("ask an administrator to run `usher project rotate-ca NAME --kind x509`")
}

/// Whether what an authority signed is still good: it is not retired.
pub(crate) async fn still_signs(
    conn: &mut Conn,
    server: &Server,
    authority: Sha256,
) -> Result<bool, StoreError> {
    let keys = active(stored::of_project(conn, KeyPurpose::X509Ca, server.project_id).await?);
    Ok(keys.iter().any(|key| fingerprint(key).is_ok_and(|known| known == authority)))
}

/// `POST /v1/agent/certificate`: for the listener that a server's agent runs.
async fn agent_certificate(
    State(app): State<AppState>,
    caller: AgentCaller<AgentCertificateRequest>,
) -> Result<Answer<AgentCertificate>, ApiError> {
    let AgentCaller { server_id, info, body, .. } = caller;
    let subject = requested_key(&body.csr)?;
    let proven =
        info.key.as_ref().ok_or_else(|| ApiError::internal("an agent's request without a proof"))?.jkt;
    let mut reader = app.store().read().await?;
    let record = servers::record(&mut reader, server_id).await?.ok_or_else(removed)?;
    let server = servers::by_id(&mut reader, server_id).await?.ok_or_else(removed)?;
    let authority = Authority::load(&app, &mut reader, &server).await?;
    drop(reader);
    let agent = EnrolledAgent::recognise(record.clone(), proven).map_err(|_error| removed())?;
    let grant = agent.listener(app.team().clone(), info.now).map_err(ApiError::internal)?;
    let (key, rng) = (authority.key.as_ref(), &mut random::rng());
    let certificate = x509::issue_server(key, grant, &subject, &authority.certificate, info.now, rng).await?;

    let mut tx = app.store().begin().await?;
    // Removed, renamed or rotated while it was signed: then it was signed for nobody.
    let unchanged = servers::record(&mut tx, server_id).await?.is_some_and(|now| now == record);
    if !unchanged || !still_signs(&mut tx, &server, authority.certificate.sha256()).await? {
        return Err(removed());
    }
    let serial = Serial::new(certificate.serial().get());
    let event = Event::ServerCertificate {
        server_id,
        project_id: server.project_id,
        serial: serial.ok_or_else(|| ApiError::internal("a certificate without a serial"))?,
        sha256: certificate.sha256(),
        key: authority.certificate.sha256(),
        valid_before: certificate.valid_before(),
    };
    let actor = Actor::Server { server_id };
    tx.audit(&Record { at: info.now, actor, client_address: Some(info.client_address), event }).await?;
    tx.commit().await?;
    Ok(Answer::ok(AgentCertificate {
        certificate: certificate.to_pem(),
        authority: authority.certificate.to_pem(),
        valid_before: certificate.valid_before(),
    }))
}

/// Its key was good when the request came in.
fn removed() -> ApiError {
    ApiError::new(ErrorCode::LoginRequired, "this server is not enrolled (any more), or was changed just now")
        .with_next("try again; when it stays, enroll it again with a new enrollment token")
}
