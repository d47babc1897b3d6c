//! `openssl verify` accepts what is made here, and refuses the rest.

use std::{fs, path::Path, process::Command};

use usher_ca::{PortableEd25519, PortableP256};
use usher_testkit::{NOW, rng};

use super::example::{Ca, Machine, Person, proven, subject};

const OPENSSL: &str = "/usr/bin/openssl";

/// Runs openssl in a folder of its own with these files; whether it was content, and what it said.
fn openssl(files: &[(&str, &str)], arguments: &[&str]) -> (bool, String) {
    assert!(Path::new(OPENSSL).exists(), "this test needs {OPENSSL} (package openssl)");
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let run = Command::new(OPENSSL).args(arguments).current_dir(folder.path()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    (run.status.success(), said)
}

fn verify(ca: &Ca, leaf: &str, purpose: &str, at: i64) -> (bool, String) {
    let at = at.to_string();
    let arguments =
        ["verify", "-x509_strict", "-CAfile", "ca.pem", "-purpose", purpose, "-attime", &at, "leaf.pem"];
    openssl(&[("ca.pem", &ca.certificate.to_pem()), ("leaf.pem", leaf)], &arguments)
}

#[test]
fn openssl_accepts_every_form() {
    for ca in [Ca::p256(), Ca::ed25519()] {
        for subject in [subject(), proven(&PortableEd25519::generate(&mut rng(6)))] {
            let now = NOW.as_secs();
            let card = Person { smart_card: Some("alice@EXAMPLE.COM".parse().unwrap()), ..Person::plain() };
            for person in [Person::plain(), card] {
                let (good, said) = verify(&ca, &ca.client(person, &subject).to_pem(), "sslclient", now);
                assert!(good, "{said}");
            }
            let (good, said) = verify(&ca, &ca.server(Machine::plain(), &subject).to_pem(), "sslserver", now);
            assert!(good, "{said}");
        }
    }
}

#[test]
fn openssl_refuses_another_time_another_authority_and_another_purpose() {
    let ca = Ca::p256();
    let other = Ca::new(PortableP256::generate(&mut rng(9)), "Usher CA of payments");
    let (now, leaf) = (NOW.as_secs(), ca.client(Person::plain(), &subject()).to_pem());
    let cases = [
        (&ca, "sslclient", now + 180, "certificate has expired"),
        (&ca, "sslclient", now - 61, "certificate is not yet valid"),
        (&ca, "sslserver", now, "unsuitable certificate purpose"),
        (&ca, "smimesign", now, "unsuitable certificate purpose"),
        (&other, "sslclient", now, "error 20"),
    ];
    for (ca, purpose, at, reason) in cases {
        let (good, said) = verify(ca, &leaf, purpose, at);
        assert!(!good && said.contains(reason), "{reason}: {said}");
    }
    // openssl counts the last second as over already.
    assert!(verify(&ca, &leaf, "sslclient", now + 178).0 && verify(&ca, &leaf, "sslclient", now - 60).0);
}

/// Whatever openssl still reads after a bit was flipped, its signature is wrong.
#[test]
fn openssl_refuses_a_changed_certificate() {
    let ca = Ca::p256();
    let good = ca.client(Person::plain(), &subject());
    for position in (0..good.der().len()).step_by(7) {
        let mut changed = good.der().to_vec();
        changed[position] ^= 1;
        let text = x509_cert::der::pem::encode_string("CERTIFICATE", Default::default(), &changed).unwrap();
        let (accepted, said) = verify(&ca, &text, "sslclient", NOW.as_secs());
        assert!(!accepted, "{position}: {said}");
    }
}

/// openssl's requests are understood, and ours by openssl.
#[test]
fn requests_are_understood_both_ways() {
    for algorithm in
        [&["-algorithm", "ed25519"][..], &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]]
    {
        let (good, key) = openssl(&[], &[&["genpkey"], algorithm].concat());
        assert!(good, "{key}");
        let request = ["req", "-new", "-key", "key.pem", "-subj", "/CN=ignored", "-batch"];
        let (good, csr) = openssl(&[("key.pem", &key)], &request);
        assert!(good, "{csr}");
        usher_ca::x509::ProvenKey::from_csr_pem(&csr).unwrap();
    }
    let ours = super::example::request(&PortableP256::generate(&mut rng(1)));
    let text = x509_cert::der::pem::encode_string("CERTIFICATE REQUEST", Default::default(), &ours).unwrap();
    let (good, said) = openssl(&[("csr.pem", &text)], &["req", "-in", "csr.pem", "-noout", "-verify"]);
    assert!(good && said.contains("OK"), "{said}");
}

/// What people look at says what programs check.
#[test]
fn openssl_shows_the_names_and_the_purposes() {
    let ca = Ca::p256();
    let card = Person { smart_card: Some("alice@EXAMPLE.COM".parse().unwrap()), ..Person::plain() };
    let leaf = ca.client(card, &subject()).to_pem();
    let (good, said) = openssl(&[("leaf.pem", &leaf)], &["x509", "-in", "leaf.pem", "-noout", "-text"]);
    assert!(good, "{said}");
    let uri = format!("URI:{}", Person::plain().identity);
    for wanted in [
        "TLS Web Client Authentication, Microsoft Smartcard Login",
        "CA:FALSE",
        "Digital Signature",
        uri.as_str(),
        "UPN::alice@EXAMPLE.COM",
        "Signature Algorithm: ecdsa-with-SHA256",
    ] {
        assert!(said.contains(wanted), "{wanted} is not in {said}");
    }
}
