//! What can go wrong with a call to KMS, by what can be done about it.

use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use thiserror::Error;

use crate::Algorithm;

/// Why KMS did not do what it was asked to.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KmsError {
    /// The answer lacks something, or what is stored of a key is damaged.
    #[error("the answer of the key management service makes no sense")]
    BadAnswer,
    /// Too many wait already.
    #[error("too many requests wait for the key management service")]
    Busy,
    /// It did not answer lately, so it is not asked for a while.
    #[error("the key management service did not answer lately and is not asked for now")]
    CircuitOpen,
    /// The broker's credentials are not good for this.
    #[error("the key management service denied access (`{code}`)")]
    Denied {
        /// AWS's code.
        code: String,
    },
    /// The key is disabled or waits for its deletion.
    #[error("the key is disabled or waits for its deletion in the key management service")]
    Disabled,
    /// There is one of that name.
    #[error("the key management service has one of that name already")]
    Exists,
    /// There is no such key.
    #[error("the key management service has no such key")]
    Missing,
    /// It has no keys of this algorithm.
    #[error("the key management service has no {} keys here", .0.as_str())]
    NotOffered(Algorithm),
    /// `principal` is not configured.
    #[error("to make keys in AWS KMS, set [kms] principal to the ARN of the broker's IAM role")]
    NoPrincipal,
    /// `wrapping_key` is not configured.
    #[error("custody `aws-kms-wrapped` needs [kms] wrapping_key")]
    NoWrappingKey,
    /// It will not do that.
    #[error("the key management service refused (`{code}`)")]
    Refused {
        /// AWS's code.
        code: String,
    },
    /// Too many calls in this account and region.
    #[error("the key management service throttles")]
    Throttled,
    /// No answer within the time.
    #[error("the key management service did not answer in time")]
    TimedOut,
    /// What is to be signed is longer than KMS takes.
    #[error("the message is longer than the key management service signs")]
    TooLong,
    /// It cannot be reached, or is broken.
    #[error("the key management service cannot be reached (`{code}`)")]
    Unavailable {
        /// What is known.
        code: String,
    },
    /// The signature is not the key's over the message. It was not used.
    #[error("the key management service returned a wrong signature, which was not used")]
    WrongSignature,
}

impl KmsError {
    /// Whether the same may work a little later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Busy | Self::CircuitOpen | Self::Throttled | Self::TimedOut | Self::Unavailable { .. } => {
                true
            }
            Self::BadAnswer
            | Self::Denied { .. }
            | Self::Disabled
            | Self::Exists
            | Self::Missing
            | Self::NotOffered(_)
            | Self::NoPrincipal
            | Self::NoWrappingKey
            | Self::Refused { .. }
            | Self::TooLong
            | Self::WrongSignature => false,
        }
    }

    /// Whether KMS may have done what it was asked to all the same.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Unavailable { .. })
    }

    pub(super) fn of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Self {
        match error {
            SdkError::TimeoutError(_) => return Self::TimedOut,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => return Self::TimedOut,
            SdkError::DispatchFailure(_) => return Self::Unavailable { code: "no connection".to_owned() },
            SdkError::ResponseError(_) => return Self::Unavailable { code: "no good answer".to_owned() },
            SdkError::ConstructionFailure(_) => {
                return Self::Refused { code: "not a good request".to_owned() };
            }
            // A service error; the enum may grow.
            _ => {}
        }
        let code = error.code().unwrap_or("no code").to_owned();
        match code.as_str() {
            "AlreadyExistsException" => Self::Exists,
            "AccessDeniedException"
            | "ExpiredTokenException"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "MissingAuthenticationToken"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException" => Self::Denied { code },
            "DisabledException" | "KMSInvalidStateException" => Self::Disabled,
            "DependencyTimeoutException" | "KeyUnavailableException" | "KMSInternalException" => {
                Self::Unavailable { code }
            }
            "NotFoundException" => Self::Missing,
            "LimitExceededException"
            | "RequestLimitExceeded"
            | "ThrottlingException"
            | "TooManyRequestsException" => Self::Throttled,
            _ => match error.raw_response().map(|response| response.status().as_u16()) {
                Some(401 | 403) => Self::Denied { code },
                Some(429) => Self::Throttled,
                Some(500..) => Self::Unavailable { code },
                _ => Self::Refused { code },
            },
        }
    }
}
