//! What holds for every certificate.

use std::time::Duration;

use proptest::prelude::*;
use usher_ca::x509::{
    CaCertificate, ClientIdentity, CsrToBeSigned, ProvenKey, ServerIdentity, inspect, verify_client_at,
    verify_server_at,
};
use usher_testkit::{NOW, fixture};
use usher_types::{Period, UnixTime, ValidityWindow};

use super::example::{Ca, Machine, Person, request, subject};

prop_compose! {
    fn person()(
        team in "[a-z][a-z0-9-]{0,29}[a-z0-9]",
        numbers in any::<[u16; 5]>(),
        skew in 0_u64..=120,
        lifetime in 1_u64..=480,
        upn in prop::option::of("[a-zA-Z0-9_][a-zA-Z0-9_-]{0,20}@[A-Z][A-Z0-9-]{0,20}"),
    ) -> Person {
        let [project, user, device, server, connection] = numbers;
        Person {
            identity: ClientIdentity {
                team: team.parse().unwrap(),
                project_id: fixture::project(project),
                user_id: fixture::user(user),
                device_id: fixture::device(device),
                server_id: fixture::server(server),
                connection_id: fixture::connection(connection),
            },
            window: ValidityWindow::around(NOW, Duration::from_secs(skew), Duration::from_secs(lifetime)).unwrap(),
            smart_card: upn.map(|upn| upn.parse().unwrap()),
        }
    }
}

prop_compose! {
    fn machine()(
        team in "[a-z][a-z0-9-]{0,29}[a-z0-9]",
        host in "[a-z][a-z0-9-]{0,20}[a-z0-9](\\.[a-z][a-z0-9]{0,10})?",
        numbers in any::<[u16; 2]>(),
        days in 1_u64..=30,
    ) -> Machine {
        Machine {
            identity: ServerIdentity {
                team: team.parse().unwrap(),
                project_id: fixture::project(numbers[0]),
                server_id: fixture::server(numbers[1]),
                host_name: host.parse().unwrap(),
            },
            period: Period::around(NOW, Duration::from_secs(3600), Duration::from_secs(days * 86400)).unwrap(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn client_certificates_say_what_was_authorized(person in person(), curve in any::<bool>(), offset in -700_000_i64..700_000) {
        let ca = if curve { Ca::p256() } else { Ca::ed25519() };
        let certificate = ca.client(person.clone(), &subject());
        let anchors = [ca.certificate];
        let verified = verify_client_at(certificate.der(), &anchors, NOW).unwrap();
        prop_assert_eq!(verified.identity(), &person.identity);
        prop_assert_eq!(verified.smart_card(), person.smart_card.as_ref());
        prop_assert_eq!((verified.valid_after(), verified.valid_before()), (person.window.valid_after(), person.window.valid_before()));
        prop_assert_eq!(verified.serial(), certificate.serial());
        prop_assert!(verified.valid_before().since(verified.valid_after()) <= ValidityWindow::MAX);
        prop_assert!(verify_server_at(certificate.der(), &anchors, NOW).is_err());
        let at = UnixTime::from_millis(NOW.as_millis() + offset);
        prop_assert_eq!(verify_client_at(certificate.der(), &anchors, at).is_ok(), person.window.contains(at));
        prop_assert_eq!(person.identity.to_string().parse(), Ok(person.identity));
    }

    #[test]
    fn server_certificates_say_what_was_authorized(machine in machine()) {
        let ca = Ca::p256();
        let certificate = ca.server(machine.clone(), &subject());
        let anchors = [ca.certificate];
        let verified = verify_server_at(certificate.der(), &anchors, NOW).unwrap();
        prop_assert_eq!(verified.identity(), &machine.identity);
        prop_assert_eq!((verified.valid_after(), verified.valid_before()), (machine.period.valid_after(), machine.period.valid_before()));
        prop_assert!(verify_client_at(certificate.der(), &anchors, NOW).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), flips in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..4)) {
        let ca = Ca::p256();
        let mut near = ca.client(Person::plain(), &subject()).der().to_vec();
        let mut csr = request(&usher_ca::PortableP256::from_scalar(&[3; 32]).unwrap());
        let good = csr.clone();
        for (at, flip) in flips {
            for target in [&mut near, &mut csr] {
                let position = at.index(target.len());
                target[position] ^= flip;
            }
        }
        for der in [bytes, near, csr] {
            let _ = inspect(&der).map(|read| read.to_string());
            let _ = CaCertificate::from_der(der.clone());
            let _ = verify_client_at(&der, std::slice::from_ref(&ca.certificate), NOW);
            prop_assert_eq!(ProvenKey::from_csr_der(&der).is_ok(), der == good);
        }
    }
}

/// A request says nothing but its key.
#[test]
fn the_same_key_makes_the_same_request() {
    let key = *subject().public_key();
    assert_eq!(CsrToBeSigned::new(key).unwrap().bytes(), CsrToBeSigned::new(key).unwrap().bytes());
}
