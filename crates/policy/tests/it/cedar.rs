//! Policies in Cedar: they take away and never give, whatever their text is. Beside the decision stands a model that says
//! the same in other words.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use proptest::prelude::*;
use usher_identity::AuthenticationMethod::{self, MultiFactor, Password};
use usher_policy::{
    AccessFacts, Asker, Bindings, Decision, Draft, LONGEST_POLICY, Member, Named, Policies, Policy,
    PolicySource, Purpose, SnapshotBuilder, authorize, suppose,
};
use usher_types::{GroupId, ProjectId, UnixTime};

use crate::fixture::{
    CLIENT, NOW, alice, allowed, codes, connection_id, decide, decide_for, denial, device_id, facts,
    group_id, project_id, request, server_id, user_id,
};

/// Names mean what the fixture has.
fn bindings(draft: &Draft) -> Bindings {
    let mut bindings = Bindings::default();
    for (kind, name) in draft.names() {
        match (kind, name.as_str()) {
            (Named::Group, "operators") => drop(bindings.groups.insert(name, group_id(1))),
            (Named::Group, "contractors") => drop(bindings.groups.insert(name, group_id(3))),
            (Named::Project, "shop") => drop(bindings.projects.insert(name, project_id(1))),
            (Named::Project, "bank") => drop(bindings.projects.insert(name, project_id(2))),
            (Named::Server, "web-1") => drop(bindings.servers.insert(name, server_id(1))),
            (Named::Server, "web-2") => drop(bindings.servers.insert(name, server_id(2))),
            (Named::User, "alice") => drop(bindings.users.insert(name, user_id(1))),
            (Named::User, "bob") => drop(bindings.users.insert(name, user_id(2))),
            other => panic!("{other:?}"),
        }
    }
    bindings
}

fn policy_in(project: Option<ProjectId>, name: &str, text: &str) -> Arc<Policy> {
    let draft = Draft::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let bindings = bindings(&draft);
    draft.is_bound_by(&bindings).unwrap();
    Arc::new(Policy::load(PolicySource {
        name: name.parse().unwrap(),
        project,
        text: text.to_owned(),
        bindings,
    }))
}

fn policy(text: &str) -> Arc<Policy> {
    policy_in(None, "night", text)
}

fn with(policies: &[Arc<Policy>]) -> AccessFacts {
    AccessFacts { policies: Arc::new(Policies::of_project(project_id(1), policies)), ..facts() }
}

fn said(facts: &AccessFacts, now: &str, purpose: Purpose) -> Vec<&'static str> {
    let now = now.parse().unwrap();
    let user = alice(now, vec![MultiFactor]);
    // The fixture's session began at another time.
    let ended = |code: &&str| *code != "session_expired";
    match authorize(&user, &request(None, purpose), facts, connection_id(), Some(CLIENT), now) {
        Decision::Deny(denial) => codes(&denial).into_iter().filter(ended).collect(),
        Decision::Allow(_) | Decision::StepUp(_) => Vec::new(),
    }
}

fn wrong(text: &str) -> String {
    match Draft::parse(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_policy_forbids_with_its_name_its_reason_and_its_advice() {
    let text = r#"
        @reason("prod is frozen until the release is out")
        @next("ask the release manager, #releases")
        forbid (principal, action == Action::"connect", resource)
        when { resource.hasTag("env") && resource.getTag("env") == "prod" && context.purpose == "interactive" };"#;
    let mut facts = with(&[policy(text)]);
    assert!(matches!(decide(&request(None, Purpose::Interactive), &facts), Decision::Allow(_)));
    facts.server.labels = Arc::new([("env".parse().unwrap(), "prod".parse().unwrap())].into());
    let denial = denial(decide(&request(None, Purpose::Interactive), &facts));
    assert_eq!(codes(&denial), ["policy"]);
    assert_eq!(
        denial.reasons().next().unwrap().to_string(),
        "policy `night` forbids it: prod is frozen until the release is out"
    );
    assert_eq!(denial.next(), "ask the release manager, #releases");
    assert!(!denial.hides_server());
    assert!(matches!(decide(&request(None, Purpose::Command), &facts), Decision::Allow(_)));
}

#[test]
fn who_has_no_role_learns_of_no_policy() {
    let mut facts = with(&[policy("forbid (principal, action, resource);")]);
    assert_eq!(codes(&denial(decide(&request(None, Purpose::Command), &facts))), ["policy"]);
    facts.groups.clear();
    assert_eq!(codes(&denial(decide(&request(None, Purpose::Command), &facts))), ["no_access"]);
}

#[test]
fn forwarding_is_taken_away_alone() {
    let night =
        policy(r#"forbid (principal, action == Action::"forward", resource) when { context.hour >= 22 };"#);
    let facts = with(&[night]);
    let forwards = |now: &str| {
        let now = now.parse().unwrap();
        let name = "alice".parse().unwrap();
        let asker = Asker { user_id: user_id(1), user_name: &name, device: None, auth_time: now, amr: &[] };
        match suppose(&asker, &request(None, Purpose::Command), &facts, Some(CLIENT), now) {
            Decision::Allow(capabilities) => capabilities.permit_port_forwarding,
            other => panic!("{other:?}"),
        }
    };
    assert!(forwards("2026-09-21T21:59:59Z"));
    assert!(!forwards("2026-09-21T22:00:00Z"));
}

#[test]
fn hours_and_days_are_those_of_the_policys_place() {
    let text = r#"@time_zone("Europe/Vienna")
        forbid (principal, action, resource) when { context.hour < 8 || ["sat", "sun"].contains(context.weekday) };"#;
    let facts = with(&[
        policy(text),
        policy_in(None, "utc", "forbid (principal, action, resource) when { context.hour == 5 };"),
    ]);
    for (now, expected) in [
        ("2026-09-21T05:59:59Z", vec!["policy", "policy"]),
        ("2026-09-21T06:00:00Z", vec![]),
        ("2026-12-01T06:59:59Z", vec!["policy"]),
        ("2026-12-01T07:00:00Z", vec![]),
        ("2026-09-19T12:00:00Z", vec!["policy"]),
        // Saturday ends two hours earlier than in Greenwich.
        ("2026-09-18T22:00:00Z", vec!["policy"]),
        ("2026-09-18T21:59:00Z", vec![]),
    ] {
        assert_eq!(said(&facts, now, Purpose::Command), expected, "{now}");
    }
}

#[test]
fn everything_of_the_schema_can_be_looked_at() {
    let yes = |condition: &str| {
        let text =
            format!("forbid (principal, action == Action::\"connect\", resource) when {{ {condition} }};");
        let mut facts = with(&[policy(&text)]);
        facts.server.labels = Arc::new([("env".parse().unwrap(), "prod".parse().unwrap())].into());
        let user = alice(NOW, vec![MultiFactor]);
        let later = NOW.saturating_add(std::time::Duration::from_secs(90));
        match decide_for(&user, &facts, Some("::ffff:10.1.2.3".parse().unwrap()), later) {
            Decision::Deny(denial) => assert_eq!(codes(&denial), ["policy"], "{condition}"),
            Decision::Allow(_) | Decision::StepUp(_) => panic!("not met: {condition}"),
        }
    };
    for condition in [
        "context.auth_age_seconds == 90",
        r#"context.client_address.isInRange(ip("10.0.0.0/8"))"#,
        r#"context.device == "laptop""#,
        "context.hour == 14 && context.minute == 14",
        r#"context.weekday == "mon""#,
        r#"context.now > datetime("2026-09-21T14:14:00Z") && context.now < datetime("2026-09-21T14:15:00Z")"#,
        r#"context.purpose == "command""#,
        "context.second_factor",
        r#"principal.name like "al*""#,
        r#"resource.name == "web-1" && resource.project == "shop""#,
        r#"resource.hasTag("env") && resource.getTag("env") == "prod""#,
        r#"principal in Group::"operators" && principal == User::"alice""#,
        r#"resource in Project::"shop" && resource == Server::"web-1""#,
    ] {
        yes(condition);
    }
}

#[test]
fn a_scope_that_names_others_is_about_others() {
    for (scope, forbids) in [
        (r#"principal == User::"alice", action, resource"#, true),
        (r#"principal == User::"bob", action, resource"#, false),
        (r#"principal in Group::"operators", action, resource"#, true),
        (r#"principal in Group::"contractors", action, resource"#, false),
        (r#"principal is User in Group::"contractors", action, resource"#, false),
        (r#"principal, action, resource in Project::"shop""#, true),
        (r#"principal, action, resource in Project::"bank""#, false),
        (r#"principal, action, resource == Server::"web-1""#, true),
        (r#"principal, action, resource == Server::"web-2""#, false),
        (r#"principal, action in [Action::"connect", Action::"forward"], resource"#, true),
        (r#"principal, action == Action::"forward", resource"#, false),
        (r#"principal is User, action, resource is Server"#, true),
    ] {
        let facts = with(&[policy(&format!("forbid ({scope});"))]);
        assert_eq!(said(&facts, "2026-09-21T12:00:00Z", Purpose::Command) == ["policy"], forbids, "{scope}");
    }
    // Of another project.
    let elsewhere = policy_in(Some(project_id(2)), "elsewhere", "forbid (principal, action, resource);");
    assert!(Policies::of_project(project_id(1), &[elsewhere]).is_empty());
}

#[test]
fn a_name_means_what_had_it_when_the_policy_was_set() {
    // Another group is called `operators` since; the policy still is about the one that was.
    let mut renamed = with(&[policy(r#"forbid (principal in Group::"operators", action, resource);"#)]);
    renamed.assignments[0].group_name = "renamed".parse().unwrap();
    assert_eq!(codes(&denial(decide(&request(None, Purpose::Command), &renamed))), ["policy"]);
    // A name that looks like an id is a name.
    let text = format!(r#"forbid (principal in Group::"{}", action, resource);"#, group_id(9));
    let draft = Draft::parse(&text).unwrap();
    assert!(draft.is_bound_by(&Bindings::default()).is_err(), "nothing is bound to it");
}

#[test]
fn what_cannot_be_evaluated_forbids() {
    // Overflows; passes every check of types.
    let overflow = policy(
        "forbid (principal, action, resource) when { context.auth_age_seconds + 9223372036854775807 + 1 < 0 };",
    );
    let facts = with(&[overflow]);
    let denial = denial(decide(&request(None, Purpose::Command), &facts));
    assert_eq!(codes(&denial), ["policy_failed"]);
    assert!(denial.next().contains("`usher policy show night`"), "{}", denial.next());

    // Nobody knows where the client is.
    let address = with(&[policy(
        r#"forbid (principal, action, resource) when { context.client_address.isLoopback() };"#,
    )]);
    let user = alice(NOW, vec![MultiFactor]);
    assert!(matches!(decide_for(&user, &address, Some(CLIENT), NOW), Decision::Allow(_)));
    assert_eq!(codes(&crate::fixture::denial(decide_for(&user, &address, None, NOW))), ["policy_failed"]);

    // A failing policy about forwarding takes forwarding.
    let forward = policy(
        r#"forbid (principal, action == Action::"forward", resource)
           when { context.auth_age_seconds + 9223372036854775807 + 1 < 0 };"#,
    );
    assert!(!allowed(&with(&[forward])).capabilities().permit_port_forwarding);
}

#[test]
fn stored_text_that_is_no_policy_forbids_all_of_its_project() {
    for text in [
        "",
        "forbid",
        "permit (principal, action, resource);",
        r#"forbid (principal in Group::"x", action, resource);"#,
    ] {
        let broken = Arc::new(Policy::load(PolicySource {
            name: "broken".parse().unwrap(),
            project: None,
            text: text.to_owned(),
            bindings: Bindings::default(),
        }));
        assert_eq!(
            codes(&denial(decide(&request(None, Purpose::Command), &with(&[broken])))),
            ["policy_failed"],
            "{text}"
        );
    }
}

#[test]
fn no_policy_gives() {
    assert_eq!(
        wrong("\n  permit (principal, action, resource);"),
        "line 2, column 3: policies only take away: write `forbid`, and give access by a role in the project"
    );
    assert_eq!(
        wrong("forbid (principal, action, resource); permit (principal, action, resource);"),
        "write exactly one policy, without `?principal` and `?resource`"
    );
    assert!(wrong("forbid (principal == ?principal, action, resource);").contains("?principal"));
    assert!(wrong("").contains("exactly one policy"));
}

#[test]
fn a_mistake_is_told_with_its_place() {
    for (text, place, what) in [
        (
            "forbid (principal, action, resource)\n  when { context.hour > };",
            "line 2, column 25",
            "unexpected token",
        ),
        ("forbid (principal, action, resource)\nwhen { context.hours > 3 };", "line 2, column 8", "hours"),
        ("forbid (principal, action, resource)\nwhen { context.hour > \"3\" };", "line 2, column 23", "Long"),
        ("forbid (principal, action == Action::\"delete\", resource);", "line 1, column 30", "delete"),
        ("forbid (principal in Team::\"x\", action, resource);", "line 1, column 22", "Team"),
        (
            "forbid (principal, action, resource)\nwhen { resource.getTag(\"env\") == \"prod\" };",
            "line 2, column 8",
            "tag",
        ),
        ("@reason(\"\u{1b}[2Jgone\")\nforbid (principal, action, resource);", "line 1, column 1", "one line"),
        ("@owner(\"x\")\nforbid (principal, action, resource);", "line 1, column 1", "annotations are"),
        ("@time_zone(\"Mars/Base\")\nforbid (principal, action, resource);", "line 1, column 1", "time zone"),
    ] {
        let error = wrong(text);
        assert!(error.contains(place) && error.contains(what), "{text}\n{error}");
    }
}

#[test]
fn no_message_carries_what_a_terminal_would_obey() {
    for text in [
        "forbid (principal, action, resource) when { context.\u{1b}[31m };",
        "forbid (principal, action, resource) when { context.hour == \"\u{1b}]0;x\u{7}\" };",
        "forbid (principal == User::\"\u{202e}evil\", action, resource) when { principal.\u{202e} };",
        "@reason(\"a\\u{1b}b\")\nforbid (principal, action, resource);",
    ] {
        let error = wrong(text);
        assert!(!error.chars().any(|c| c.is_control() || c == '\u{202e}'), "{error:?}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let rule = |condition: &str| format!("forbid (principal, action, resource) when {{ {condition} }};");
    assert!(wrong(&rule(&" ".repeat(10_000_000))).contains("at most 8192 bytes"));
    assert!(
        wrong(&rule(&format!("{}true{}", "(".repeat(4000), ")".repeat(4000)))).contains("brackets within")
    );
    for deep in [
        format!("{}true", "if true then ".repeat(600)),
        format!("context{}", ".a".repeat(4000)),
        format!("context.hour{} > 0", "+1".repeat(4000)),
        format!("true{}", "&&true".repeat(1300)),
        format!("{}true", "!".repeat(8000)),
        format!("{}1 > 0", "-".repeat(8000)),
        format!("principal.name{}", " like \"*\"".repeat(800)),
        format!("{}{}", "[".repeat(24), "(".repeat(8000)),
        format!("context has {}", "a.".repeat(4000)),
    ] {
        let text = rule(&deep);
        let error = wrong(text.get(..LONGEST_POLICY).unwrap_or(&text));
        assert!(error.len() < 2000, "{error}");
    }
    // What people write is far from it.
    let many: Vec<_> = (0..20).map(|hour| format!("context.hour == {hour}")).collect();
    assert!(Draft::parse(&rule(&many.join(" || "))).is_ok());
}

/// What the model knows of a policy: it is written from this.
#[derive(Clone, Debug)]
struct Rule {
    who: Option<&'static str>,
    team_wide: bool,
    forward: bool,
    from_hour: Option<u8>,
    purpose: Option<Purpose>,
    network: bool,
    second_factor: Option<bool>,
    older_than: Option<u8>,
    label: Option<&'static str>,
    fails: bool,
}

impl Rule {
    fn text(&self) -> String {
        let who = match self.who {
            None => String::new(),
            Some("alice") => r#" == User::"alice""#.to_owned(),
            Some(group) => format!(r#" in Group::"{group}""#),
        };
        let action = if self.forward { r#" == Action::"forward""# } else { "" };
        let mut all = vec!["true".to_owned()];
        all.extend(self.from_hour.map(|hour| format!("context.hour >= {hour}")));
        all.extend(self.purpose.map(|purpose| {
            let word = if purpose == Purpose::Command { "command" } else { "interactive" };
            format!(r#"context.purpose == "{word}""#)
        }));
        all.extend(
            self.network.then(|| r#"context.client_address.isInRange(ip("192.0.2.0/24"))"#.to_owned()),
        );
        all.extend(
            self.second_factor
                .map(|has| if has { "context.second_factor" } else { "!context.second_factor" }.to_owned()),
        );
        all.extend(self.older_than.map(|age| format!("context.auth_age_seconds > {age}")));
        all.extend(
            self.label.map(|env| format!(r#"resource.hasTag("env") && resource.getTag("env") == "{env}""#)),
        );
        all.extend(self.fails.then(|| "context.auth_age_seconds + 9223372036854775807 + 1 > 0".to_owned()));
        format!("forbid (principal{who}, action{action}, resource) when {{ {} }};", all.join(" && "))
    }

    /// Whether it forbids to get in, and to forward.
    fn forbids(&self, case: &Case) -> (bool, bool) {
        let member = |name: &str| match name {
            "operators" => case.groups.contains(&1),
            "contractors" => case.groups.contains(&3),
            _ => true,
        };
        let purpose_fits = |purpose| purpose == case.purpose;
        let before_address = self.who.is_none_or(member)
            && self.from_hour.is_none_or(|hour| case.hour >= hour)
            && self.purpose.is_none_or(purpose_fits);
        if !before_address {
            return (false, false);
        }
        let met = match (self.network, case.client) {
            // Nobody can tell.
            (true, None) => true,
            (true, Some(client)) if client != CLIENT => false,
            (true, Some(_)) | (false, _) => {
                self.second_factor.is_none_or(|has| has == case.second_factor)
                    && self.older_than.is_none_or(|age| case.age > age)
                    && self.label.is_none_or(|env| case.env == Some(env))
            }
        };
        (met && !self.forward, met)
    }
}

#[derive(Clone, Debug)]
struct Case {
    rules: Vec<Rule>,
    groups: BTreeSet<u8>,
    hour: u8,
    purpose: Purpose,
    client: Option<IpAddr>,
    second_factor: bool,
    age: u8,
    env: Option<&'static str>,
}

fn purposes() -> impl Strategy<Value = Purpose> {
    prop::sample::select(vec![Purpose::Command, Purpose::Interactive])
}

prop_compose! {
    fn rules()(
        who in prop::option::of(prop::sample::select(vec!["alice", "operators", "contractors"])),
        (team_wide, forward, network) in (any::<bool>(), any::<bool>(), prop::bool::weighted(0.3)),
        from_hour in prop::option::of(0_u8..24),
        purpose in prop::option::of(purposes()),
        second_factor in prop::option::of(any::<bool>()),
        older_than in prop::option::of(0_u8..200),
        label in prop::option::of(prop::sample::select(vec!["prod", "test"])),
        fails in prop::bool::weighted(0.1),
    ) -> Rule {
        Rule { who, team_wide, forward, from_hour, purpose, network, second_factor, older_than, label, fails }
    }
}

prop_compose! {
    fn cases()(
        rules in prop::collection::vec(rules(), 0..5),
        groups in prop::collection::btree_set(1_u8..4, 0..4),
        hour in 0_u8..24,
        purpose in purposes(),
        client in prop::option::of(prop::sample::select(vec!["192.0.2.7", "10.1.1.1", "2001:db8::1"])),
        second_factor in any::<bool>(),
        age in 0_u8..200,
        env in prop::option::of(prop::sample::select(vec!["prod", "test"])),
    ) -> Case {
        let client = client.map(|text| text.parse().unwrap());
        Case { rules, groups, hour, purpose, client, second_factor, age, env }
    }
}

/// What the model says: in or not, and with forwarding or not.
fn model(case: &Case) -> Option<bool> {
    let all: Vec<_> = case.rules.iter().map(|rule| rule.forbids(case)).collect();
    let member = case.groups.contains(&1);
    (member && !all.iter().any(|(connect, _)| *connect)).then(|| !all.iter().any(|(_, forward)| *forward))
}

fn decided(case: &Case, facts: &AccessFacts) -> Option<bool> {
    let day: UnixTime = "2026-09-21T00:30:00Z".parse().unwrap();
    let now = day.saturating_add(std::time::Duration::from_secs(u64::from(case.hour) * 3600));
    let amr: &[AuthenticationMethod] = if case.second_factor { &[MultiFactor] } else { &[Password] };
    let auth_time = now.saturating_sub(std::time::Duration::from_secs(case.age.into()));
    let name = "alice".parse().unwrap();
    let laptop = "laptop".parse().unwrap();
    let asker =
        Asker { user_id: user_id(1), user_name: &name, device: Some((device_id(), &laptop)), auth_time, amr };
    match suppose(&asker, &request(None, case.purpose), facts, case.client, now) {
        Decision::Allow(capabilities) => Some(capabilities.permit_port_forwarding),
        Decision::Deny(_) => None,
        Decision::StepUp(step_up) => panic!("{step_up}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// The model, the rows and memory say the same.
    #[test]
    fn policies_decide_as_the_model_does(case in cases()) {
        let policies: Vec<_> = case.rules.iter().enumerate().map(|(at, rule)| {
            policy_in((!rule.team_wide).then(|| project_id(1)), &format!("rule-{at}"), &rule.text())
        }).collect();
        let mut facts = with(&policies);
        facts.groups = case.groups.iter().copied().map(group_id).collect();
        facts.server.labels = Arc::new(case.env.map(|env| ("env".parse().unwrap(), env.parse().unwrap())).into_iter().collect());
        prop_assert_eq!(decided(&case, &facts), model(&case));

        let mut builder = SnapshotBuilder::new();
        builder.server(facts.server.id, "web-1", facts.project.id);
        builder.labels(facts.server.id, Arc::clone(&facts.server.labels));
        builder.project(facts.project.clone());
        for assignment in &facts.assignments {
            builder.assignment(facts.project.id, assignment.clone());
        }
        policies.iter().for_each(|policy| builder.policy(Arc::clone(policy)));
        let snapshot = builder.finish();
        let groups: Vec<GroupId> = facts.groups.iter().copied().collect();
        let member = Member { user_id: user_id(1), groups: &groups, login: facts.login.as_ref() };
        let packed = snapshot.find("web-1").unwrap().facts(&member).unwrap();
        prop_assert_eq!(decided(&case, &packed), model(&case));
    }

    /// However a policy is written, nobody gets in by it.
    #[test]
    fn policies_only_take_away(case in cases()) {
        let policies: Vec<_> = case.rules.iter().map(|rule| policy(&rule.text())).collect();
        let mut without = facts();
        without.groups = case.groups.iter().copied().map(group_id).collect();
        let with = AccessFacts { policies: with(&policies).policies, ..without.clone() };
        match (decided(&case, &without), decided(&case, &with)) {
            (None, after) => prop_assert_eq!(after, None),
            (Some(before), after) => prop_assert!(after.is_none_or(|after| before || !after)),
        }
    }

    #[test]
    fn no_text_is_a_panic(text in "(forbid|permit|when|\\(principal, action, resource\\)|context|[a-z.@\"{}()\\[\\];:!?=&|\\\\ \n]|\\PC){0,60}") {
        let _ = Draft::parse(&text);
    }
}
