//! A collector that takes lines by HTTP: `POST` with `application/x-ndjson`, any 2xx means that it has them.

use std::{path::Path, path::PathBuf, sync::Arc};

use reqwest::{Client, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use url::Url;

use super::SinkError;
use crate::AuditConfig;

pub(super) struct PushSink {
    url: Url,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    /// Made at the first delivery; anew after a failure, with what the files say then.
    client: Option<Client>,
}

impl PushSink {
    pub(super) fn new(url: Url, config: &AuditConfig) -> Self {
        let (token_file, ca_file) = (config.push_token_file.clone(), config.push_ca_file.clone());
        Self { url, token_file, ca_file, client: None }
    }

    /// Posts the lines and waits for the answer.
    pub(super) async fn post(&mut self, lines: Vec<u8>) -> Result<(), SinkError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => client(self.ca_file.as_deref())?,
        };
        let mut request =
            client.post(self.url.clone()).header("content-type", "application/x-ndjson").body(lines);
        if let Some(path) = &self.token_file {
            let token = tokio::fs::read_to_string(path).await.map_err(|source| unreadable(path, source))?;
            request = request.bearer_auth(token.trim());
        }
        let answer = request.send().await.map_err(SinkError::Http)?;
        if !answer.status().is_success() {
            return Err(SinkError::Answer(answer.status()));
        }
        self.client = Some(client);
        Ok(())
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> SinkError {
    SinkError::File { path: path.display().to_string(), source }
}

fn client(ca_file: Option<&Path>) -> Result<Client, SinkError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let wrong = || unreadable(path, std::io::Error::other("no certificates in PEM form"));
            let certificates = CertificateDer::pem_file_iter(path).map_err(|_error| wrong())?;
            for certificate in certificates {
                let added = certificate.ok().map(|certificate| roots.add(certificate));
                added.and_then(Result::ok).ok_or_else(wrong)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_error| SinkError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(config)
        .http1_only()
        .redirect(redirect::Policy::none())
        .user_agent(concat!("usher-broker/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(SinkError::Http)
}
