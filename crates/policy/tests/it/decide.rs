//! Who is let in and who is not, and what a denial says.

use std::time::Duration;

use usher_ca::{Authorization as _, SourceAddresses};
use usher_identity::SessionTerms;
use usher_policy::{AccessFacts, Decision, Lock, Locked, PortForwarding, Purpose};
use usher_types::{KeyId, Principal};

use crate::fixture::{
    CLIENT, NOW, allowed, assignment, codes, connection_id, decide, decide_at, denial, device_id, facts,
    grant, group_id, project_id, request, server_id, user_id,
};

#[track_caller]
fn denies(change: impl FnOnce(&mut AccessFacts), expected: &[&str]) {
    let mut facts = facts();
    change(&mut facts);
    assert_eq!(codes(&denial(decide(&request(None, Purpose::Command), &facts))), expected);
}

#[test]
fn allows_a_member_of_a_group_with_access() {
    let grant = allowed(&facts());
    let capabilities = grant.capabilities();
    assert_eq!(capabilities.login.as_str(), "alice");
    assert_eq!((capabilities.project_id, capabilities.server_id), (project_id(1), server_id(1)));
    assert!(!capabilities.server_admin);
    assert_eq!((grant.user_id(), grant.device_id()), (user_id(1), device_id()));
}

#[test]
fn denies_by_default() {
    denies(|facts| facts.assignments.clear(), &["no_access"]);
    denies(|facts| facts.groups.clear(), &["no_access"]);
    denies(|facts| facts.groups = [group_id(2)].into(), &["no_access"]);
    denies(|facts| facts.groups = [group_id(9)].into(), &["no_access"]);
    denies(|facts| facts.assignments.retain(|one| !one.server_access), &["no_access"]);
}

#[test]
fn admin_without_access_is_no_access() {
    denies(|facts| facts.assignments = vec![assignment(1, "operators", false, true)], &["no_access"]);
}

#[test]
fn sudo_needs_a_group_of_the_user_with_access() {
    let admin = |assignments| allowed(&AccessFacts { assignments, ..facts() }).capabilities().server_admin;
    assert!(admin(vec![assignment(1, "operators", true, true)]));
    assert!(!admin(vec![assignment(1, "operators", true, false), assignment(2, "others", true, true)]));
    assert!(!admin(vec![assignment(1, "operators", true, false), assignment(1, "operators", false, true)]));
}

#[test]
fn names_of_groups_decide_nothing() {
    // Row 38: `ops`, `ops-prod` and a group of the same name with another id are different groups.
    for name in ["ops", "ops-prod", "o"] {
        denies(
            |facts| {
                facts.groups = [group_id(3)].into();
                facts.assignments = vec![assignment(4, name, true, true)];
            },
            &["no_access"],
        );
    }
}

#[test]
fn login_is_the_users_own_or_nothing() {
    // Row 3: ask for root's, or another user's, account. `root` itself is no login name.
    assert!("root".parse::<usher_types::LoginName>().is_err());
    for login in ["bob", "alice2", "alic", "deploy"] {
        let denial = denial(decide(&request(Some(login), Purpose::Command), &facts()));
        assert_eq!(codes(&denial), ["other_login"]);
        assert_eq!(denial.next(), "leave out the login, or use `alice`");
    }
    assert!(matches!(decide(&request(Some("alice"), Purpose::Command), &facts()), Decision::Allow(_)));
}

#[test]
fn needs_an_account_in_the_project() {
    denies(|facts| facts.login = None, &["no_account"]);
}

#[test]
fn facts_of_another_user_or_project_are_refused() {
    denies(|facts| facts.user_id = user_id(2), &["inconsistent_facts"]);
    denies(|facts| facts.server.project_id = project_id(2), &["inconsistent_facts"]);
}

#[test]
fn a_session_that_ended_meanwhile_is_refused() {
    let request = request(None, Purpose::Command);
    let denial = denial(decide_at(&request, &facts(), NOW.saturating_add(SessionTerms::default().lifetime)));
    assert_eq!(codes(&denial), ["session_expired"]);
}

#[test]
fn impossible_lifetimes_are_refused() {
    let second = Duration::from_secs(1);
    denies(|facts| facts.project.certificate_lifetime = Duration::ZERO, &["certificate_lifetime"]);
    denies(|facts| facts.project.certificate_lifetime = Duration::from_secs(541), &["certificate_lifetime"]);
    denies(|facts| facts.project.clock_skew = Duration::from_secs(421), &["certificate_lifetime"]);
    denies(|facts| facts.project.certificate_lifetime = Duration::MAX, &["certificate_lifetime"]);
    denies(|facts| facts.project.clock_skew = Duration::MAX, &["certificate_lifetime"]);
    let mut longest = facts();
    longest.project.certificate_lifetime = Duration::from_secs(540);
    assert_eq!(allowed(&longest).window().valid_before(), NOW.saturating_add(second * 540));
}

#[test]
fn a_denial_says_every_reason_and_what_to_do() {
    let mut facts = facts();
    facts.groups.clear();
    facts.login = None;
    facts.project.certificate_lifetime = Duration::ZERO;
    let denial = denial(decide(&request(Some("bob"), Purpose::Command), &facts));
    let said: Vec<String> = denial.reasons().map(|reason| format!("{reason}; {}", reason.next())).collect();
    assert_eq!(
        said,
        [
            "you are in no group that may log in on servers of project `shop`; ask an administrator to add you to \
             group `operators`",
            "the certificate lifetime of project `shop` is not possible; ask an administrator to give project \
             `shop` a certificate lifetime and clock skew of together at most 600 seconds",
            "login `bob` is not yours; accounts are never shared; leave out the login",
        ]
    );
    assert!(denial.hides_server());
}

#[test]
fn a_denial_names_at_most_five_groups() {
    let mut facts = facts();
    facts.assignments =
        (10..20).map(|seed| assignment(seed, &format!("group-{seed}"), true, false)).collect();
    let denial = denial(decide(&request(None, Purpose::Command), &facts));
    assert_eq!(
        denial.next(),
        "ask an administrator to add you to one of the groups `group-10`, `group-11`, `group-12`, `group-13`, \
         `group-14`"
    );
}

#[test]
fn an_old_sign_in_must_step_up_where_the_project_says_so() {
    // Row 23: step-up cannot be skipped, and it never turns a denial into anything else.
    let minute = Duration::from_secs(60);
    let mut facts = facts();
    facts.project.authentication.max_age_seconds = Some(60);
    let at = |facts: &AccessFacts, now| decide_at(&request(None, Purpose::Command), facts, now);
    assert!(matches!(at(&facts, NOW.saturating_add(minute)), Decision::Allow(_)));
    let late = NOW.saturating_add(minute + Duration::from_millis(1));
    match at(&facts, late) {
        Decision::StepUp(step_up) => {
            assert_eq!(step_up.wanted().max_age(), Some(minute));
            assert_eq!(step_up.to_string(), "`web-1` wants you to sign in, at most 60 seconds ago");
        }
        other => panic!("{other:?}"),
    }
    facts.groups.clear();
    assert_eq!(codes(&denial(at(&facts, late))), ["no_access"]);
}

#[test]
fn the_target_leg_says_what_was_decided() {
    let grant = grant(decide(&request(None, Purpose::Interactive), &facts()));
    let bastion = "10.0.0.5".parse().unwrap();
    let leg = grant.target(SourceAddresses::hosts(&[bastion]).unwrap());
    let login = "alice".parse().unwrap();
    assert_eq!(leg.principal(), Principal::login(&login, server_id(1)));
    assert_eq!(leg.key_id(), KeyId::new(&"shop".parse().unwrap(), &login, device_id(), connection_id()));
    assert_eq!(leg.window().valid_after(), NOW.saturating_sub(Duration::from_secs(60)));
    assert_eq!(leg.window().valid_before(), NOW.saturating_add(Duration::from_secs(180)));
    assert!(leg.source_addresses().contains(bastion));
    assert!(!leg.source_addresses().contains(CLIENT));
    assert_eq!(
        (leg.user_id(), leg.device_id(), leg.client_address()),
        (user_id(1), device_id(), Some(CLIENT))
    );
}

#[test]
fn a_terminal_is_for_people_only() {
    for (purpose, expected) in [(Purpose::Interactive, true), (Purpose::Command, false)] {
        let leg = grant(decide(&request(None, purpose), &facts())).target(SourceAddresses::any());
        assert_eq!(leg.permit_pty(), expected);
    }
}

#[test]
fn forwarding_on_targets_is_the_projects_choice() {
    for (rule, expected) in
        [(PortForwarding::All, true), (PortForwarding::Local, true), (PortForwarding::Off, false)]
    {
        let mut facts = facts();
        facts.project.port_forwarding = rule;
        assert_eq!(allowed(&facts).target(SourceAddresses::any()).permit_port_forwarding(), expected);
    }
}

#[test]
fn a_hop_leg_forwards_and_nothing_else() {
    let mut facts = facts();
    facts.project.port_forwarding = PortForwarding::Off;
    let grant = grant(decide(&request(None, Purpose::Interactive), &facts));
    let hop = grant.hop(server_id(8), server_id(1));
    assert_eq!(hop.principal(), Principal::hop(server_id(8), server_id(1)));
    assert!(!hop.permit_pty());
    assert!(hop.permit_port_forwarding());
    assert_eq!((hop.window(), hop.key_id()), (grant.window(), grant.target(SourceAddresses::any()).key_id()));
}

#[test]
fn capabilities_tell_when_a_second_decision_differs() {
    let first = allowed(&facts());
    let later = NOW.saturating_add(Duration::from_secs(1));
    let same = grant(decide_at(&request(None, Purpose::Command), &facts(), later));
    assert_ne!(first.window(), same.window());
    assert_eq!(first.capabilities(), same.capabilities());

    let changes: [fn(&mut AccessFacts); 5] = [
        |facts| facts.project.port_forwarding = PortForwarding::Off,
        |facts| facts.project.certificate_lifetime = Duration::from_secs(60),
        |facts| facts.project.clock_skew = Duration::from_secs(30),
        |facts| facts.assignments[0].server_admin = true,
        |facts| facts.login = Some("alice2".parse().unwrap()),
    ];
    for change in changes {
        let mut facts = facts();
        change(&mut facts);
        assert_ne!(first.capabilities(), allowed(&facts).capabilities());
    }
}

#[test]
fn every_lock_denies_and_says_what_is_locked_why_and_what_lifts_it() {
    let lock = |on| Lock { on, reason: "laptop stolen".parse().unwrap() };
    for (on, code, what) in [
        (Locked::Device, "device_locked", format!("device {}", device_id())),
        (Locked::Project, "project_locked", "project shop".to_owned()),
        (Locked::Server, "server_locked", "server web-1".to_owned()),
        (Locked::User, "user_locked", "user alice".to_owned()),
    ] {
        let facts = AccessFacts { locks: vec![lock(on)], ..facts() };
        let denial = denial(decide(&request(None, Purpose::Command), &facts));
        assert_eq!(codes(&denial), [code]);
        assert_eq!(denial.reasons().next().unwrap().to_string(), format!("{what} is locked: laptop stolen"));
        assert!(denial.next().contains(&format!("`usher unlock {what}`")), "{}", denial.next());
        assert!(!denial.hides_server());
    }
    denies(
        |facts| {
            facts.locks = vec![lock(Locked::Project), lock(Locked::User)];
            facts.groups.clear();
        },
        &["project_locked", "user_locked", "no_access"],
    );
}
