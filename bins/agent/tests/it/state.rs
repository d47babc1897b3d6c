//! Signed state for tests, and a host that is enrolled and has such state without a broker.

use std::{collections::BTreeMap, fs, path::Path};

use usher_account_lifecycle::{
    account::{AdminSudo, PortForwarding, Shell},
    state::{
        DocumentId, Head, ProjectRef, Role, ServerDocument, ServerRef, StateDocument, StateKey, UserEntry,
        sign_input,
    },
};
use usher_api::v1::SignedDocument;
use usher_identity::PrivateKey;
use usher_testkit::{NOW, fixture, namespace::sh, rng};

fn key() -> PrivateKey {
    PrivateKey::generate(&mut rng(1))
}

/// The team's state key.
pub(crate) fn state_key() -> StateKey {
    StateKey::from_sec1(&key().public().to_sec1()).unwrap()
}

fn sign(id: DocumentId, generation: u64, document: String) -> SignedDocument {
    let head = Head::new(id, generation, &document, NOW).encode().unwrap();
    let signature = data_encoding::BASE64URL_NOPAD.encode(&key().sign(&sign_input(head.as_bytes())));
    SignedDocument { head, signature, document }
}

/// The project's document with these users; the first is an administrator.
pub(crate) fn project(users: &[String], generation: u64) -> SignedDocument {
    let entry = |(n, name): (u32, &String)| {
        let entry = UserEntry {
            id: fixture::user(1),
            uid: 60_001 + n,
            gid: 63_001 + n,
            gecos: "Somebody".parse().unwrap(),
            shell: Shell::bash(),
            admin: n == 0,
            locked: false,
        };
        (name.parse().unwrap(), entry)
    };
    let document = StateDocument {
        v: 1,
        project: ProjectRef { id: fixture::project(1), slug: "prod".parse().unwrap() },
        ssh_user_ca: Vec::new(),
        x509_ca: Vec::new(),
        locked: false,
        admin_sudo: AdminSudo::Passwordless,
        port_forwarding: PortForwarding::Local,
        users: (0..).zip(users).map(entry).collect(),
        groups: BTreeMap::new(),
        state_keys: vec![state_key()],
        pins: Vec::new(),
    };
    sign(DocumentId::Project(fixture::project(1)), generation, document.encode().unwrap())
}

/// The server's document.
pub(crate) fn server() -> SignedDocument {
    let server = ServerRef { id: fixture::server(1), name: "web-1".parse().unwrap() };
    let document = ServerDocument { v: 1, server, role: Role::Target, hops: BTreeMap::new(), locked: false };
    sign(DocumentId::Server(fixture::server(1)), 1, document.encode().unwrap())
}

/// Writes the enrollment record and signed state with these users, as an earlier run would have left them.
pub(crate) fn enroll(users: &[String], generation: u64) {
    let public = state_key();
    let stored = serde_json::json!({
        "v": 1, "project": project(users, generation), "server": server(), "verified_by": [public],
    });
    let enrollment = serde_json::json!({
        "v": 1, "url": "https://127.0.0.1:1", "pin": null, "server_id": fixture::server(1), "name": "web-1",
        "project": "prod", "team": "acme", "state_keys": [public], "addresses": [], "enrolled_at": NOW,
    });
    sh("id usher-agent >/dev/null 2>&1 || useradd --system --user-group -M -d /var/lib/usher-agent -s /usr/sbin/nologin usher-agent
        mkdir -p -m 700 /var/lib/usher-agent/root");
    let state = Path::new("/var/lib/usher-agent");
    let agent_key = PrivateKey::generate(&mut rng(2)).to_pkcs8_pem().unwrap();
    fs::write(state.join("agent.key"), agent_key.as_bytes()).unwrap();
    fs::write(state.join("enrollment.json"), enrollment.to_string()).unwrap();
    fs::write(state.join("root/state.json"), stored.to_string()).unwrap();
    sh(
        "cd /var/lib/usher-agent; chmod 644 enrollment.json; chmod 600 root/state.json agent.key; chown usher-agent: agent.key",
    );
}
