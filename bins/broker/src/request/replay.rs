//! A repeated write executes nothing and gets the first one's answer. The one place for all endpoints but three, which
//! recognise repetitions by their own rows.

use std::time::Duration;

use axum::{
    body::Body,
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use usher_api::{ErrorCode, v1::Endpoint};
use usher_store::{
    Store, StoreError,
    connections::RequestName,
    requests::{self, Claim},
};
use usher_types::UnixTime;

use super::RequestKey;
use crate::{AppState, answer::ShownOnce, error::ApiError};

/// How often, and how long apart, to look whether the first of two equal requests is done.
const LOOKS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// Connections keep their answer themselves; enrollment, reports and questions are the same however often they are said.
const OWN_RECORD: [&str; 5] =
    ["/v1/agent/report", "/v1/connections", "/v1/enroll", "/v1/policy-diff", "/v1/policy-test"];

/// Whether the endpoint changes something that must not be done twice.
pub(super) fn applies(endpoint: &Endpoint) -> bool {
    endpoint.method != "GET" && !OWN_RECORD.contains(&endpoint.path)
}

/// Claims the request, runs it, keeps the answer. Runs to its end even when the client goes away, so that a claim always
/// gets its answer.
pub(super) async fn run(
    app: AppState,
    key: RequestKey,
    now: UnixTime,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let name = RequestName { jkt: key.jkt, jti: key.jti, content: key.content };
    for _ in 0..LOOKS {
        match claim(app.store(), &name, now).await? {
            Claim::Fresh => {
                let running = tokio::spawn(async move {
                    let response = next.run(request).await;
                    finish(app.store(), &name, response).await
                });
                return running.await.map_err(ApiError::internal)?;
            }
            Claim::Answered { status, body } => return stored(status, body),
            Claim::OtherContent => {
                return Err(ApiError::new(
                    ErrorCode::RequestReused,
                    "the same request id came with another content",
                ));
            }
            Claim::ShownBefore => {
                return Err(ApiError::new(
                    ErrorCode::AlreadyDone,
                    "this request was done, and the secret in its answer is shown once",
                )
                .with_next("make a new request"));
            }
            Claim::Running { .. } => tokio::time::sleep(PAUSE).await,
        }
    }
    // Slow, or the process died over it: then nobody knows whether it was done.
    Err(ApiError::new(
        ErrorCode::AlreadyDone,
        "this request was begun before and its outcome is not known (yet)",
    )
    .with_next("look whether it was done before you ask again"))
}

async fn claim(store: &Store, name: &RequestName, now: UnixTime) -> Result<Claim, StoreError> {
    let mut tx = store.begin().await?;
    let claim = requests::claim(&mut tx, name, now).await?;
    if claim == Claim::Fresh {
        tx.commit().await?;
    }
    Ok(claim)
}

async fn finish(store: &Store, name: &RequestName, response: Response) -> Result<Response, ApiError> {
    let status = response.status();
    let mut tx = store.begin().await?;
    if !status.is_success() {
        // Nothing was changed: the same request may be tried again.
        requests::release(&mut tx, name).await?;
        tx.commit().await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(ApiError::internal)?.to_bytes();
    let kept = parts.extensions.get::<ShownOnce>().is_none().then_some(body.as_ref());
    requests::answer(&mut tx, name, status.as_u16(), kept).await?;
    tx.commit().await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn stored(status: u16, body: Vec<u8>) -> Result<Response, ApiError> {
    let status = StatusCode::from_u16(status).map_err(ApiError::internal)?;
    if body.is_empty() {
        return Ok(status.into_response());
    }
    let json = HeaderValue::from_static("application/json");
    Ok((status, [(header::CONTENT_TYPE, json)], body).into_response())
}
