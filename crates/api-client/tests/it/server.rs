//! A broker as far as the client can tell: TLS with a chain made for the test, HTTP, nonces and checked proofs.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{net::TcpListener, sync::Notify};
use tokio_rustls::TlsAcceptor;
use usher_api_client::{Client, ClientConfig};
use usher_identity::{
    PrivateKey,
    dpop::{self, NonceKey, NonceKeys, PortableVerifier, ProofRequest},
};
use usher_types::{SecretToken, Sha256, TokenKind, UnixTime};

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

/// The client's clock in every test.
pub(crate) fn now() -> UnixTime {
    NOW
}

pub(crate) fn key() -> PrivateKey {
    PrivateKey::generate(&mut rand_core::UnwrapErr(getrandom::SysRng))
}

/// What the server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers with a status and a body, after checking the proof.
    Answer(StatusCode, String),
    /// The same with a `retry-after` header.
    AnswerAfter(StatusCode, String, u64),
    /// Closes the connection after reading the request.
    Hang,
    /// Says that the proof's nonce is old.
    Nonce,
    /// Waits for [`Server::release`], then answers 204.
    Wait,
}

impl Reply {
    pub(crate) fn ok(body: &str) -> Self {
        Self::Answer(StatusCode::OK, body.to_owned())
    }

    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::Answer(StatusCode::from_u16(status).unwrap(), error_body(code))
    }
}

fn error_body(code: &str) -> String {
    format!(r#"{{"error":{{"code":"{code}","message":"said the test"}}}}"#)
}

/// A request as it arrived, with what its proof said.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: String,
    pub(crate) jti: Option<String>,
    pub(crate) token: Option<String>,
}

/// Certificates and key of a server.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// The pin of the root in the chain.
    pub(crate) pin: Sha256,
}

/// A certificate authority for tests.
pub(crate) struct Root {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pin: Sha256,
}

impl Root {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let pin = Sha256::of(&rcgen::PublicKeyData::subject_public_key_info(&key));
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key), pin }
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// A leaf for the loopback address, changed as the test wants; sent with this root behind it.
    pub(crate) fn identity(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Identity {
            chain: vec![leaf, self.certificate()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            pin: self.pin,
        }
    }
}

struct State {
    base: String,
    nonces: NonceKeys,
    replies: Mutex<VecDeque<Reply>>,
    seen: Mutex<Vec<Seen>>,
    release: Notify,
}

pub(crate) struct Server {
    address: SocketAddr,
    pin: Sha256,
    state: Arc<State>,
}

impl Server {
    /// Serves with a good identity and these replies, the last one for ever.
    pub(crate) async fn with(replies: &[Reply]) -> Self {
        Self::start(Root::new().identity(|_| {}), replies).await
    }

    pub(crate) async fn start(identity: Identity, replies: &[Reply]) -> Self {
        let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            base: format!("https://{address}"),
            nonces: NonceKeys::new(NonceKey::new([1; 32]), None),
            replies: Mutex::new(replies.iter().cloned().collect()),
            seen: Mutex::default(),
            release: Notify::new(),
        });
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain, identity.key)
            .unwrap();
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), Arc::clone(&state)));
        Self { address, pin: identity.pin, state }
    }

    /// A client that trusts this server.
    pub(crate) fn client(&self) -> Client {
        self.client_with(self.pin, Duration::from_secs(120), None)
    }

    pub(crate) fn client_with(&self, pin: Sha256, timeout: Duration, token: Option<SecretToken>) -> Client {
        Client::new(
            ClientConfig::new(self.url(), key(), now)
                .with_pins([pin])
                .with_timeout(timeout)
                .with_token(token),
        )
        .unwrap()
    }

    pub(crate) fn url(&self) -> url::Url {
        format!("https://{}", self.address).parse().unwrap()
    }

    pub(crate) fn pin(&self) -> Sha256 {
        self.pin
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(crate) fn release(&self) {
        self.state.release.notify_one();
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            // A client that refuses the certificate ends the handshake.
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(|request| answer(request, &state));
            let _ended = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Ends the connection without an answer.
#[derive(Debug)]
struct Hung;

impl std::fmt::Display for Hung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("hung up")
    }
}

impl std::error::Error for Hung {}

async fn answer(request: Request<Incoming>, state: &State) -> Result<Response<Full<bytes::Bytes>>, Hung> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let token = header("authorization");
    let proof = header("dpop").unwrap();
    let query = parts.uri.query().unwrap_or_default();
    let verified = dpop::verify(
        &proof,
        &ProofRequest {
            method: parts.method.as_str(),
            htu: &format!("{}{}", state.base, parts.uri.path()),
            query,
            body: &body,
            token: token
                .as_deref()
                .map(|text| {
                    SecretToken::parse(TokenKind::Session, text.strip_prefix("DPoP ").unwrap()).unwrap()
                })
                .as_ref(),
        },
        &state.nonces,
        NOW,
        &PortableVerifier,
    );
    let reply = match &verified {
        Ok(_) => {
            let mut replies = state.replies.lock().unwrap();
            if replies.len() > 1 { replies.pop_front().unwrap() } else { replies[0].clone() }
        }
        Err(error) if error.wants_nonce() => Reply::Nonce,
        Err(error) => Reply::Answer(StatusCode::IM_A_TEAPOT, error_body(&error.to_string())),
    };
    state.seen.lock().unwrap().push(Seen {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: query.to_owned(),
        body: String::from_utf8(body.to_vec()).unwrap(),
        jti: verified.ok().map(|proof| proof.jti().to_string()),
        token,
    });
    let response = Response::builder().header("dpop-nonce", state.nonces.issue(NOW));
    let (response, body) = match reply {
        Reply::Answer(status, body) => (response.status(status), body),
        Reply::AnswerAfter(status, body, pause) => {
            (response.status(status).header("retry-after", pause), body)
        }
        Reply::Hang => return Err(Hung),
        Reply::Nonce => (response.status(StatusCode::UNAUTHORIZED), error_body("use_dpop_nonce")),
        Reply::Wait => {
            state.release.notified().await;
            (response.status(StatusCode::NO_CONTENT), String::new())
        }
    };
    Ok(response.body(Full::from(body)).unwrap())
}
