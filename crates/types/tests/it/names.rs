//! Names: what hostile directories and typing errors put into them never gets in.

use proptest::prelude::*;
use usher_types::{DisplayName, GroupName, HostName, LoginName, ProjectSlug, UnixGroupName, UserName};

/// Names that `useradd`, `visudo` or `sshd` on Debian 12 accept, or that fold into something else.
const HOSTILE: &[&str] = &[
    "",
    " ",
    ".",
    "..",
    "../x",
    "/",
    "a/b",
    "root",
    "ALL",
    "all",
    "defaults",
    "nobody",
    "sshd",
    "wheel",
    "sudo",
    "docker",
    "lxd",
    "systemd-network",
    "usher-hop",
    "usher-managed",
    "usher-agent",
    "0day",
    "1000",
    "-rf",
    "--help",
    "a b",
    "a\tb",
    "a\n",
    "a\nroot",
    "a\r\n",
    "a\0b",
    "a,b",
    "a:b",
    "a@b",
    "a$",
    "%sudo",
    "#0",
    "+net",
    "!root",
    "*",
    "a*",
    "a?",
    "a\\b",
    "a\"b",
    "a'b",
    "a;b",
    "a`b`",
    "$(id)",
    "Alice",
    "ALICE",
    "\u{430}lice",
    "\u{ff41}lice",
    "ali\u{200d}ce",
    "\u{202e}ecila",
    "caf\u{e9}",
    "a.b",
    "ec2-user",
    "ubuntu",
    "abcdefghijklmnopqrstuvwxyz0123456",
    "alice-",
    "adm",
    "disk",
    "shadow",
];

#[test]
fn refuses_hostile_login_and_unix_group_names() {
    assert!(HOSTILE.len() >= 60);
    for name in HOSTILE {
        assert!(name.parse::<LoginName>().is_err(), "login name {name:?}");
        assert!(name.parse::<UnixGroupName>().is_err(), "group name {name:?}");
    }
}

#[test]
fn refusals_say_what_is_allowed_and_stay_on_one_line() {
    let refusal = "a\nroot".parse::<LoginName>().unwrap_err().to_string();
    assert!(!refusal.contains('\n'), "{refusal}");
    assert!(refusal.contains("use 1 to 31 characters of a-z"), "{refusal}");
    assert!("root".parse::<LoginName>().unwrap_err().to_string().contains("reserved for the system"));
}

#[test]
fn accepts_ordinary_names() {
    for name in
        ["alice", "a", "_svc", "alice-2", "bob_smith", "x0123456789012345678901234567890"[..31].as_ref()]
    {
        assert_eq!(name.parse::<LoginName>().unwrap().as_str(), name);
    }
    for name in ["alice.smith", "sre", "on-call_eu"] {
        assert!(name.parse::<UserName>().is_ok() && name.parse::<GroupName>().is_ok(), "{name}");
    }
    assert!("prod-eu".parse::<ProjectSlug>().is_ok());
}

#[test]
fn project_names_cannot_break_a_key_id() {
    for name in ["a:b", "a@b", "a b", "a\nb", "A", ".", "-a", "a."] {
        assert!(name.parse::<ProjectSlug>().is_err(), "{name:?}");
    }
}

#[test]
fn host_names_are_dns_labels_and_no_addresses() {
    for name in ["web-1", "db1.eu", "10-0-0-1", "0a"] {
        assert!(name.parse::<HostName>().is_ok(), "{name}");
    }
    for name in [
        "web_1", "-web", "web-", "web..eu", ".web", "web.", "10.0.0.1", "1", "we b", "web\n", "Web", "a-.b",
        "a.-b", "*",
    ] {
        assert!(name.parse::<HostName>().is_err(), "{name:?}");
    }
}

#[test]
fn display_names_cannot_break_gecos_or_a_terminal() {
    for name in ["", " a", "a ", "a:b", "a,b", "a\nb", "a\u{1b}[31m", "\u{202e}a", "a\\b"] {
        assert!(name.parse::<DisplayName>().is_err(), "{name:?}");
    }
    assert!("Zo\u{eb} O'Neil".parse::<DisplayName>().is_ok());
}

proptest! {
    #[test]
    fn whatever_parses_is_canonical(text in "\\PC{0,40}") {
        if let Ok(name) = text.parse::<LoginName>() {
            prop_assert_eq!(name.as_str(), &text);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte)));
        }
    }
}
