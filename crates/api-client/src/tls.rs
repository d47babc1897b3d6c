//! TLS of the client: who is believed to be the broker. There is no trust on first use.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    time_provider::TimeProvider,
};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime as TlsTime};
use thiserror::Error as ThisError;
use usher_types::{Sha256, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, spki_for_anchor};

use crate::error::ClientError;

/// No presented certificate has the pinned key.
#[derive(Clone, Copy, Debug, ThisError)]
#[error("no presented certificate has the pinned key")]
pub(crate) struct PinMismatch;

/// Pins that may be replaced while connections come and go. Empty: the platform's roots decide, for good.
#[derive(Debug)]
pub(crate) struct Pins(RwLock<Vec<Sha256>>);

impl Pins {
    pub(crate) fn new(pins: Vec<Sha256>) -> Self {
        Self(RwLock::new(pins))
    }

    /// Takes other pins. Whoever had none gets none, and whoever had some never loses the last.
    pub(crate) fn replace(&self, pins: Vec<Sha256>) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !held.is_empty() && !pins.is_empty() {
            *held = pins;
        }
    }

    fn is_empty(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn contains(&self, pin: &Sha256) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(pin)
    }
}

/// The TLS configuration: with pins only the pinned roots count, without any only the platform's.
pub(crate) fn config(pins: &Arc<Pins>, clock: fn() -> UnixTime) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = if pins.is_empty() {
        platform(Arc::clone(&provider))?
    } else {
        Arc::new(PinnedRoots { pins: Arc::clone(pins), provider: Arc::clone(&provider) })
    };
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(Clock(clock)))
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Reads the machine's trusted roots; takes milliseconds, so it is not done when there is a pin.
fn platform(provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, ClientError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(ClientError::NoRoots);
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|_error| ClientError::NoRoots)?;
    Ok(verifier)
}

#[derive(Debug)]
struct Clock(fn() -> UnixTime);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<TlsTime> {
        let seconds = u64::try_from((self.0)().as_secs()).ok()?;
        Some(TlsTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// Accepts a server whose chain leads to a presented certificate with a pinned public key, and nothing else.
#[derive(Debug)]
struct PinnedRoots {
    pins: Arc<Pins>,
    provider: Arc<CryptoProvider>,
}

impl PinnedRoots {
    /// The presented certificates with a pinned key, as the only trust anchors. Whoever presents one without holding
    /// its private key gets no further: the chain below it does not verify.
    fn anchors<'a>(&self, presented: &'a [CertificateDer<'a>]) -> Vec<TrustAnchor<'a>> {
        let anchors = presented.iter().filter_map(|certificate| anchor_from_trusted_cert(certificate).ok());
        anchors.filter(|anchor| self.pins.contains(&Sha256::of(&spki_for_anchor(anchor)))).collect()
    }
}

impl ServerCertVerifier for PinnedRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: TlsTime,
    ) -> Result<ServerCertVerified, Error> {
        let anchors = self.anchors(intermediates);
        if anchors.is_empty() {
            return Err(CertificateError::Other(OtherError(Arc::new(PinMismatch))).into());
        }
        let leaf = EndEntityCert::try_from(end_entity).map_err(refused)?;
        leaf.verify_for_usage(
            self.provider.signature_verification_algorithms.all,
            &anchors,
            intermediates,
            now,
            KeyUsage::server_auth(),
            None,
            None,
        )
        .map_err(refused)?;
        leaf.verify_is_valid_for_subject_name(server_name).map_err(refused)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The few reasons that people can act on by name, the rest as it is.
fn refused(error: webpki::Error) -> Error {
    match error {
        webpki::Error::CertExpired { time, not_after } => {
            CertificateError::ExpiredContext { time, not_after }.into()
        }
        webpki::Error::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }.into()
        }
        webpki::Error::CertNotValidForName(_) => CertificateError::NotValidForName.into(),
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer.into(),
        other => CertificateError::Other(OtherError(Arc::new(other))).into(),
    }
}
