//! Making certificates: what they say, and who is allowed to sign them.

use std::{io, time::Duration};

use usher_ca::{
    BadSignature, CaPublicKey, LocalKey as _, PortableEd25519, PortableP256, SignError, Signature, Signer,
    x509::{
        AUTHORITY_MAX, CaCertificate, CaCertificateError, IssueError, PrepareError, SERVER_MAX, SealError,
        ToBeSigned, UserPrincipalName, inspect, issue_client, issue_server, prepare_authority,
        prepare_client, prepare_server, self_sign, verify_client_at, verify_server_at,
    },
};
use usher_testkit::{NOW, fixture, rng};
use usher_types::{Period, UnixTime, ValidityWindow};

use super::example::{Ca, Machine, Person, proven, subject};

/// A key elsewhere, which may be down, or sign with another key than it says.
struct Remote {
    claimed: CaPublicKey,
    key: Option<PortableP256>,
}

#[async_trait::async_trait]
impl Signer for Remote {
    fn public_key(&self) -> CaPublicKey {
        self.claimed
    }

    async fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        match &self.key {
            Some(key) => key.sign_now(message),
            None => Err(SignError::Unavailable(io::Error::other("down").into())),
        }
    }
}

#[test]
fn a_client_certificate_says_what_was_authorized_and_no_more() {
    for ca in [Ca::p256(), Ca::ed25519()] {
        for subject in [subject(), proven(&PortableEd25519::generate(&mut rng(6)))] {
            let certificate = ca.client(Person::plain(), &subject);
            let verified =
                verify_client_at(certificate.der(), std::slice::from_ref(&ca.certificate), NOW).unwrap();
            assert_eq!(*verified.identity(), Person::plain().identity);
            assert_eq!(verified.smart_card(), None);
            assert_eq!(verified.subject(), subject.public_key());
            assert_eq!(verified.serial(), certificate.serial());
            assert_eq!(verified.authority(), ca.certificate.sha256());
            assert_eq!(verified.valid_after(), NOW.saturating_sub(Duration::from_secs(60)));
            assert_eq!(verified.valid_before(), NOW.saturating_add(Duration::from_secs(180)));
            let read = inspect(certificate.der()).unwrap();
            assert_eq!(read.subject, format!("CN={}", fixture::user(1)));
            assert_eq!(read.issuer, "CN=Usher CA of payments");
            assert_eq!(read.purposes, ["clientAuth"]);
            assert_eq!(
                read.names,
                [format!(
                    "URI usher://acme/{}/{}/{}/{}/{}",
                    fixture::project(1),
                    fixture::user(1),
                    fixture::device(1),
                    fixture::server(1),
                    fixture::connection(1)
                )]
            );
            assert!(!read.authority);
            // Basic constraints and key usage, nothing that a reader might not know.
            assert_eq!(read.critical_extensions, ["2.5.29.19", "2.5.29.15"]);
        }
    }
}

#[test]
fn a_server_certificate_is_for_the_names_of_the_authorization() {
    let ca = Ca::p256();
    let certificate = ca.server(Machine::plain(), &subject());
    let verified = verify_server_at(certificate.der(), std::slice::from_ref(&ca.certificate), NOW).unwrap();
    assert_eq!(*verified.identity(), Machine::plain().identity);
    let read = inspect(certificate.der()).unwrap();
    assert_eq!(read.purposes, ["serverAuth"]);
    assert_eq!(
        read.names,
        [
            format!("URI usher://acme/{}/{}", fixture::project(1), fixture::server(1)),
            "DNS win-1.acme.usher".to_owned()
        ]
    );
}

#[test]
fn a_smart_card_certificate_names_the_account_and_the_purpose() {
    let ca = Ca::p256();
    let name: UserPrincipalName = "alice@EXAMPLE.COM".parse().unwrap();
    let certificate = ca.client(Person { smart_card: Some(name.clone()), ..Person::plain() }, &subject());
    let verified = verify_client_at(certificate.der(), std::slice::from_ref(&ca.certificate), NOW).unwrap();
    assert_eq!(verified.smart_card(), Some(&name));
    let read = inspect(certificate.der()).unwrap();
    assert_eq!(read.purposes, ["clientAuth", "smartCardLogon"]);
    assert_eq!(read.names[1], "UPN alice@EXAMPLE.COM");
}

#[test]
fn names_that_could_mean_something_else_cannot_be_expressed() {
    let long = format!("alice@{}", "x".repeat(129));
    for bad in [
        "",
        "alice",
        "@x",
        "alice@",
        "a b@x",
        "a@b@c",
        "alice@x\0",
        "al,ice@x",
        "*@x",
        "alice@-x",
        "a..b@x",
        &long,
    ] {
        assert!(bad.parse::<UserPrincipalName>().is_err(), "{bad}");
    }
    for bad in ["", " x", "x\ny", "a,CN=b", "a+b", "a/b", "é", &"x".repeat(65)] {
        assert!(bad.parse::<usher_ca::x509::CommonName>().is_err(), "{bad}");
    }
}

#[tokio::test]
async fn signs_with_a_key_elsewhere_and_verifies_what_it_returns() {
    let ca = Ca::p256();
    let key = PortableP256::generate(&mut rng(2));
    let good = Remote { claimed: ca.key.public_key(), key: Some(key) };
    let subject = subject();
    issue_client(&good, Person::plain(), &subject, &ca.certificate, NOW, &mut rng(3)).await.unwrap();
    issue_server(&good, Machine::plain(), &subject, &ca.certificate, NOW, &mut rng(3)).await.unwrap();
    issue_client(&ca.key, Person::plain(), &subject, &ca.certificate, NOW, &mut rng(3)).await.unwrap();

    let wrong = Remote { key: Some(PortableP256::generate(&mut rng(77))), ..good };
    let refused = issue_client(&wrong, Person::plain(), &subject, &ca.certificate, NOW, &mut rng(3)).await;
    assert!(matches!(refused, Err(IssueError::Seal(SealError::Signature(BadSignature)))));
    let down = Remote { key: None, ..wrong };
    let refused = issue_server(&down, Machine::plain(), &subject, &ca.certificate, NOW, &mut rng(3)).await;
    assert!(matches!(refused, Err(IssueError::Sign(SignError::Unavailable(_)))));
    let other = Ca::new(PortableP256::generate(&mut rng(9)), "Other");
    let refused =
        issue_client(&other.key, Person::plain(), &subject, &ca.certificate, NOW, &mut rng(3)).await;
    assert!(matches!(refused, Err(IssueError::WrongKey)));
}

#[tokio::test]
async fn an_authority_signs_its_own_certificate_with_a_key_anywhere() {
    let key = PortableP256::generate(&mut rng(2));
    let claimed = key.public_key();
    let signer = Remote { claimed, key: Some(key) };
    let period = Period::around(NOW, Duration::from_secs(60), AUTHORITY_MAX / 2).unwrap();
    let name = "Usher CA of payments".parse().unwrap();
    let made = self_sign(&signer, &name, period, NOW, &mut rng(1)).await.unwrap();
    assert_eq!((made.common_name(), *made.public_key()), ("Usher CA of payments", claimed));
    assert_eq!((made.valid_after(), made.valid_before()), (period.valid_after(), period.valid_before()));
    assert_eq!(CaCertificate::from_der(made.der().to_vec()), Ok(made.clone()));
    assert_eq!(CaCertificate::from_pem(&made.to_pem()), Ok(made));
}

#[test]
fn only_an_authority_of_this_form_is_taken_as_one() {
    let ca = Ca::p256();
    let leaf = ca.client(Person::plain(), &subject());
    assert!(matches!(
        CaCertificate::from_der(leaf.der().to_vec()),
        Err(CaCertificateError::NotSelfSigned(_))
    ));
    let mut broken = ca.certificate.der().to_vec();
    *broken.last_mut().unwrap() ^= 1;
    assert!(matches!(CaCertificate::from_der(broken), Err(CaCertificateError::NotSelfSigned(_))));
    assert!(matches!(CaCertificate::from_der(vec![0x30, 0]), Err(CaCertificateError::Read(_))));
    // Self-signed and good, but an authority over further authorities.
    let openssl = CaCertificate::from_pem(include_str!("../../golden/openssl-ca.pem"));
    assert_eq!(openssl, Err(CaCertificateError::Profile));
}

#[test]
fn refuses_times_that_do_not_fit() {
    let ca = Ca::p256();
    let subject = subject();
    for now in [NOW.saturating_sub(Duration::from_secs(61)), NOW.saturating_add(Duration::from_secs(180))] {
        let refused = prepare_client(Person::plain(), &subject, &ca.certificate, now, &mut rng(3));
        assert_eq!(refused.unwrap_err(), PrepareError::NotValidNow);
    }
    let period = |before: Duration, after: Duration| Period::around(NOW, before, after).unwrap();
    let second = Duration::from_secs(1);
    let long = Machine { period: period(second, SERVER_MAX), ..Machine::plain() };
    let refused = prepare_server(long, &subject, &ca.certificate, NOW, &mut rng(3));
    assert_eq!(refused.unwrap_err(), PrepareError::TooLong);
    let name = "x".parse().unwrap();
    let refused =
        prepare_authority(&name, &ca.key.public_key(), period(second, AUTHORITY_MAX), NOW, &mut rng(3));
    assert_eq!(refused.unwrap_err(), PrepareError::TooLong);
    // A leaf never outlives its authority, which may end between two requests.
    let key = usher_ca::CheckedKey::check(PortableP256::generate(&mut rng(2))).unwrap();
    let short = Ca::with_period(key, "x", period(second, Duration::from_secs(100)));
    let refused = prepare_client(Person::plain(), &subject, &short.certificate, NOW, &mut rng(3));
    assert_eq!(refused.unwrap_err(), PrepareError::AuthorityEnds);
    let later = NOW.saturating_add(Duration::from_secs(100));
    let window = ValidityWindow::around(later, Duration::from_secs(60), Duration::from_secs(1)).unwrap();
    let refused = prepare_client(
        Person { window, ..Person::plain() },
        &subject,
        &short.certificate,
        later,
        &mut rng(3),
    );
    assert_eq!(refused.unwrap_err(), PrepareError::AuthorityEnds);
}

#[test]
fn a_key_signs_only_what_was_prepared_for_it() {
    let ca = Ca::p256();
    let other = Ca::new(PortableP256::generate(&mut rng(9)), "Other");
    let prepared = || prepare_client(Person::plain(), &subject(), &ca.certificate, NOW, &mut rng(3)).unwrap();
    assert!(matches!(prepared().sign_with(&other.key), Err(SealError::WrongKey)));
    let signature = PortableP256::generate(&mut rng(9)).sign_now(prepared().bytes()).unwrap();
    assert!(matches!(prepared().seal(signature), Err(SealError::Signature(BadSignature))));
    let ed25519 = PortableEd25519::generate(&mut rng(9)).sign_now(prepared().bytes()).unwrap();
    assert!(matches!(prepared().seal(ed25519), Err(SealError::Signature(BadSignature))));
}

#[test]
fn the_largest_certificate_stays_below_the_size_that_key_services_sign() {
    let ca = Ca::p256();
    let mut person = Person::plain();
    person.identity.team = "t".repeat(31).parse().unwrap();
    person.smart_card = Some(format!("{}@{}", "a".repeat(64), "d".repeat(128)).parse().unwrap());
    let prepared = prepare_client(person, &subject(), &ca.certificate, NOW, &mut rng(3)).unwrap();
    assert!(prepared.bytes().len() < 1024 && prepared.bytes().len() < ToBeSigned::MAX);
}

/// They are also what the fuzz target starts from and must never accept in another form.
#[test]
fn keeps_known_certificates() {
    let ca = Ca::ed25519();
    let subject = proven(&PortableEd25519::generate(&mut rng(6)));
    let card = Person { smart_card: Some("alice@EXAMPLE.COM".parse().unwrap()), ..Person::plain() };
    let p256 = Ca::p256();
    // From 2050 on, times are written in another form.
    let later = UnixTime::from_secs(2_500_000_000);
    let period = Period::around(later, Duration::ZERO, AUTHORITY_MAX).unwrap();
    let authority =
        prepare_authority(&"Late".parse().unwrap(), &p256.key.public_key(), period, later, &mut rng(8));
    let made = [
        ("authority-p256", authority.unwrap().sign_with(&p256.key).unwrap().der().to_vec()),
        ("client-p256", p256.client(Person::plain(), &subject).der().to_vec()),
        ("authority", ca.certificate.der().to_vec()),
        ("client", ca.client(Person::plain(), &subject).der().to_vec()),
        ("server", ca.server(Machine::plain(), &subject).der().to_vec()),
        ("smart-card", ca.client(card, &subject).der().to_vec()),
        ("../ca_csr/ed25519", super::example::request(&PortableEd25519::generate(&mut rng(6)))),
        ("../ca_csr/p256", super::example::request(&PortableP256::generate(&mut rng(5)))),
    ];
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/ca_x509");
    for (name, der) in made {
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), der, "{name}");
    }
}

#[test]
fn the_same_randomness_gives_the_same_certificate_and_other_randomness_another_serial() {
    let ca = Ca::p256();
    let make = |seed| {
        let prepared =
            prepare_client(Person::plain(), &subject(), &ca.certificate, NOW, &mut rng(seed)).unwrap();
        prepared.sign_with(&ca.key).unwrap()
    };
    assert_eq!(make(4), make(4));
    assert_ne!(make(5).serial(), make(6).serial());
}
