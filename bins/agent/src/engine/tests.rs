//! Threat: a broker that is somebody else's, replays, or has gone bad. What is refused changes nothing on the host.

use std::collections::BTreeMap;

use usher_account_lifecycle::{
    account::{AdminSudo, PortForwarding, Shell},
    state::{
        DocumentId, Head, ProjectRef, Role, ServerDocument, ServerRef, StateDocument, StateKey, UserEntry,
        sign_input,
    },
};
use usher_api::v1::SignedDocument;
use usher_host::LinuxHost;
use usher_identity::PrivateKey;
use usher_testkit::{
    NOW, fixture,
    namespace::{inside, sh, try_sh},
    rng,
};

use super::Engine;
use crate::{config::Config, enrollment::Enrollment, places};

fn key(seed: u64) -> PrivateKey {
    PrivateKey::generate(&mut rng(seed))
}

fn public(key: &PrivateKey) -> StateKey {
    StateKey::from_sec1(&key.public().to_sec1()).unwrap()
}

fn enrollment() -> Enrollment {
    Enrollment {
        v: 1,
        url: "https://127.0.0.1:1".to_owned(),
        pin: None,
        server_id: fixture::server(1),
        name: "web-1".parse().unwrap(),
        project: "prod".parse().unwrap(),
        team: "acme".parse().unwrap(),
        state_keys: vec![public(&key(1))],
        addresses: Vec::new(),
        enrolled_at: NOW,
    }
}

fn engine() -> Engine {
    let host = LinuxHost::open(places::ROOT, &["root".to_owned()], || NOW).unwrap();
    Engine::new(host, enrollment(), Config::default())
}

fn project(users: &[&str]) -> StateDocument {
    let entry = |(n, name): (u32, &&str)| {
        let entry = UserEntry {
            id: fixture::user(1),
            uid: 60_001 + n,
            gid: 63_001 + n,
            gecos: "Somebody".parse().unwrap(),
            shell: Shell::bash(),
            admin: false,
            locked: false,
        };
        (name.parse().unwrap(), entry)
    };
    StateDocument {
        v: 1,
        project: ProjectRef { id: fixture::project(1), slug: "prod".parse().unwrap() },
        ssh_user_ca: Vec::new(),
        x509_ca: Vec::new(),
        locked: false,
        admin_sudo: AdminSudo::Passwordless,
        port_forwarding: PortForwarding::Local,
        users: (0..).zip(users).map(entry).collect(),
        groups: BTreeMap::new(),
        state_keys: vec![public(&key(1))],
        pins: Vec::new(),
    }
}

fn server() -> ServerDocument {
    let server = ServerRef { id: fixture::server(1), name: "web-1".parse().unwrap() };
    ServerDocument { v: 1, server, role: Role::Target, hops: BTreeMap::new(), locked: false }
}

fn sign(key: &PrivateKey, id: DocumentId, generation: u64, document: String) -> SignedDocument {
    let head = Head::new(id, generation, &document, NOW).encode().unwrap();
    let signature = data_encoding::BASE64URL_NOPAD.encode(&key.sign(&sign_input(head.as_bytes())));
    SignedDocument { head, signature, document }
}

fn signed_project(key: &PrivateKey, generation: u64, document: &StateDocument) -> SignedDocument {
    sign(key, DocumentId::Project(document.project.id), generation, document.encode().unwrap())
}

fn signed_server(key: &PrivateKey, generation: u64) -> SignedDocument {
    sign(key, DocumentId::Server(fixture::server(1)), generation, server().encode().unwrap())
}

#[test]
fn only_newer_state_of_this_team_project_and_server_is_believed() {
    inside(|| {
        let (team, stranger) = (key(1), key(2));
        let mut engine = engine();
        engine.offer(signed_project(&team, 5, &project(&["alice"])), signed_server(&team, 3)).unwrap();
        engine.reconcile();
        assert_eq!(engine.generations(), (5, 3));
        let state =
            || (sh("cat /etc/passwd /etc/group /etc/shadow"), sh("cat /var/lib/usher-agent/root/state.json"));
        let before = state();

        let good_server = || signed_server(&team, 4);
        let mut other_project = project(&[]);
        other_project.project.id = fixture::project(2);
        let mut other_slug = project(&[]);
        other_slug.project.slug = "test".parse().unwrap();
        let mut later = project(&[]).encode().unwrap();
        later = later.replacen("{\"v\":1", "{\"v\":2", 1);
        let other_server = sign(&team, DocumentId::Server(fixture::server(2)), 9, server().encode().unwrap());
        let mut cut = signed_project(&team, 6, &project(&[]));
        cut.document.truncate(20);
        let mut no_signature = signed_project(&team, 6, &project(&[]));
        no_signature.signature.clear();
        let hostile = [
            ("a stranger's key", signed_project(&stranger, 6, &project(&[])), good_server()),
            (
                "a stranger's key on the server document",
                signed_project(&team, 6, &project(&[])),
                signed_server(&stranger, 4),
            ),
            ("an older generation", signed_project(&team, 4, &project(&[])), good_server()),
            ("an older server generation", signed_project(&team, 6, &project(&[])), signed_server(&team, 2)),
            (
                "the same generation with other content",
                signed_project(&team, 5, &project(&[])),
                good_server(),
            ),
            ("another project", signed_project(&team, 6, &other_project), good_server()),
            ("another project's name", signed_project(&team, 6, &other_slug), good_server()),
            ("another server", signed_project(&team, 6, &project(&[])), other_server),
            (
                "a later version",
                sign(&team, DocumentId::Project(fixture::project(1)), 6, later),
                good_server(),
            ),
            ("documents swapped", signed_server(&team, 6), signed_project(&team, 6, &project(&[]))),
            ("a document cut short", cut, good_server()),
            ("no signature", no_signature, good_server()),
        ];
        for (what, project, server) in hostile {
            assert!(engine.offer(project, server).is_err(), "{what} was believed");
            engine.reconcile();
            assert_eq!(engine.generations(), (5, 3), "{what}");
            assert_eq!(state(), before, "{what} changed something");
        }
        engine.offer(signed_project(&team, 6, &project(&["alice"])), signed_server(&team, 3)).unwrap();
        assert_eq!(engine.generations(), (6, 3));
    });
}

#[test]
fn generations_survive_a_restart() {
    inside(|| {
        let team = key(1);
        engine().offer(signed_project(&team, 5, &project(&[])), signed_server(&team, 3)).unwrap();
        let mut again = engine();
        assert_eq!(again.generations(), (5, 3));
        assert!(again.offer(signed_project(&team, 4, &project(&[])), signed_server(&team, 3)).is_err());
    });
}

#[test]
fn a_new_state_key_counts_from_the_document_that_announces_it() {
    inside(|| {
        let (old, new) = (key(1), key(2));
        let mut engine = engine();
        let mut announcing = project(&[]);
        announcing.state_keys = vec![public(&new)];
        engine.offer(signed_project(&old, 1, &announcing), signed_server(&old, 1)).unwrap();
        assert!(engine.offer(signed_project(&old, 2, &announcing), signed_server(&old, 1)).is_err());
        drop(engine);
        // The stored documents are still the old key's.
        let mut engine = self::engine();
        assert_eq!(engine.generations(), (1, 1));
        engine.offer(signed_project(&new, 2, &announcing), signed_server(&new, 2)).unwrap();
    });
}

#[test]
fn a_broker_gone_bad_cannot_delete_everybody_or_make_a_root() {
    inside(|| {
        let team = key(1);
        let mut engine = engine();
        let names: Vec<String> = (0..10).map(|n| format!("user{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        engine.offer(signed_project(&team, 1, &project(&names)), signed_server(&team, 1)).unwrap();
        engine.reconcile();
        assert_eq!(engine.pass().failed, []);
        engine.offer(signed_project(&team, 2, &project(&[])), signed_server(&team, 1)).unwrap();
        engine.reconcile();
        assert_eq!(engine.pass().held.len(), 10);
        assert_eq!(sh("grep -c ^user /etc/passwd"), "10");
        assert_eq!(sh("ls /etc/ssh/usher/principals | wc -l"), "0", "access is taken away at once");
        assert_eq!(engine.report().unwrap().conflicts.len(), 10, "and everybody can see why");

        let mut root = project(&[]);
        root.users = project(&["mallory"]).users;
        root.users.values_mut().for_each(|user| user.uid = 0);
        engine.offer(signed_project(&team, 3, &root), signed_server(&team, 1)).unwrap();
        engine.reconcile();
        assert!(!try_sh("getent passwd mallory").0);
        assert_eq!(sh("grep -c ':x:0:' /etc/passwd"), "1");
    });
}

/// Two keys that nobody has the private halves of.
const CA: [&str; 2] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZ2Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFy",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1lWhiSWL2GHGDG8sw1CkyN1l2t2PFFn6M1yHyYDPj3",
];

fn with_authorities(keys: &[&str]) -> StateDocument {
    let mut document = project(&["alice"]);
    document.ssh_user_ca = keys.iter().map(ToString::to_string).collect();
    document.state_keys.push(public(&key(2)));
    document.pins = vec![usher_types::Sha256::of(b"root")];
    document
}

#[test]
fn only_what_is_in_force_is_acknowledged() {
    inside(|| {
        let team = key(1);
        let digest = |line: &str| usher_account_lifecycle::render::ca_digest(line).unwrap();
        let trusted = |engine: &Engine| engine.report().unwrap().trusts;
        let mut engine = engine();
        assert_eq!(trusted(&engine), None, "nothing is held");
        engine.offer(signed_project(&team, 1, &with_authorities(&CA[..1])), signed_server(&team, 1)).unwrap();
        assert_eq!(trusted(&engine), None, "held, and not yet in sshd's file");
        engine.reconcile();
        let trusts = trusted(&engine).unwrap();
        assert_eq!(trusts.ssh_user_ca, [digest(CA[0])].into());
        assert_eq!(trusts.pins, [usher_types::Sha256::of(b"root")].into());
        let keys = [key(1), key(2)].map(|key| key.public().thumbprint());
        assert_eq!(trusts.state_keys, keys.into());

        // The file cannot be written: what was there before is what counts.
        sh("chattr +i /etc/ssh/usher 2>/dev/null || mount -o bind,ro /etc/ssh/usher /etc/ssh/usher");
        engine.offer(signed_project(&team, 2, &with_authorities(&CA)), signed_server(&team, 1)).unwrap();
        engine.reconcile();
        assert_ne!(engine.pass().failed, []);
        assert_eq!(trusted(&engine).unwrap().ssh_user_ca, [digest(CA[0])].into());
        sh("chattr -i /etc/ssh/usher 2>/dev/null; umount /etc/ssh/usher 2>/dev/null; true");
        engine.reconcile();
        assert_eq!(engine.pass().failed, []);
        assert_eq!(trusted(&engine).unwrap().ssh_user_ca, CA.map(digest).into());
        assert!(sh("cat /etc/ssh/usher/user_ca.pub").contains(CA[1]));
    });
}

#[test]
fn a_locked_user_is_out_and_comes_back() {
    inside(|| {
        let team = key(1);
        let mut engine = engine();
        let mut document = project(&["alice", "bob"]);
        document.users.values_mut().for_each(|user| user.admin = true);
        let offer = |engine: &mut Engine, generation, document: &StateDocument| {
            engine.offer(signed_project(&team, generation, document), signed_server(&team, 1)).unwrap();
            engine.reconcile();
            assert_eq!(engine.pass().failed, []);
        };
        offer(&mut engine, 1, &document);
        assert_eq!(sh("id -nG alice"), "alice usher-admin usher-managed");
        let account = || sh("getent passwd alice; stat -c '%i %U %a' /home/alice; getent shadow alice");
        let before = account();
        let mut locked = document.clone();
        locked.users.get_mut(&"alice".parse().unwrap()).unwrap().locked = true;
        sh("setpriv --reuid=alice --regid=alice --clear-groups sleep 600 >/dev/null 2>&1 &");
        offer(&mut engine, 2, &locked);
        assert!(!try_sh("pgrep -u alice").0, "what ran is ended");
        assert_eq!(sh("ls /etc/ssh/usher/principals"), "bob");
        assert_eq!(sh("id -nG alice"), "alice usher-managed");
        assert_eq!(sh("id -nG bob"), "bob usher-admin usher-managed");
        assert!(try_sh("getent passwd alice && stat /home/alice").0, "account and home stay");
        offer(&mut engine, 3, &document);
        assert_eq!(account(), before);
        assert_eq!(sh("id -nG alice"), "alice usher-admin usher-managed");
        assert!(sh("ls /etc/ssh/usher/principals").contains("alice"));
    });
}
