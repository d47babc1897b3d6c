//! Typed callers for handlers. The pipeline (`request`) has verified everything by the time these run; they only hand
//! over what it found, and fail closed when a route was given a weaker guard than its handler asks for.
//!
//! Order in a handler: `State`, then [`Path`] and [`Query`], the caller last (it carries the body). A caller's `T` is its
//! JSON body, `()` for none.

use axum::{
    RequestExt as _,
    extract::{
        FromRequest, FromRequestParts, Request,
        rejection::{PathRejection, QueryRejection},
    },
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use usher_identity::{ApprovedUser, AuthenticatedUser, PermittedUser, PublicKey};
use usher_types::{ProjectId, ServerId};

use crate::{
    error::ApiError,
    request::{Caller, Checked, RequestInfo, parse_json},
};

/// Path parameters: `Path<String>`, or `Path<(String, String)>` in order.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub(crate) struct Path<T>(pub(crate) T);

/// Query parameters.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub(crate) struct Query<T>(pub(crate) T);

/// Anybody, without a body.
#[derive(Debug)]
pub(crate) struct Public;

/// Anybody who holds the key of the request's proof.
#[derive(Debug)]
pub(crate) struct Proven<T = ()> {
    /// The proof's key.
    pub(crate) key: PublicKey,
    /// About this request.
    pub(crate) info: RequestInfo,
    /// The JSON body.
    pub(crate) body: T,
}

/// A signed-in user, even on a device that waits for approval. Without a body.
#[derive(Debug)]
pub(crate) struct SignedIn {
    /// Who, on which device, in which session.
    pub(crate) user: AuthenticatedUser,
    /// About this request.
    pub(crate) info: RequestInfo,
}

/// A signed-in user on an approved device.
#[derive(Debug)]
pub(crate) struct Approved<T = ()> {
    /// Who, on which device, in which session.
    pub(crate) user: ApprovedUser,
    /// About this request.
    pub(crate) info: RequestInfo,
    /// The JSON body.
    pub(crate) body: T,
}

/// Somebody with the permission that the endpoint asks for, on an approved device.
#[derive(Debug)]
pub(crate) struct Admin<T = ()> {
    /// Who, on which device, in which session, and with what permission.
    pub(crate) admin: PermittedUser,
    /// About this request.
    pub(crate) info: RequestInfo,
    /// The JSON body.
    pub(crate) body: T,
}

/// An enrolled server.
#[derive(Debug)]
pub(crate) struct AgentCaller<T = ()> {
    /// Which.
    pub(crate) server_id: ServerId,
    /// Its project.
    pub(crate) project_id: ProjectId,
    /// About this request.
    pub(crate) info: RequestInfo,
    /// The JSON body.
    pub(crate) body: T,
}

/// The request as the pipeline left it.
struct Parts<T> {
    caller: Caller,
    info: RequestInfo,
    body: T,
}

async fn parts<T: DeserializeOwned>(mut request: Request) -> Result<Parts<T>, ApiError> {
    let checked: Option<Checked> = request.extensions_mut().remove();
    let (caller, info) = checked.and_then(|checked| checked.take()).ok_or_else(unguarded)?;
    let headers = request.headers().clone();
    let body: Bytes = request
        .extract()
        .await
        .map_err(|error: axum::extract::rejection::BytesRejection| ApiError::internal(error))?;
    Ok(Parts { caller, info, body: parse_json(&headers, &body)? })
}

fn unguarded() -> ApiError {
    ApiError::internal("a handler asks for a stronger caller than the table of endpoints says")
}

impl<S: Send + Sync> FromRequest<S> for Public {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let Parts { caller: _, info: _, body: () } = parts(request).await?;
        Ok(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Proven<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        match parts(request).await? {
            Parts { caller: Caller::Proven(key), info, body } => Ok(Self { key, info, body }),
            Parts { .. } => Err(unguarded()),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for SignedIn {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        match parts(request).await? {
            Parts { caller: Caller::SignedIn(user), info, body: () } => Ok(Self { user, info }),
            Parts { .. } => Err(unguarded()),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Approved<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        match parts(request).await? {
            Parts { caller: Caller::Approved(user), info, body } => Ok(Self { user, info, body }),
            Parts { .. } => Err(unguarded()),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Admin<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        match parts(request).await? {
            Parts { caller: Caller::Permitted(admin), info, body } => Ok(Self { admin, info, body }),
            Parts { .. } => Err(unguarded()),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for AgentCaller<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        match parts(request).await? {
            Parts { caller: Caller::Agent { server_id, project_id }, info, body } => {
                Ok(Self { server_id, project_id, info, body })
            }
            Parts { .. } => Err(unguarded()),
        }
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::invalid("the path holds something that is not UTF-8 or not of the expected form")
            .with_cause(rejection)
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::invalid(format!("query string: {}", rejection.body_text()))
    }
}
