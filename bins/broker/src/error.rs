//! Every error answer of the API: one type, and the one place where other crates' errors become it.
//!
//! What goes to the caller (code, message, reasons, next) and what goes to the log (the cause) are kept apart.

mod kms;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use usher_api::{ErrorBody, ErrorCode, ErrorResponse, StepUp};
use usher_ca::SignError;
use usher_identity::{AuthenticationError, DeviceNotApproved, DeviceState, dpop::ProofError};
use usher_keystore::{GenerateError, LoadError, SignMessageError, kms::KmsError};
use usher_store::{Fault, IssueError, StoreError};
use usher_telemetry::Chain;

use crate::tls::AuthorityError;

/// An error answer.
#[derive(Debug)]
pub(crate) struct ApiError {
    code: ErrorCode,
    message: String,
    reasons: Vec<String>,
    next: Option<String>,
    retry_after: Option<u64>,
    step_up: Option<Box<StepUp>>,
    /// Never shown to the caller.
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ApiError {
    /// An error with its stable code and one sentence for people.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            reasons: Vec::new(),
            next: None,
            retry_after: None,
            step_up: None,
            cause: None,
        }
    }

    /// Malformed or meaningless input; say which field.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// No such thing, or none that the caller may see: the two look alike.
    pub(crate) fn not_found(kind: &str, name: &str) -> Self {
        let shown: String = name.chars().take(64).flat_map(char::escape_default).collect();
        Self::new(ErrorCode::NotFound, format!("there is no {kind} `{shown}`"))
    }

    /// Our fault. The cause is logged, the caller only learns that nothing was changed.
    pub(crate) fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(ErrorCode::Internal, "the broker failed; nothing was changed")
        }
    }

    /// A signing key could not be made, opened or used; no other is used instead.
    pub(crate) fn no_signature(
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
        is_temporary: bool,
    ) -> Self {
        let cause = cause.into();
        if let Some(answer) = kms::answer(cause.as_ref()) {
            return answer.with_cause(cause);
        }
        if is_temporary {
            tracing::warn!(cause = %Chain(cause.as_ref()), "a signing key is unavailable");
            return Self::new(
                ErrorCode::Unavailable,
                "the signing key is unavailable now; nothing was changed",
            )
            .with_retry_after(2)
            .with_cause(cause);
        }
        let message = "the signing key cannot be used; nothing was changed";
        Self { cause: Some(cause), ..Self::new(ErrorCode::Internal, message) }
            .with_next("an administrator of the broker finds the reason in its log")
    }

    /// No session, or one that has ended.
    pub(crate) fn login_required() -> Self {
        Self::new(ErrorCode::LoginRequired, "you are not signed in, or the session has ended")
            .with_next("sign in with `usher login`")
    }

    /// Why access was denied, one sentence each.
    #[must_use]
    pub(crate) fn with_reasons(mut self, reasons: Vec<String>) -> Self {
        self.reasons = reasons;
        self
    }

    /// What to do about it.
    #[must_use]
    pub(crate) fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Seconds until it may work.
    #[must_use]
    pub(crate) fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// What to sign in again for.
    #[must_use]
    pub(crate) fn with_step_up(mut self, step_up: StepUp) -> Self {
        self.step_up = Some(Box::new(step_up));
        self
    }

    /// For the log only.
    #[must_use]
    pub(crate) fn with_cause(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Its sentence.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Seconds until it may work.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    /// Its stable code.
    pub(crate) fn code(&self) -> ErrorCode {
        self.code
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.cause {
            let chain = Chain(cause.as_ref());
            if self.code == ErrorCode::Internal {
                tracing::error!(code = self.code.as_str(), cause = %chain, "request failed");
            } else {
                tracing::debug!(code = self.code.as_str(), cause = %chain, "request refused");
            }
        }
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let challenge = self.step_up.as_ref().map(|step_up| challenge(step_up));
        let body = ErrorResponse {
            error: ErrorBody {
                code: self.code,
                message: self.message,
                reasons: self.reasons,
                next: self.next,
                step_up: self.step_up,
            },
        };
        let mut response = (status, axum::Json(body)).into_response();
        if let Some(challenge) = challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Failed(self.code));
        response
    }
}

/// RFC 9470 section 3, with the scheme of RFC 9449 section 7.1.
fn challenge(step_up: &StepUp) -> String {
    let max_age = step_up.authentication.max_age_seconds;
    let max_age = max_age.map(|age| format!(", max_age=\"{age}\"")).unwrap_or_default();
    format!("DPoP error=\"{}\"{max_age}", ErrorCode::InsufficientUserAuthentication.as_str())
}

/// Left on an error answer for the request log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed(pub(crate) ErrorCode);

impl From<AuthenticationError> for ApiError {
    fn from(error: AuthenticationError) -> Self {
        match error {
            // One sentence for all four: why a stolen token stopped working is not its thief's business.
            AuthenticationError::Token
            | AuthenticationError::Proof
            | AuthenticationError::SessionEnded
            | AuthenticationError::SessionExpired => Self::login_required().with_cause(error),
            AuthenticationError::OtherNetwork | AuthenticationError::SessionIdle => {
                Self::new(ErrorCode::LoginRequired, error.to_string())
                    .with_next("sign in again with `usher login`")
            }
            AuthenticationError::UserDisabled => Self::new(ErrorCode::UserDisabled, "this user is disabled")
                .with_next("ask an administrator of the team"),
            AuthenticationError::DeviceRevoked => {
                Self::new(ErrorCode::DeviceRevoked, "this device was revoked")
                    .with_next("remove the device key and enroll again")
            }
        }
    }
}

impl From<DeviceNotApproved> for ApiError {
    fn from(error: DeviceNotApproved) -> Self {
        match error.state() {
            DeviceState::Approved | DeviceState::Pending => {
                let device = error.device_id();
                Self::new(
                    ErrorCode::DevicePending,
                    format!("device {device} waits for an administrator's approval"),
                )
                .with_next(format!("ask an administrator to run `usher device approve {device}`"))
            }
            DeviceState::Revoked => AuthenticationError::DeviceRevoked.into(),
        }
    }
}

impl From<ProofError> for ApiError {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Nonce => {
                Self::new(ErrorCode::UseDpopNonce, "make the proof again with the nonce of this answer")
            }
            ProofError::Body
            | ProofError::Form
            | ProofError::Header
            | ProofError::IssuedAt
            | ProofError::Length
            | ProofError::Method
            | ProofError::Query
            | ProofError::Signature
            | ProofError::Token
            | ProofError::Url => Self::new(ErrorCode::InvalidProof, error.to_string()),
        }
    }
}

impl From<LoadError> for ApiError {
    fn from(error: LoadError) -> Self {
        let is_temporary = error.is_temporary();
        Self::no_signature(error, is_temporary)
    }
}

impl From<GenerateError> for ApiError {
    fn from(error: GenerateError) -> Self {
        match error {
            GenerateError::NoKms(_) => Self::invalid(error.to_string())
                .with_next("choose another custody, or set up [kms] on the broker"),
            GenerateError::Kms(KmsError::NoPrincipal | KmsError::NoWrappingKey) => {
                Self::invalid("the broker's section [kms] lacks what this custody needs").with_cause(error)
            }
            GenerateError::Key(_)
            | GenerateError::Kms(_)
            | GenerateError::Seal(_)
            | GenerateError::Useless { .. } => {
                let is_temporary = error.is_temporary();
                Self::no_signature(error, is_temporary)
            }
        }
    }
}

impl From<SignMessageError> for ApiError {
    fn from(error: SignMessageError) -> Self {
        let is_temporary = error.is_temporary();
        Self::no_signature(error, is_temporary)
    }
}

impl From<usher_ca::IssueError> for ApiError {
    fn from(error: usher_ca::IssueError) -> Self {
        let is_temporary = matches!(&error, usher_ca::IssueError::Sign(SignError::Unavailable(_)));
        if let usher_ca::IssueError::Sign(_) = &error {
            Self::no_signature(error, is_temporary)
        } else {
            Self::internal(error)
        }
    }
}

impl From<usher_ca::x509::IssueError> for ApiError {
    fn from(error: usher_ca::x509::IssueError) -> Self {
        use usher_ca::x509::IssueError;
        let is_temporary = matches!(&error, IssueError::Sign(SignError::Unavailable(_)));
        if let IssueError::Sign(_) = &error {
            Self::no_signature(error, is_temporary)
        } else {
            Self::internal(error)
        }
    }
}

impl From<AuthorityError> for ApiError {
    fn from(error: AuthorityError) -> Self {
        match &error {
            AuthorityError::Sign(cause) => {
                let is_temporary = cause.is_temporary();
                Self::no_signature(error, is_temporary)
            }
            AuthorityError::Build(_) | AuthorityError::Encoding(_) | AuthorityError::Key => {
                Self::internal(error)
            }
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match (&error, error.fault()) {
            (StoreError::Interrupted, _) => {
                Self::new(ErrorCode::Unavailable, "the broker is going down; try again")
                    .with_retry_after(1)
                    .with_cause(error)
            }
            (StoreError::SealKey, _) => {
                Self::new(ErrorCode::Unavailable, "the broker's seal key was just changed; try again")
                    .with_retry_after(5)
                    .with_cause(error)
            }
            (_, fault) => Self::of_fault(fault, error),
        }
    }
}

impl ApiError {
    /// A database that is away comes back; one that has no room or may not be written to needs somebody.
    fn of_fault(fault: Fault, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        match fault {
            Fault::Conflict | Fault::Lost | Fault::Unavailable => {
                Self::new(ErrorCode::Unavailable, "the broker's database cannot be reached; try again")
                    .with_retry_after(1)
                    .with_cause(cause)
            }
            Fault::Full | Fault::ReadOnly => {
                Self::new(ErrorCode::Unavailable, "the broker's database takes no writes; nothing was done")
                    .with_next("tell whoever runs the broker")
                    .with_cause(cause)
            }
            Fault::Other => Self::internal(cause),
        }
    }
}

impl From<IssueError> for ApiError {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Batch(ref cause) => Self::of_fault(cause.fault(), error),
            IssueError::QueueEnded => {
                Self::new(ErrorCode::Unavailable, "the broker is going down; try again")
                    .with_retry_after(1)
                    .with_cause(error)
            }
        }
    }
}
