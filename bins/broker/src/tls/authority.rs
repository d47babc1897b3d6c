//! The team's TLS root: a P-256 CA that issues the broker's leaves and nothing else. Clients pin its public key.

use std::{str::FromStr as _, sync::Arc, time::Duration};

use der::{Decode as _, Encode as _, EncodePem as _, asn1::BitString, pem::LineEnding};
use p256::ecdsa::{Signature, VerifyingKey, signature::Keypair};
use thiserror::Error;
use usher_keystore::{SignMessageError, SigningKey};
use usher_types::{Sha256, TeamSlug, UnixTime};
use x509_cert::{
    Certificate, TbsCertificate,
    builder::{self, Builder as _, CertificateBuilder, profile::BuilderProfile},
    ext::{
        Extension, ToExtension as _,
        pkix::{BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier},
    },
    name::Name,
    serial_number::SerialNumber,
    spki::{
        AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, ObjectIdentifier,
        SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef,
    },
    time::{Time, Validity},
};

/// As long as a root that is pinned may live; it is replaced by a pin set, not by expiry.
const LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 60 * 60);
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

/// Why the root cannot be made or used.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// The certificate could not be built.
    #[error("the certificate could not be built")]
    Build(#[source] builder::Error),
    /// The certificate could not be encoded or decoded.
    #[error("the certificate could not be encoded or decoded")]
    Encoding(#[source] der::Error),
    /// The key is not P-256.
    #[error("the root's key is not usable")]
    Key,
    /// The key did not sign.
    #[error("the root's key did not sign")]
    Sign(#[source] SignMessageError),
}

impl From<builder::Error> for AuthorityError {
    fn from(error: builder::Error) -> Self {
        Self::Build(error)
    }
}

impl From<der::Error> for AuthorityError {
    fn from(error: der::Error) -> Self {
        Self::Encoding(error)
    }
}

/// SHA-256 of the SPKI of a root's certificate: its pin.
///
/// # Errors
/// [`AuthorityError`] when the certificate does not parse.
pub fn pin_of(der: &[u8]) -> Result<Sha256, AuthorityError> {
    let certificate = Certificate::from_der(der)?;
    Ok(Sha256::of(&certificate.tbs_certificate().subject_public_key_info().to_der()?))
}

/// The team's TLS root with its key.
#[derive(Debug)]
pub struct TeamAuthority {
    key: Arc<SigningKey>,
    certificate: Certificate,
    der: Vec<u8>,
    pin: Sha256,
}

impl TeamAuthority {
    /// From what is stored.
    ///
    /// # Errors
    /// [`AuthorityError`] when the certificate does not parse or is not the key's.
    pub fn new(key: Arc<SigningKey>, der: Vec<u8>) -> Result<Self, AuthorityError> {
        let certificate = Certificate::from_der(&der)?;
        let spki = certificate.tbs_certificate().subject_public_key_info();
        if spki.subject_public_key.raw_bytes() != key.public_key_bytes() {
            return Err(AuthorityError::Key);
        }
        let pin = Sha256::of(&spki.to_der()?);
        Ok(Self { key, certificate, der, pin })
    }

    /// Makes the root's certificate; gives its DER.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn self_signed(
        key: &SigningKey,
        team: &TeamSlug,
        serial: [u8; 16],
        now: UnixTime,
    ) -> Result<Vec<u8>, AuthorityError> {
        let name = Name::from_str(&format!("CN=Usher TLS root of {team}"))?;
        let signer = PublicHalf::of(key)?;
        let spki = SubjectPublicKeyInfoOwned::from_key(&signer.0).map_err(builder::Error::from)?;
        let window = validity(now, LIFETIME)?;
        let builder = CertificateBuilder::new(RootProfile(name), serial_number(serial)?, window, spki)?;
        sign(builder, &signer, key).await
    }

    /// SHA-256 of the root's SPKI.
    #[must_use]
    pub fn pin(&self) -> Sha256 {
        self.pin
    }

    /// The root's certificate in PEM, to be imported where browsers look.
    ///
    /// # Errors
    /// [`AuthorityError`] when it cannot be encoded.
    pub fn to_pem(&self) -> Result<String, AuthorityError> {
        Ok(self.certificate.to_pem(LineEnding::LF)?)
    }

    /// The root's certificate.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    pub(super) fn subject(&self) -> Name {
        self.certificate.tbs_certificate().subject().clone()
    }

    pub(super) fn key(&self) -> &SigningKey {
        &self.key
    }
}

/// Tells the builder whose signature it will be; the key itself stays in custody.
pub(super) struct PublicHalf(pub(super) VerifyingKey);

impl PublicHalf {
    pub(super) fn of(key: &SigningKey) -> Result<Self, AuthorityError> {
        VerifyingKey::from_sec1_bytes(key.public_key_bytes()).map(Self).map_err(|_error| AuthorityError::Key)
    }
}

impl Keypair for PublicHalf {
    type VerifyingKey = VerifyingKey;

    fn verifying_key(&self) -> VerifyingKey {
        self.0
    }
}

impl DynSignatureAlgorithmIdentifier for PublicHalf {
    fn signature_algorithm_identifier(&self) -> x509_cert::spki::Result<AlgorithmIdentifierOwned> {
        Ok(AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA256, parameters: None })
    }
}

/// Both halves of the builder with the signature between them.
pub(super) async fn sign<P: BuilderProfile>(
    mut builder: CertificateBuilder<P>,
    signer: &PublicHalf,
    key: &SigningKey,
) -> Result<Vec<u8>, AuthorityError> {
    let to_be_signed = builder.finalize(signer)?;
    let signature = key.sign_message(&to_be_signed).await.map_err(AuthorityError::Sign)?;
    let signature = Signature::from_slice(&signature).map_err(|_error| AuthorityError::Key)?.to_der();
    let certificate = builder.assemble(BitString::from_bytes(signature.as_bytes())?, signer)?;
    Ok(certificate.to_der()?)
}

/// From an hour ago, because clocks differ, until `lifetime` from now.
pub(super) fn validity(now: UnixTime, lifetime: Duration) -> Result<Validity, AuthorityError> {
    let time = |at: UnixTime| {
        let seconds = u64::try_from(at.as_secs()).unwrap_or_default();
        let at = der::DateTime::from_unix_duration(Duration::from_secs(seconds))?;
        // RFC 5280 section 4.1.2.5: UTCTime through 2049.
        Ok::<_, AuthorityError>(match der::asn1::UtcTime::from_date_time(at) {
            Ok(time) => Time::UtcTime(time),
            Err(_) => Time::GeneralTime(der::asn1::GeneralizedTime::from_date_time(at)),
        })
    };
    let not_before = time(now.saturating_sub(Duration::from_secs(3600)))?;
    Ok(Validity::new(not_before, time(now.saturating_add(lifetime))?))
}

/// Positive and never zero (RFC 5280 section 4.1.2.2).
pub(super) fn serial_number(random: [u8; 16]) -> Result<SerialNumber, AuthorityError> {
    let mut bytes = random;
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    Ok(SerialNumber::new(&bytes)?)
}

struct RootProfile(Name);

impl BuilderProfile for RootProfile {
    fn get_issuer(&self, subject: &Name) -> Name {
        subject.clone()
    }

    fn get_subject(&self) -> Name {
        self.0.clone()
    }

    fn build_extensions(
        &self,
        spk: SubjectPublicKeyInfoRef<'_>,
        _issuer_spk: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        let mut extensions = Vec::new();
        let subject = tbs.subject();
        extensions.push(
            BasicConstraints { ca: true, path_len_constraint: Some(0) }.to_extension(subject, &extensions)?,
        );
        extensions
            .push(KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign).to_extension(subject, &extensions)?);
        extensions.push(SubjectKeyIdentifier::try_from(spk)?.to_extension(subject, &extensions)?);
        Ok(extensions)
    }
}
