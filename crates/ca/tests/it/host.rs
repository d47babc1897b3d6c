//! Host certificates: which names they are for, and that `ssh-keygen` reads them.

use std::{fs, process::Command, time::Duration};

use usher_ca::{
    HostAuthorization, HostCertificate, HostPrincipal, HostPrincipals, PrepareError, SealError, Signer as _,
    VerifyError, inspect, issue_host, prepare_host, verify_at,
};
use usher_testkit::{NOW, rng};
use usher_types::{Label, Period};

use crate::example::{ed25519, p256, subject};

#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) names: HostPrincipals,
    pub(crate) period: Period,
}

impl HostAuthorization for Machine {
    fn principals(&self) -> HostPrincipals {
        self.names.clone()
    }

    fn key_id(&self) -> Label {
        "rack-7".parse().unwrap()
    }

    fn period(&self) -> Period {
        self.period
    }
}

fn machine() -> Machine {
    Machine {
        names: HostPrincipals::one("web-1.example.com".parse().unwrap()).and("2001:db8::7".parse().unwrap()),
        period: Period::around(NOW, Duration::from_secs(60), Duration::from_secs(86400)).unwrap(),
    }
}

#[tokio::test]
async fn a_host_certificate_is_for_exactly_its_names() {
    for key in [ed25519(), p256()] {
        let certificate = issue_host(&key, machine(), &subject(), NOW, &mut rng(3)).await.unwrap();
        let read = inspect(&certificate.to_openssh()).unwrap();
        assert_eq!(read.certificate_type, "host");
        assert_eq!(read.valid_principals, ["web-1.example.com", "2001:db8::7"]);
        assert_eq!(read.key_id, "rack-7");
        assert_eq!(read.serial, certificate.serial().to_string());
        assert_eq!(read.valid_before, Some(NOW.saturating_add(Duration::from_secs(86400))));
        assert!(read.critical_options.is_empty() && read.extensions.is_empty());
        // No host is a person.
        let refused = verify_at(&certificate.to_openssh(), &[key.public_key()], NOW);
        assert_eq!(refused, Err(VerifyError::Type));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("host-cert.pub");
        fs::write(&file, certificate.to_openssh()).unwrap();
        let run = Command::new("/usr/bin/ssh-keygen").arg("-L").arg("-f").arg(&file).output().unwrap();
        let said = String::from_utf8(run.stdout).unwrap();
        assert!(
            run.status.success() && said.contains("host certificate") && said.contains("2001:db8::7"),
            "{said}"
        );
    }
}

/// A pattern, or no name at all, would make the certificate good for every host.
#[test]
fn only_plain_names_and_addresses_are_hosts() {
    for good in ["web-1", "web-1.example.com", "192.0.2.7", "2001:db8::7", "1and1.com"] {
        assert_eq!(good.parse::<HostPrincipal>().unwrap().to_string(), good);
    }
    let long = format!("{}.com", "a".repeat(64));
    let endless = vec!["abc"; 70].join(".");
    let bad = [
        "",
        "*",
        "*.example.com",
        "web?",
        "Web-1",
        "web 1",
        "web-1,web-2",
        "web-1.",
        ".web-1",
        "-web",
        "web-",
        "a..b",
        "2001:DB8::7",
        "192.0.2",
        "192.0.2.07",
        "[::1]",
        "web-1:22",
        "web\n",
        &long,
        &endless,
    ];
    for bad in bad {
        assert!(bad.parse::<HostPrincipal>().is_err(), "{bad}");
    }
}

#[test]
fn refuses_times_that_do_not_fit_and_keys_that_are_not_its() {
    let key = ed25519();
    let prepare = |machine, now| prepare_host(machine, &subject(), &key.public_key(), now, &mut rng(3));
    let later = NOW.saturating_add(Duration::from_secs(86400));
    assert_eq!(prepare(machine(), later).unwrap_err(), PrepareError::NotValidNow);
    let period = Period::around(NOW, Duration::from_secs(60), HostCertificate::MAX).unwrap();
    assert_eq!(prepare(Machine { period, ..machine() }, NOW).unwrap_err(), PrepareError::TooLong);
    let many = (0..40).fold(machine().names, |names, number| {
        names.and(format!("{}{number}.example.com", "a".repeat(60)).parse().unwrap())
    });
    let many = (0..20).fold(many, |names, number| {
        names.and(format!("{}.b{number}", vec!["abc"; 60].join(".")).parse().unwrap())
    });
    assert_eq!(prepare(Machine { names: many, ..machine() }, NOW).unwrap_err(), PrepareError::TooLarge);
    let prepared = prepare(machine(), NOW).unwrap();
    assert!(matches!(prepared.sign_with(&p256()), Err(SealError::WrongKey)));
}
