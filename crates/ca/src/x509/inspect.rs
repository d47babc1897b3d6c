//! Reading any X.509 certificate, for people and for programs. Nothing here says that a certificate is good: for that see
//! [`verify_client_at`](super::verify_client_at).

use std::fmt;

use data_encoding::HEXLOWER;
use serde::Serialize;
use thiserror::Error;
use usher_types::{Sha256, UnixTime};
use x509_cert::{
    Certificate,
    der::{Decode as _, Encode as _, asn1::Utf8StringRef},
    ext::pkix::{
        BasicConstraints, ExtendedKeyUsage, SubjectAltName,
        name::{GeneralName, OtherName},
    },
    name::Name,
};

use super::read::{CLIENT_AUTH, MAX, SERVER_AUTH, SMART_CARD, USER_PRINCIPAL, moment};

/// Everything that a certificate says, unverified. Text in it may hold control characters; `Display` escapes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Whom it is for.
    pub subject: String,
    /// Who says that it has signed it.
    pub issuer: String,
    /// The serial, hexadecimal.
    pub serial: String,
    /// First second of validity.
    pub not_before: UnixTime,
    /// Last second of validity.
    pub not_after: UnixTime,
    /// SHA-256 of the key that it is for, as `SubjectPublicKeyInfo`.
    pub key_sha256: Sha256,
    /// Object identifier of the signature's algorithm.
    pub signature_algorithm: String,
    /// Whether it may sign other certificates.
    pub authority: bool,
    /// What it is for; empty for anything.
    pub purposes: Vec<String>,
    /// Its alternative names, each with its kind in front.
    pub names: Vec<String>,
    /// Object identifiers of its critical extensions.
    pub critical_extensions: Vec<String>,
}

/// The bytes are not an X.509 certificate.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not an X.509 certificate")]
pub struct InspectError;

/// Reads a certificate in DER.
///
/// # Errors
/// [`InspectError`].
pub fn inspect(der: &[u8]) -> Result<Inspection, InspectError> {
    if der.len() > MAX {
        return Err(InspectError);
    }
    let certificate = Certificate::from_der(der).map_err(|_error| InspectError)?;
    let tbs = certificate.tbs_certificate();
    let constraints = tbs.get_extension::<BasicConstraints>().map_err(|_error| InspectError)?;
    let purposes = tbs.get_extension::<ExtendedKeyUsage>().map_err(|_error| InspectError)?;
    let names = tbs.get_extension::<SubjectAltName>().map_err(|_error| InspectError)?;
    let spki = tbs.subject_public_key_info().to_der().map_err(|_error| InspectError)?;
    let critical = tbs.extensions().into_iter().flatten().filter(|extension| extension.critical);
    Ok(Inspection {
        subject: name(tbs.subject()),
        issuer: name(tbs.issuer()),
        serial: HEXLOWER.encode(tbs.serial_number().as_bytes()),
        not_before: moment(tbs.validity().not_before),
        not_after: moment(tbs.validity().not_after),
        key_sha256: Sha256::of(&spki),
        signature_algorithm: certificate.signature_algorithm().oid.to_string(),
        authority: constraints.is_some_and(|(_critical, constraints)| constraints.ca),
        purposes: purposes
            .map(|(_critical, found)| found.0.iter().map(purpose).collect())
            .unwrap_or_default(),
        names: names.map(|(_critical, found)| found.0.iter().map(alternative).collect()).unwrap_or_default(),
        critical_extensions: critical.map(|extension| extension.extn_id.to_string()).collect(),
    })
}

fn name(name: &Name) -> String {
    name.to_string()
}

fn purpose(oid: &x509_cert::der::asn1::ObjectIdentifier) -> String {
    match *oid {
        CLIENT_AUTH => "clientAuth".to_owned(),
        SERVER_AUTH => "serverAuth".to_owned(),
        SMART_CARD => "smartCardLogon".to_owned(),
        other => other.to_string(),
    }
}

fn alternative(general: &GeneralName) -> String {
    match general {
        GeneralName::DirectoryName(directory) => format!("directory {}", name(directory)),
        GeneralName::DnsName(dns) => format!("DNS {}", dns.as_str()),
        GeneralName::EdiPartyName(_) => "EDI party".to_owned(),
        GeneralName::IpAddress(bytes) => format!("IP {}", HEXLOWER.encode(bytes.as_bytes())),
        GeneralName::OtherName(OtherName { type_id, value }) => {
            let text = value.decode_as::<Utf8StringRef<'_>>().ok();
            match text {
                Some(text) if *type_id == USER_PRINCIPAL => format!("UPN {}", text.as_str()),
                Some(_) | None => format!("other {type_id} {}", HEXLOWER.encode(value.value())),
            }
        }
        GeneralName::RegisteredId(oid) => format!("id {oid}"),
        GeneralName::Rfc822Name(mail) => format!("mail {}", mail.as_str()),
        GeneralName::UniformResourceIdentifier(uri) => format!("URI {}", uri.as_str()),
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "type              X.509 {}", if self.authority { "authority" } else { "certificate" })?;
        writeln!(f, "subject           {}", self.subject.escape_debug())?;
        writeln!(f, "issuer            {}", self.issuer.escape_debug())?;
        writeln!(f, "subject key       {}", self.key_sha256)?;
        writeln!(f, "signed with       {}", self.signature_algorithm)?;
        writeln!(f, "serial            {}", self.serial)?;
        writeln!(f, "valid from        {}", self.not_before)?;
        writeln!(f, "valid to          {}", self.not_after)?;
        list(f, "purposes          ", &self.purposes)?;
        list(f, "names             ", &self.names)?;
        list(f, "critical          ", &self.critical_extensions)
    }
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, rows: &[String]) -> fmt::Result {
    let mut title = Some(title);
    for row in rows {
        let lead = title.take().unwrap_or("                  ");
        writeln!(f, "{lead}{}", row.escape_debug())?;
    }
    match title {
        Some(title) => writeln!(f, "{title}none"),
        None => Ok(()),
    }
}
