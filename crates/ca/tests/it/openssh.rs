//! The real `ssh-keygen` reads every field back.

use std::{fs, path::Path, process::Command};

use usher_ca::{CheckedKey, Signer as _, SourceAddresses, prepare};
use usher_testkit::{NOW, fixture, rng};

use crate::example::{Example, ed25519, p256, subject};

const SSH_KEYGEN: &str = "/usr/bin/ssh-keygen";

fn listing(key: &CheckedKey, example: Example, seed: u64) -> (String, String) {
    assert!(Path::new(SSH_KEYGEN).exists(), "this test needs {SSH_KEYGEN} (package openssh-client)");
    let prepared = prepare(example, &subject(), &key.public_key(), NOW, &mut rng(seed)).unwrap();
    let certificate = prepared.sign_with(key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key-cert.pub");
    fs::write(&file, certificate.to_openssh()).unwrap();
    let run = Command::new(SSH_KEYGEN).arg("-L").arg("-f").arg(&file).env("TZ", "UTC").output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    (String::from_utf8(run.stdout).unwrap(), certificate.serial().to_string())
}

#[test]
fn ssh_keygen_reads_every_field() {
    for key in [ed25519(), p256()] {
        let example = Example {
            forwarding: true,
            source: SourceAddresses::hosts(&["192.0.2.9".parse().unwrap(), "2001:db8::1".parse().unwrap()])
                .unwrap(),
            ..Example::login()
        };
        let (listing, serial) = listing(&key, example, 3);
        let (_, after_name) = listing.split_once('\n').unwrap();
        let expected = format!(
            "        Type: ssh-ed25519-cert-v01@openssh.com user certificate
        Public key: ED25519-CERT {}
        Signing CA: {} {} (using {})
        Key ID: \"payments:alice@{device}:{}\"
        Serial: {serial}
        Valid: from 2027-01-15T07:59:00 to 2027-01-15T08:03:00
        Principals: 
                alice@{}
        Critical Options: 
                source-address 192.0.2.9,2001:db8::1
        Extensions: 
                client-address@usher.internal UNKNOWN OPTION: {}
                device@usher.internal UNKNOWN OPTION: {}
                permit-port-forwarding
                permit-pty
                user@usher.internal UNKNOWN OPTION: {}
",
            subject().fingerprint(),
            if key.public_key().algorithm() == "ssh-ed25519" { "ED25519" } else { "ECDSA" },
            key.public_key().fingerprint(),
            key.public_key().algorithm(),
            fixture::connection(1),
            fixture::server(1),
            hex("192.0.2.7"),
            hex(&fixture::device(1).to_string()),
            hex(&fixture::user(1).to_string()),
            device = fixture::device(1),
        );
        assert_eq!(after_name, expected, "{after_name}");
    }
}

#[test]
fn ssh_keygen_reads_p256_signatures_of_every_length() {
    let key = p256();
    for seed in 0..40 {
        let (listing, serial) = listing(&key, Example::hop(), seed);
        assert!(listing.contains(&format!("Serial: {serial}\n")), "{listing}");
    }
}

/// Unknown extensions are shown with their raw value: a string inside a string, in hexadecimal, and its length.
fn hex(value: &str) -> String {
    let mut raw = u32::try_from(value.len()).unwrap().to_be_bytes().to_vec();
    raw.extend_from_slice(value.as_bytes());
    format!("{} (len {})", data_encoding::HEXLOWER.encode(&raw), raw.len())
}
