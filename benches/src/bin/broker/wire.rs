//! HTTP/1.1 over TLS, as little of it as the load needs: requests are bytes that were made before.

use std::{net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use usher_identity::{
    PrivateKey,
    dpop::{Jti, ProofRequest, make},
};
use usher_types::{SecretToken, UnixTime};

/// A key, and the session that goes with it if there is one.
pub(crate) struct Caller {
    pub(crate) key: PrivateKey,
    pub(crate) token: Option<SecretToken>,
}

/// Now, for proofs.
#[expect(clippy::disallowed_methods, reason = "the one place of this program that reads the wall clock")]
pub(crate) fn now() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixTime::from_millis(i64::try_from(since.as_millis()).unwrap())
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) nonce: String,
    pub(crate) body: Vec<u8>,
}

/// How to reach the broker.
#[derive(Clone)]
pub(crate) struct Dialer {
    tls: TlsConnector,
    pub(crate) address: SocketAddr,
}

impl Dialer {
    pub(crate) fn new(address: SocketAddr, root: &[u8]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { tls: TlsConnector::from(Arc::new(config)), address }
    }

    pub(crate) async fn dial(&self) -> Wire {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::IpAddress(self.address.ip().into());
        Wire { stream: self.tls.connect(name, stream).await.unwrap(), buffer: Vec::with_capacity(16 * 1024) }
    }

    /// A request with its proof, ready to be sent.
    pub(crate) fn request(
        &self,
        caller: &Caller,
        method: &str,
        path: &str,
        body: &str,
        nonce: &str,
    ) -> Vec<u8> {
        let proof_request = ProofRequest {
            method,
            htu: &format!("https://{}{path}", self.address),
            query: "",
            body: body.as_bytes(),
            token: caller.token.as_ref(),
        };
        let proof = make(&caller.key, &proof_request, Jti::at(now(), random()), Some(nonce), now());
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\ndpop: {proof}\r\n", self.address);
        if let Some(token) = &caller.token {
            head.push_str(&format!("authorization: DPoP {}\r\n", *token.reveal()));
        }
        if !body.is_empty() {
            head.push_str("content-type: application/json\r\n");
        }
        format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }
}

/// One connection.
pub(crate) struct Wire {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Wire {
    /// Sends one request and reads its answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Answer {
        self.stream.write_all(request).await.unwrap();
        self.stream.flush().await.unwrap();
        self.buffer.clear();
        let head = loop {
            self.fill().await;
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = std::str::from_utf8(self.buffer.get(..head).unwrap()).unwrap();
        let header = |wanted: &str| {
            let named = |line: &str| {
                line.split_once(": ").filter(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
            };
            text.lines().find_map(named)
        };
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        let nonce = header("dpop-nonce").unwrap_or_default();
        let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.buffer.len() < head + length {
            self.fill().await;
        }
        Answer { status, nonce, body: self.buffer.get(head..).unwrap().to_vec() }
    }

    async fn fill(&mut self) {
        assert!(
            self.stream.read_buf(&mut self.buffer).await.unwrap() > 0,
            "the broker closed the connection"
        );
    }
}
