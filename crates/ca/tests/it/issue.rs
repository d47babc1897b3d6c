//! Making certificates: what they say, and who is allowed to sign them.

use std::{io, time::Duration};

use usher_ca::{
    CaPublicKey, CheckKeyError, CheckedKey, IssueError, LocalKey, PortableEd25519, PortableP256,
    PrepareError, SealError, SignError, Signature, Signer, SourceAddresses, inspect, issue, prepare,
    verify_at,
};
use usher_testkit::{NOW, fixture, rng};

use crate::example::{Example, ed25519, p256, subject};

/// Signs with `key` and says it is `claimed`, as a broken or bribed custodian would.
struct Remote {
    claimed: CaPublicKey,
    key: PortableEd25519,
}

impl LocalKey for Remote {
    fn public_key(&self) -> CaPublicKey {
        self.claimed
    }

    fn sign_now(&self, message: &[u8]) -> Result<Signature, SignError> {
        self.key.sign_now(message)
    }
}

#[async_trait::async_trait]
impl Signer for Remote {
    fn public_key(&self) -> CaPublicKey {
        self.claimed
    }

    async fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        self.sign_now(message)
    }
}

#[tokio::test]
async fn issues_what_was_authorized_with_either_kind_of_key() {
    for key in [ed25519(), p256()] {
        let certificate = issue(&key, Example::login(), &subject(), NOW, &mut rng(3)).await.unwrap();
        let read = inspect(&certificate.to_openssh()).unwrap();
        assert_eq!(read.certificate_type, "user");
        assert_eq!(read.algorithm, "ssh-ed25519-cert-v01@openssh.com");
        assert_eq!(read.subject, subject().fingerprint());
        assert_eq!(read.signature_key, key.public_key().fingerprint());
        assert_eq!(read.signature_algorithm, key.public_key().algorithm());
        assert_eq!(read.serial, certificate.serial().to_string());
        assert_eq!(read.key_id, format!("payments:alice@{}:{}", fixture::device(1), fixture::connection(1)));
        assert_eq!(read.valid_principals, [format!("alice@{}", fixture::server(1))]);
        assert_eq!(read.valid_after, Some(NOW.saturating_sub(Duration::from_secs(60))));
        assert_eq!(read.valid_before, Some(NOW.saturating_add(Duration::from_secs(180))));
        assert!(read.critical_options.is_empty());
        let extensions: Vec<_> = read.extensions.into_iter().collect();
        assert_eq!(
            extensions,
            [
                ("client-address@usher.internal".to_owned(), "192.0.2.7".to_owned()),
                ("device@usher.internal".to_owned(), fixture::device(1).to_string()),
                ("permit-pty".to_owned(), String::new()),
                ("user@usher.internal".to_owned(), fixture::user(1).to_string()),
            ]
        );
    }
}

#[test]
fn gives_a_hop_forwarding_and_no_terminal() {
    let key = ed25519();
    let prepared = prepare(Example::hop(), &subject(), &key.public_key(), NOW, &mut rng(3)).unwrap();
    let text = prepared.sign_with(&key).unwrap().to_openssh();
    let verified = verify_at(&text, &[key.public_key()], NOW).unwrap();
    assert!(verified.permit_port_forwarding());
    assert!(!verified.permit_pty());
    assert_eq!(
        verified.principal().to_string(),
        format!("usher-hop@{}.{}", fixture::server(2), fixture::server(1))
    );
}

#[test]
fn writes_the_same_certificate_from_the_same_randomness() {
    let key = ed25519();
    let make = |seed| {
        prepare(Example::login(), &subject(), &key.public_key(), NOW, &mut rng(seed))
            .unwrap()
            .sign_with(&key)
            .unwrap()
    };
    assert_eq!(make(4), make(4));
    let (one, other) = (make(5), make(6));
    assert_ne!(one.serial(), other.serial());
    assert_ne!(one.sha256(), other.sha256());
}

#[test]
fn keeps_a_known_certificate() {
    let key = ed25519();
    let prepared = prepare(Example::login(), &subject(), &key.public_key(), NOW, &mut rng(4)).unwrap();
    let text = prepared.sign_with(&key).unwrap().to_openssh();
    assert_eq!(text, include_str!("../golden/login.pub").trim_end());
}

#[test]
fn refuses_an_authorization_whose_time_has_not_come_or_is_over() {
    for now in [NOW.saturating_sub(Duration::from_secs(61)), NOW.saturating_add(Duration::from_secs(180))] {
        let refused = prepare(Example::login(), &subject(), &ed25519().public_key(), now, &mut rng(3));
        assert_eq!(refused.unwrap_err(), PrepareError::NotValidNow);
    }
}

#[test]
fn stays_below_the_size_that_key_services_sign() {
    let networks = (0..32_u16).map(|number| {
        format!("2001:db8:ffff:ffff:ffff:ffff:ffff:{:x}/127", 0xf000 + number * 2).parse().unwrap()
    });
    let largest = Example {
        source: SourceAddresses::only(networks).unwrap(),
        forwarding: true,
        client_address: Some("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap()),
        ..Example::login()
    };
    let prepared = prepare(largest, &subject(), &p256().public_key(), NOW, &mut rng(3)).unwrap();
    assert!(prepared.bytes().len() < 4096, "{}", prepared.bytes().len());
}

#[tokio::test]
async fn refuses_a_signature_of_another_key() {
    let liar = Remote { claimed: ed25519().public_key(), key: PortableEd25519::generate(&mut rng(77)) };
    let refused = issue(&liar, Example::login(), &subject(), NOW, &mut rng(3)).await;
    assert!(matches!(refused, Err(IssueError::Seal(SealError::Signature(_)))), "{refused:?}");
}

#[test]
fn refuses_a_signature_over_other_bytes() {
    let key = PortableEd25519::generate(&mut rng(1));
    let prepare = |seed| {
        prepare(Example::login(), &subject(), &LocalKey::public_key(&key), NOW, &mut rng(seed)).unwrap()
    };
    let (one, other) = (prepare(3), prepare(4));
    let signature = key.sign_now(other.bytes()).unwrap();
    assert!(matches!(one.seal(signature), Err(SealError::Signature(_))));
}

#[test]
fn refuses_to_sign_with_a_key_that_the_certificate_does_not_name() {
    let prepared = prepare(Example::login(), &subject(), &p256().public_key(), NOW, &mut rng(3)).unwrap();
    assert!(matches!(prepared.sign_with(&ed25519()), Err(SealError::WrongKey)));
}

#[test]
fn refuses_a_local_key_whose_halves_do_not_belong_together() {
    let broken = Remote { claimed: ed25519().public_key(), key: PortableEd25519::generate(&mut rng(77)) };
    assert!(matches!(CheckedKey::check(broken), Err(CheckKeyError::Mismatch(_))));
}

#[tokio::test]
async fn passes_on_that_a_custodian_is_away() {
    struct Away;
    #[async_trait::async_trait]
    impl Signer for Away {
        fn public_key(&self) -> CaPublicKey {
            ed25519().public_key()
        }
        async fn sign(&self, _message: &[u8]) -> Result<Signature, SignError> {
            Err(SignError::Unavailable(Box::new(io::Error::from(io::ErrorKind::TimedOut))))
        }
    }
    let failed = issue(&Away, Example::login(), &subject(), NOW, &mut rng(3)).await;
    assert!(matches!(failed, Err(IssueError::Sign(SignError::Unavailable(_)))));
}

/// The integers of an ECDSA signature lose their leading zeros and gain one when the top bit is set; a few hundred
/// signatures meet every case. Each is checked by this crate and by `ssh-key`.
#[test]
fn encodes_every_p256_signature_as_openssh_reads_it() {
    let key = p256();
    let mut short = 0;
    for seed in 0..400 {
        let prepared = prepare(Example::login(), &subject(), &key.public_key(), NOW, &mut rng(seed)).unwrap();
        let certificate = prepared.sign_with(&key).unwrap();
        verify_at(&certificate.to_openssh(), &[key.public_key()], NOW).unwrap();
        let read = ssh_key::Certificate::from_bytes(certificate.as_bytes()).unwrap();
        let fingerprint = read.signature_key().fingerprint(ssh_key::HashAlg::Sha256);
        read.validate_at(read.valid_after(), [&fingerprint]).unwrap();
        short += usize::from(read.signature().as_bytes().len() < 2 * (4 + 32));
    }
    assert!(short > 0, "no signature had a leading zero; draw more");
}

#[test]
fn takes_p256_signatures_in_der() {
    use p256::ecdsa::signature::Signer as _;
    let secret = p256::ecdsa::SigningKey::from_slice(&[3; 32]).unwrap();
    let authority = LocalKey::public_key(&PortableP256::from_scalar(&[3; 32]).unwrap());
    let prepared = prepare(Example::login(), &subject(), &authority, NOW, &mut rng(3)).unwrap();
    let signature: p256::ecdsa::Signature = secret.sign(prepared.bytes());
    let signature = Signature::ecdsa_p256_from_der(signature.to_der().as_bytes()).unwrap();
    prepared.seal(signature).unwrap();
    assert!(Signature::ecdsa_p256_from_der(b"\x30\x00").is_err());
    assert!(Signature::ecdsa_p256(&[0; 64]).is_err());
}
