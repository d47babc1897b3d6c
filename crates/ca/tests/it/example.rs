//! An authorization whose every answer can be set, and short cuts to keys.

use std::{net::IpAddr, time::Duration};

use usher_ca::{Authorization, CheckedKey, PortableEd25519, PortableP256, SourceAddresses, SubjectKey};
use usher_testkit::{NOW, fixture, rng};
use usher_types::{DeviceId, KeyId, Principal, UserId, ValidityWindow};

/// What `ssh-keygen -t ed25519` printed once.
pub(crate) const SUBJECT: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti alice@laptop";

#[derive(Clone, Debug)]
pub(crate) struct Example {
    pub(crate) principal: Principal,
    pub(crate) key_id: KeyId,
    pub(crate) window: ValidityWindow,
    pub(crate) pty: bool,
    pub(crate) forwarding: bool,
    pub(crate) source: SourceAddresses,
    pub(crate) client_address: Option<IpAddr>,
}

impl Example {
    /// alice at a terminal of server 1, three minutes.
    pub(crate) fn login() -> Self {
        let alice = "alice".parse().unwrap();
        Self {
            principal: Principal::login(&alice, fixture::server(1)),
            key_id: KeyId::new(
                &"payments".parse().unwrap(),
                &alice,
                fixture::device(1),
                fixture::connection(1),
            ),
            window: ValidityWindow::around(NOW, Duration::from_secs(60), Duration::from_secs(180)).unwrap(),
            pty: true,
            forwarding: false,
            source: SourceAddresses::any(),
            client_address: Some("192.0.2.7".parse().unwrap()),
        }
    }

    /// The hop through bastion 2 to server 1.
    pub(crate) fn hop() -> Self {
        Self {
            principal: Principal::hop(fixture::server(2), fixture::server(1)),
            pty: false,
            forwarding: true,
            ..Self::login()
        }
    }
}

impl Authorization for Example {
    fn principal(&self) -> Principal {
        self.principal.clone()
    }

    fn key_id(&self) -> KeyId {
        self.key_id.clone()
    }

    fn window(&self) -> ValidityWindow {
        self.window
    }

    fn permit_pty(&self) -> bool {
        self.pty
    }

    fn permit_port_forwarding(&self) -> bool {
        self.forwarding
    }

    fn source_addresses(&self) -> SourceAddresses {
        self.source.clone()
    }

    fn user_id(&self) -> UserId {
        fixture::user(1)
    }

    fn device_id(&self) -> DeviceId {
        fixture::device(1)
    }

    fn client_address(&self) -> Option<IpAddr> {
        self.client_address
    }
}

pub(crate) fn subject() -> SubjectKey {
    SubjectKey::parse(SUBJECT).unwrap()
}

pub(crate) fn ed25519() -> CheckedKey {
    CheckedKey::check(PortableEd25519::generate(&mut rng(1))).unwrap()
}

pub(crate) fn p256() -> CheckedKey {
    CheckedKey::check(PortableP256::generate(&mut rng(2))).unwrap()
}
