//! The broker's certificate: one of the team's TLS root, made anew while the process runs, or the operator's own.

mod authority;
mod leaf;

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use thiserror::Error;
use usher_types::{Sha256, UnixTime};

pub use self::{
    authority::{AuthorityError, TeamAuthority, pin_of},
    leaf::LeafError,
};
use crate::Config;

/// Why TLS cannot be served.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The operator's certificate or key cannot be used.
    #[error("certificate and key cannot be used together")]
    Certificate(#[source] rustls::Error),
    /// The operator's certificate or key cannot be read.
    #[error("`{file}` cannot be read as PEM")]
    File {
        /// Which.
        file: String,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A leaf of the team's root could not be made.
    #[error("the broker's certificate could not be made")]
    Leaf(#[source] LeafError),
}

/// The certificate that is served now.
#[derive(Debug)]
pub(crate) struct Certificate {
    served: ArcSwap<CertifiedKey>,
    renew_at: ArcSwap<UnixTime>,
    /// Pin of the root that stood behind it; whether it issued it is for [`Config::is_pinned`] to say.
    root: ArcSwap<Sha256>,
}

impl Certificate {
    /// The first certificate.
    pub(crate) async fn make(
        config: &Config,
        authority: &TeamAuthority,
        now: UnixTime,
    ) -> Result<Arc<Self>, TlsError> {
        let (served, renew_at) = current(config, authority, now).await?;
        Ok(Arc::new(Self {
            served: ArcSwap::from_pointee(served),
            renew_at: ArcSwap::from_pointee(renew_at),
            root: ArcSwap::from_pointee(authority.pin()),
        }))
    }

    /// Makes the next one when half of this one's life is over or its root is not the one that serves any more (an
    /// operator's own: reads the files again).
    pub(crate) async fn renew(
        &self,
        config: &Config,
        authority: &TeamAuthority,
        now: UnixTime,
    ) -> Result<bool, TlsError> {
        let other_root = config.is_pinned() && **self.root.load() != authority.pin();
        if now < **self.renew_at.load() && !other_root {
            return Ok(false);
        }
        let (served, renew_at) = current(config, authority, now).await?;
        self.served.store(Arc::new(served));
        self.renew_at.store(Arc::new(renew_at));
        self.root.store(Arc::new(authority.pin()));
        Ok(true)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.served.load_full())
    }
}

async fn current(
    config: &Config,
    authority: &TeamAuthority,
    now: UnixTime,
) -> Result<(CertifiedKey, UnixTime), TlsError> {
    let (Some(certificate), Some(key)) = (&config.tls.certificate_file, &config.tls.private_key_file) else {
        let leaf = authority.leaf(&config.public_url, now).await.map_err(TlsError::Leaf)?;
        let renew_at = now.saturating_add(leaf::LIFETIME / 2);
        return Ok((certified(leaf.chain, leaf.key)?, renew_at));
    };
    let file = |path: &std::path::Path| {
        let file = path.display().to_string();
        move |source| TlsError::File { file, source }
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).map_err(file(certificate))?.collect();
    let chain = chain.map_err(file(certificate))?;
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(file(key))?;
    Ok((certified(chain, key_der)?, now.saturating_add(std::time::Duration::from_secs(3600))))
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, TlsError> {
    CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Certificate)
}

/// A certificate in PEM (RFC 7468), from its DER.
pub(crate) fn to_pem(der: &[u8]) -> String {
    der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der).unwrap_or_default()
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// TLS 1.3 and 1.2, HTTP/1.1, no client certificates, no early data.
pub(crate) fn server_config(certificate: Arc<Certificate>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
