//! Locks: nobody gets in, and what was locked comes back unharmed.

use usher_account_lifecycle::{
    Desired, Limits, Outcome, Step,
    account::UnixName,
    observed::Password,
    plan::Mode,
    reconcile,
    state::{Role, StateDocument},
};

use crate::{
    fake_host::{FakeHost, Refusal},
    fixtures::{desired, server, with_group, with_users},
};

fn name(text: &str) -> UnixName {
    text.parse().unwrap()
}

fn pass(host: &mut FakeHost, want: &Desired) -> Outcome<Refusal> {
    let outcome = reconcile(host, want, &Limits::default()).unwrap();
    assert!(outcome.is_complete(), "{:?}", outcome.failed);
    outcome
}

/// alice administers, bob does not.
fn people() -> StateDocument {
    with_group(with_users(&["alice", "bob"]), "developers", 63_500, &["alice", "bob"])
}

fn settled(want: &Desired) -> FakeHost {
    let mut host = FakeHost::new();
    pass(&mut host, want);
    host
}

fn locked(document: &StateDocument, user: &str) -> Desired {
    let mut document = document.clone();
    document.users.get_mut(&user.parse().unwrap()).unwrap().locked = true;
    desired(&document)
}

#[test]
fn a_locked_user_has_no_way_in_and_keeps_account_home_and_groups() {
    let mut host = settled(&desired(&people()));
    host.seen.running_uids.insert(60_001);
    let home = host.seen.homes[&name("alice")];
    let outcome = pass(&mut host, &locked(&people(), "alice"));
    assert!(!host.seen.principals.contains_key("alice") && !host.seen.running_uids.contains(&60_001));
    assert!(host.seen.groups["usher-admin"].members.is_empty(), "sudo is off");
    assert!(host.seen.groups["usher-managed"].members.contains("alice"));
    assert!(host.seen.groups["developers"].members.contains("alice"));
    assert_eq!(host.seen.users["alice"].uid, 60_001);
    assert_eq!(host.seen.homes[&name("alice")], home);
    assert!(host.seen.jobs.is_empty());
    assert!(host.seen.principals.contains_key("bob"), "nobody else is touched");
    assert_eq!(host.seen.users["bob"].password, Password::Star);
    let first = |wanted: fn(&Step) -> bool| outcome.plan.steps.iter().position(wanted).unwrap();
    let order = [
        first(|step| matches!(step, Step::RemovePrincipals { .. })),
        first(|step| matches!(step, Step::SetMembers { .. })),
        first(|step| matches!(step, Step::EndSessions { .. })),
        first(|step| matches!(step, Step::LockUser { .. })),
    ];
    assert!(order.is_sorted(), "{:#?}", outcome.plan.steps);
}

#[test]
fn what_runs_as_a_locked_user_later_is_ended_too() {
    let want = locked(&people(), "alice");
    let mut host = settled(&desired(&people()));
    pass(&mut host, &want);
    assert_eq!(pass(&mut host, &want).plan.steps, Vec::new());
    host.seen.running_uids.insert(60_001);
    pass(&mut host, &want);
    assert!(!host.seen.running_uids.contains(&60_001));
}

#[test]
fn unlocking_gives_everything_back() {
    let mut host = settled(&desired(&people()));
    let before = host.seen.clone();
    pass(&mut host, &locked(&people(), "alice"));
    assert_ne!(host.seen, before);
    pass(&mut host, &desired(&people()));
    assert_eq!(host.seen, before);
}

#[test]
fn an_account_that_does_not_exist_is_made_when_the_lock_is_gone() {
    let want = locked(&people(), "alice");
    let mut host = settled(&want);
    assert!(!host.seen.users.contains_key("alice") && host.seen.users.contains_key("bob"));
    assert_eq!(pass(&mut host, &want).plan.steps, Vec::new());
    pass(&mut host, &desired(&people()));
    assert!(host.seen.principals.contains_key("alice"));
}

#[test]
fn a_locked_server_or_project_lets_nobody_in_and_a_bastion_forwards_nobody() {
    let open = Desired::new(&people(), &[], &server(Role::Bastion));
    let mut project = people();
    project.locked = true;
    let mut own = server(Role::Bastion);
    own.locked = true;
    for want in [Desired::new(&project, &[], &server(Role::Bastion)), Desired::new(&people(), &[], &own)] {
        let mut host = settled(&open);
        let before = host.seen.clone();
        assert!(host.seen.principals.contains_key("usher-hop"));
        host.seen.running_uids.insert(host.seen.users["usher-hop"].uid);
        pass(&mut host, &want);
        assert!(host.seen.principals.is_empty() && host.seen.running_uids.is_empty());
        assert!(host.seen.users.contains_key("alice") && host.seen.users.contains_key("usher-hop"));
        pass(&mut host, &open);
        assert_eq!(host.seen, before);
    }
}

#[test]
fn break_glass_accounts_are_never_locked() {
    let mut host = settled(&desired(&people()));
    host.seen.running_uids.insert(0);
    let root = host.seen.users["root"].clone();
    let mut project = people();
    project.locked = true;
    pass(&mut host, &desired(&project));
    assert_eq!(host.seen.users["root"], root);
    assert!(host.seen.running_uids.contains(&0));
}

#[test]
fn an_observing_agent_locks_all_the_same() {
    let mut host = settled(&desired(&people()));
    let limits = Limits { mode: Mode::Observe, ..Limits::default() };
    reconcile(&mut host, &locked(&people(), "alice"), &limits).unwrap();
    assert!(!host.seen.principals.contains_key("alice"));
    assert_eq!(host.seen.users["alice"].password, Password::Locked);
}
