//! First half of issuing: from an authorization to the bytes that are to be signed. No key is touched here.

use std::time::Duration;

use rand_core::CryptoRng;
use thiserror::Error;
use usher_types::{Period, UnixTime};
use x509_cert::{
    der::{self, DateTime, Decode as _, asn1::ObjectIdentifier, oid::AssociatedOid as _},
    ext::pkix::{
        AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName,
        SubjectKeyIdentifier,
    },
    spki::SubjectPublicKeyInfoRef,
    time::Time,
};

use super::{
    AUTHORITY_MAX, CaCertificate, ClientAuthorization, ClientIdentity, CommonName, ProvenKey, SERVER_MAX,
    ServerAuthorization, ServerIdentity, UserPrincipalName,
    algorithm::algorithm_of,
    der::{BIT_STRING, OCTET_STRING, SEQUENCE, SET, UTF8_STRING, Writer, explicit, implicit},
    names::COMMON_NAME,
    read::{CLIENT_AUTH, SERVER_AUTH, SMART_CARD, USER_PRINCIPAL},
};
use crate::{CaPublicKey, Serial};

/// A complete certificate but for its signature. Cannot be cloned: one authorization, one certificate.
///
/// Sign [`ToBeSigned::bytes`] wherever the key lives and hand the signature to [`ToBeSigned::seal`].
#[derive(Debug)]
#[must_use = "a prepared certificate is nothing until it is sealed"]
pub struct ToBeSigned {
    pub(super) authority: CaPublicKey,
    pub(super) bytes: Vec<u8>,
    pub(super) wanted: Wanted,
}

/// An authority's own certificate but for its signature, which must be made with its own key.
#[derive(Debug)]
#[must_use = "a prepared certificate is nothing until it is sealed"]
pub struct AuthorityToBeSigned(pub(super) ToBeSigned);

/// What a certificate is going to say. Kept until the end, to be compared with what it says.
#[derive(Debug)]
pub(super) struct Wanted {
    /// A common name, and nothing else; so is the subject.
    pub(super) issuer: String,
    pub(super) issuer_key: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) period: Period,
    pub(super) serial: Serial,
    pub(super) subject: String,
    pub(super) subject_key: CaPublicKey,
}

#[derive(Debug)]
pub(super) enum Kind {
    Authority,
    Client { identity: ClientIdentity, smart_card: Option<UserPrincipalName> },
    Server { identity: ServerIdentity },
}

/// Why nothing was prepared.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PrepareError {
    /// The authority's certificate would end first.
    #[error("the authority's certificate is not valid for as long as this one would be")]
    AuthorityEnds,
    /// It could not be encoded.
    #[error("the certificate could not be encoded")]
    Encoding,
    /// The authorization's time does not contain the present time.
    #[error("the authorization is not valid now")]
    NotValidNow,
    /// The certificate would reach [`ToBeSigned::MAX`] bytes.
    #[error("the certificate would be too large to sign")]
    TooLarge,
    /// The certificate would live longer than one of its kind may.
    #[error("the certificate would live too long")]
    TooLong,
}

impl From<der::Error> for PrepareError {
    fn from(_error: der::Error) -> Self {
        Self::Encoding
    }
}

impl ToBeSigned {
    /// Key management services sign messages below this size only.
    pub const MAX: usize = 4096;

    /// What the authority signs.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The certificate's serial, known before it is signed.
    #[must_use]
    pub fn serial(&self) -> Serial {
        self.wanted.serial
    }
}

impl AuthorityToBeSigned {
    /// What the authority signs.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// Lays out a person's certificate for the key that it has proven to hold. Consumes the authorization.
///
/// # Errors
/// [`PrepareError`].
#[expect(clippy::needless_pass_by_value, reason = "an authorization is good for one certificate")]
pub fn prepare_client(
    authorization: impl ClientAuthorization,
    subject: &ProvenKey,
    authority: &CaCertificate,
    now: UnixTime,
    rng: &mut impl CryptoRng,
) -> Result<ToBeSigned, PrepareError> {
    let identity = authorization.identity();
    let subject_name = identity.user_id.to_string();
    let kind = Kind::Client { identity, smart_card: authorization.smart_card() };
    let period = *authorization.window();
    leaf(kind, subject_name, period, subject, authority, now, rng)
}

/// Lays out a server's certificate for the key that it has proven to hold. Consumes the authorization.
///
/// # Errors
/// [`PrepareError`].
#[expect(clippy::needless_pass_by_value, reason = "an authorization is good for one certificate")]
pub fn prepare_server(
    authorization: impl ServerAuthorization,
    subject: &ProvenKey,
    authority: &CaCertificate,
    now: UnixTime,
    rng: &mut impl CryptoRng,
) -> Result<ToBeSigned, PrepareError> {
    let (identity, period) = (authorization.identity(), authorization.period());
    if period.length() > SERVER_MAX {
        return Err(PrepareError::TooLong);
    }
    let subject_name = identity.server_id.to_string();
    leaf(Kind::Server { identity }, subject_name, period, subject, authority, now, rng)
}

fn leaf(
    kind: Kind,
    name: String,
    period: Period,
    subject: &ProvenKey,
    authority: &CaCertificate,
    now: UnixTime,
    rng: &mut impl CryptoRng,
) -> Result<ToBeSigned, PrepareError> {
    if !authority.period().contains(now) || period.valid_before() > authority.valid_before() {
        return Err(PrepareError::AuthorityEnds);
    }
    let wanted = Wanted {
        issuer: authority.common_name().to_owned(),
        issuer_key: authority.key_identifier().to_vec(),
        kind,
        period,
        serial: Serial::random(rng),
        subject: name,
        subject_key: *subject.public_key(),
    };
    lay_out(wanted, *authority.public_key(), now)
}

/// Lays out the certificate of an authority, to be signed with `key` itself.
///
/// This needs no authorization: it lets nobody in until somebody trusts the key.
///
/// # Errors
/// [`PrepareError`].
pub fn prepare_authority(
    name: &CommonName,
    key: &CaPublicKey,
    period: Period,
    now: UnixTime,
    rng: &mut impl CryptoRng,
) -> Result<AuthorityToBeSigned, PrepareError> {
    if period.length() > AUTHORITY_MAX {
        return Err(PrepareError::TooLong);
    }
    let spki = key.to_spki_der();
    let spki = SubjectPublicKeyInfoRef::from_der(&spki)?;
    let wanted = Wanted {
        issuer: name.as_str().to_owned(),
        issuer_key: SubjectKeyIdentifier::try_from(spki)?.0.as_bytes().to_vec(),
        kind: Kind::Authority,
        period,
        serial: Serial::random(rng),
        subject: name.as_str().to_owned(),
        subject_key: *key,
    };
    lay_out(wanted, *key, now).map(AuthorityToBeSigned)
}

fn lay_out(wanted: Wanted, authority: CaPublicKey, now: UnixTime) -> Result<ToBeSigned, PrepareError> {
    if !wanted.period.contains(now) {
        return Err(PrepareError::NotValidNow);
    }
    let bytes = encode(&wanted, &authority)?;
    if bytes.len() >= ToBeSigned::MAX {
        return Err(PrepareError::TooLarge);
    }
    Ok(ToBeSigned { authority, bytes, wanted })
}

/// RFC 5280 section 4.1: everything before the signature.
fn encode(wanted: &Wanted, authority: &CaPublicKey) -> Result<Vec<u8>, PrepareError> {
    // The last second, not the first after it.
    let not_after = wanted.period.valid_before().saturating_sub(Duration::from_secs(1));
    let mut fields = Writer::with_capacity(1024);
    fields.encoded(&[explicit(0), 3, 2, 1, 2]); // version 3
    fields.encode(&wanted.serial.get())?;
    fields.encode(&algorithm_of(authority))?;
    name(&mut fields, &wanted.issuer);
    let mut validity = Writer::with_capacity(32);
    validity.encode(&time(wanted.period.valid_after())?)?;
    validity.encode(&time(not_after)?)?;
    fields.value(SEQUENCE, &validity.finish());
    name(&mut fields, &wanted.subject);
    fields.encoded(&wanted.subject_key.to_spki_der());
    fields.nested(explicit(3), |writer| writer.nested(SEQUENCE, |writer| extensions(writer, wanted)));
    let mut whole = Writer::with_capacity(1024);
    whole.value(SEQUENCE, &fields.finish());
    Ok(whole.finish())
}

fn time(at: UnixTime) -> Result<Time, PrepareError> {
    let seconds = u64::try_from(at.as_secs()).map_err(|_error| PrepareError::Encoding)?;
    Ok(DateTime::from_unix_duration(Duration::from_secs(seconds))?.into())
}

/// A distinguished name with a common name and nothing else.
fn name(writer: &mut Writer, common_name: &str) {
    writer.nested(SEQUENCE, |writer| {
        writer.nested(SET, |writer| {
            writer.nested(SEQUENCE, |writer| {
                writer.oid(&COMMON_NAME);
                writer.value(UTF8_STRING, common_name.as_bytes());
            });
        });
    });
}

fn extensions(writer: &mut Writer, wanted: &Wanted) {
    let (purposes, uri): (&[ObjectIdentifier], _) = match &wanted.kind {
        Kind::Authority => return authority_extensions(writer, &wanted.issuer_key),
        Kind::Client { identity, smart_card: None } => (&[CLIENT_AUTH], identity.to_string()),
        Kind::Client { identity, smart_card: Some(_) } => (&[CLIENT_AUTH, SMART_CARD], identity.to_string()),
        Kind::Server { identity } => (&[SERVER_AUTH], identity.uri()),
    };
    critical(writer, BasicConstraints::OID, |writer| writer.value(SEQUENCE, &[]));
    // digitalSignature: bit 0 of eight, so seven are unused.
    critical(writer, KeyUsage::OID, |writer| writer.value(BIT_STRING, &[7, 0b1000_0000]));
    extension(writer, AuthorityKeyIdentifier::OID, |writer| {
        writer.nested(SEQUENCE, |writer| writer.value(implicit(0), &wanted.issuer_key));
    });
    extension(writer, ExtendedKeyUsage::OID, |writer| {
        writer.nested(SEQUENCE, |writer| purposes.iter().for_each(|purpose| writer.oid(purpose)));
    });
    extension(writer, SubjectAltName::OID, |writer| {
        writer.nested(SEQUENCE, |writer| {
            writer.value(implicit(6), uri.as_bytes());
            match &wanted.kind {
                Kind::Server { identity } => writer.value(implicit(2), identity.dns_name().as_bytes()),
                Kind::Client { smart_card: Some(name), .. } => writer.nested(explicit(0), |writer| {
                    writer.oid(&USER_PRINCIPAL);
                    writer.nested(explicit(0), |writer| writer.value(UTF8_STRING, name.as_str().as_bytes()));
                }),
                Kind::Authority | Kind::Client { smart_card: None, .. } => {}
            }
        });
    });
}

fn authority_extensions(writer: &mut Writer, key_identifier: &[u8]) {
    critical(writer, BasicConstraints::OID, |writer| {
        writer.nested(SEQUENCE, |writer| {
            writer.yes();
            writer.encoded(&[2, 1, 0]); // no authority below it
        });
    });
    // keyCertSign and cRLSign: bits 5 and 6 of eight, so one is unused.
    critical(writer, KeyUsage::OID, |writer| writer.value(BIT_STRING, &[1, 0b0000_0110]));
    extension(writer, SubjectKeyIdentifier::OID, |writer| writer.value(OCTET_STRING, key_identifier));
}

fn extension(writer: &mut Writer, oid: ObjectIdentifier, value: impl FnOnce(&mut Writer)) {
    writer.nested(SEQUENCE, |writer| {
        writer.oid(&oid);
        writer.nested(OCTET_STRING, value);
    });
}

fn critical(writer: &mut Writer, oid: ObjectIdentifier, value: impl FnOnce(&mut Writer)) {
    writer.nested(SEQUENCE, |writer| {
        writer.oid(&oid);
        writer.yes();
        writer.nested(OCTET_STRING, value);
    });
}
