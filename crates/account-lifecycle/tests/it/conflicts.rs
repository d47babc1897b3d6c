//! Whatever the agent did not make is refused, shown and left alone.

use usher_account_lifecycle::{
    ConflictKind, Desired, Limits, Step,
    account::UnixName,
    observed::{FileState, Home, LocalGroup, SshdSupport},
    ownership::ManagedFile,
    plan::Mode,
    reconcile,
    state::{RefusedEntry, Role},
};
use usher_types::Sha256;

use crate::{
    fake_host::FakeHost,
    fixtures::{desired, desired_bastion, server, with_group, with_users},
};

fn name(text: &str) -> UnixName {
    text.parse().unwrap()
}

/// Reconciles and expects exactly one conflict about `alice`, nothing of hers made, and bob made all the same.
#[track_caller]
fn check(prepare: impl FnOnce(&mut FakeHost), kind: ConflictKind, reason: &str) {
    let mut host = FakeHost::new();
    prepare(&mut host);
    let before = host.foreign();
    let outcome = reconcile(&mut host, &desired(&with_users(&["alice", "bob"])), &Limits::default()).unwrap();
    assert!(outcome.is_complete(), "{:?}", outcome.failed);
    let conflicts: Vec<_> = outcome.plan.conflicts.iter().map(|c| (c.kind, c.name.as_str())).collect();
    assert_eq!(conflicts, [(kind, "alice")], "{:?}", outcome.plan.conflicts);
    assert!(outcome.plan.conflicts[0].reason.contains(reason), "{:?}", outcome.plan.conflicts);
    assert!(!host.owned.users.contains_key(&name("alice")));
    assert!(!host.seen.principals.contains_key("alice"));
    assert!(host.seen.principals.contains_key("bob"));
    for (thing, value) in before {
        assert_eq!(host.foreign().get(&thing), Some(&value), "{thing} was touched");
    }
}

#[test]
fn an_account_of_that_name_is_left_alone() {
    check(|host| host.add_user("alice", 1500, 1500), ConflictKind::User, "was not made by Usher");
}

#[test]
fn even_an_account_that_looks_exactly_as_desired_is_left_alone() {
    check(|host| host.add_user("alice", 60_001, 63_001), ConflictKind::User, "was not made by Usher");
}

#[test]
fn a_uid_that_somebody_has_is_not_shared() {
    check(|host| host.add_user("carol", 60_001, 1500), ConflictKind::User, "UID 60001 belongs to `carol`");
}

#[test]
fn a_gid_that_somebody_has_is_not_shared() {
    check(|host| host.add_user("carol", 1500, 63_001), ConflictKind::User, "GID 63001");
}

#[test]
fn a_group_of_that_name_is_left_alone() {
    check(
        |host| {
            host.seen.groups.insert("alice".to_owned(), LocalGroup { gid: 2000, ..LocalGroup::default() });
        },
        ConflictKind::User,
        "a group of this name exists",
    );
}

#[test]
fn directory_services_count_too() {
    check(
        |host| {
            host.seen.directory.users.insert("alice".to_owned());
        },
        ConflictKind::User,
        "directory service",
    );
    check(
        |host| drop(host.seen.directory.uids.insert(60_001, "ldap-user".to_owned())),
        ConflictKind::User,
        "`ldap-user`",
    );
    check(
        |host| drop(host.seen.directory.gids.insert(63_001, "ldap-group".to_owned())),
        ConflictKind::User,
        "`ldap-group`",
    );
}

#[test]
fn container_ranges_and_running_processes_count_too() {
    check(|host| host.seen.subordinate_ids.push(60_001..=60_001), ConflictKind::User, "/etc/subuid");
    check(
        |host| {
            host.seen.running_uids.insert(60_001);
        },
        ConflictKind::User,
        "processes run as UID 60001",
    );
}

#[test]
fn a_home_that_exists_is_left_alone() {
    let directory = Home::Directory { inode: 77, uid: 60_001 };
    check(
        |host| {
            host.seen.homes.insert(name("alice"), directory);
        },
        ConflictKind::Home,
        "was not made by Usher",
    );
    check(
        |host| {
            host.seen.homes.insert(name("alice"), Home::Other);
        },
        ConflictKind::Home,
        "not a directory",
    );
}

#[test]
fn break_glass_accounts_are_never_managed() {
    let mut host = FakeHost::new();
    let limits = Limits { break_glass: ["alice".to_owned()].into(), ..Limits::default() };
    let outcome = reconcile(&mut host, &desired(&with_users(&["alice"])), &limits).unwrap();
    assert!(outcome.plan.conflicts[0].reason.contains("break-glass"));
    assert!(host.owned.users.is_empty());
    assert!(host.seen.groups["usher-managed"].members.is_empty());
}

#[test]
fn an_account_whose_id_was_changed_by_hand_is_not_ours_any_more() {
    let mut host = FakeHost::new();
    let want = desired(&with_users(&["alice"]));
    reconcile(&mut host, &want, &Limits::default()).unwrap();
    host.seen.users.get_mut("alice").unwrap().uid = 1500;
    let user = host.seen.users["alice"].clone();
    let outcome = reconcile(&mut host, &want, &Limits::default()).unwrap();
    assert!(outcome.plan.conflicts[0].reason.contains("changed on the host"));
    assert_eq!(host.seen.users["alice"], user);
    assert!(!host.seen.principals.contains_key("alice"), "our certificates must not open it");
}

#[test]
fn an_id_is_never_given_to_a_second_name() {
    let mut host = FakeHost::new();
    reconcile(&mut host, &desired(&with_users(&["alice"])), &Limits::default()).unwrap();
    reconcile(&mut host, &desired(&with_users(&[])), &Limits::default()).unwrap();
    let outcome = reconcile(&mut host, &desired(&with_users(&["bob"])), &Limits::default()).unwrap();
    assert!(
        outcome.plan.conflicts[0].reason.contains("given to `alice` before"),
        "{:?}",
        outcome.plan.conflicts
    );
    assert!(!host.seen.users.contains_key("bob"));
}

#[test]
fn one_id_for_two_names_makes_neither() {
    let mut document = with_users(&["alice", "bob", "carol"]);
    document.users.get_mut(&"bob".parse().unwrap()).unwrap().uid = 60_001;
    let mut host = FakeHost::new();
    let outcome = reconcile(&mut host, &desired(&document), &Limits::default()).unwrap();
    assert_eq!(outcome.plan.conflicts.len(), 2);
    assert!(!host.seen.users.contains_key("alice") && !host.seen.users.contains_key("bob"));
    assert!(host.seen.users.contains_key("carol"));
}

#[test]
fn a_hostile_document_cannot_make_a_second_root() {
    for id in [0, 1, 999, 61_184, 65_534, 65_535, u32::MAX] {
        let mut document = with_users(&["alice"]);
        document.users.get_mut(&"alice".parse().unwrap()).unwrap().uid = id;
        let mut host = FakeHost::new();
        let outcome = reconcile(&mut host, &desired(&document), &Limits::default()).unwrap();
        assert!(outcome.plan.conflicts[0].reason.contains("is the system's"));
        assert!(!host.seen.users.contains_key("alice"));
    }
}

#[test]
fn nothing_is_made_while_sshd_cannot_take_the_drop_in() {
    let prepares: [fn(&mut FakeHost); 4] = [
        |host| host.seen.sshd = SshdSupport::Unsupported("no include".to_owned()),
        |host| drop(host.seen.files.insert(ManagedFile::SshdDropIn, FileState::Clean(Sha256::of(b"theirs")))),
        |host| {
            drop(host.seen.files.insert(ManagedFile::UserCa, FileState::Dirty("a symbolic link".to_owned())));
        },
        |host| drop(host.seen.groups.insert("usher-managed".to_owned(), LocalGroup::default())),
    ];
    for prepare in prepares {
        let mut host = FakeHost::new();
        prepare(&mut host);
        let before = (host.foreign(), host.seen.files.clone());
        let outcome = reconcile(&mut host, &desired(&with_users(&["alice"])), &Limits::default()).unwrap();
        assert_eq!(outcome.plan.steps, []);
        assert_eq!(outcome.plan.conflicts.len(), 1, "{:?}", outcome.plan.conflicts);
        assert_eq!((host.foreign(), host.seen.files.clone()), before);
    }
}

#[test]
fn a_sudoers_file_of_somebody_else_stays_and_nobody_gets_sudo() {
    let mut host = FakeHost::new();
    host.seen.files.insert(ManagedFile::Sudoers, FileState::Clean(Sha256::of(b"theirs")));
    let outcome = reconcile(&mut host, &desired(&with_users(&["alice"])), &Limits::default()).unwrap();
    assert_eq!(outcome.plan.conflicts[0].kind, ConflictKind::Sudoers);
    assert_eq!(host.seen.files[&ManagedFile::Sudoers], FileState::Clean(Sha256::of(b"theirs")));
    assert!(host.seen.users.contains_key("alice"));
}

#[test]
fn a_group_named_like_a_user_is_refused() {
    let document = with_group(with_users(&["alice"]), "alice", 63_100, &["alice"]);
    let mut host = FakeHost::new();
    let outcome = reconcile(&mut host, &desired(&document), &Limits::default()).unwrap();
    assert_eq!(outcome.plan.conflicts[0].kind, ConflictKind::Group);
    assert_eq!(host.seen.groups["alice"].gid, 63_001);
}

#[test]
fn observe_makes_nothing_but_still_takes_away() {
    let mut host = FakeHost::new();
    let observe = Limits { mode: Mode::Observe, ..Limits::default() };
    let before = host.foreign();
    let outcome = reconcile(&mut host, &desired(&with_users(&["alice"])), &observe).unwrap();
    assert_eq!((outcome.done, host.foreign()), (0, before));
    reconcile(&mut host, &desired(&with_users(&["alice"])), &Limits::default()).unwrap();
    let outcome = reconcile(&mut host, &desired(&with_users(&[])), &observe).unwrap();
    assert!(!host.seen.principals.contains_key("alice"));
    assert!(host.seen.users.contains_key("alice"));
    assert_eq!(outcome.plan.held, [name("alice")]);
}

#[test]
fn an_entry_that_cannot_be_read_neither_makes_nor_removes() {
    let mut host = FakeHost::new();
    reconcile(&mut host, &desired(&with_users(&["alice"])), &Limits::default()).unwrap();
    let refused =
        RefusedEntry { name: "alice".to_owned(), group: false, reason: "a shell of the future".to_owned() };
    let want = Desired::new(&with_users(&[]), &[refused], &server(Role::Target));
    let outcome = reconcile(&mut host, &want, &Limits::default()).unwrap();
    assert!(host.seen.users.contains_key("alice") && host.seen.principals.contains_key("alice"));
    assert!(
        !outcome
            .plan
            .steps
            .iter()
            .any(|step| matches!(step, Step::DeleteUser { .. } | Step::EndSessions { uid: 0, .. }))
    );
}

#[test]
fn a_bastion_gets_the_hop_account_and_a_target_loses_it() {
    let mut host = FakeHost::new();
    reconcile(&mut host, &desired_bastion(&with_users(&[])), &Limits::default()).unwrap();
    let hop = &host.seen.users["usher-hop"];
    assert_eq!((hop.shell.as_str(), hop.home.as_str()), ("/usr/sbin/nologin", "/nonexistent"));
    assert!(hop.uid < 1000);
    assert!(host.seen.groups["usher-managed"].members.contains("usher-hop"));
    assert!(host.seen.principals.contains_key("usher-hop"));
    reconcile(&mut host, &desired(&with_users(&[])), &Limits::default()).unwrap();
    assert!(!host.seen.users.contains_key("usher-hop") && !host.seen.principals.contains_key("usher-hop"));
}
