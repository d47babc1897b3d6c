//! Second half of issuing: from a signature to a certificate, after everything has been checked once more.

use std::fmt;

use thiserror::Error;
use usher_types::{Period, Sha256, UnixTime};
use x509_cert::der;

use super::{
    AuthorityToBeSigned, CaCertificate, CaCertificateError, ToBeSigned, VerifyError,
    algorithm::{algorithm_of, to_bit_string},
    authority::to_pem,
    der::{SEQUENCE, Writer},
    names::common_name,
    prepare::{Kind, Wanted},
    read::{Fields, SERVER_AUTH, Unverified},
    verify::{client_identity, server_identity, smart_card},
};
use crate::{BadSignature, CaPublicKey, CheckedKey, Serial, SignError, Signature};

/// A signed certificate that says exactly what its authorization allowed. The only way to one is through
/// [`prepare_client`](super::prepare_client) and [`prepare_server`](super::prepare_server).
///
/// ```compile_fail,E0451
/// # use usher_ca::x509::Certificate;
/// fn forge(der: Vec<u8>, other: Certificate) -> Certificate {
///     Certificate { der, ..other }
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    serial: Serial,
    subject: CaPublicKey,
    period: Period,
}

/// Why a signature did not make a certificate.
#[derive(Debug, Error)]
pub enum SealError {
    /// The finished certificate of an authority is none.
    #[error("the certificate is not one of an authority")]
    Authority(#[source] CaCertificateError),
    /// It could not be encoded.
    #[error("the certificate could not be encoded")]
    Encoding,
    /// What was encoded does not say what the authorization said.
    #[error("the certificate's {field} is not what was authorized")]
    Field {
        /// Which part.
        field: &'static str,
    },
    /// The signature is not the authority's over these bytes.
    #[error("the signing key returned a wrong signature")]
    Signature(#[source] BadSignature),
    /// The key did not sign.
    #[error("the certificate could not be signed")]
    Sign(#[source] SignError),
    /// What was encoded cannot be read back.
    #[error("the certificate cannot be read back")]
    Unreadable(#[source] VerifyError),
    /// The key that was to sign is not the one the certificate names.
    #[error("the certificate was prepared for another signing key")]
    WrongKey,
}

impl ToBeSigned {
    /// Completes the certificate with a signature made elsewhere, which is verified first.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(self, signature: Signature) -> Result<Certificate, SealError> {
        self.authority.verify(&self.bytes, &signature).map_err(SealError::Signature)?;
        self.complete(&signature)
    }

    /// Signs and completes the certificate with a key of this process. The signature is not verified again:
    /// [`CheckedKey`] has shown once that it signs correctly, and these are the bytes it signs.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn sign_with(self, key: &CheckedKey) -> Result<Certificate, SealError> {
        if *key.authority() != self.authority {
            return Err(SealError::WrongKey);
        }
        let signature = key.sign_now(&self.bytes).map_err(SealError::Sign)?;
        self.complete(&signature)
    }

    fn complete(self, signature: &Signature) -> Result<Certificate, SealError> {
        let Self { authority, bytes, wanted } = self;
        let der = assemble(&bytes, &authority, signature).map_err(|_error| SealError::Encoding)?;
        check(&der, &bytes, &wanted)?;
        Ok(Certificate { der, serial: wanted.serial, subject: wanted.subject_key, period: wanted.period })
    }
}

impl AuthorityToBeSigned {
    /// Completes the certificate with a signature made elsewhere, which is verified first.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(self, signature: Signature) -> Result<CaCertificate, SealError> {
        CaCertificate::from_der(self.0.seal(signature)?.der).map_err(SealError::Authority)
    }

    /// Signs and completes the certificate with a key of this process.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn sign_with(self, key: &CheckedKey) -> Result<CaCertificate, SealError> {
        CaCertificate::from_der(self.0.sign_with(key)?.der).map_err(SealError::Authority)
    }
}

fn assemble(signed: &[u8], authority: &CaPublicKey, signature: &Signature) -> der::Result<Vec<u8>> {
    let mut fields = Writer::with_capacity(1024);
    fields.encoded(signed);
    fields.encode(&algorithm_of(authority))?;
    fields.encode(&to_bit_string(signature)?)?;
    let mut whole = Writer::with_capacity(1024);
    whole.value(SEQUENCE, &fields.finish());
    Ok(whole.finish())
}

/// Reads the certificate back, as [`verify_client_at`](super::verify_client_at) does, and compares each field with the
/// authorization's.
fn check(der: &[u8], signed: &[u8], wanted: &Wanted) -> Result<(), SealError> {
    let read = Unverified::parse(der).map_err(SealError::Unreadable)?;
    let fields = read.fields().map_err(SealError::Unreadable)?;
    let checks = [
        ("signed part", read.signed() == signed),
        ("serial", fields.serial() == Ok(wanted.serial)),
        ("issuer", common_name(fields.issuer) == Some(&wanted.issuer)),
        ("subject", common_name(fields.subject) == Some(&wanted.subject)),
        ("validity", fields.period == wanted.period),
        ("subject key", fields.key == wanted.subject_key),
        ("authority key", key_identifier(&fields, wanted)),
        ("kind", is_of_kind(&fields, &wanted.kind)),
    ];
    match checks.into_iter().find(|(_, equal)| !equal) {
        Some((field, _)) => Err(SealError::Field { field }),
        None => Ok(()),
    }
}

fn key_identifier(fields: &Fields<'_>, wanted: &Wanted) -> bool {
    let (own, authority) = match wanted.kind {
        Kind::Authority => (Some(&wanted.issuer_key), None),
        Kind::Client { .. } | Kind::Server { .. } => (None, Some(&wanted.issuer_key)),
    };
    fields.subject_key.as_ref() == own && fields.authority_key.as_ref() == authority
}

fn is_of_kind(fields: &Fields<'_>, kind: &Kind) -> bool {
    match kind {
        Kind::Authority => fields.is_authority() && fields.uris.is_empty() && fields.dns_names.is_empty(),
        Kind::Client { identity, smart_card: wanted } => {
            fields.is_leaf()
                && client_identity(fields).as_ref() == Ok(identity)
                && smart_card(fields).as_ref() == Ok(wanted)
        }
        Kind::Server { identity } => {
            fields.is_leaf()
                && fields.purposes == [SERVER_AUTH]
                && server_identity(fields).as_ref() == Ok(identity)
        }
    }
}

impl Certificate {
    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate in PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        to_pem(&self.der)
    }

    /// SHA-256 of [`Certificate::der`], for the audit log.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(&self.der)
    }

    /// The serial.
    #[must_use]
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// The key that the certificate is for.
    #[must_use]
    pub fn subject(&self) -> &CaPublicKey {
        &self.subject
    }

    /// First second of validity.
    #[must_use]
    pub fn valid_after(&self) -> UnixTime {
        self.period.valid_after()
    }

    /// First second after validity.
    #[must_use]
    pub fn valid_before(&self) -> UnixTime {
        self.period.valid_before()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("serial", &self.serial)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}
