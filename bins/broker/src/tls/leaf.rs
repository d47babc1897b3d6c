//! The broker's own certificate: a key in memory only, 30 days, for the host of the public URL.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use der::asn1::{Ia5String, OctetString};
use p256::ecdsa::VerifyingKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use url::{Host, Url};
use usher_types::UnixTime;
use x509_cert::{
    TbsCertificate,
    builder::{self, CertificateBuilder, profile::BuilderProfile},
    ext::{
        Extension, ToExtension as _,
        pkix::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
            name::GeneralName,
        },
    },
    name::Name,
    spki::{ObjectIdentifier, SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef},
};

use super::authority::{AuthorityError, PublicHalf, TeamAuthority, serial_number, sign, validity};

/// How long a leaf lives; it is replaced at half of that.
pub(super) const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");

/// Why a leaf could not be made.
#[derive(Debug, Error)]
pub enum LeafError {
    /// The certificate could not be built or signed.
    #[error("the certificate could not be made")]
    Authority(#[source] AuthorityError),
    /// The public URL has no host.
    #[error("the public url has no host that a certificate can be for")]
    Host,
    /// No key could be generated.
    #[error("no key could be generated")]
    Key,
}

impl<E: Into<AuthorityError>> From<E> for LeafError {
    fn from(error: E) -> Self {
        Self::Authority(error.into())
    }
}

/// A leaf, its root behind it, and its key.
pub(super) struct Leaf {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl TeamAuthority {
    /// A new leaf with a new key.
    pub(super) async fn leaf(&self, public_url: &Url, now: UnixTime) -> Result<Leaf, LeafError> {
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_error| LeafError::Key)?;
        let public =
            VerifyingKey::from_sec1_bytes(pair.public_key().as_ref()).map_err(|_error| LeafError::Key)?;
        let spki = SubjectPublicKeyInfoOwned::from_key(&public).map_err(builder::Error::from)?;
        let mut serial = [0; 16];
        aws_lc_rs::rand::fill(&mut serial).map_err(|_error| LeafError::Key)?;
        let profile = LeafProfile { issuer: self.subject(), host: general_name(public_url)? };
        let builder =
            CertificateBuilder::new(profile, serial_number(serial)?, validity(now, LIFETIME)?, spki)?;
        let leaf = sign(builder, &PublicHalf::of(self.key())?, self.key()).await?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_error| LeafError::Key)?;
        Ok(Leaf {
            chain: vec![leaf.into(), self.der().to_vec().into()],
            key: PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()).into(),
        })
    }
}

fn general_name(public_url: &Url) -> Result<GeneralName, LeafError> {
    let ip = |octets: &[u8]| Ok(GeneralName::IpAddress(OctetString::new(octets)?));
    match public_url.host() {
        Some(Host::Domain(name)) => Ok(GeneralName::DnsName(Ia5String::new(name)?)),
        Some(Host::Ipv4(address)) => ip(&address.octets()),
        Some(Host::Ipv6(address)) => ip(&address.octets()),
        None => Err(LeafError::Host),
    }
}

struct LeafProfile {
    issuer: Name,
    host: GeneralName,
}

impl BuilderProfile for LeafProfile {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    /// Empty: the name is in the SAN, which is then critical (RFC 5280 section 4.2.1.6).
    fn get_subject(&self) -> Name {
        Name::default()
    }

    fn build_extensions(
        &self,
        _spk: SubjectPublicKeyInfoRef<'_>,
        issuer_spk: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        let mut extensions = Vec::new();
        let subject = tbs.subject();
        let constraints = BasicConstraints { ca: false, path_len_constraint: None };
        extensions.push(constraints.to_extension(subject, &extensions)?);
        extensions.push(KeyUsage(KeyUsages::DigitalSignature.into()).to_extension(subject, &extensions)?);
        extensions.push(ExtendedKeyUsage(vec![SERVER_AUTH]).to_extension(subject, &extensions)?);
        extensions.push(AuthorityKeyIdentifier::try_from(issuer_spk)?.to_extension(subject, &extensions)?);
        extensions.push(SubjectAltName(vec![self.host.clone()]).to_extension(subject, &extensions)?);
        Ok(extensions)
    }
}
