//! Authorizations whose every answer can be set, and short cuts to keys, requests and authorities.

use std::time::Duration;

use usher_ca::{
    CheckedKey, LocalKey, PortableEd25519, PortableP256, Signer as _,
    x509::{
        CaCertificate, Certificate, ClientAuthorization, ClientIdentity, CsrToBeSigned, ProvenKey,
        ServerAuthorization, ServerIdentity, UserPrincipalName, prepare_authority, prepare_client,
        prepare_server,
    },
};
use usher_testkit::{NOW, fixture, rng};
use usher_types::{Period, ValidityWindow};

#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) identity: ClientIdentity,
    pub(crate) window: ValidityWindow,
    pub(crate) smart_card: Option<UserPrincipalName>,
}

impl Person {
    /// User 1 on device 1 to server 1, three minutes.
    pub(crate) fn plain() -> Self {
        Self {
            identity: ClientIdentity {
                team: "acme".parse().unwrap(),
                project_id: fixture::project(1),
                user_id: fixture::user(1),
                device_id: fixture::device(1),
                server_id: fixture::server(1),
                connection_id: fixture::connection(1),
            },
            window: ValidityWindow::around(NOW, Duration::from_secs(60), Duration::from_secs(180)).unwrap(),
            smart_card: None,
        }
    }
}

impl ClientAuthorization for Person {
    fn identity(&self) -> ClientIdentity {
        self.identity.clone()
    }

    fn window(&self) -> ValidityWindow {
        self.window
    }

    fn smart_card(&self) -> Option<UserPrincipalName> {
        self.smart_card.clone()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) identity: ServerIdentity,
    pub(crate) period: Period,
}

impl Machine {
    /// Server 1 for a week.
    pub(crate) fn plain() -> Self {
        Self {
            identity: ServerIdentity {
                team: "acme".parse().unwrap(),
                project_id: fixture::project(1),
                server_id: fixture::server(1),
                host_name: "win-1".parse().unwrap(),
            },
            period: Period::around(NOW, Duration::from_secs(3600), Duration::from_secs(7 * 86400)).unwrap(),
        }
    }
}

impl ServerAuthorization for Machine {
    fn identity(&self) -> ServerIdentity {
        self.identity.clone()
    }

    fn period(&self) -> Period {
        self.period
    }
}

/// An authority and the key behind it.
pub(crate) struct Ca {
    pub(crate) key: CheckedKey,
    pub(crate) certificate: CaCertificate,
}

impl Ca {
    pub(crate) fn new(key: impl LocalKey + 'static, name: &str) -> Self {
        let key = CheckedKey::check(key).unwrap();
        let period =
            Period::around(NOW, Duration::from_secs(3600), Duration::from_secs(86400 * 3650)).unwrap();
        Self::with_period(key, name, period)
    }

    pub(crate) fn with_period(key: CheckedKey, name: &str, period: Period) -> Self {
        let prepared =
            prepare_authority(&name.parse().unwrap(), &key.public_key(), period, NOW, &mut rng(8)).unwrap();
        let certificate = prepared.sign_with(&key).unwrap();
        Self { key, certificate }
    }

    pub(crate) fn p256() -> Self {
        Self::new(PortableP256::generate(&mut rng(2)), "Usher CA of payments")
    }

    pub(crate) fn ed25519() -> Self {
        Self::new(PortableEd25519::generate(&mut rng(2)), "Usher CA of payments")
    }

    pub(crate) fn client(&self, person: Person, subject: &ProvenKey) -> Certificate {
        prepare_client(person, subject, &self.certificate, NOW, &mut rng(3))
            .unwrap()
            .sign_with(&self.key)
            .unwrap()
    }

    pub(crate) fn server(&self, machine: Machine, subject: &ProvenKey) -> Certificate {
        prepare_server(machine, subject, &self.certificate, NOW, &mut rng(3))
            .unwrap()
            .sign_with(&self.key)
            .unwrap()
    }
}

pub(crate) fn request(key: &impl LocalKey) -> Vec<u8> {
    let request = CsrToBeSigned::new(key.public_key()).unwrap();
    let signature = key.sign_now(request.bytes()).unwrap();
    request.seal(&signature).unwrap()
}

pub(crate) fn proven(key: &impl LocalKey) -> ProvenKey {
    ProvenKey::from_csr_der(&request(key)).unwrap()
}

/// The key of whoever gets the certificate.
pub(crate) fn subject() -> ProvenKey {
    proven(&PortableP256::generate(&mut rng(5)))
}
