//! Checking a certificate against the authorities that are trusted, and against the profile.
//!
//! Says yes to certificates of this profile only: strict where TLS libraries are lenient, so that a listener may ask both.

use thiserror::Error;
use usher_types::{Period, Sha256, UnixTime, ValidityWindow};
use x509_cert::der::asn1::ObjectIdentifier;

use super::{
    CaCertificate, ClientIdentity, SERVER_MAX, ServerIdentity, UserPrincipalName,
    read::{CLIENT_AUTH, Fields, SERVER_AUTH, SMART_CARD, Unverified},
};
use crate::{BadSignature, CaPublicKey, Serial};

/// Why a certificate was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VerifyError {
    /// No trusted authority has signed it, judging by what it says of its issuer.
    #[error("the certificate is of an authority that is not trusted")]
    Authority,
    /// The authority's own time is over, or has not come.
    #[error("the certificate's authority is not valid now")]
    AuthorityNotValid,
    /// A critical extension that is unknown.
    #[error("the certificate has the critical extension `{oid}`, which is unknown")]
    CriticalExtension {
        /// Which.
        oid: String,
    },
    /// Its time is over.
    #[error("the certificate has expired")]
    Expired,
    /// Not an X.509 certificate, or one of another form than all of ours.
    #[error("not an X.509 certificate of the expected form")]
    Malformed,
    /// The names are not exactly those of one person or one server.
    #[error("the certificate's names are not those of one person or one server")]
    Names,
    /// Its time has not come.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// Not for this use, or for other uses too.
    #[error("the certificate is not for this purpose, or not for it alone")]
    Purpose,
    /// Zero or more than 63 bits.
    #[error("the certificate's serial is malformed")]
    Serial,
    /// The signature is wrong.
    #[error("the certificate's signature is wrong")]
    Signature(#[source] BadSignature),
    /// For a key of another kind than Ed25519 and P-256.
    #[error("the certificate is for a key that is not accepted here")]
    SubjectKey,
    /// Impossible limits, or a life longer than the profile allows.
    #[error("the certificate's validity is impossible or too long")]
    Window,
}

/// A certificate of a person that a trusted authority signed, valid at the time asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedClient {
    checked: Checked,
    identity: ClientIdentity,
    smart_card: Option<UserPrincipalName>,
}

/// A certificate of a server that a trusted authority signed, valid at the time asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedServer {
    checked: Checked,
    identity: ServerIdentity,
}

/// What both have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Checked {
    authority: Sha256,
    serial: Serial,
    subject: CaPublicKey,
    period: Period,
}

/// Verifies a person's certificate, in DER, at the time `now`.
///
/// # Errors
/// [`VerifyError`], whichever is found first.
pub fn verify_client_at(
    der: &[u8],
    trusted: &[CaCertificate],
    now: UnixTime,
) -> Result<VerifiedClient, VerifyError> {
    let unverified = Unverified::parse(der)?;
    let (fields, checked) = check(&unverified, trusted, now)?;
    if fields.period.length() > ValidityWindow::MAX {
        return Err(VerifyError::Window);
    }
    let identity = client_identity(&fields)?;
    let smart_card = smart_card(&fields)?;
    Ok(VerifiedClient { checked, identity, smart_card })
}

/// Verifies a server's certificate, in DER, at the time `now`.
///
/// # Errors
/// [`VerifyError`], whichever is found first.
pub fn verify_server_at(
    der: &[u8],
    trusted: &[CaCertificate],
    now: UnixTime,
) -> Result<VerifiedServer, VerifyError> {
    let unverified = Unverified::parse(der)?;
    let (fields, checked) = check(&unverified, trusted, now)?;
    if fields.period.length() > SERVER_MAX {
        return Err(VerifyError::Window);
    }
    only_for(&fields, &[SERVER_AUTH])?;
    Ok(VerifiedServer { checked, identity: server_identity(&fields)? })
}

fn check<'a>(
    unverified: &'a Unverified<'_>,
    trusted: &[CaCertificate],
    now: UnixTime,
) -> Result<(Fields<'a>, Checked), VerifyError> {
    let named = unverified.authority_key()?;
    let authority = trusted
        .iter()
        .find(|one| one.subject() == unverified.issuer() && named.as_deref() == Some(one.key_identifier()))
        .ok_or(VerifyError::Authority)?;
    unverified.verify(authority.public_key())?;
    let fields = unverified.fields()?;
    if now < fields.period.valid_after() {
        return Err(VerifyError::NotYetValid);
    }
    if now >= fields.period.valid_before() {
        return Err(VerifyError::Expired);
    }
    if !authority.period().contains(now) {
        return Err(VerifyError::AuthorityNotValid);
    }
    if !fields.is_leaf() {
        return Err(VerifyError::Purpose);
    }
    let checked = Checked {
        authority: authority.sha256(),
        serial: fields.serial()?,
        subject: fields.key,
        period: fields.period,
    };
    Ok((fields, checked))
}

/// Exactly these, in this order: one more would make the certificate good for something else.
fn only_for(fields: &Fields<'_>, purposes: &[ObjectIdentifier]) -> Result<(), VerifyError> {
    if fields.purposes == purposes { Ok(()) } else { Err(VerifyError::Purpose) }
}

/// The one URI, and no DNS name.
pub(super) fn client_identity(fields: &Fields<'_>) -> Result<ClientIdentity, VerifyError> {
    match (fields.uris.as_slice(), fields.dns_names.as_slice()) {
        ([uri], []) => uri.parse().map_err(|_error| VerifyError::Names),
        _ => Err(VerifyError::Names),
    }
}

/// A user principal name and the smart-card purpose come together or not at all.
pub(super) fn smart_card(fields: &Fields<'_>) -> Result<Option<UserPrincipalName>, VerifyError> {
    match fields.user_principals.as_slice() {
        [] => only_for(fields, &[CLIENT_AUTH]).map(|()| None),
        [name] => {
            only_for(fields, &[CLIENT_AUTH, SMART_CARD])?;
            name.parse().map(Some).map_err(|_error| VerifyError::Names)
        }
        _ => Err(VerifyError::Names),
    }
}

/// One URI and one DNS name that agree.
pub(super) fn server_identity(fields: &Fields<'_>) -> Result<ServerIdentity, VerifyError> {
    match (fields.uris.as_slice(), fields.dns_names.as_slice(), fields.user_principals.as_slice()) {
        ([uri], [name], []) => ServerIdentity::parse(uri, name).map_err(|_error| VerifyError::Names),
        _ => Err(VerifyError::Names),
    }
}

impl VerifiedClient {
    /// Who, and where to.
    #[must_use]
    pub fn identity(&self) -> &ClientIdentity {
        &self.identity
    }

    /// The account in a domain that it also logs in to.
    #[must_use]
    pub fn smart_card(&self) -> Option<&UserPrincipalName> {
        self.smart_card.as_ref()
    }
}

impl VerifiedServer {
    /// Which server.
    #[must_use]
    pub fn identity(&self) -> &ServerIdentity {
        &self.identity
    }
}

macro_rules! common {
    ($($name:ident)*) => {$(
        impl $name {
            /// SHA-256 of the certificate of the authority that signed it.
            #[must_use]
            pub fn authority(&self) -> Sha256 {
                self.checked.authority
            }

            /// The serial.
            #[must_use]
            pub fn serial(&self) -> Serial {
                self.checked.serial
            }

            /// The key that it is for.
            #[must_use]
            pub fn subject(&self) -> &CaPublicKey {
                &self.checked.subject
            }

            /// First second of validity.
            #[must_use]
            pub fn valid_after(&self) -> UnixTime {
                self.checked.period.valid_after()
            }

            /// First second after validity.
            #[must_use]
            pub fn valid_before(&self) -> UnixTime {
                self.checked.period.valid_before()
            }
        }
    )*};
}

common!(VerifiedClient VerifiedServer);
