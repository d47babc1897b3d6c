//! What can go wrong in a call, told apart by what one does about it.

use std::{error::Error as StdError, io, time::Duration};

use thiserror::Error;
use usher_api::{ErrorBody, ErrorCode};

use crate::{config::AddressError, tls::PinMismatch};

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The URL cannot be a broker's.
    #[error("the broker's url cannot be used")]
    Address(#[source] AddressError),
    /// The HTTP client could not be set up.
    #[error("the http client could not be set up")]
    Http(#[source] reqwest::Error),
    /// The TLS library refused the configuration.
    #[error("tls could not be set up")]
    Tls(#[source] rustls::Error),
    /// No trusted root was found on this machine, and there is no pin.
    #[error("this machine has no trusted root certificates; use the broker's url with its pin")]
    NoRoots,
}

/// Why a call failed.
#[derive(Debug, Error)]
pub enum CallError {
    /// The broker said no, in its own words.
    #[error("{}", body.message)]
    Api {
        /// Code, message, reasons and what to do next.
        body: ErrorBody,
        /// The HTTP status.
        status: u16,
        /// When it may say something else, if it said that.
        retry_after: Option<Duration>,
    },
    /// The broker's answer is not what the API promises.
    #[error("the broker's answer with status {status} cannot be understood")]
    Answer {
        /// The HTTP status.
        status: u16,
        /// Why, when it was JSON.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// A name that cannot be part of a request.
    #[error("`{text}` cannot be the name or id of anything")]
    Argument {
        /// The name.
        text: String,
    },
    /// The broker's certificate is not good: expired, for another name, or of an unknown root.
    #[error("the broker's certificate is not acceptable")]
    Certificate(#[source] rustls::Error),
    /// The broker cannot be reached, or the connection broke more than once.
    #[error("the broker cannot be reached")]
    Network(#[source] reqwest::Error),
    /// The broker does not have the pinned root.
    #[error(
        "the broker's certificate does not come from the pinned root; somebody else may be answering, or the team's root was replaced"
    )]
    Pin,
    /// The operating system gave no random bytes.
    #[error("no random numbers can be had")]
    Random(#[source] getrandom::Error),
    /// The request could not be written as JSON.
    #[error("the request cannot be encoded")]
    Request(#[source] serde_json::Error),
    /// No answer in time.
    #[error("the broker did not answer in time")]
    Timeout,
}

impl CallError {
    /// The broker's error code, when it was the broker that said no.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Api { body, .. } => Some(body.code),
            Self::Answer { .. }
            | Self::Argument { .. }
            | Self::Certificate(_)
            | Self::Network(_)
            | Self::Pin
            | Self::Random(_)
            | Self::Request(_)
            | Self::Timeout => None,
        }
    }

    /// How long the broker wants to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Api { retry_after, .. } => *retry_after,
            Self::Answer { .. }
            | Self::Argument { .. }
            | Self::Certificate(_)
            | Self::Network(_)
            | Self::Pin
            | Self::Random(_)
            | Self::Request(_)
            | Self::Timeout => None,
        }
    }

    /// Whether the broker could not be asked at all, as opposed to having said no.
    #[must_use]
    pub fn is_network(&self) -> bool {
        match self {
            Self::Certificate(_) | Self::Network(_) | Self::Pin | Self::Timeout => true,
            Self::Api { .. }
            | Self::Answer { .. }
            | Self::Argument { .. }
            | Self::Random(_)
            | Self::Request(_) => false,
        }
    }

    /// What failed inside the HTTP library.
    pub(crate) fn from_transport(error: reqwest::Error) -> Self {
        match tls_error(&error) {
            Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)))
                if other.0.is::<PinMismatch>() =>
            {
                Self::Pin
            }
            Some(tls @ rustls::Error::InvalidCertificate(_)) => Self::Certificate(tls.clone()),
            Some(_) | None if error.is_timeout() => Self::Timeout,
            Some(_) | None => Self::Network(error),
        }
    }
}

/// Finds the TLS library's error in a chain of causes. `io::Error` hides what it carries from `source`.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
