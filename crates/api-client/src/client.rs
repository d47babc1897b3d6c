//! One call from start to end: proof, nonce, retries, answer. The endpoints themselves are in the module `endpoints`.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::redirect;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use url::Url;
use usher_api::{ErrorCode, ErrorResponse, headers};
use usher_identity::{
    PrivateKey,
    dpop::{self, Jti, ProofRequest},
};
use usher_types::{SecretToken, Sha256, Thumbprint, UnixTime};

use crate::{
    config::{self, ClientConfig},
    error::{CallError, ClientError},
    tls,
};

/// How often a request goes out at most, not counting what the nonce costs.
const ATTEMPTS: u32 = 4;
/// The first pause before another attempt; it doubles, and half of it is chance.
const PAUSE: Duration = Duration::from_millis(100);
/// A longer `retry-after` is the caller's business.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// Nobody waits longer.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);
/// An answer larger than this is not read to its end.
const MAX_ANSWER: usize = 64 << 20;

/// Calls one broker with one key. Cheap to clone; clones share connections, nonce and session.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

struct Inner {
    base: String,
    clock: fn() -> UnixTime,
    http: reqwest::Client,
    key: Arc<PrivateKey>,
    nonce: Mutex<Option<String>>,
    pins: Arc<tls::Pins>,
    timeout: Duration,
    token: Mutex<Option<SecretToken>>,
    url: Url,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("url", &self.base).finish_non_exhaustive()
    }
}

/// One request, encoded once: retries send the same bytes.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Bytes,
    pub(crate) token: Option<SecretToken>,
    /// How long the broker may hold the request on purpose.
    pub(crate) wait: Duration,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Client {
    /// A client; connects at its first call.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        config::check(&config.url).map_err(ClientError::Address)?;
        let pins = Arc::new(tls::Pins::new(config.pins));
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(&pins, config.clock)?)
            .https_only(true)
            .http1_only()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(config.timeout)
            .tcp_nodelay(true)
            .user_agent(concat!("usher/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(ClientError::Http)?;
        Ok(Self(Arc::new(Inner {
            base: config::base(&config.url),
            clock: config.clock,
            http,
            key: config.key,
            nonce: Mutex::new(None),
            pins,
            // A deadline far beyond the end of time cannot be computed.
            timeout: config.timeout.min(LONGEST_TIMEOUT),
            token: Mutex::new(config.token),
            url: config.url,
        })))
    }

    /// The broker's URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    /// Names the key that this client proves.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        self.0.key.public().thumbprint()
    }

    /// Replaces the session of this client and its clones.
    pub fn set_token(&self, token: Option<SecretToken>) {
        *self.0.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Replaces the pins of this client and its clones, for connections to come: the team's root is about to be another.
    /// A client without pins, which believes the platform's roots, stays without; a pinned one never becomes one without.
    pub fn set_pins(&self, pins: impl IntoIterator<Item = Sha256>) {
        self.0.pins.replace(pins.into_iter().collect());
    }

    pub(crate) fn token(&self) -> Option<SecretToken> {
        self.0.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Calls any endpoint as the current session, for what has no method of its own. `path` begins with `/v1/`, its
    /// parts already percent-encoded; `query` is a raw query string without `?`. An answer without a body reads as
    /// JSON `null`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call<B, T>(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Option<&B>,
    ) -> Result<T, CallError>
    where
        B: Serialize + Sync + ?Sized,
        T: DeserializeOwned,
    {
        self.run(Call {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            body: encode(body)?,
            token: self.token(),
            wait: Duration::ZERO,
        })
        .await
    }

    /// The broker's clock as its `date` header shows it (RFC 9110 section 6.6.1), to compare a doubtful clock with.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn date(&self) -> Result<Option<String>, CallError> {
        let call = Call {
            method: Method::GET,
            path: "/v1/team".to_owned(),
            query: String::new(),
            body: Bytes::new(),
            token: None,
            wait: Duration::ZERO,
        };
        let answer = self.send(&call).await?;
        Ok(answer.headers.get(header::DATE).and_then(|value| value.to_str().ok()).map(str::to_owned))
    }

    /// Sends until there is an answer, and reads it.
    pub(crate) async fn run<T: DeserializeOwned>(&self, call: Call) -> Result<T, CallError> {
        let answer = self.send(&call).await?;
        let status = answer.status.as_u16();
        if !answer.status.is_success() {
            return Err(refusal(&answer));
        }
        let body = if answer.body.is_empty() { b"null".as_slice() } else { &answer.body };
        serde_json::from_slice(body).map_err(|error| CallError::Answer { status, source: Some(error) })
    }

    /// The same request, by its `jti`, until it is answered for good or time is up: a lost answer is asked for again,
    /// and the broker does nothing twice.
    async fn send(&self, call: &Call) -> Result<Answer, CallError> {
        let deadline = Instant::now() + self.0.timeout + call.wait;
        let jti = Jti::at((self.0.clock)(), random()?);
        let mut attempt = 0;
        loop {
            let (error, wanted) = match self.attempt(call, jti, deadline).await {
                Ok(answer) if !is_temporary(&answer) => return Ok(answer),
                Ok(answer) => (refusal(&answer), short_pause(&answer)),
                Err(error @ CallError::Network(_)) => (error, None),
                Err(error) => return Err(error),
            };
            let pause = match wanted {
                Some(pause) => pause,
                None => jittered(PAUSE * (1 << attempt), random()?),
            };
            attempt += 1;
            if attempt == ATTEMPTS || Instant::now() + pause >= deadline {
                return Err(error);
            }
            tracing::debug!(path = call.path, attempt, error = %error, "broker call is tried again");
            tokio::time::sleep(pause).await;
        }
    }

    /// One attempt; two requests when the first one only fetched a nonce.
    async fn attempt(&self, call: &Call, jti: Jti, deadline: Instant) -> Result<Answer, CallError> {
        let answer = self.exchange(call, jti, deadline).await?;
        if error_code(&answer) == Some(ErrorCode::UseDpopNonce) {
            return self.exchange(call, jti, deadline).await;
        }
        Ok(answer)
    }

    /// One HTTP request with a fresh proof; remembers the nonce of the answer.
    async fn exchange(&self, call: &Call, jti: Jti, deadline: Instant) -> Result<Answer, CallError> {
        let inner = &*self.0;
        let htu = format!("{}{}", inner.base, call.path);
        let nonce = inner.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let proof = dpop::make(
            &inner.key,
            &ProofRequest {
                method: call.method.as_str(),
                htu: &htu,
                query: &call.query,
                body: &call.body,
                token: call.token.as_ref(),
            },
            jti,
            nonce.as_deref(),
            (inner.clock)(),
        );
        let address = if call.query.is_empty() { htu } else { format!("{htu}?{}", call.query) };
        let mut request = inner
            .http
            .request(call.method.clone(), address)
            .header(headers::DPOP, proof)
            .timeout(deadline.saturating_duration_since(Instant::now()));
        if let Some(token) = &call.token {
            request = request.header(header::AUTHORIZATION, authorization(token)?);
        }
        if !call.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json").body(call.body.clone());
        }
        let response = request.send().await.map_err(CallError::from_transport)?;
        self.remember_nonce(response.headers());
        read(response).await
    }

    fn remember_nonce(&self, headers: &HeaderMap) {
        if let Some(nonce) = headers.get(headers::DPOP_NONCE).and_then(|value| value.to_str().ok()) {
            *self.0.nonce.lock().unwrap_or_else(PoisonError::into_inner) = Some(nonce.to_owned());
        }
    }
}

async fn read(mut response: reqwest::Response) -> Result<Answer, CallError> {
    let status = response.status();
    let headers = std::mem::take(response.headers_mut());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(CallError::from_transport)? {
        if body.len().saturating_add(chunk.len()) > MAX_ANSWER {
            return Err(CallError::Answer { status: status.as_u16(), source: None });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body })
}

/// The body's exact bytes, hashed by the proof; empty for none.
pub(crate) fn encode<B: Serialize + ?Sized>(body: Option<&B>) -> Result<Bytes, CallError> {
    body.map_or(Ok(Bytes::new()), |body| {
        serde_json::to_vec(body).map(Bytes::from).map_err(CallError::Request)
    })
}

fn authorization(token: &SecretToken) -> Result<HeaderValue, CallError> {
    let text = format!("{} {}", headers::DPOP_SCHEME, *token.reveal());
    // A token's text is ASCII without control characters.
    let mut value = HeaderValue::try_from(text)
        .map_err(|_error| CallError::Argument { text: "the session token".to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The error that an answer without success is.
fn refusal(answer: &Answer) -> CallError {
    let status = answer.status.as_u16();
    match serde_json::from_slice::<ErrorResponse>(&answer.body) {
        Ok(read) => CallError::Api { body: read.error, status, retry_after: retry_after(answer) },
        Err(error) => CallError::Answer { status, source: Some(error) },
    }
}

/// Whether the same request may succeed in a moment. A second demand for a nonce means that the first one aged on the
/// way, or that the broker was restarted in between.
fn is_temporary(answer: &Answer) -> bool {
    match error_code(answer) {
        Some(ErrorCode::Unavailable | ErrorCode::UseDpopNonce) => true,
        Some(ErrorCode::TooManyRequests) => short_pause(answer).is_some(),
        _ => answer.status == StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn error_code(answer: &Answer) -> Option<ErrorCode> {
    if answer.status.is_success() {
        return None;
    }
    serde_json::from_slice::<ErrorResponse>(&answer.body).ok().map(|read| read.error.code)
}

/// `retry-after` in seconds.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let value = answer.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    value.parse().ok().map(Duration::from_secs)
}

/// The same, when it is short enough to wait for.
fn short_pause(answer: &Answer) -> Option<Duration> {
    retry_after(answer).filter(|pause| *pause <= LONGEST_PAUSE)
}

fn random<const N: usize>() -> Result<[u8; N], CallError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(CallError::Random)?;
    Ok(bytes)
}

/// Between half of `pause` and the whole.
fn jittered(pause: Duration, [byte]: [u8; 1]) -> Duration {
    pause / 2 + pause * u32::from(byte) / 512
}
