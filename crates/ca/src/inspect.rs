//! Reading any OpenSSH certificate, for people and for programs. Nothing here says that a certificate is good: for that
//! see [`verify_at`](crate::verify_at).

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use ssh_key::HashAlg;
use thiserror::Error;
use usher_types::UnixTime;

use crate::verify::{moment, read};

/// Everything that a certificate says, unverified. Text in it may hold control characters; `Display` escapes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// `user` or `host`.
    pub certificate_type: &'static str,
    /// Algorithm of the key that it is for.
    pub algorithm: String,
    /// Fingerprint of the key that it is for.
    pub subject: String,
    /// Fingerprint of the key that signed it.
    pub signature_key: String,
    /// Algorithm of the signature.
    pub signature_algorithm: String,
    /// The serial, decimal.
    pub serial: String,
    /// What sshd writes to its log.
    pub key_id: String,
    /// Whom it is for; none would mean everybody.
    pub valid_principals: Vec<String>,
    /// First moment of validity; `None` for no limit.
    pub valid_after: Option<UnixTime>,
    /// First moment after validity; `None` for no limit.
    pub valid_before: Option<UnixTime>,
    /// Restrictions.
    pub critical_options: BTreeMap<String, String>,
    /// Permissions and information.
    pub extensions: BTreeMap<String, String>,
}

/// The text is not an OpenSSH certificate.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not an OpenSSH certificate")]
pub struct InspectError;

/// Reads a certificate in OpenSSH's text form.
///
/// # Errors
/// [`InspectError`].
pub fn inspect(text: &str) -> Result<Inspection, InspectError> {
    let certificate = read(text).ok_or(InspectError)?;
    // Zero as the beginning and all ones as the end mean "without limit"; the other way round they mean "never".
    let limit = |seconds: u64, none: u64| (seconds != none).then(|| moment(seconds));
    Ok(Inspection {
        certificate_type: if certificate.cert_type().is_user() { "user" } else { "host" },
        algorithm: certificate.algorithm().to_certificate_type(),
        subject: certificate.public_key().fingerprint(HashAlg::Sha256).to_string(),
        signature_key: certificate.signature_key().fingerprint(HashAlg::Sha256).to_string(),
        signature_algorithm: certificate.signature().algorithm().to_string(),
        serial: certificate.serial().to_string(),
        key_id: certificate.key_id().to_owned(),
        valid_principals: certificate.valid_principals().to_vec(),
        valid_after: limit(certificate.valid_after(), 0),
        valid_before: limit(certificate.valid_before(), u64::MAX),
        critical_options: certificate.critical_options().0.clone(),
        extensions: certificate.extensions().0.clone(),
    })
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment =
            |time: Option<UnixTime>| time.map_or_else(|| "no limit".to_owned(), |time| time.to_string());
        writeln!(f, "type              {} certificate ({})", self.certificate_type, self.algorithm)?;
        writeln!(f, "subject key       {}", self.subject)?;
        writeln!(f, "signed by         {} ({})", self.signature_key, self.signature_algorithm)?;
        writeln!(f, "serial            {}", self.serial)?;
        writeln!(f, "key id            {}", self.key_id.escape_debug())?;
        writeln!(f, "valid from        {}", moment(self.valid_after))?;
        writeln!(f, "valid before      {}", moment(self.valid_before))?;
        list(f, "principals        ", self.valid_principals.iter().map(|name| (name, "")))?;
        list(
            f,
            "critical options  ",
            self.critical_options.iter().map(|(name, value)| (name, value.as_str())),
        )?;
        list(f, "extensions        ", self.extensions.iter().map(|(name, value)| (name, value.as_str())))
    }
}

fn list<'a>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    rows: impl Iterator<Item = (&'a String, &'a str)>,
) -> fmt::Result {
    let mut title = Some(title);
    for (name, value) in rows {
        let space = if value.is_empty() { "" } else { " " };
        let lead = title.take().unwrap_or("                  ");
        writeln!(f, "{lead}{}{space}{}", name.escape_debug(), value.escape_debug())?;
    }
    match title {
        Some(title) => writeln!(f, "{title}none"),
        None => Ok(()),
    }
}
