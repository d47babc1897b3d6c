//! Certificate signing requests (RFC 2986): how somebody shows that it holds a key. Nothing else in them counts.

use thiserror::Error;
use x509_cert::{
    der::{Decode as _, Encode as _, Reader as _, SliceReader, asn1::AnyRef, pem},
    name::Name,
    request::{CertReq, CertReqInfo, Version},
};

use super::algorithm::{algorithm_of, from_bit_string, spki_of, to_bit_string};
use crate::{BadSignature, CaPublicKey, ParseKeyError, Signature};

const PEM_LABEL: &str = "CERTIFICATE REQUEST";

/// An Ed25519 or P-256 key whose holder has signed a request with it.
///
/// ```compile_fail,E0423
/// fn unproven(key: usher_ca::CaPublicKey) -> usher_ca::x509::ProvenKey {
///     usher_ca::x509::ProvenKey(key)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenKey(CaPublicKey);

/// Why a request was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CsrError {
    /// The signature's algorithm is not the key's.
    #[error("the certificate signing request is signed with an algorithm that is not accepted here")]
    Algorithm,
    /// The key.
    #[error("the certificate signing request is for a key that is not accepted here")]
    Key(#[source] ParseKeyError),
    /// Not a request in the expected encoding.
    #[error("not a certificate signing request")]
    Malformed,
    /// Whoever signed it does not hold the key.
    #[error("the certificate signing request is not signed with its own key")]
    Signature(#[source] BadSignature),
    /// More than [`ProvenKey::MAX`] bytes.
    #[error("a certificate signing request has at most {} bytes", ProvenKey::MAX)]
    TooLarge,
}

impl ProvenKey {
    /// The most bytes of a request that are looked at.
    pub const MAX: usize = 4096;

    /// Reads a request in PEM and verifies its signature.
    ///
    /// # Errors
    /// [`CsrError`].
    pub fn from_csr_pem(text: &str) -> Result<Self, CsrError> {
        if text.len() > Self::MAX {
            return Err(CsrError::TooLarge);
        }
        let (label, der) = pem::decode_vec(text.as_bytes()).map_err(|_error| CsrError::Malformed)?;
        if label == PEM_LABEL { Self::from_csr_der(&der) } else { Err(CsrError::Malformed) }
    }

    /// Reads a request in DER and verifies its signature.
    ///
    /// # Errors
    /// [`CsrError`].
    pub fn from_csr_der(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > Self::MAX {
            return Err(CsrError::TooLarge);
        }
        let request = CertReq::from_der(der).map_err(|_error| CsrError::Malformed)?;
        let spki = request.info.public_key.to_der().map_err(|_error| CsrError::Malformed)?;
        let key = CaPublicKey::from_spki_der(&spki).map_err(CsrError::Key)?;
        let signature =
            from_bit_string(&key, &request.algorithm, &request.signature).ok_or(CsrError::Algorithm)?;
        let signed = first_element(der).ok_or(CsrError::Malformed)?;
        key.verify(signed, &signature).map_err(CsrError::Signature)?;
        Ok(Self(key))
    }

    /// The key.
    #[must_use]
    pub fn public_key(&self) -> &CaPublicKey {
        &self.0
    }
}

/// The exact bytes of the first element of a sequence: what its signature is over. Encoding what was read again could
/// give others.
pub(super) fn first_element(der: &[u8]) -> Option<&[u8]> {
    let outer = AnyRef::from_der(der).ok()?;
    SliceReader::new(outer.value()).ok()?.tlv_bytes().ok()
}

/// A request for a certificate but for its signature. Says nothing but the key.
#[derive(Clone, Debug)]
pub struct CsrToBeSigned {
    key: CaPublicKey,
    info: CertReqInfo,
    bytes: Vec<u8>,
}

impl CsrToBeSigned {
    /// A request for a certificate of `key`.
    ///
    /// # Errors
    /// [`CsrError::Malformed`], which no key is known to cause.
    pub fn new(key: CaPublicKey) -> Result<Self, CsrError> {
        let public_key = spki_of(&key).map_err(|_error| CsrError::Malformed)?;
        let info = CertReqInfo {
            version: Version::V1,
            subject: Name::default(),
            public_key,
            attributes: Default::default(),
        };
        let bytes = info.to_der().map_err(|_error| CsrError::Malformed)?;
        Ok(Self { key, info, bytes })
    }

    /// What the key signs.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The request, in DER, with the key's signature, which is verified.
    ///
    /// # Errors
    /// [`CsrError::Signature`] when it is not the key's.
    pub fn seal(self, signature: &Signature) -> Result<Vec<u8>, CsrError> {
        self.key.verify(&self.bytes, signature).map_err(CsrError::Signature)?;
        let signature = to_bit_string(signature).map_err(|_error| CsrError::Malformed)?;
        let request = CertReq { info: self.info, algorithm: algorithm_of(&self.key), signature };
        request.to_der().map_err(|_error| CsrError::Malformed)
    }

    /// Like [`CsrToBeSigned::seal`], in PEM.
    ///
    /// # Errors
    /// [`CsrError::Signature`] when it is not the key's.
    pub fn seal_pem(self, signature: &Signature) -> Result<String, CsrError> {
        let der = self.seal(signature)?;
        pem::encode_string(PEM_LABEL, pem::LineEnding::LF, &der).map_err(|_error| CsrError::Malformed)
    }
}
