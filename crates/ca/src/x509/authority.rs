//! The certificate of an authority: self-signed, and the trust anchor for everything below it.

use thiserror::Error;
use usher_types::{Period, Sha256, UnixTime};
use x509_cert::{
    der::pem::{self, LineEnding},
    name::Name,
};

use super::{names::common_name, read::Unverified, verify::VerifyError};
use crate::CaPublicKey;

/// An authority that signs leaves and nothing else, as its own certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaCertificate {
    der: Vec<u8>,
    common_name: String,
    key: CaPublicKey,
    key_identifier: Vec<u8>,
    period: Period,
    subject: Name,
}

/// Why a certificate is no authority's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CaCertificateError {
    /// Not signed with its own key.
    #[error("the authority's certificate is not signed with its own key")]
    NotSelfSigned(#[source] VerifyError),
    /// It may sign other things than leaves, or cannot be told from another authority.
    #[error("the certificate is not one of an authority that signs leaves only")]
    Profile,
    /// Cannot be read.
    #[error("the authority's certificate cannot be read")]
    Read(#[source] VerifyError),
}

impl CaCertificate {
    /// Reads a certificate in DER and verifies that it is signed with its own key. Does not say that it is to be trusted.
    ///
    /// # Errors
    /// [`CaCertificateError`].
    pub fn from_der(der: Vec<u8>) -> Result<Self, CaCertificateError> {
        let unverified = Unverified::parse(&der).map_err(CaCertificateError::Read)?;
        let fields = unverified.fields().map_err(CaCertificateError::Read)?;
        unverified.verify(&fields.key).map_err(CaCertificateError::NotSelfSigned)?;
        let named =
            ![&fields.uris, &fields.dns_names, &fields.user_principals].iter().all(|names| names.is_empty());
        let (Some(key_identifier), Some(common_name)) =
            (fields.subject_key.clone(), common_name(fields.subject))
        else {
            return Err(CaCertificateError::Profile);
        };
        if !fields.is_authority() || fields.issuer != fields.subject || named {
            return Err(CaCertificateError::Profile);
        }
        let (key, period) = (fields.key, fields.period);
        let (common_name, subject) = (common_name.to_owned(), fields.subject.clone());
        Ok(Self { der, common_name, key, key_identifier, period, subject })
    }

    /// Reads a certificate in PEM, otherwise like [`CaCertificate::from_der`].
    ///
    /// # Errors
    /// [`CaCertificateError`].
    pub fn from_pem(text: &str) -> Result<Self, CaCertificateError> {
        match pem::decode_vec(text.as_bytes()) {
            Ok(("CERTIFICATE", der)) => Self::from_der(der),
            Ok(_) | Err(_) => Err(CaCertificateError::Read(VerifyError::Malformed)),
        }
    }

    /// What it is called.
    #[must_use]
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// The certificate.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its key.
    #[must_use]
    pub fn public_key(&self) -> &CaPublicKey {
        &self.key
    }

    /// SHA-256 of [`CaCertificate::der`].
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(&self.der)
    }

    /// The certificate in PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        to_pem(&self.der)
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

    pub(super) fn key_identifier(&self) -> &[u8] {
        &self.key_identifier
    }

    pub(super) fn period(&self) -> Period {
        self.period
    }

    pub(super) fn subject(&self) -> &Name {
        &self.subject
    }
}

/// INVARIANT: fails only for input beyond what fits into memory.
pub(super) fn to_pem(der: &[u8]) -> String {
    pem::encode_string("CERTIFICATE", LineEnding::LF, der).unwrap_or_default()
}
