//! GitHub's own endpoint for the identity tokens of Actions. Asked from inside a job; nothing is kept.

use std::{sync::Arc, time::Duration};

use reqwest::redirect;
use serde::Deserialize;
use thiserror::Error;
use url::{Host, Url};
use usher_types::{Secret, UnixTime};

use crate::{ClientError, tls};

const TIMEOUT: Duration = Duration::from_secs(20);
const MAX_ANSWER: usize = 64 * 1024;

/// Why GitHub gave no token.
#[derive(Debug, Error)]
pub enum GitHubError {
    /// The address is not one that a secret may be sent to.
    #[error("the address of GitHub's token endpoint must begin with `https://`")]
    Address,
    /// The answer is none.
    #[error("GitHub's answer with status {0} is no token; does the job have `permissions: id-token: write`?")]
    Answer(u16),
    /// No client can be made.
    #[error("the http client could not be set up")]
    Client(#[source] ClientError),
    /// It cannot be reached.
    #[error("GitHub's token endpoint cannot be reached")]
    Network(#[source] reqwest::Error),
}

#[derive(Deserialize)]
struct Answer {
    value: String,
}

/// The identity token of this job, made for `audience`. `url` and `request_token` are what the job finds in
/// `ACTIONS_ID_TOKEN_REQUEST_URL` and `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
///
/// # Errors
/// [`GitHubError`].
pub async fn github_token(
    url: &str,
    request_token: &Secret<String>,
    audience: &str,
    clock: fn() -> UnixTime,
) -> Result<Secret<String>, GitHubError> {
    let mut url: Url = url.parse().map_err(|_error| GitHubError::Address)?;
    let here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    };
    if !matches!((url.scheme(), here), ("https", _) | ("http", true)) {
        return Err(GitHubError::Address);
    }
    url.query_pairs_mut().append_pair("audience", audience);
    let pins = Arc::new(tls::Pins::new(Vec::new()));
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config(&pins, clock).map_err(GitHubError::Client)?)
        .http1_only()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(TIMEOUT)
        .user_agent(concat!("usher/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| GitHubError::Client(ClientError::Http(error)))?;
    let request = client.get(url).bearer_auth(request_token.expose());
    let mut response = request.send().await.map_err(GitHubError::Network)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(GitHubError::Network)? {
        if body.len().saturating_add(chunk.len()) > MAX_ANSWER {
            return Err(GitHubError::Answer(status.as_u16()));
        }
        body.extend_from_slice(&chunk);
    }
    let answer: Option<Answer> = status.is_success().then(|| serde_json::from_slice(&body).ok()).flatten();
    answer.map(|answer| Secret::new(answer.value)).ok_or(GitHubError::Answer(status.as_u16()))
}
