//! Conditions on roles: what counts where, when, from where, and after which proof. Beside the decision stands a model
//! that says the same in other words, and both are asked the same questions.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use proptest::prelude::*;
use usher_identity::AuthenticationMethod;
use usher_policy::{
    AccessFacts, Asker, Assignment, Authentication, Conditions, Decision, Hours, Member, SnapshotBuilder,
    explain,
};
use usher_types::{Label, UnixTime};

use crate::fixture::{
    CLIENT, NOW, alice, assignment, codes, decide_for, denial, facts, grant, group_id, user_id,
};

use AuthenticationMethod::{HardwareKey, MultiFactor, OneTimePassword, Password};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<Label, Label> {
    pairs.iter().map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap())).collect()
}

/// The facts of a member of one group with these conditions.
fn with(conditions: Conditions) -> AccessFacts {
    let mut facts = facts();
    facts.assignments = vec![role(1, false, conditions)];
    facts
}

fn role(group: u8, admin: bool, conditions: Conditions) -> Assignment {
    Assignment {
        conditions: Arc::new(conditions),
        ..assignment(group, &format!("group-{group}"), true, admin)
    }
}

fn decide(facts: &AccessFacts) -> Decision {
    decide_for(&alice(NOW, vec![MultiFactor]), facts, Some(CLIENT), NOW)
}

/// 2026-09-21 was a Monday.
fn at(text: &str) -> UnixTime {
    text.parse().unwrap()
}

#[test]
fn a_role_counts_on_servers_with_its_labels_only() {
    let mut facts = with(Conditions { labels: labels(&[("env", "test")]), ..Conditions::default() });
    let refused = denial(decide(&facts));
    assert_eq!(codes(&refused), ["labels"]);
    assert_eq!(
        refused.reasons().next().unwrap().to_string(),
        "group `group-1` gives access to servers with env=test only"
    );
    assert!(!refused.hides_server());
    for (given, fits) in [
        (vec![("env", "prod")], false),
        (vec![("env", "test")], true),
        (vec![("env", "test"), ("role", "web")], true),
        (vec![("role", "test")], false),
        // Names that begin alike have nothing to do with each other (row 38).
        (vec![("env", "test2")], false),
        (vec![("env2", "test")], false),
    ] {
        facts.server.labels = Arc::new(labels(&given));
        assert_eq!(matches!(decide(&facts), Decision::Allow(_)), fits, "{given:?}");
    }
}

#[test]
fn a_role_counts_from_its_networks_only() {
    let facts = with(Conditions {
        networks: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        ..Conditions::default()
    });
    let user = alice(NOW, vec![MultiFactor]);
    let from =
        |client: Option<&str>| decide_for(&user, &facts, client.map(|text| text.parse().unwrap()), NOW);
    for inside in ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1"] {
        assert!(matches!(from(Some(inside)), Decision::Allow(_)), "{inside}");
    }
    assert_eq!(codes(&denial(from(Some("11.0.0.1")))), ["outside_networks"]);
    // Nobody knows where it comes from: not from there.
    let unknown = denial(from(None));
    assert_eq!(
        unknown.reasons().next().unwrap().to_string(),
        "group `group-1` gives access from 10.0.0.0/8, 2001:db8::/32 only"
    );
}

#[track_caller]
fn check_hours(hours: &str, now: &str, inside: bool) {
    let parsed: Hours = hours.parse().unwrap();
    assert_eq!(parsed.contain(at(now)), inside, "{hours} at {now}");
    let facts = with(Conditions { hours: Some(parsed), ..Conditions::default() });
    let decision = decide_for(&alice(at(now), vec![Password]), &facts, Some(CLIENT), at(now));
    // Sessions of the fixture begin at another time; that is not what is looked at here.
    let outside = match decision {
        Decision::Deny(denial) => codes(&denial).contains(&"outside_hours"),
        Decision::Allow(_) | Decision::StepUp(_) => false,
    };
    assert_eq!(outside, !inside, "{hours} at {now}");
}

#[test]
fn hours_are_those_of_the_place() {
    for (now, inside) in [
        ("2026-09-21T07:59:59Z", false),
        ("2026-09-21T08:00:00Z", true),
        ("2026-09-21T16:59:59Z", true),
        ("2026-09-21T17:00:00Z", false),
        ("2026-09-25T12:00:00Z", true),
        ("2026-09-26T12:00:00Z", false),
    ] {
        check_hours("mon-fri 08:00-17:00 UTC", now, inside);
    }
    // In summer Vienna is two hours ahead, in winter one.
    check_hours("daily 08:00-17:00 Europe/Vienna", "2026-07-01T06:00:00Z", true);
    check_hours("daily 08:00-17:00 Europe/Vienna", "2026-07-01T05:59:59Z", false);
    check_hours("daily 08:00-17:00 Europe/Vienna", "2026-12-01T06:30:00Z", false);
    check_hours("daily 08:00-17:00 Europe/Vienna", "2026-12-01T07:00:00Z", true);
    // Sunday's night shift ends on Monday.
    check_hours("sun 22:00-06:00 UTC", "2026-09-20T21:59:00Z", false);
    check_hours("sun 22:00-06:00 UTC", "2026-09-20T22:00:00Z", true);
    check_hours("sun 22:00-06:00 UTC", "2026-09-21T05:59:59Z", true);
    check_hours("sun 22:00-06:00 UTC", "2026-09-21T06:00:00Z", false);
    check_hours("sun 22:00-06:00 UTC", "2026-09-21T22:00:00Z", false);
    check_hours("mon,wed 00:00-24:00 UTC", "2026-09-23T23:59:59Z", true);
    check_hours("mon,wed 00:00-24:00 UTC", "2026-09-24T00:00:00Z", false);
}

#[test]
fn other_texts_are_no_hours() {
    for (bad, wrong) in [
        ("", "DAYS FROM-TO ZONE"),
        ("mon-fri 08:00-17:00", "DAYS FROM-TO ZONE"),
        ("mon-fri  08:00-17:00 UTC", "DAYS FROM-TO ZONE"),
        ("fri-mon 08:00-17:00 UTC", "days"),
        ("Mon 08:00-17:00 UTC", "days"),
        ("mon, 08:00-17:00 UTC", "days"),
        ("mon 8:00-17:00 UTC", "times"),
        ("mon 08:00-08:00 UTC", "times"),
        ("mon 24:00-08:00 UTC", "times"),
        ("mon 08:00-24:01 UTC", "times"),
        ("mon 08:60-17:00 UTC", "times"),
        ("mon +8:00-17:00 UTC", "times"),
        ("mon 08:00-17:00 Europe/Nowhere", "time zone"),
        ("mon 08:00-17:00 ../../etc/passwd", "time zone"),
        ("mon 08:00-17:00 +02:00", "time zone"),
    ] {
        let error = bad.parse::<Hours>().unwrap_err().to_string();
        assert!(error.contains(wrong), "{bad}: {error}");
    }
}

fn asks(authentication: Authentication) -> Conditions {
    Conditions { authentication, ..Conditions::default() }
}

#[test]
fn an_absent_method_is_no_second_factor() {
    // Row 23: what the identity provider does not say did not happen.
    let facts = with(asks(Authentication { second_factor: true, ..Authentication::default() }));
    for (amr, good) in [
        (vec![], false),
        (vec![Password], false),
        (vec![OneTimePassword], false),
        (vec![Password, OneTimePassword, MultiFactor], true),
        (vec![HardwareKey], true),
    ] {
        let decision = decide_for(&alice(NOW, amr.clone()), &facts, Some(CLIENT), NOW);
        assert_eq!(matches!(decision, Decision::Allow(_)), good, "{amr:?}");
        assert_eq!(matches!(decision, Decision::StepUp(_)), !good, "{amr:?}");
    }
}

#[test]
fn a_proof_for_one_server_counts_for_that_server_only() {
    let authentication =
        Authentication { named_server: true, max_age_seconds: Some(300), ..Authentication::default() };
    let mut facts = with(asks(authentication));
    // However fresh the session is.
    let Decision::StepUp(step_up) = decide(&facts) else { panic!("no step up") };
    assert_eq!(step_up.to_string(), "`web-1` wants you to sign in for it by name, at most 5 minutes ago");
    facts.named_at = Some(NOW);
    let later = |seconds| NOW.saturating_add(std::time::Duration::from_secs(seconds));
    let user = alice(NOW, vec![MultiFactor]);
    assert!(matches!(decide_for(&user, &facts, None, later(300)), Decision::Allow(_)));
    assert!(matches!(decide_for(&user, &facts, None, later(301)), Decision::StepUp(_)));
    // The clock was turned back.
    facts.named_at = Some(later(11));
    assert!(matches!(decide(&facts), Decision::StepUp(_)));
}

#[test]
fn roles_add_up_and_the_least_is_asked() {
    let fresh =
        |seconds| asks(Authentication { max_age_seconds: Some(seconds), ..Authentication::default() });
    let mut facts = facts();
    facts.groups = [group_id(1), group_id(2)].into();
    facts.assignments = vec![role(1, false, Conditions::default()), role(2, true, fresh(60))];
    let user = alice(NOW, vec![MultiFactor]);
    let late = NOW.saturating_add(std::time::Duration::from_secs(61));
    let admin = |now| grant(decide_for(&user, &facts, None, now)).capabilities().server_admin;
    assert!(admin(NOW));
    assert!(!admin(late), "administering asks for more than logging in");

    facts.assignments = vec![role(1, false, fresh(30)), role(2, true, fresh(60))];
    let later = NOW.saturating_add(std::time::Duration::from_secs(100));
    let Decision::StepUp(step_up) = decide_for(&user, &facts, None, later) else { panic!("no step up") };
    assert_eq!(step_up.wanted().max_age_seconds, Some(60));
    // The project asks everybody.
    facts.project.authentication.max_age_seconds = Some(20);
    let Decision::StepUp(step_up) = decide_for(&user, &facts, None, later) else { panic!("no step up") };
    assert_eq!(step_up.wanted().max_age_seconds, Some(20));
}

prop_compose! {
    fn conditions()(
        label in prop::option::of(prop::sample::select(vec!["test", "prod"])),
        network in prop::option::of(prop::sample::select(vec!["192.0.2.0/24", "10.0.0.0/8"])),
        hours in prop::option::of(prop::sample::select(vec!["daily 00:00-24:00 UTC", "mon 00:00-12:00 UTC", "fri-sun 20:00-04:00 UTC"])),
        max_age_seconds in prop::option::of(0_u32..200),
        second_factor in any::<bool>(),
        named_server in prop::bool::weighted(0.2),
    ) -> Conditions {
        Conditions {
            labels: label.map(|label| labels(&[("env", label)])).unwrap_or_default(),
            networks: network.map(|network| network.parse().unwrap()).into_iter().collect(),
            hours: hours.map(|hours| hours.parse().unwrap()),
            authentication: Authentication { max_age_seconds, second_factor, named_server },
        }
    }
}

/// Everything that the model looks at.
#[derive(Clone, Debug)]
struct Case {
    facts: AccessFacts,
    amr: Vec<AuthenticationMethod>,
    age: i64,
    client: Option<IpAddr>,
}

prop_compose! {
    fn cases()(
        roles in prop::collection::vec((1_u8..5, any::<bool>(), any::<bool>(), conditions()), 0..5),
        groups in prop::collection::btree_set(1_u8..5, 0..4),
        env in prop::option::of(prop::sample::select(vec!["test", "prod"])),
        amr in prop::sample::select(vec![vec![], vec![Password], vec![HardwareKey], vec![Password, MultiFactor]]),
        age in 0_i64..250,
        named in prop::option::of(-9_i64..250),
        client in prop::option::of(prop::sample::select(vec!["192.0.2.7", "10.1.1.1", "2001:db8::1"])),
        project_age in prop::option::of(0_u32..200),
    ) -> Case {
        let mut facts = facts();
        facts.groups = groups.into_iter().map(group_id).collect();
        facts.server.labels = Arc::new(env.map(|env| labels(&[("env", env)])).unwrap_or_default());
        facts.project.authentication.max_age_seconds = project_age;
        facts.named_at = named.map(|age| UnixTime::from_millis(NOW.as_millis() - age * 1000));
        facts.assignments = roles
            .into_iter()
            .map(|(group, access, admin, conditions)| Assignment {
                server_access: access,
                ..role(group, admin, conditions)
            })
            .collect();
        Case { facts, amr, age, client: client.map(|client| client.parse().unwrap()) }
    }
}

/// What comes of a case: the model's answer, in the plainest words there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Allow { admin: bool },
    Deny,
    StepUp,
}

fn model(case: &Case) -> Answer {
    let facts = &case.facts;
    // NOW is a Monday afternoon.
    let hours_hold = |hours: &Hours| hours.to_string().starts_with("daily");
    let mut open = Vec::new();
    for role in &facts.assignments {
        let conditions = &role.conditions;
        let is_mine = role.server_access && facts.groups.contains(&role.group_id);
        let labelled = conditions.labels.is_empty() || conditions.labels == *facts.server.labels;
        let from_there = match (conditions.networks.first().map(ToString::to_string).as_deref(), case.client)
        {
            (None, _) => true,
            (Some("192.0.2.0/24"), Some(client)) => client.to_string() == "192.0.2.7",
            (Some(_), Some(client)) => client.to_string() == "10.1.1.1",
            (Some(_), None) => false,
        };
        let now = conditions.hours.as_ref().is_none_or(hours_hold);
        if is_mine && labelled && from_there && now {
            open.push(role);
        }
    }
    let satisfied = |role: &&&Assignment| {
        let wanted = &role.conditions.authentication;
        let named = facts.named_at.map(|named| (NOW.as_millis() - named.as_millis()) / 1000);
        let age = if wanted.named_server { named } else { Some(case.age) };
        let young =
            |limit: Option<u32>| limit.is_none_or(|limit| age.is_some_and(|age| age <= i64::from(limit)));
        let two = case.amr.contains(&HardwareKey) || case.amr.contains(&MultiFactor);
        age.is_some_and(|age| age >= -10)
            && young(wanted.max_age_seconds)
            && young(facts.project.authentication.max_age_seconds)
            && (!wanted.second_factor || two)
    };
    let good: Vec<_> = open.iter().filter(satisfied).collect();
    match (open.is_empty(), good.is_empty()) {
        (true, _) => Answer::Deny,
        (false, true) => Answer::StepUp,
        (false, false) => Answer::Allow { admin: good.iter().any(|role| role.server_admin) },
    }
}

fn answer(case: &Case, facts: &AccessFacts) -> Answer {
    let signed_in = UnixTime::from_millis(NOW.as_millis() - case.age * 1000);
    match decide_for(&alice(signed_in, case.amr.clone()), facts, case.client, NOW) {
        Decision::Allow(grant) => Answer::Allow { admin: grant.capabilities().server_admin },
        Decision::Deny(_) => Answer::Deny,
        Decision::StepUp(_) => Answer::StepUp,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_decision_and_the_model_say_the_same(case in cases()) {
        prop_assert_eq!(answer(&case, &case.facts), model(&case));
        // So does what people are told.
        let user_name = "alice".parse().unwrap();
        let asker = Asker { user_id: user_id(1), user_name: &user_name, device: None, auth_time: NOW, amr: &[] };
        let told = explain(&asker, &case.facts, case.client, NOW);
        prop_assert_eq!(told.reasons.is_empty(), model(&case) != Answer::Deny);
        prop_assert_eq!(told.asks.is_some(), told.reasons.is_empty());
        prop_assert_eq!(told.roles.len(), case.facts.assignments.len());
    }

    /// The packed rules carry every condition: an allow from memory is the allow of the rows.
    #[test]
    fn memory_says_the_same(case in cases()) {
        let facts = &case.facts;
        let mut builder = SnapshotBuilder::new();
        builder.server(facts.server.id, facts.server.name.as_str(), facts.project.id);
        builder.labels(facts.server.id, Arc::clone(&facts.server.labels));
        builder.project(facts.project.clone());
        for assignment in &facts.assignments {
            builder.assignment(facts.project.id, assignment.clone());
        }
        let snapshot = builder.finish();
        let groups: Vec<_> = facts.groups.iter().copied().collect();
        let member = Member { user_id: user_id(1), groups: &groups, login: facts.login.as_ref() };
        let mut packed = snapshot.find("web-1").unwrap().facts(&member).unwrap();
        packed.named_at = facts.named_at;
        prop_assert_eq!(answer(&case, &packed), model(&case));
    }

    #[test]
    fn conditions_are_written_and_read_back(conditions in conditions()) {
        let text = serde_json::to_string(&conditions).unwrap();
        prop_assert_eq!(serde_json::from_str::<Conditions>(&text).unwrap(), conditions);
    }

    #[test]
    fn no_text_is_a_panic(text in "\\PC{0,60}") {
        let _ = text.parse::<Hours>();
        let _ = serde_json::from_str::<Conditions>(&text);
    }
}
