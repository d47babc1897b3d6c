//! An issuer that says whatever a test wants: its documents, its keys, its tokens.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::any};
use data_encoding::BASE64URL_NOPAD;
use hmac::{KeyInit as _, Mac as _};
use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use usher_sign_in::oidc::{
    Callback, ExternalIdFrom, Provider, ProviderError, ProviderIdentity, ProviderSettings,
};

use crate::NOW;

pub(crate) const CLIENT: &str = "usher";
pub(crate) const SECRET: &str = "a secret of the client";
pub(crate) const ACCESS_TOKEN: &str = "the access token";

/// What is answered on a path.
#[derive(Clone)]
pub(crate) enum Say {
    Json(Value),
    Status(u16),
    Bytes(Vec<u8>),
    Redirect(String),
    Slowly,
}

#[derive(Clone, Default)]
struct Answers(Arc<(Mutex<BTreeMap<String, Say>>, AtomicUsize)>);

pub(crate) struct Issuer {
    answers: Answers,
    pub(crate) url: String,
    pub(crate) key: SigningKey,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = Answers::default();
        let router = Router::new().fallback(any(answer)).with_state(answers.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let issuer = Self { answers, url, key: SigningKey::from_slice(&[7; 32]).unwrap() };
        issuer.say("/.well-known/openid-configuration", Say::Json(issuer.metadata()));
        issuer.say("/jwks", Say::Json(json!({"keys": [issuer.jwk("first")]})));
        issuer
    }

    pub(crate) fn metadata(&self) -> Value {
        let url = &self.url;
        json!({
            "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
            "jwks_uri": format!("{url}/jwks"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
            "authorization_response_iss_parameter_supported": true,
        })
    }

    pub(crate) fn jwk(&self, kid: &str) -> Value {
        jwk(&self.key, kid)
    }

    pub(crate) fn say(&self, path: &str, what: Say) {
        self.answers.0.0.lock().unwrap().insert(path.to_owned(), what);
    }

    /// How often anything was asked.
    pub(crate) fn asked(&self) -> usize {
        self.answers.0.1.load(Ordering::SeqCst)
    }

    pub(crate) fn settings(&self) -> ProviderSettings {
        ProviderSettings {
            issuer: self.url.clone(),
            client_id: CLIENT.to_owned(),
            client_secret: Some(SECRET.to_owned().into()),
            redirect_uri: "https://broker.example/oidc/callback".to_owned(),
            scopes: vec!["profile".to_owned()],
            acr_values: vec!["phr".to_owned()],
            external_id: ExternalIdFrom::Sub,
            groups_claim: Some("groups".to_owned()),
            private_networks: vec!["127.0.0.0/8".parse().unwrap()],
        }
    }

    pub(crate) fn provider(&self) -> Provider {
        Provider::new(self.settings(), tls()).unwrap()
    }

    pub(crate) fn token(&self) -> Token {
        let now = NOW.as_secs();
        Token {
            header: json!({"alg": "ES256", "kid": "first", "typ": "JWT"}),
            claims: json!({
                "iss": self.url, "aud": CLIENT, "sub": "00u1", "iat": now, "exp": now + 300, "auth_time": now - 5,
                "acr": "phr", "amr": ["pwd", "mfa", "face"], "sid": "s1", "name": "Alice", "preferred_username": "alice@example",
                "groups": ["b", "a", "b"],
            }),
            signed: Signed::Issuer,
        }
    }

    pub(crate) fn encode(&self, token: &Token) -> String {
        let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", encode(&token.header), encode(&token.claims));
        let ecdsa = |key: &SigningKey| {
            let signature: Signature = key.sign(signed.as_bytes());
            signature.to_vec()
        };
        let signature = match &token.signed {
            Signed::Issuer => ecdsa(&self.key),
            Signed::Stranger => ecdsa(&SigningKey::from_slice(&[8; 32]).unwrap()),
            Signed::Hmac(key) => {
                let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
                mac.update(signed.as_bytes());
                mac.finalize().into_bytes().to_vec()
            }
            Signed::With(bytes) => bytes.clone(),
        };
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }

    /// From the begin to the end, with the token that `change` makes of a good one.
    pub(crate) async fn sign_in(
        &self,
        provider: &Provider,
        change: impl FnOnce(&mut Token),
    ) -> Result<ProviderIdentity, ProviderError> {
        let begun = provider.begin(&[5; 96], NOW).await?;
        let query: BTreeMap<String, String> = begun.url.query_pairs().into_owned().collect();
        let mut token = self.token();
        token.claims["nonce"] = json!(query["nonce"]);
        change(&mut token);
        let answer =
            json!({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "id_token": self.encode(&token)});
        self.say("/token", Say::Json(answer));
        provider.finish(&self.callback(&query["state"]), &begun.pending, NOW).await
    }

    pub(crate) fn callback(&self, state: &str) -> Callback {
        Callback {
            code: Some("code".to_owned()),
            state: Some(state.to_owned()),
            iss: Some(self.url.clone()),
            ..Callback::default()
        }
    }
}

pub(crate) fn jwk(key: &SigningKey, kid: &str) -> Value {
    let point = key.verifying_key().to_sec1_point(false);
    let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
        "x": encode(point.x().unwrap()), "y": encode(point.y().unwrap()),
    })
}

/// A token in its parts.
pub(crate) struct Token {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    pub(crate) signed: Signed,
}

pub(crate) enum Signed {
    Issuer,
    Stranger,
    Hmac(Vec<u8>),
    With(Vec<u8>),
}

async fn answer(State(answers): State<Answers>, request: axum::extract::Request) -> axum::response::Response {
    answers.0.1.fetch_add(1, Ordering::SeqCst);
    let say = answers.0.0.lock().unwrap().get(request.uri().path()).cloned();
    match say {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(Say::Json(value)) => ([("content-type", "application/json")], value.to_string()).into_response(),
        Some(Say::Bytes(bytes)) => ([("content-type", "application/json")], bytes).into_response(),
        Some(Say::Status(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Say::Redirect(to)) => (StatusCode::FOUND, [("location", to)]).into_response(),
        Some(Say::Slowly) => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            StatusCode::OK.into_response()
        }
    }
}

pub(crate) fn tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}
