//! First half of issuing: from an authorization to the bytes that are to be signed. No key is touched here.

use rand_core::CryptoRng;
use thiserror::Error;
use usher_types::UnixTime;
use x509_cert::{
    TbsCertificate,
    attr::AttributeTypeAndValue,
    builder::{self, Builder as _, CertificateBuilder, profile::BuilderProfile},
    der::{
        self, Any, DateTime, Document, Tag,
        asn1::{Ia5String, ObjectIdentifier, OctetString, SetOfVec},
    },
    ext::{
        Extension, ToExtension as _,
        pkix::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
            SubjectKeyIdentifier,
            name::{GeneralName, OtherName},
        },
    },
    name::{Name, RdnSequence, RelativeDistinguishedName},
    serial_number::SerialNumber,
    spki::{
        self, AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey,
        SubjectPublicKeyInfoRef,
    },
    time::{Time, Validity},
};

use super::{
    AUTHORITY_MAX, CaCertificate, ClientAuthorization, ClientIdentity, CommonName, ProvenKey, SERVER_MAX,
    ServerAuthorization, ServerIdentity, UserPrincipalName,
    algorithm::{algorithm_of, spki_of},
    names::COMMON_NAME,
    read::{CLIENT_AUTH, SERVER_AUTH, SMART_CARD, USER_PRINCIPAL},
};
use crate::{CaPublicKey, Period, Serial};

/// A complete certificate but for its signature. Cannot be cloned: one authorization, one certificate.
///
/// Sign [`ToBeSigned::bytes`] wherever the key lives and hand the signature to [`ToBeSigned::seal`].
#[must_use = "a prepared certificate is nothing until it is sealed"]
pub struct ToBeSigned {
    pub(super) authority: CaPublicKey,
    pub(super) builder: CertificateBuilder<Layout>,
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
    pub(super) issuer: Name,
    pub(super) issuer_key: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) period: Period,
    pub(super) serial: Serial,
    pub(super) subject: Name,
    pub(super) subject_key: CaPublicKey,
}

#[derive(Clone, Debug)]
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

impl From<builder::Error> for PrepareError {
    fn from(_error: builder::Error) -> Self {
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
    let common_name = identity.user_id.to_string();
    let kind = Kind::Client { identity, smart_card: authorization.smart_card() };
    let period = authorization.window().into();
    leaf(kind, &common_name, period, subject, authority, now, rng)
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
    let common_name = identity.server_id.to_string();
    leaf(Kind::Server { identity }, &common_name, period, subject, authority, now, rng)
}

fn leaf(
    kind: Kind,
    common_name: &str,
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
        issuer: authority.subject().clone(),
        issuer_key: authority.key_identifier().to_vec(),
        kind,
        period,
        serial: Serial::random(rng),
        subject: distinguished(common_name)?,
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
    let subject = distinguished(name.as_str())?;
    let spki = key.to_spki_der();
    let spki: SubjectPublicKeyInfoRef<'_> =
        der::Decode::from_der(&spki).map_err(|_error| PrepareError::Encoding)?;
    let wanted = Wanted {
        issuer: subject.clone(),
        issuer_key: SubjectKeyIdentifier::try_from(spki)?.0.as_bytes().to_vec(),
        kind: Kind::Authority,
        period,
        serial: Serial::random(rng),
        subject,
        subject_key: *key,
    };
    lay_out(wanted, *key, now).map(AuthorityToBeSigned)
}

fn lay_out(wanted: Wanted, authority: CaPublicKey, now: UnixTime) -> Result<ToBeSigned, PrepareError> {
    if !wanted.period.contains(now) {
        return Err(PrepareError::NotValidNow);
    }
    let serial = SerialNumber::new(&wanted.serial.get().to_be_bytes())?;
    // The last second, not the first after it.
    let not_after = wanted.period.valid_before().saturating_sub(std::time::Duration::from_secs(1));
    let validity = Validity::new(time(wanted.period.valid_after())?, time(not_after)?);
    let layout = Layout::new(&wanted)?;
    let mut builder = CertificateBuilder::new(layout, serial, validity, spki_of(&wanted.subject_key)?)?;
    let bytes = builder.finalize(&PublicHalf(authority))?;
    if bytes.len() >= ToBeSigned::MAX {
        return Err(PrepareError::TooLarge);
    }
    Ok(ToBeSigned { authority, builder, bytes, wanted })
}

fn time(at: UnixTime) -> Result<Time, PrepareError> {
    let seconds = u64::try_from(at.as_secs()).map_err(|_error| PrepareError::Encoding)?;
    Ok(DateTime::from_unix_duration(std::time::Duration::from_secs(seconds))?.into())
}

/// A distinguished name with a common name and nothing else. Written out instead of parsed from text, so that nothing in
/// it can mean a second attribute.
fn distinguished(common_name: &str) -> der::Result<Name> {
    let value = Any::new(Tag::Utf8String, common_name.as_bytes())?;
    let mut attributes = SetOfVec::new();
    attributes.insert(AttributeTypeAndValue { oid: COMMON_NAME, value })?;
    let sequence = RdnSequence::from(vec![RelativeDistinguishedName::from(attributes)]);
    der::Decode::from_der(&der::Encode::to_der(&sequence)?)
}

/// The profile as the builder wants it.
#[derive(Debug)]
pub(super) struct Layout {
    issuer: Name,
    subject: Name,
    authority: bool,
    authority_key: OctetString,
    purposes: Vec<ObjectIdentifier>,
    names: Vec<GeneralName>,
}

impl Layout {
    fn new(wanted: &Wanted) -> Result<Self, PrepareError> {
        let uri =
            |uri: &str| Ok::<_, der::Error>(GeneralName::UniformResourceIdentifier(Ia5String::new(uri)?));
        let (purposes, names) = match &wanted.kind {
            Kind::Authority => (Vec::new(), Vec::new()),
            Kind::Client { identity, smart_card } => {
                let mut purposes = vec![CLIENT_AUTH];
                let mut names = vec![uri(&identity.to_string())?];
                if let Some(name) = smart_card {
                    purposes.push(SMART_CARD);
                    let value = Any::new(Tag::Utf8String, name.as_str().as_bytes())?;
                    names.push(GeneralName::OtherName(OtherName { type_id: USER_PRINCIPAL, value }));
                }
                (purposes, names)
            }
            Kind::Server { identity } => {
                let name = GeneralName::DnsName(Ia5String::new(&identity.dns_name())?);
                (vec![SERVER_AUTH], vec![uri(&identity.uri())?, name])
            }
        };
        Ok(Self {
            issuer: wanted.issuer.clone(),
            subject: wanted.subject.clone(),
            authority: matches!(wanted.kind, Kind::Authority),
            authority_key: OctetString::new(wanted.issuer_key.as_slice())?,
            purposes,
            names,
        })
    }
}

impl BuilderProfile for Layout {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _spk: SubjectPublicKeyInfoRef<'_>,
        _issuer_spk: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        let subject = tbs.subject();
        let mut extensions = Vec::with_capacity(5);
        let (path_len_constraint, usage) = if self.authority {
            (Some(0), KeyUsages::KeyCertSign | KeyUsages::CRLSign)
        } else {
            (None, KeyUsages::DigitalSignature.into())
        };
        let constraints = BasicConstraints { ca: self.authority, path_len_constraint };
        extensions.push(constraints.to_extension(subject, &extensions)?);
        extensions.push(KeyUsage(usage).to_extension(subject, &extensions)?);
        if self.authority {
            let own = SubjectKeyIdentifier(self.authority_key.clone());
            extensions.push(own.to_extension(subject, &extensions)?);
            return Ok(extensions);
        }
        let authority =
            AuthorityKeyIdentifier { key_identifier: Some(self.authority_key.clone()), ..Default::default() };
        extensions.push(authority.to_extension(subject, &extensions)?);
        extensions.push(ExtendedKeyUsage(self.purposes.clone()).to_extension(subject, &extensions)?);
        extensions.push(SubjectAltName(self.names.clone()).to_extension(subject, &extensions)?);
        Ok(extensions)
    }
}

/// Tells the builder whose signature it will be; the key itself stays in custody.
#[derive(Clone, Copy)]
pub(super) struct PublicHalf(pub(super) CaPublicKey);

impl signature::Keypair for PublicHalf {
    type VerifyingKey = Self;

    fn verifying_key(&self) -> Self {
        *self
    }
}

impl EncodePublicKey for PublicHalf {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        Ok(Document::try_from(self.0.to_spki_der())?)
    }
}

impl DynSignatureAlgorithmIdentifier for PublicHalf {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        Ok(algorithm_of(&self.0))
    }
}
