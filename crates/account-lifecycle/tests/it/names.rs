//! Threat: a name from outside that means something to the system. None of sixty changes a single thing.

use usher_account_lifecycle::{
    Desired, Limits, reconcile,
    state::{DocumentId, Head, Known, Role, Signed, StateKey, sign_input, verify},
};

use crate::{
    fake_host::FakeHost,
    fixtures::{NOW, project, server, with_users},
};

const BAD_NAMES: &[&str] = &[
    "",
    ".",
    "..",
    "../x",
    "/etc/passwd",
    "a/b",
    "root",
    "Root",
    "ROOT",
    "r00t ",
    " root",
    "root\n",
    "root\0",
    "toor",
    "daemon",
    "nobody",
    "sshd",
    "sudo",
    "wheel",
    "admin",
    "adm",
    "shadow",
    "disk",
    "docker",
    "lxd",
    "kvm",
    "ALL",
    "all",
    "Defaults",
    "defaults",
    "%sudo",
    "%wheel",
    "#0",
    "+netgroup",
    "!root",
    "-x",
    "--help",
    "0day",
    "1000",
    "65534",
    "a b",
    "a,b",
    "a:b",
    "a.b",
    "a@b",
    "user$",
    "a\tb",
    "a\nb ALL=(ALL) NOPASSWD: ALL",
    "a\rb",
    "a\\b",
    "a\"b",
    "a'b",
    "a;id",
    "$(id)",
    "`id`",
    "a*",
    "a?",
    "[a]",
    "~",
    "systemd-network",
    "usher-hop",
    "usher-agent",
    "usher-managed",
    "аlice",
    "ａlice",
    "alice\u{202e}",
    "étienne",
    "trailing-",
    "abcdefghijklmnopqrstuvwxyz0123456789",
];

#[test]
fn sixty_bad_names_change_nothing() {
    assert!(BAD_NAMES.len() >= 60, "{}", BAD_NAMES.len());
    for bad in BAD_NAMES {
        let mut host = FakeHost::new();
        // The signed document itself is hostile: a broker's own check is not relied on.
        let name = serde_json::to_string(bad).unwrap();
        let text = with_users(&["alice"]).encode().unwrap().replace("\"alice\"", &name);
        let head = Head::new(DocumentId::Project(project().project.id), 1, &text, NOW).encode().unwrap();
        let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let signature: p256::ecdsa::Signature =
            p256::ecdsa::signature::Signer::sign(&key, &sign_input(head.as_bytes()));
        let public = StateKey::from_sec1(key.verifying_key().to_sec1_point(false).as_bytes()).unwrap();
        let signed =
            Signed { head: head.as_bytes(), signature: &signature.to_bytes(), document: text.as_bytes() };
        let verified =
            verify(signed, &[public], DocumentId::Project(project().project.id), Known::default()).unwrap();
        let (document, refused) = verified.project().unwrap();
        assert_eq!(refused.len(), 1, "`{bad}` was taken");
        let before = host.foreign();
        let desired = Desired::new(&document, &refused, &server(Role::Target));
        let outcome = reconcile(&mut host, &desired, &Limits::default()).unwrap();
        assert_eq!(host.foreign(), before, "`{bad}` changed something");
        assert!(host.seen.principals.is_empty() && host.owned.users.is_empty(), "`{bad}` left something");
        assert_eq!(outcome.plan.conflicts.len(), 1, "`{bad}` is not shown");
    }
}
