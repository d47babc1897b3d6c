//! A client or an agent: makes proofs, answers a call for a nonce once, and can be made to lie about anything.

use std::sync::Arc;

use http::header;
use serde_json::Value;
use usher_broker::Clock;
use usher_identity::{
    PrivateKey,
    dpop::{Jti, ProofRequest, make},
};
use usher_types::{SecretToken, TokenKind};

use crate::Broker;

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) nonce: Option<String>,
    pub(crate) retry_after: Option<String>,
}

impl Answer {
    pub(crate) async fn read(response: reqwest::Response) -> Self {
        let text = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (nonce, retry_after) = (text("dpop-nonce"), text("retry-after"));
        let status = response.status().as_u16();
        let bytes = response.bytes().await.unwrap();
        let body =
            if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or_default() };
        Self { status, body, nonce, retry_after }
    }

    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{:?}", self.body);
    }
}

/// Holds a key, and a session when it has one.
pub(crate) struct Caller {
    http: reqwest::Client,
    clock: Clock,
    origin: String,
    pub(crate) key: Arc<PrivateKey>,
    pub(crate) token: Option<String>,
    pub(crate) device_id: String,
    pub(crate) nonce: Option<String>,
}

/// A request as it goes out; every part may be changed after the proof was made.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: Option<String>,
    pub(crate) proof: Option<String>,
    pub(crate) authorization: Option<String>,
}

impl Caller {
    pub(crate) fn new(broker: &Broker, key: Arc<PrivateKey>) -> Self {
        Self {
            http: broker.http.clone(),
            clock: broker.clock.clone(),
            origin: broker.origin.clone(),
            key,
            token: None,
            device_id: String::new(),
            nonce: None,
        }
    }

    /// A key that nobody knows.
    pub(crate) fn stranger(broker: &Broker) -> Self {
        Self::new(broker, Arc::new(PrivateKey::generate(&mut rand_core::UnwrapErr(getrandom::SysRng))))
    }

    /// The request with a good proof.
    pub(crate) fn prepare(&self, method: &str, target: &str, body: &[u8], jti: Jti) -> Sent {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let token = self.token.as_deref().map(|text| SecretToken::parse(TokenKind::Session, text).unwrap());
        let htu = format!("{}{path}", self.origin);
        let request = ProofRequest { method, htu: &htu, query, body, token: token.as_ref() };
        let proof = make(&self.key, &request, jti, self.nonce.as_deref(), self.clock.now());
        Sent {
            method: method.into(),
            target: target.into(),
            body: body.to_vec(),
            content_type: (!body.is_empty()).then(|| "application/json".into()),
            proof: Some(proof),
            authorization: self.token.as_ref().map(|token| format!("DPoP {token}")),
        }
    }

    pub(crate) async fn send(&mut self, sent: &Sent) -> Answer {
        let method = sent.method.parse().unwrap();
        let mut request = self.http.request(method, format!("{}{}", self.origin, sent.target));
        if let Some(kind) = &sent.content_type {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        if let Some(proof) = &sent.proof {
            request = request.header("dpop", proof);
        }
        if let Some(value) = &sent.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let answer = Answer::read(request.body(sent.body.clone()).send().await.unwrap()).await;
        self.nonce.clone_from(&answer.nonce);
        answer
    }

    /// Asks with this `jti`, and once more when the nonce was missing or old.
    pub(crate) async fn ask(&mut self, method: &str, target: &str, body: &[u8], jti: Jti) -> Answer {
        for _ in 0..2 {
            let sent = self.prepare(method, target, body, jti);
            let answer = self.send(&sent).await;
            if answer.code() != "use_dpop_nonce" {
                return answer;
            }
        }
        panic!("the broker wants a nonce again and again");
    }

    /// A fresh nonce, without changing anything.
    pub(crate) async fn learn_nonce(&mut self) {
        let answer = self.http.get(format!("{}/v1/team", self.origin)).send().await.unwrap();
        self.nonce = Answer::read(answer).await.nonce;
    }

    /// A call with a JSON body; `Value::Null` for none.
    pub(crate) async fn call(&mut self, method: &str, target: &str, body: &Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        self.ask(method, target, &body, Jti::new(random())).await
    }

    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        self.call("GET", target, &Value::Null).await
    }
}
