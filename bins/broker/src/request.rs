//! The pipeline in front of every handler below `/v1`.

mod caller;
mod json;
mod replay;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Body,
    extract::{ConnectInfo, MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderName, HeaderValue, Method, header};
use http_body_util::{BodyExt as _, Limited};
use usher_api::{
    ErrorCode, headers,
    v1::{ENDPOINTS, Endpoint, Guard},
};
use usher_identity::{ApprovedUser, AuthenticatedUser, PermittedUser, PublicKey};
use usher_types::{ProjectId, ServerId, Sha256, Thumbprint, UnixTime};

pub(crate) use self::json::parse_json;
use crate::{
    AppState,
    error::{ApiError, Failed},
    random,
};

/// Longest request body.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// What is known about a request besides who sent it.
#[derive(Clone, Debug)]
pub(crate) struct RequestInfo {
    /// The TCP peer.
    pub(crate) client_address: IpAddr,
    /// When it arrived.
    pub(crate) now: UnixTime,
    /// What makes a repeated write recognisable; `None` without a proof.
    pub(crate) key: Option<RequestKey>,
}

/// Identity and content of a request that came with a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestKey {
    /// Thumbprint of the proof's key.
    pub(crate) jkt: Thumbprint,
    /// The proof's `jti`: the same for every retry of one request.
    pub(crate) jti: String,
    /// SHA-256 over method, path, query and body.
    pub(crate) content: Sha256,
}

/// Who sent the request; as strong as the endpoint's guard asks for.
#[derive(Debug)]
pub(crate) enum Caller {
    Agent { server_id: ServerId, project_id: ProjectId },
    Approved(ApprovedUser),
    Permitted(PermittedUser),
    Proven(PublicKey),
    Public,
    SignedIn(AuthenticatedUser),
}

/// The pipeline's result on its way to the extractor. Callers are proofs and cannot be cloned, request extensions must
/// be: so it is taken out once.
#[derive(Clone, Debug)]
pub(crate) struct Checked(Arc<Mutex<Option<(Caller, RequestInfo)>>>);

impl Checked {
    fn new(caller: Caller, info: RequestInfo) -> Self {
        Self(Arc::new(Mutex::new(Some((caller, info)))))
    }

    pub(crate) fn take(&self) -> Option<(Caller, RequestInfo)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Around everything below `/v1`, unknown paths too: a name for the request, a nonce for the next one.
pub(crate) async fn frame(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let id = random::bytes::<9>().map(|bytes| BASE64URL_NOPAD.encode(&bytes)).unwrap_or_default();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    if let Some(Failed(code)) = response.extensions().get::<Failed>() {
        let status = response.status().as_u16();
        if *code == ErrorCode::Internal {
            tracing::error!(request_id = id, %method, path, status, code = code.as_str(), "answered");
        } else {
            tracing::info!(request_id = id, %method, path, status, code = code.as_str(), "answered");
        }
    } else {
        tracing::debug!(request_id = id, %method, path, status = response.status().as_u16(), "answered");
    }
    let nonce = app.nonces().issue(app.now());
    let fixed = [
        (HeaderName::from_static(headers::DPOP_NONCE), HeaderValue::try_from(nonce)),
        (HeaderName::from_static(headers::REQUEST_ID), HeaderValue::try_from(id)),
        (header::CACHE_CONTROL, Ok(HeaderValue::from_static("no-store"))),
        (header::X_CONTENT_TYPE_OPTIONS, Ok(HeaderValue::from_static("nosniff"))),
        (header::REFERRER_POLICY, Ok(HeaderValue::from_static("no-referrer"))),
    ];
    for (name, value) in fixed {
        // What a page said for itself stays.
        if let Ok(value) = value {
            response.headers_mut().entry(name).or_insert(value);
        }
    }
    response
}

/// Checks a request before its handler: body, proof, session, guard, rate, repetition.
pub(crate) async fn pipeline(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let address = peer(&request);
    let response = run(app.clone(), request, next).await.unwrap_or_else(ApiError::into_response);
    // Whoever refused, a check in front of the handler or the handler itself.
    if let (Some(Failed(code)), Some(address)) = (response.extensions().get(), address) {
        count_failure(&app, *code, address);
    }
    response
}

async fn run(app: AppState, request: Request, next: Next) -> Result<Response, ApiError> {
    let now = app.now();
    let endpoint = endpoint_of(&request)?;
    let client_address = peer(&request).ok_or_else(|| ApiError::internal("the server named no peer"))?;
    if endpoint.guard == Guard::Proof {
        app.limits().enrollment(client_address)?;
    }
    let (mut parts, body) = request.into_parts();
    let body = buffer(body).await?;
    let (caller, key) = caller::recognise(&app, endpoint, &parts, &body, client_address, now).await?;
    match (&caller, endpoint.path) {
        (Caller::Approved(user), "/v1/connections") => app.limits().connection(user.user().user_id())?,
        (Caller::Agent { server_id, .. }, "/v1/agent/certificate" | "/v1/agent/report") => {
            app.limits().report(*server_id)?;
        }
        _ => {}
    }
    let info = RequestInfo { client_address, now, key: key.clone() };
    parts.extensions.insert(Checked::new(caller, info));
    let request = Request::from_parts(parts, Body::from(body));
    match key {
        Some(key) if replay::applies(endpoint) => replay::run(app, key, now, request, next).await,
        Some(_) | None => Ok(next.run(request).await),
    }
}

/// The row of the table of endpoints; what is not in it does not exist.
fn endpoint_of(request: &Request) -> Result<&'static Endpoint, ApiError> {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
    let method = request.method().as_str();
    ENDPOINTS
        .iter()
        .find(|endpoint| endpoint.path == path && endpoint.method == method)
        .ok_or_else(|| method_not_allowed(request.method()))
}

/// The path exists, the method on it does not.
pub(crate) fn method_not_allowed(method: &Method) -> ApiError {
    let shown: String = method.as_str().chars().take(16).collect();
    ApiError::new(ErrorCode::MethodNotAllowed, format!("there is no {shown} here"))
}

/// The TCP peer, IPv4 as IPv4 also on a dual-stack socket.
fn peer(request: &Request) -> Option<IpAddr> {
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>();
    address.map(|ConnectInfo(address)| address.ip().to_canonical())
}

async fn buffer(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(ApiError::new(
            ErrorCode::BodyTooLarge,
            format!("a request body can have at most {MAX_BODY} bytes"),
        )),
        Err(error) => Err(ApiError::invalid("the request body did not arrive whole").with_cause(error)),
    }
}

/// What guessing looks like is counted; a nonce that is due is no failure.
fn count_failure(app: &AppState, code: ErrorCode, address: IpAddr) {
    let counted = matches!(
        code,
        ErrorCode::Forbidden
            | ErrorCode::InvalidGrant
            | ErrorCode::InvalidProof
            | ErrorCode::LoginRequired
            | ErrorCode::TokenRefused
            | ErrorCode::TooManyRequests
    );
    if counted {
        app.failures().count(code.as_str(), address, app.now());
    }
}
