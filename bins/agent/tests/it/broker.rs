//! A broker as far as an agent can tell: TLS with a pinned root, and the three endpoints that agents call. Proofs are checked
//! where they are made, in `usher-api-client`; here they must only be there.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch};
use tokio_rustls::TlsAcceptor;
use usher_testkit::{NOW, fixture};
use usher_types::Sha256;

use crate::state::{project, server, state_key};

/// What the broker says and what it was told.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) users: Vec<String>,
    pub(crate) generation: u64,
    /// The server was removed.
    pub(crate) removed: bool,
    /// How many answers to an enrollment get lost.
    pub(crate) lose_answers: usize,
    /// Thumbprints of keys that enrolled.
    pub(crate) enrolled: Vec<Value>,
    pub(crate) reports: Vec<Value>,
    /// Reports are refused: come back in an hour.
    pub(crate) busy: bool,
    /// How many were.
    pub(crate) refused_reports: usize,
}

/// A running broker.
pub(crate) struct Broker {
    _runtime: Runtime,
    address: SocketAddr,
    pin: Sha256,
    desk: Arc<Mutex<Desk>>,
    changed: watch::Sender<u64>,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let root_key = KeyPair::generate().unwrap();
        let pin = Sha256::of(&rcgen::PublicKeyData::subject_public_key_info(&root_key));
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let root = params.self_signed(&root_key).unwrap().der().clone();
        let issuer = Issuer::new(params, root_key);
        let leaf_key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap().der().clone();
        let leaf_key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(leaf_key.serialize_der()).into();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf, root], leaf_key)
        .unwrap();
        let desk = Arc::new(Mutex::new(Desk::default()));
        let (changed, watcher) = watch::channel(0);
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), Arc::clone(&desk), watcher));
        Self { _runtime: runtime, address, pin, desk, changed }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn pin(&self) -> Sha256 {
        self.pin
    }

    /// Looks at the desk or changes it; a change of state wakes the agent.
    pub(crate) fn desk<T>(&self, change: impl FnOnce(&mut Desk) -> T) -> T {
        let mut desk = self.desk.lock().unwrap();
        let result = change(&mut desk);
        self.changed.send_replace(desk.generation);
        result
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    desk: Arc<Mutex<Desk>>,
    watcher: watch::Receiver<u64>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, desk, watcher) = (tls.clone(), Arc::clone(&desk), watcher.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(|request| answer(request, Arc::clone(&desk), watcher.clone()));
            let _ended = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Answer = Result<Response<Full<Bytes>>, std::io::Error>;

fn json_answer(status: u16, body: &Value) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

fn refused(code: &str) -> Answer {
    json_answer(401, &json!({"error": {"code": code, "message": "said the test"}}))
}

async fn answer(
    request: Request<Incoming>,
    desk: Arc<Mutex<Desk>>,
    mut watcher: watch::Receiver<u64>,
) -> Answer {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert!(parts.headers.contains_key("dpop"), "every request carries a proof");
    assert!(!parts.headers.contains_key("authorization"), "agents have no token");
    let said = || serde_json::from_slice::<Value>(&body).unwrap();
    match parts.uri.path() {
        "/v1/enroll" => {
            let mut desk = desk.lock().unwrap();
            desk.enrolled.push(said());
            if desk.lose_answers > 0 {
                desk.lose_answers -= 1;
                return Err(std::io::Error::other("the answer is lost"));
            }
            let answer = json!({
                "server_id": fixture::server(1), "name": "web-1", "project": "prod", "team": "acme",
                "state_keys": [state_key()],
            });
            json_answer(200, &answer)
        }
        "/v1/agent/report" => {
            let mut desk = desk.lock().unwrap();
            if desk.removed {
                return refused("login_required");
            }
            if desk.busy {
                desk.refused_reports += 1;
                let body = json!({"error": {"code": "too_many_requests", "message": "said the test"}});
                return json_answer(429, &body).map(|mut response| {
                    response.headers_mut().insert("retry-after", hyper::header::HeaderValue::from(3600));
                    response
                });
            }
            desk.reports.push(said());
            json_answer(200, &json!({"clock": NOW, "pins": []}))
        }
        "/v1/agent/state" => {
            let query = parts.uri.query().unwrap_or_default();
            let has: u64 =
                query.split('&').find_map(|part| part.strip_prefix("generation=")).unwrap().parse().unwrap();
            loop {
                watcher.borrow_and_update();
                {
                    let desk = desk.lock().unwrap();
                    if desk.removed {
                        return refused("login_required");
                    }
                    if desk.generation > has {
                        let state =
                            json!({"project": project(&desk.users, desk.generation), "server": server()});
                        return json_answer(200, &state);
                    }
                }
                if watcher.changed().await.is_err() {
                    return Err(std::io::Error::other("the test is over"));
                }
            }
        }
        other => panic!("agents do not call {other}"),
    }
}
