//! What a strict reader refuses. Each case is a certificate with a good signature and one thing wrong.

use std::time::Duration;

use p256::ecdsa::{DerSignature, SigningKey};
use usher_ca::{
    CaPublicKey, PortableP256, Signer as _,
    x509::{CaCertificate, VerifyError, verify_client_at, verify_server_at},
};
use usher_testkit::{NOW, fixture, rng};
use usher_types::{Period, UnixTime};
use x509_cert::{
    TbsCertificate,
    builder::{self, Builder as _, CertificateBuilder, profile::BuilderProfile},
    der::{
        Any, DateTime, Decode as _, Encode as _, Tag,
        asn1::{Ia5String, ObjectIdentifier, OctetString},
    },
    ext::{
        Extension, ToExtension as _,
        pkix::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
            name::{GeneralName, OtherName},
        },
    },
    name::Name,
    serial_number::SerialNumber,
    spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef},
    time::Validity,
};

use super::example::{Ca, Machine, Person, subject};

const CLIENT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const SERVER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const ANY_PURPOSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
const SMART_CARD: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.20.2.2");
const UPN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.20.2.3");

/// A certificate that the crate refuses to make, signed by its authority all the same.
#[derive(Clone)]
struct Forged {
    serial: Vec<u8>,
    issuer: Name,
    not_before: i64,
    not_after: i64,
    spki: Vec<u8>,
    constraints: Option<BasicConstraints>,
    usage: Option<KeyUsage>,
    purposes: Vec<ObjectIdentifier>,
    names: Vec<GeneralName>,
    authority_key: Option<OctetString>,
    more: Vec<Extension>,
}

fn uri(text: &str) -> GeneralName {
    GeneralName::UniformResourceIdentifier(Ia5String::new(text).unwrap())
}

fn dns(text: &str) -> GeneralName {
    GeneralName::DnsName(Ia5String::new(text).unwrap())
}

fn upn(text: &str, tag: Tag) -> GeneralName {
    GeneralName::OtherName(OtherName { type_id: UPN, value: Any::new(tag, text.as_bytes()).unwrap() })
}

impl Forged {
    /// Nothing wrong with it yet.
    fn client() -> Self {
        let ca = Ca::p256();
        let anchor = x509_cert::Certificate::from_der(ca.certificate.der()).unwrap();
        let spki = ca.key.public_key().to_spki_der();
        let id = AuthorityKeyIdentifier::try_from(SubjectPublicKeyInfoRef::from_der(&spki).unwrap()).unwrap();
        Self {
            serial: vec![7],
            issuer: anchor.tbs_certificate().subject().clone(),
            not_before: NOW.as_secs() - 60,
            not_after: NOW.as_secs() + 179,
            spki: subject().public_key().to_spki_der(),
            constraints: Some(BasicConstraints { ca: false, path_len_constraint: None }),
            usage: Some(KeyUsage(KeyUsages::DigitalSignature.into())),
            purposes: vec![CLIENT],
            names: vec![uri(&Person::plain().identity.to_string())],
            authority_key: id.key_identifier,
            more: Vec::new(),
        }
    }

    fn server() -> Self {
        let identity = Machine::plain().identity;
        Self {
            purposes: vec![SERVER],
            names: vec![uri(&identity.uri()), dns(&identity.dns_name())],
            ..Self::client()
        }
    }

    fn to_der(&self) -> Vec<u8> {
        self.signed_by(2)
    }

    /// Signs with the key of this seed; 2 is the authority's.
    fn signed_by(&self, seed: u64) -> Vec<u8> {
        let mut scalar = [0; 32];
        rand_core::Rng::fill_bytes(&mut rng(seed), &mut scalar);
        let key = SigningKey::from_slice(&scalar).unwrap();
        let time = |secs: i64| {
            DateTime::from_unix_duration(Duration::from_secs(u64::try_from(secs).unwrap())).unwrap().into()
        };
        let builder = CertificateBuilder::new(
            self.clone(),
            SerialNumber::new(&self.serial).unwrap(),
            Validity::new(time(self.not_before), time(self.not_after)),
            SubjectPublicKeyInfoOwned::from_der(&self.spki).unwrap(),
        );
        builder.unwrap().build::<_, DerSignature>(&key).unwrap().to_der().unwrap()
    }
}

impl BuilderProfile for Forged {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        "CN=forged".parse().unwrap()
    }

    fn build_extensions(
        &self,
        _spk: SubjectPublicKeyInfoRef<'_>,
        _issuer_spk: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        let mut extensions = Vec::new();
        let subject = tbs.subject();
        if let Some(constraints) = &self.constraints {
            extensions.push(constraints.to_extension(subject, &[])?);
        }
        if let Some(usage) = &self.usage {
            extensions.push(usage.to_extension(subject, &[])?);
        }
        if let Some(id) = &self.authority_key {
            let id = AuthorityKeyIdentifier { key_identifier: Some(id.clone()), ..Default::default() };
            extensions.push(id.to_extension(subject, &[])?);
        }
        if !self.purposes.is_empty() {
            extensions.push(ExtendedKeyUsage(self.purposes.clone()).to_extension(subject, &[])?);
        }
        if !self.names.is_empty() {
            extensions.push(SubjectAltName(self.names.clone()).to_extension(subject, &[])?);
        }
        extensions.extend(self.more.clone());
        Ok(extensions)
    }
}

fn trusted() -> [CaCertificate; 1] {
    [Ca::p256().certificate]
}

#[track_caller]
fn check(change: impl FnOnce(&mut Forged), expected: Result<(), VerifyError>) {
    let mut forged = Forged::client();
    change(&mut forged);
    assert_eq!(verify_client_at(&forged.to_der(), &trusted(), NOW).map(|_| ()), expected);
}

#[track_caller]
fn check_server(change: impl FnOnce(&mut Forged), expected: Result<(), VerifyError>) {
    let mut forged = Forged::server();
    change(&mut forged);
    assert_eq!(verify_server_at(&forged.to_der(), &trusted(), NOW).map(|_| ()), expected);
}

#[test]
fn accepts_certificates_of_the_profile() {
    check(|_| {}, Ok(()));
    check_server(|_| {}, Ok(()));
    let unknown = Extension {
        extn_id: ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1"),
        critical: false,
        extn_value: OctetString::new(vec![5, 0]).unwrap(),
    };
    check(|f| f.more = vec![unknown.clone()], Ok(()));
    let critical = Extension { critical: true, ..unknown };
    let refused = VerifyError::CriticalExtension { oid: "1.3.6.1.4.1.32473.1".to_owned() };
    check(|f| f.more = vec![critical], Err(refused));
}

#[test]
fn one_purpose_is_not_good_for_another() {
    let client = Forged::client().to_der();
    let server = Forged::server().to_der();
    assert_eq!(verify_server_at(&client, &trusted(), NOW).unwrap_err(), VerifyError::Purpose);
    assert_eq!(verify_client_at(&server, &trusted(), NOW).unwrap_err(), VerifyError::Names);
    for purposes in [vec![], vec![SERVER], vec![CLIENT, SERVER], vec![ANY_PURPOSE], vec![CLIENT, SMART_CARD]]
    {
        check(|f| f.purposes = purposes, Err(VerifyError::Purpose));
    }
    for purposes in [vec![], vec![CLIENT], vec![SERVER, CLIENT], vec![ANY_PURPOSE]] {
        check_server(|f| f.purposes = purposes, Err(VerifyError::Purpose));
    }
}

/// A leaf that signs further certificates.
#[test]
fn a_leaf_is_no_authority() {
    check(|f| f.constraints = None, Err(VerifyError::Purpose));
    check(
        |f| f.constraints = Some(BasicConstraints { ca: true, path_len_constraint: None }),
        Err(VerifyError::Purpose),
    );
    check(|f| f.usage = None, Err(VerifyError::Purpose));
    let signs = KeyUsages::DigitalSignature | KeyUsages::KeyCertSign;
    check(|f| f.usage = Some(KeyUsage(signs)), Err(VerifyError::Purpose));
    // And one signed by a leaf is signed by nobody.
    let mut below = Forged::client();
    below.issuer = "CN=forged".parse().unwrap();
    assert_eq!(verify_client_at(&below.signed_by(5), &trusted(), NOW).unwrap_err(), VerifyError::Authority);
    assert_eq!(
        verify_client_at(&Forged::client().signed_by(5), &trusted(), NOW).unwrap_err(),
        VerifyError::Signature(usher_ca::BadSignature)
    );
}

#[test]
fn an_authority_of_another_project_signs_nothing_here() {
    let good = Forged::client().to_der();
    let same_name = Ca::new(PortableP256::generate(&mut rng(9)), "Usher CA of payments");
    let other_name = Ca::new(PortableP256::generate(&mut rng(2)), "Usher CA of shipping");
    for other in [same_name, other_name] {
        let refused = verify_client_at(&good, std::slice::from_ref(&other.certificate), NOW);
        assert_eq!(refused.unwrap_err(), VerifyError::Authority);
        assert!(verify_client_at(&good, &[other.certificate, Ca::p256().certificate], NOW).is_ok());
    }
    assert_eq!(verify_client_at(&good, &[], NOW).unwrap_err(), VerifyError::Authority);
    check(|f| f.authority_key = None, Err(VerifyError::Authority));
    check(|f| f.authority_key = Some(OctetString::new(vec![1; 20]).unwrap()), Err(VerifyError::Authority));
}

#[test]
fn refuses_names_that_are_not_exactly_one_person_on_the_way_to_one_server() {
    let good = Person::plain().identity.to_string();
    let bad = [
        String::new(),
        good.to_uppercase(),
        format!("{good}/"),
        format!("{good}#x"),
        good.replace("usher://", "https://"),
        good.replace("acme", "a_cme"),
        good.replacen("usr_", "srv_", 1),
        good.rsplit_once('/').unwrap().0.to_owned(),
        Machine::plain().identity.uri(),
    ];
    for text in bad {
        check(|f| f.names = vec![uri(&text)], Err(VerifyError::Names));
    }
    check(|f| f.names.clear(), Err(VerifyError::Names));
    check(|f| f.names.push(uri(&good)), Err(VerifyError::Names));
    check(|f| f.names.push(dns("web-1.acme.usher")), Err(VerifyError::Names));
    check(
        |f| f.names.push(GeneralName::IpAddress(OctetString::new(vec![127, 0, 0, 1]).unwrap())),
        Err(VerifyError::Names),
    );
    check(|f| f.names.push(GeneralName::Rfc822Name(Ia5String::new("a@b").unwrap())), Err(VerifyError::Names));
}

#[test]
fn a_smart_card_name_and_its_purpose_come_together() {
    let good = |f: &mut Forged| {
        f.purposes = vec![CLIENT, SMART_CARD];
        f.names.push(upn("alice@EXAMPLE.COM", Tag::Utf8String));
    };
    check(good, Ok(()));
    check(|f| f.names.push(upn("alice@EXAMPLE.COM", Tag::Utf8String)), Err(VerifyError::Purpose));
    check(
        |f| {
            good(f);
            f.names.push(upn("root@EXAMPLE.COM", Tag::Utf8String));
        },
        Err(VerifyError::Names),
    );
    check(
        |f| {
            f.purposes = vec![CLIENT, SMART_CARD];
            f.names.push(upn("alice@EXAMPLE.COM", Tag::Ia5String));
        },
        Err(VerifyError::Names),
    );
    check(
        |f| {
            f.purposes = vec![CLIENT, SMART_CARD];
            f.names.push(upn("alice", Tag::Utf8String));
        },
        Err(VerifyError::Names),
    );
}

#[test]
fn refuses_server_names_that_do_not_agree() {
    let identity = Machine::plain().identity;
    let (good, name) = (identity.uri(), identity.dns_name());
    for names in [
        vec![],
        vec![uri(&good)],
        vec![dns(&name)],
        vec![uri(&good), dns("win-1.other.usher")],
        vec![uri(&good), dns("win-1.acme.example")],
        vec![uri(&good), dns("*.acme.usher")],
        vec![uri(&good), dns(".acme.usher")],
        vec![uri(&good), dns(&name), dns("win-2.acme.usher")],
        vec![uri(&Person::plain().identity.to_string()), dns(&name)],
    ] {
        check_server(|f| f.names = names, Err(VerifyError::Names));
    }
}

#[test]
fn accepts_only_from_the_first_second_to_the_last() {
    let der = Forged::client().to_der();
    let at = |offset: i64| {
        let now = UnixTime::from_millis(NOW.as_millis() + offset);
        verify_client_at(&der, &trusted(), now).map(|_| ())
    };
    assert_eq!(at(-60_001), Err(VerifyError::NotYetValid));
    assert_eq!(at(-60_000), Ok(()));
    assert_eq!(at(179_999), Ok(()));
    assert_eq!(at(180_000), Err(VerifyError::Expired));
}

#[test]
fn refuses_a_life_longer_than_the_profile_allows() {
    check(|f| f.not_after = f.not_before + 599, Ok(()));
    check(|f| f.not_after = f.not_before + 600, Err(VerifyError::Window));
    check(|f| f.not_after = f.not_before - 1, Err(VerifyError::Window));
    check(|f| (f.not_before, f.not_after) = (0, NOW.as_secs()), Err(VerifyError::Window));
    check(|f| f.not_after = 253_402_300_799, Err(VerifyError::Window));
    check_server(|f| f.not_after = f.not_before + 31 * 86400 - 1, Ok(()));
    check_server(|f| f.not_after = f.not_before + 31 * 86400, Err(VerifyError::Window));
}

#[test]
fn an_authority_whose_time_is_over_signs_nothing() {
    let key = usher_ca::CheckedKey::check(PortableP256::generate(&mut rng(2))).unwrap();
    let period = Period::around(NOW, Duration::from_secs(60), Duration::from_secs(10)).unwrap();
    let short = Ca::with_period(key, "Usher CA of payments", period).certificate;
    let der = Forged::client().to_der();
    assert!(verify_client_at(&der, std::slice::from_ref(&short), NOW).is_ok());
    let later = NOW.saturating_add(Duration::from_secs(10));
    assert_eq!(verify_client_at(&der, &[short], later).unwrap_err(), VerifyError::AuthorityNotValid);
}

#[test]
fn refuses_serials_that_cannot_be_recorded() {
    check(|f| f.serial = vec![0], Err(VerifyError::Serial));
    check(|f| f.serial = vec![0x80; 8], Err(VerifyError::Serial));
    check(|f| f.serial = vec![1; 9], Err(VerifyError::Serial));
    check(|f| f.serial = vec![0x7f; 8], Ok(()));
}

#[test]
fn refuses_keys_that_are_not_let_in() {
    let p384 = [
        0x30, 0x15, 0x30, 0x10, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22, 3, 1,
        0,
    ];
    check(|f| f.spki = p384.to_vec(), Err(VerifyError::SubjectKey));
}

#[test]
fn refuses_an_extension_twice() {
    check(
        |f| {
            let other = SubjectAltName(vec![uri(&Person::plain().identity.to_string())]);
            f.more = vec![other.to_extension(&Name::default(), &[]).unwrap()];
        },
        Err(VerifyError::Malformed),
    );
}

#[test]
fn one_changed_byte_anywhere_is_one_too_many() {
    let (good, trusted) = (Forged::client().to_der(), trusted());
    for position in 0..good.len() {
        for flip in [1, 0x80] {
            let mut changed = good.clone();
            changed[position] ^= flip;
            assert!(verify_client_at(&changed, &trusted, NOW).is_err(), "{position}");
        }
    }
    let mut longer = good.clone();
    longer.push(0);
    for bytes in [&longer[..], &good[..good.len() - 1], &[], &vec![0; 10_000]] {
        assert_eq!(verify_client_at(bytes, &trusted, NOW).unwrap_err(), VerifyError::Malformed);
    }
}

/// ECDSA signatures come in pairs: `(r, -s)` is as good as `(r, s)`. The certificate is then another one for every list of
/// certificates, and says the same; nothing here tells certificates apart by their bytes but the record of what was issued.
#[test]
fn the_other_half_of_an_ecdsa_signature_changes_nothing_that_is_said() {
    let good = Forged::client().to_der();
    let mut other = x509_cert::Certificate::from_der(&good).unwrap();
    let signature = p256::ecdsa::Signature::from_der(other.signature().as_bytes().unwrap()).unwrap();
    let flipped =
        p256::ecdsa::Signature::from_scalars(signature.r().to_bytes(), (-*signature.s()).to_bytes()).unwrap();
    let tail = flipped.to_der();
    let mut bytes = other.tbs_certificate().to_der().unwrap();
    bytes.extend(other.signature_algorithm().to_der().unwrap());
    bytes.extend(x509_cert::der::asn1::BitString::from_bytes(tail.as_bytes()).unwrap().to_der().unwrap());
    other =
        x509_cert::Certificate::from_der(&Any::new(Tag::Sequence, bytes).unwrap().to_der().unwrap()).unwrap();
    let verified = verify_client_at(&other.to_der().unwrap(), &trusted(), NOW).unwrap();
    assert_eq!(verified, verify_client_at(&good, &trusted(), NOW).unwrap());
}

#[test]
fn the_subject_key_is_the_one_of_the_request() {
    let der = Forged::client().to_der();
    let verified = verify_client_at(&der, &trusted(), NOW).unwrap();
    let key: CaPublicKey = *subject().public_key();
    assert_eq!((verified.subject(), verified.identity().server_id), (&key, fixture::server(1)));
}
