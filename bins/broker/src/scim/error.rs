//! Errors in the form of RFC 7644 section 3.12, and the one place where other crates' faults become it.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use usher_api::ErrorCode;
use usher_identity::scim::{AttributeError, PatchError};
use usher_sign_in::scim::{FilterError, ParsePatchError, PathError};
use usher_store::{
    StoreError,
    project_users::AllocateUserError,
    scim::{ListError, groups::WriteGroupError, users::WriteUserError},
    users::ChangeUserError,
};

use crate::error::{ApiError, Failed};

/// An error answer.
#[derive(Debug)]
pub(super) struct ScimError {
    status: StatusCode,
    /// `scimType`, for those errors that have one.
    kind: Option<&'static str>,
    detail: String,
    retry_after: Option<u64>,
    /// For the log of requests.
    failed: Option<ErrorCode>,
}

impl ScimError {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, kind: None, detail: detail.into(), retry_after: None, failed: None }
    }

    fn bad(kind: &'static str, detail: impl Into<String>) -> Self {
        Self { kind: Some(kind), ..Self::new(StatusCode::BAD_REQUEST, detail) }
    }

    /// The body is not what it must be.
    pub(super) fn syntax(detail: impl Into<String>) -> Self {
        Self::bad("invalidSyntax", detail)
    }

    /// A value is not what it must be.
    pub(super) fn value(detail: impl Into<String>) -> Self {
        Self::bad("invalidValue", detail)
    }

    /// More than is taken at once.
    pub(super) fn too_many(detail: impl Into<String>) -> Self {
        Self::bad("tooMany", detail)
    }

    fn conflict(detail: impl Into<String>) -> Self {
        Self { kind: Some("uniqueness"), ..Self::new(StatusCode::CONFLICT, detail) }
    }

    /// No such thing, or not of this connector: the two look alike.
    pub(super) fn not_found(kind: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no such {kind}"))
    }

    pub(super) fn not_implemented() -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "this is not offered")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this cannot be done here")
    }

    /// No good token. One sentence for everything that may be wrong with one.
    pub(super) fn unauthorized() -> Self {
        Self {
            failed: Some(ErrorCode::TokenRefused),
            ..Self::new(StatusCode::UNAUTHORIZED, "the token is not accepted")
        }
    }

    pub(super) fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        ApiError::internal(cause).into()
    }

    /// Whether the request itself was wrong: what it did is undone, and others may go on.
    pub(super) fn is_callers(&self) -> bool {
        self.status.is_client_error()
    }

    /// Status and body, as an operation among many has them.
    pub(super) fn parts(&self) -> (StatusCode, Value) {
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "status": self.status.as_str(),
            "detail": self.detail,
        });
        if let (Some(kind), Some(body)) = (self.kind, body.as_object_mut()) {
            body.insert("scimType".to_owned(), kind.into());
        }
        (self.status, body)
    }

    pub(super) fn into_response(self) -> Response {
        let (status, body) = self.parts();
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/scim+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(code) = self.failed {
            response.extensions_mut().insert(Failed(code));
        }
        response
    }
}

impl From<ApiError> for ScimError {
    fn from(error: ApiError) -> Self {
        let status = StatusCode::from_u16(error.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (code, detail, retry_after) = (error.code(), error.message().to_owned(), error.retry_after());
        // Logs its cause.
        drop(error.into_response());
        Self { status, kind: None, detail, retry_after, failed: Some(code) }
    }
}

impl From<StoreError> for ScimError {
    fn from(error: StoreError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<AttributeError> for ScimError {
    fn from(error: AttributeError) -> Self {
        let kind = match error {
            AttributeError::Immutable(_) | AttributeError::ReadOnly(_) => "mutability",
            AttributeError::Missing(_) | AttributeError::Value { .. } => "invalidValue",
            AttributeError::TooLong => "tooMany",
        };
        Self::bad(kind, error.to_string())
    }
}

impl From<PatchError> for ScimError {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::Attribute(error) => error.into(),
            PatchError::MemberFilter => Self::bad("invalidFilter", error.to_string()),
            PatchError::NoTarget(_) => Self::bad("noTarget", error.to_string()),
        }
    }
}

impl From<ParsePatchError> for ScimError {
    fn from(error: ParsePatchError) -> Self {
        match error {
            ParsePatchError::NoTarget => Self::bad("noTarget", error.to_string()),
            ParsePatchError::Path(error) => error.into(),
            ParsePatchError::Syntax(_) => Self::syntax(error.to_string()),
            ParsePatchError::TooMany => Self::too_many(error.to_string()),
        }
    }
}

impl From<PathError> for ScimError {
    fn from(error: PathError) -> Self {
        Self::bad("invalidPath", error.to_string())
    }
}

impl From<FilterError> for ScimError {
    fn from(error: FilterError) -> Self {
        let detail = match &error {
            FilterError::Path(cause) => format!("{error}: {cause}"),
            FilterError::Comparison(_) | FilterError::Form | FilterError::TooMany => error.to_string(),
        };
        Self::bad("invalidFilter", detail)
    }
}

impl From<ListError> for ScimError {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Attribute(_) => Self::bad("invalidFilter", error.to_string()),
            ListError::Store(error) => error.into(),
        }
    }
}

impl From<WriteUserError> for ScimError {
    fn from(error: WriteUserError) -> Self {
        match error {
            WriteUserError::Change(error) => error.into(),
            WriteUserError::ExternalId => Self::value(error.to_string()),
            WriteUserError::NoName | WriteUserError::Taken(_) => Self::conflict(error.to_string()),
            WriteUserError::Store(error) => error.into(),
        }
    }
}

impl From<ChangeUserError> for ScimError {
    fn from(error: ChangeUserError) -> Self {
        match error {
            ChangeUserError::LastOwner(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            ChangeUserError::Store(error) => error.into(),
        }
    }
}

impl From<WriteGroupError> for ScimError {
    fn from(error: WriteGroupError) -> Self {
        match error {
            WriteGroupError::NotAUser(_) => Self::value(error.to_string()),
            WriteGroupError::NoName | WriteGroupError::Reserved(_) | WriteGroupError::Taken(_) => {
                Self::conflict(error.to_string())
            }
            WriteGroupError::Store(error) => error.into(),
        }
    }
}

impl From<AllocateUserError> for ScimError {
    fn from(error: AllocateUserError) -> Self {
        match error {
            AllocateUserError::Exhausted { .. } | AllocateUserError::Taken { .. } => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            AllocateUserError::Store(error) => error.into(),
        }
    }
}
