//! One reader for everything: making, verifying and loading look at a certificate through it. It says what stands there and
//! refuses what no certificate of ours has; it trusts nothing and verifies nothing.

use std::time::Duration;

use usher_types::{Period, UnixTime};
use x509_cert::{
    Version,
    der::{
        Decode as _, Encode as _, Tag, Tagged as _,
        asn1::{ObjectIdentifier, Utf8StringRef},
        oid::AssociatedOid,
    },
    ext::{
        Extension,
        pkix::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
            SubjectKeyIdentifier,
            name::{GeneralName, OtherName},
        },
    },
    name::Name,
    serial_number::SerialNumber,
    time::Time,
};

use super::{algorithm::from_bit_string, csr::first_element, verify::VerifyError};
use crate::{BadSignature, CaPublicKey, Serial, Signature};

pub(super) const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
pub(super) const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
/// id-ms-kp-sc-logon.
pub(super) const SMART_CARD: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.20.2.2");
/// id-ms-san-sc-logon-upn.
pub(super) const USER_PRINCIPAL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.20.2.3");

/// The most bytes of a certificate that are looked at.
pub(super) const MAX: usize = 8192;

/// What a certificate says.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    pub(super) serial: &'a SerialNumber,
    pub(super) issuer: &'a Name,
    pub(super) subject: &'a Name,
    pub(super) period: Period,
    pub(super) key: CaPublicKey,
    pub(super) constraints: Option<BasicConstraints>,
    pub(super) usage: Option<KeyUsage>,
    pub(super) purposes: Vec<ObjectIdentifier>,
    pub(super) subject_key: Option<Vec<u8>>,
    pub(super) authority_key: Option<Vec<u8>>,
    pub(super) uris: Vec<String>,
    pub(super) dns_names: Vec<String>,
    pub(super) user_principals: Vec<String>,
}

/// A certificate whose signature has not been looked at.
pub(super) struct Unverified<'a> {
    certificate: x509_cert::Certificate,
    signed: &'a [u8],
}

impl<'a> Unverified<'a> {
    /// Reads the outer form.
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, VerifyError> {
        if der.len() > MAX {
            return Err(VerifyError::Malformed);
        }
        let certificate = x509_cert::Certificate::from_der(der).map_err(|_error| VerifyError::Malformed)?;
        let signed = first_element(der).ok_or(VerifyError::Malformed)?;
        if certificate.tbs_certificate().version() != Version::V3
            || certificate.tbs_certificate().signature() != certificate.signature_algorithm()
        {
            return Err(VerifyError::Malformed);
        }
        Ok(Self { certificate, signed })
    }

    #[cfg(feature = "issue")]
    pub(super) fn signed(&self) -> &'a [u8] {
        self.signed
    }

    /// Checks that `key` signed it.
    pub(super) fn verify(&self, key: &CaPublicKey) -> Result<(), VerifyError> {
        let signature = self.signature(key).ok_or(VerifyError::Signature(BadSignature))?;
        key.verify(self.signed, &signature).map_err(VerifyError::Signature)
    }

    fn signature(&self, key: &CaPublicKey) -> Option<Signature> {
        from_bit_string(key, self.certificate.signature_algorithm(), self.certificate.signature())
    }

    pub(super) fn issuer(&self) -> &Name {
        self.certificate.tbs_certificate().issuer()
    }

    /// The key identifier that points to its authority, as written.
    pub(super) fn authority_key(&self) -> Result<Option<Vec<u8>>, VerifyError> {
        let found = self.certificate.tbs_certificate().get_extension::<AuthorityKeyIdentifier>();
        let found = found.map_err(|_error| VerifyError::Malformed)?;
        Ok(found.and_then(|(_critical, id)| id.key_identifier).map(|id| id.as_bytes().to_vec()))
    }

    /// Everything else.
    pub(super) fn fields(&self) -> Result<Fields<'_>, VerifyError> {
        let tbs = self.certificate.tbs_certificate();
        if tbs.issuer_unique_id().is_some() || tbs.subject_unique_id().is_some() {
            return Err(VerifyError::Malformed);
        }
        let spki = tbs.subject_public_key_info().to_der().map_err(|_error| VerifyError::Malformed)?;
        let mut fields = Fields {
            serial: tbs.serial_number(),
            issuer: tbs.issuer(),
            subject: tbs.subject(),
            period: period(tbs.validity().not_before, tbs.validity().not_after)?,
            key: CaPublicKey::from_spki_der(&spki).map_err(|_error| VerifyError::SubjectKey)?,
            constraints: None,
            usage: None,
            purposes: Vec::new(),
            subject_key: None,
            authority_key: None,
            uris: Vec::new(),
            dns_names: Vec::new(),
            user_principals: Vec::new(),
        };
        let extensions = tbs.extensions().map(Vec::as_slice).unwrap_or_default();
        for (index, extension) in extensions.iter().enumerate() {
            // RFC 5280 section 4.2: at most one of each.
            if extensions.iter().skip(index.saturating_add(1)).any(|other| other.extn_id == extension.extn_id)
            {
                return Err(VerifyError::Malformed);
            }
            fields.take(extension)?;
        }
        Ok(fields)
    }
}

impl Fields<'_> {
    fn take(&mut self, extension: &Extension) -> Result<(), VerifyError> {
        let bytes = extension.extn_value.as_bytes();
        let malformed = |_error| VerifyError::Malformed;
        match extension.extn_id {
            BasicConstraints::OID => {
                self.constraints = Some(BasicConstraints::from_der(bytes).map_err(malformed)?);
            }
            KeyUsage::OID => self.usage = Some(KeyUsage::from_der(bytes).map_err(malformed)?),
            ExtendedKeyUsage::OID => {
                self.purposes = ExtendedKeyUsage::from_der(bytes).map_err(malformed)?.0;
            }
            SubjectKeyIdentifier::OID => {
                let id = SubjectKeyIdentifier::from_der(bytes).map_err(malformed)?;
                self.subject_key = Some(id.0.into_bytes().into());
            }
            AuthorityKeyIdentifier::OID => {
                let id = AuthorityKeyIdentifier::from_der(bytes).map_err(malformed)?;
                self.authority_key = id.key_identifier.map(|id| id.into_bytes().into());
            }
            SubjectAltName::OID => {
                for name in SubjectAltName::from_der(bytes).map_err(malformed)?.0 {
                    self.name(&name)?;
                }
            }
            unknown if extension.critical => {
                return Err(VerifyError::CriticalExtension { oid: unknown.to_string() });
            }
            _ => {}
        }
        Ok(())
    }

    /// Any other kind of name is refused: whoever reads it might believe it.
    fn name(&mut self, name: &GeneralName) -> Result<(), VerifyError> {
        if let GeneralName::UniformResourceIdentifier(uri) = name {
            self.uris.push(uri.as_str().to_owned());
        } else if let GeneralName::DnsName(name) = name {
            self.dns_names.push(name.as_str().to_owned());
        } else if let GeneralName::OtherName(OtherName { type_id: USER_PRINCIPAL, value }) = name {
            let text = if value.tag() == Tag::Utf8String {
                value.decode_as::<Utf8StringRef<'_>>().ok()
            } else {
                None
            };
            self.user_principals.push(text.ok_or(VerifyError::Names)?.as_str().to_owned());
        } else {
            return Err(VerifyError::Names);
        }
        Ok(())
    }

    /// Ours have 63 bits and are never zero, as those of SSH certificates.
    pub(super) fn serial(&self) -> Result<Serial, VerifyError> {
        let digits = self.serial.as_bytes();
        let mut bytes = [0; 8];
        let start = bytes.len().checked_sub(digits.len()).ok_or(VerifyError::Serial)?;
        if let Some(slot) = bytes.get_mut(start..) {
            slot.copy_from_slice(digits);
        }
        Serial::new(u64::from_be_bytes(bytes)).ok_or(VerifyError::Serial)
    }

    /// A leaf signs handshakes and nothing else.
    pub(super) fn is_leaf(&self) -> bool {
        matches!(&self.constraints, Some(BasicConstraints { ca: false, path_len_constraint: None }))
            && self.usage == Some(KeyUsage(KeyUsages::DigitalSignature.into()))
    }

    /// An authority signs leaves, and there is nothing between.
    pub(super) fn is_authority(&self) -> bool {
        matches!(&self.constraints, Some(BasicConstraints { ca: true, path_len_constraint: Some(0) }))
            && self.usage == Some(KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign))
            && self.purposes.is_empty()
    }
}

/// `notAfter` is the last second (RFC 5280 section 4.1.2.5); a [`Period`] is half open.
fn period(not_before: Time, not_after: Time) -> Result<Period, VerifyError> {
    let last = moment(not_after).saturating_add(Duration::from_secs(1));
    Period::between(moment(not_before), last).map_err(|_error| VerifyError::Window)
}

/// The format ends with the year 9999.
pub(super) fn moment(time: Time) -> UnixTime {
    UnixTime::from_millis(0).saturating_add(time.to_unix_duration())
}
