//! Asks a provider: addresses checked, answers bounded in size and time, no redirect followed, no proxy.

use std::{error::Error as _, future::Future, pin::Pin, sync::Arc, time::Duration};

use ipnet::IpNet;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::{Client, redirect};
use thiserror::Error;
use url::Url;

use super::address::{AddressRefused, CheckedResolver, check_url};

/// Longest answer that is read.
const MAX_ANSWER: usize = 256 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a provider did not answer.
#[derive(Debug, Error)]
pub enum HttpError {
    /// It must not be asked.
    #[error("the provider's address is refused")]
    Address(#[source] AddressRefused),
    /// It cannot be reached, or broke off.
    #[error("the provider does not answer")]
    Request(#[source] reqwest::Error),
    /// It says more than is read.
    #[error("the provider's answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
}

/// A client for one connector.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    private_networks: Arc<[IpNet]>,
}

impl Http {
    pub(super) fn new(
        tls: rustls::ClientConfig,
        private_networks: Arc<[IpNet]>,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .dns_resolver(CheckedResolver(Arc::clone(&private_networks)))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .user_agent(concat!("usher-broker/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, private_networks })
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url: Url =
            parts.uri.to_string().parse().map_err(|_error| HttpError::Address(AddressRefused::Shape))?;
        check_url(&url, &self.private_networks).map_err(HttpError::Address)?;
        let request = self.client.request(parts.method, url).headers(parts.headers).body(body);
        let mut answer = request.send().await.map_err(unreachable)?;
        let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(HttpError::Request)? {
            if body.len().saturating_add(chunk.len()) > MAX_ANSWER {
                return Err(HttpError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = HttpResponse::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// What the resolver refused was not a failure of the provider.
fn unreachable(error: reqwest::Error) -> HttpError {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<AddressRefused>() {
            return HttpError::Address(refused.clone());
        }
        cause = error.source();
    }
    HttpError::Request(error)
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
