//! Checking a certificate the way a strict sshd would, plus everything that only our profile promises.
//!
//! Says yes to certificates of this profile only. To look at any certificate, see [`inspect`](crate::inspect()).

use std::time::Duration;

use data_encoding::BASE64;
use thiserror::Error;
use usher_types::{Period, Principal, UnixTime, ValidityWindow};

use crate::{
    BadSignature, CaPublicKey, Serial, Signature, SourceAddresses, SubjectKey,
    profile::{MAX_TEXT, PERMIT_PORT_FORWARDING, PERMIT_PTY, SOURCE_ADDRESS},
    wire::Writer,
};

/// A certificate that one of the trusted keys signed, that is valid at the time asked about, and that keeps to the
/// profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCertificate {
    authority: CaPublicKey,
    key_id: String,
    permit_port_forwarding: bool,
    permit_pty: bool,
    principal: Principal,
    serial: Serial,
    source_addresses: SourceAddresses,
    subject: SubjectKey,
    period: Period,
}

/// Why a certificate was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VerifyError {
    /// Signed by a key that is not trusted.
    #[error("the certificate is signed by a key that is not trusted")]
    Authority,
    /// A critical option that is unknown or not well-formed.
    #[error("the certificate has the critical option `{name}`, which is unknown or malformed")]
    CriticalOption {
        /// Its name.
        name: String,
    },
    /// Its time is over.
    #[error("the certificate has expired")]
    Expired,
    /// Characters in the key id that could forge log lines.
    #[error("the certificate's key id is malformed")]
    KeyId,
    /// Not an OpenSSH certificate.
    #[error("not an OpenSSH certificate")]
    Malformed,
    /// The signing key is itself a certificate (CVE-2025-49825).
    #[error("the certificate is signed by a certificate")]
    NestedAuthority,
    /// Its time has not come.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// None, several, or one that names no login on a server.
    #[error("the certificate must have exactly one principal that names a login and a server")]
    Principals,
    /// Zero or more than 63 bits.
    #[error("the certificate's serial is malformed")]
    Serial,
    /// The signature is wrong.
    #[error("the certificate's signature is wrong")]
    Signature(#[source] BadSignature),
    /// The subject is not an Ed25519 key.
    #[error("the certificate is for a key that is not accepted here")]
    SubjectKey,
    /// A host certificate.
    #[error("the certificate is not a user certificate")]
    Type,
    /// No limits, impossible limits, or a life of more than ten minutes.
    #[error("the certificate's validity is unlimited, impossible or too long")]
    Window,
}

/// Verifies a certificate in OpenSSH's text form at the time `now`.
///
/// # Errors
/// [`VerifyError`], whichever is found first.
pub fn verify_at(
    text: &str,
    trusted: &[CaPublicKey],
    now: UnixTime,
) -> Result<VerifiedCertificate, VerifyError> {
    let certificate = read(text).ok_or(VerifyError::Malformed)?;
    let blob = blob(text).ok_or(VerifyError::Malformed)?;
    if !certificate.cert_type().is_user() {
        return Err(VerifyError::Type);
    }
    let authority = authority(&certificate, trusted)?;
    check_signature(&certificate, &blob, &authority)?;
    let subject = certificate.public_key().ed25519().ok_or(VerifyError::SubjectKey)?;
    let period = period(&certificate)?;
    if now < period.valid_after() {
        return Err(VerifyError::NotYetValid);
    }
    if now >= period.valid_before() {
        return Err(VerifyError::Expired);
    }
    let [principal] = certificate.valid_principals() else {
        return Err(VerifyError::Principals);
    };
    let extension = |name: &str| certificate.extensions().contains_key(name);
    Ok(VerifiedCertificate {
        authority,
        key_id: key_id(&certificate)?,
        permit_port_forwarding: extension(PERMIT_PORT_FORWARDING),
        permit_pty: extension(PERMIT_PTY),
        principal: principal.parse().map_err(|_error| VerifyError::Principals)?,
        serial: Serial::new(certificate.serial()).ok_or(VerifyError::Serial)?,
        source_addresses: source_addresses(&certificate)?,
        subject: SubjectKey::from_bytes(subject.0).map_err(|_error| VerifyError::SubjectKey)?,
        period,
    })
}

/// Reads the text form, with a limit: nested keys are read recursively.
pub(crate) fn read(text: &str) -> Option<ssh_key::Certificate> {
    let text = text.trim_end();
    if text.len() > MAX_TEXT {
        return None;
    }
    ssh_key::Certificate::from_openssh(text).ok()
}

fn authority(
    certificate: &ssh_key::Certificate,
    trusted: &[CaPublicKey],
) -> Result<CaPublicKey, VerifyError> {
    let key = certificate.signature_key();
    if key.is_certificate() {
        return Err(VerifyError::NestedAuthority);
    }
    trusted.iter().find(|candidate| candidate.is(key)).copied().ok_or(VerifyError::Authority)
}

/// The exact bytes behind the text: encoding what was read again could give others.
fn blob(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.split(' ').nth(1)?.trim_end().as_bytes()).ok()
}

/// The signature is over everything that stands before it.
fn check_signature(
    certificate: &ssh_key::Certificate,
    blob: &[u8],
    authority: &CaPublicKey,
) -> Result<(), VerifyError> {
    let signature = Signature::from_ssh_key(certificate.signature()).ok_or(VerifyError::Malformed)?;
    let mut tail = Writer::with_capacity(128);
    tail.nested(|writer| signature.write(writer));
    let signed = blob.strip_suffix(tail.finish().as_slice()).ok_or(VerifyError::Malformed)?;
    authority.verify(signed, &signature).map_err(VerifyError::Signature)
}

/// Zero and all ones mean "without limit" to sshd; both are refused, as is more than any profile allows.
fn period(certificate: &ssh_key::Certificate) -> Result<Period, VerifyError> {
    let (after, before) = (moment(certificate.valid_after()), moment(certificate.valid_before()));
    let period = Period::between(after, before).map_err(|_error| VerifyError::Window)?;
    if period.length() > ValidityWindow::MAX { Err(VerifyError::Window) } else { Ok(period) }
}

/// Stays at the last representable time.
pub(crate) fn moment(seconds: u64) -> UnixTime {
    UnixTime::from_millis(0).saturating_add(Duration::from_secs(seconds))
}

fn key_id(certificate: &ssh_key::Certificate) -> Result<String, VerifyError> {
    let key_id = certificate.key_id();
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@=+-".contains(&byte);
    if key_id.is_empty() || key_id.len() > 200 || !key_id.bytes().all(good) {
        return Err(VerifyError::KeyId);
    }
    Ok(key_id.to_owned())
}

fn source_addresses(certificate: &ssh_key::Certificate) -> Result<SourceAddresses, VerifyError> {
    let mut found = SourceAddresses::any();
    for (name, value) in certificate.critical_options().iter() {
        let read = if name == SOURCE_ADDRESS { SourceAddresses::from_option_value(value) } else { None };
        found = read.ok_or_else(|| VerifyError::CriticalOption {
            name: name.chars().take(64).flat_map(char::escape_default).collect(),
        })?;
    }
    Ok(found)
}

impl VerifiedCertificate {
    /// The key that signed it.
    #[must_use]
    pub fn authority(&self) -> &CaPublicKey {
        &self.authority
    }

    /// What sshd writes to its log.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Whether ports may be forwarded.
    #[must_use]
    pub fn permit_port_forwarding(&self) -> bool {
        self.permit_port_forwarding
    }

    /// Whether a terminal may be asked for.
    #[must_use]
    pub fn permit_pty(&self) -> bool {
        self.permit_pty
    }

    /// The one principal.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The serial.
    #[must_use]
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// Where it may be used from.
    #[must_use]
    pub fn source_addresses(&self) -> &SourceAddresses {
        &self.source_addresses
    }

    /// The key that it is for.
    #[must_use]
    pub fn subject(&self) -> &SubjectKey {
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
