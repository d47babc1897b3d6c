//! What a failure of AWS KMS is to the caller: a stable code each, and what to do about it. Names no key and no account.

use std::error::Error;

use usher_api::ErrorCode;
use usher_keystore::{Algorithm, kms::KmsError};
use usher_telemetry::Chain;

use super::ApiError;

/// The answer, when KMS is among the causes of `error`.
pub(super) fn answer(error: &(dyn Error + 'static)) -> Option<ApiError> {
    let cause = std::iter::successors(Some(error), |error| (*error).source())
        .find_map(|error| error.downcast_ref::<KmsError>())?;
    let chain = Chain(error);
    if cause.is_temporary() {
        tracing::warn!(cause = %chain, "a signing key is unavailable");
    } else {
        tracing::error!(cause = %chain, "a signing key cannot be used");
    }
    Some(of(cause))
}

fn of(error: &KmsError) -> ApiError {
    let (code, what, next) = match error {
        KmsError::Busy | KmsError::Throttled => (
            ErrorCode::Unavailable,
            "the key management service gets more requests than it takes",
            "try again; when it stays, whoever runs the broker asks AWS for a higher quota of KMS requests",
        ),
        KmsError::CircuitOpen | KmsError::TimedOut | KmsError::Unavailable { .. } => (
            ErrorCode::Unavailable,
            "the key management service does not answer",
            "try again; when it stays, whoever runs the broker looks at the way from there to AWS KMS",
        ),
        KmsError::Denied { .. } => (
            ErrorCode::KeyDenied,
            "the key management service denies the broker access",
            "whoever runs the broker compares its role and credentials with what the README says of AWS KMS",
        ),
        KmsError::Disabled => (
            ErrorCode::KeyDisabled,
            "the signing key is disabled in the key management service, or waits for its deletion there",
            "an administrator of the AWS account enables it again, or a new key takes its place by a rotation",
        ),
        KmsError::Missing => (
            ErrorCode::KeyMissing,
            "the key management service does not have the signing key",
            "whoever runs the broker looks at [kms] region; a deleted key is replaced by a rotation",
        ),
        KmsError::NotOffered(Algorithm::Ed25519) => (
            ErrorCode::KeyNotOffered,
            "the key management service has no Ed25519 keys in this region",
            "use certificate type `ecdsa-p256`, another region, or another custody",
        ),
        KmsError::NotOffered(Algorithm::EcdsaP256) => (
            ErrorCode::KeyNotOffered,
            "the key management service has no P-256 keys in this region",
            "use another region, or another custody",
        ),
        KmsError::BadAnswer | KmsError::WrongSignature => (
            ErrorCode::KeyWrong,
            "the key management service answered wrongly, which was not used",
            "whoever runs the broker finds the reason in its log; do not go on before it is known",
        ),
        KmsError::Exists
        | KmsError::NoPrincipal
        | KmsError::NoWrappingKey
        | KmsError::Refused { .. }
        | KmsError::TooLong => (
            ErrorCode::Internal,
            "the signing key cannot be used",
            "an administrator of the broker finds the reason in its log",
        ),
    };
    let answer = ApiError::new(code, format!("{what}; nothing was changed")).with_next(next);
    if error.is_temporary() { answer.with_retry_after(2) } else { answer }
}

#[cfg(test)]
mod tests {
    use usher_keystore::{GenerateError, SignMessageError};

    use super::*;

    /// Whatever wraps it, and nothing of what the account is called.
    #[test]
    fn every_failure_has_its_code_wherever_it_is_in_the_chain() {
        for (error, code) in [
            (KmsError::Throttled, ErrorCode::Unavailable),
            (KmsError::CircuitOpen, ErrorCode::Unavailable),
            (KmsError::Denied { code: "AccessDeniedException".to_owned() }, ErrorCode::KeyDenied),
            (KmsError::Disabled, ErrorCode::KeyDisabled),
            (KmsError::Missing, ErrorCode::KeyMissing),
            (KmsError::NotOffered(Algorithm::Ed25519), ErrorCode::KeyNotOffered),
            (KmsError::WrongSignature, ErrorCode::KeyWrong),
        ] {
            let arn = "arn:aws:kms:eu-central-1:123456789012:key/1".to_owned();
            let useless = GenerateError::Useless { arn, source: error.clone() };
            let signing = usher_ca::IssueError::Sign(SignMessageError::Kms(error.clone()).into());
            for cause in [answer(&useless), answer(&signing), answer(&error)] {
                let shown = cause.unwrap();
                assert_eq!(shown.code(), code, "{error:?}");
                assert_eq!(shown.retry_after().is_some(), error.is_temporary());
                assert!(!shown.message().contains("123456789012"));
            }
        }
        assert!(answer(&std::fmt::Error).is_none());
    }
}
