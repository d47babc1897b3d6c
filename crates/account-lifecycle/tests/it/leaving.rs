//! Taking access away: the order, the guard against mass deletion, and coming back.

use usher_account_lifecycle::{
    Limits, Step,
    account::{AdminSudo, UnixName},
    observed::{Home, Password, SshdSupport},
    ownership::ManagedFile,
    plan::MassDeletion,
    reconcile,
};

use crate::{
    fake_host::FakeHost,
    fixtures::{desired, with_users},
};

fn name(text: &str) -> UnixName {
    text.parse().unwrap()
}

fn settled(names: &[&str]) -> FakeHost {
    let mut host = FakeHost::new();
    assert!(reconcile(&mut host, &desired(&with_users(names)), &Limits::default()).unwrap().is_complete());
    host
}

#[test]
fn principals_go_first_then_sudo_then_sessions_then_the_account() {
    let mut host = settled(&["alice"]);
    host.seen.running_uids.insert(60_001);
    host.seen.jobs.insert(name("alice"));
    let outcome = reconcile(&mut host, &desired(&with_users(&[])), &Limits::default()).unwrap();
    let position = |wanted: fn(&Step) -> bool| outcome.plan.steps.iter().position(wanted).unwrap();
    let order = [
        position(|step| matches!(step, Step::RemovePrincipals { .. })),
        position(|step| matches!(step, Step::SetMembers { group, .. } if *group == UnixName::admin())),
        position(|step| matches!(step, Step::LockUser { .. })),
        position(|step| matches!(step, Step::EndSessions { .. })),
        position(|step| matches!(step, Step::RemoveJobs { .. })),
        position(|step| matches!(step, Step::RetireHome { .. })),
        position(|step| matches!(step, Step::DeleteUser { .. })),
        position(|step| matches!(step, Step::Release { .. })),
    ];
    assert!(order.is_sorted(), "{:#?}", outcome.plan.steps);
    assert!(outcome.is_complete(), "{:?}", outcome.failed);
    assert!(!host.seen.users.contains_key("alice"));
}

#[test]
fn a_leaver_stays_in_the_managed_group_until_gone() {
    let mut host = settled(&["alice"]);
    let outcome = reconcile(&mut host, &desired(&with_users(&[])), &Limits::default()).unwrap();
    let managed =
        |step: &&Step| matches!(step, Step::SetMembers { group, .. } if *group == UnixName::managed());
    assert!(
        !outcome.plan.steps.iter().any(|step| managed(&step)),
        "a key in the home would open the account"
    );
}

#[test]
fn a_person_who_comes_back_gets_the_same_home() {
    let mut host = settled(&["alice"]);
    let home = host.seen.homes[&name("alice")];
    reconcile(&mut host, &desired(&with_users(&[])), &Limits::default()).unwrap();
    assert!(matches!(host.seen.homes[&name("alice")], Home::Directory { uid: 0, .. }));
    reconcile(&mut host, &desired(&with_users(&["alice"])), &Limits::default()).unwrap();
    assert_eq!(host.seen.homes[&name("alice")], home);
    assert!(host.seen.users.contains_key("alice"));
}

#[test]
fn losing_sudo_ends_the_sessions_that_had_it() {
    let mut host = settled(&["alice"]);
    host.seen.running_uids.insert(60_001);
    let mut document = with_users(&["alice"]);
    document.users.values_mut().for_each(|user| user.admin = false);
    let outcome = reconcile(&mut host, &desired(&document), &Limits::default()).unwrap();
    assert!(outcome.plan.steps.iter().any(|step| matches!(step, Step::EndSessions { .. })));
    assert!(host.seen.groups["usher-admin"].members.is_empty());
    assert!(host.seen.users.contains_key("alice"));
}

#[test]
fn a_project_that_stops_giving_sudo_loses_the_rule() {
    let mut host = settled(&["alice"]);
    assert!(host.seen.files.contains_key(&ManagedFile::Sudoers));
    let mut document = with_users(&["alice"]);
    document.admin_sudo = AdminSudo::StepUp;
    reconcile(&mut host, &desired(&document), &Limits::default()).unwrap();
    assert!(!host.seen.files.contains_key(&ManagedFile::Sudoers));
}

#[test]
fn mass_deletion_is_held_but_access_is_not() {
    let names: Vec<String> = (0..20).map(|n| format!("user{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut host = settled(&names);
    host.seen.running_uids.insert(60_003);
    let nobody = desired(&with_users(&[]));
    let outcome = reconcile(&mut host, &nobody, &Limits::default()).unwrap();
    assert_eq!(outcome.plan.held.len(), 20);
    assert!(host.seen.principals.is_empty() && host.seen.running_uids.is_empty());
    assert!(names.iter().all(|name| host.seen.users[*name].password == Password::Locked));
    let again = reconcile(&mut host, &nobody, &Limits::default()).unwrap();
    assert_eq!((again.plan.steps, again.plan.held.len()), (Vec::new(), 20));
    let allow = Limits { mass_deletion: MassDeletion::Allow, ..Limits::default() };
    reconcile(&mut host, &nobody, &allow).unwrap();
    assert!(names.iter().all(|name| !host.seen.users.contains_key(*name)));
}

#[test]
fn a_few_deletions_are_never_held() {
    let mut host = settled(&["a", "b", "c", "d", "e"]);
    let outcome = reconcile(&mut host, &desired(&with_users(&[])), &Limits::default()).unwrap();
    assert!(outcome.plan.held.is_empty());
    assert!(!host.seen.users.contains_key("a"));
}

#[test]
fn a_locked_account_is_opened_when_its_user_comes_back_before_deletion() {
    let mut host = settled(&["alice"]);
    host.seen.users.get_mut("alice").unwrap().password = Password::Locked;
    reconcile(&mut host, &desired(&with_users(&["alice"])), &Limits::default()).unwrap();
    assert_eq!(host.seen.users["alice"].password, Password::Star);
}

#[test]
fn a_password_that_was_set_is_taken_away() {
    let mut host = settled(&["alice"]);
    host.seen.users.get_mut("alice").unwrap().password = Password::Other;
    reconcile(&mut host, &desired(&with_users(&["alice"])), &Limits::default()).unwrap();
    assert_eq!(host.seen.users["alice"].password, Password::Star);
}

#[test]
fn accounts_are_locked_while_the_sshd_block_is_missing() {
    let mut host = settled(&["alice"]);
    host.seen.files.remove(&ManagedFile::SshdDropIn);
    host.seen.sshd = SshdSupport::Unsupported("no include".to_owned());
    reconcile(&mut host, &desired(&with_users(&["alice"])), &Limits::default()).unwrap();
    assert_eq!(host.seen.users["alice"].password, Password::Locked, "a key in the home would open it");
    host.seen.sshd = SshdSupport::Ready;
    reconcile(&mut host, &desired(&with_users(&["alice"])), &Limits::default()).unwrap();
    assert_eq!(host.seen.users["alice"].password, Password::Star);
    assert!(host.seen.principals.contains_key("alice"));
}
